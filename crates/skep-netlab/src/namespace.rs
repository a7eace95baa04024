//! A network namespace that lives as long as this process holds it.

use std::io::{self, BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// A namespace without a name. A process inside holds it and ends when its standard input does.
pub(crate) struct Namespace {
    holder: Child,
}

impl Namespace {
    pub(crate) fn new() -> io::Result<Self> {
        let mut holder = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let said = holder.stdout.take().map(|stdout| BufReader::new(stdout).read_line(&mut String::new()));
        let namespace = Self { holder };
        match said {
            Some(Ok(1)) => {}
            _ => return Err(io::Error::other("`unshare --net` made no namespace")),
        }
        // Ping of loopback, and of one's own address, goes through it.
        namespace.run("ip link set lo up")?;
        Ok(namespace)
    }

    /// The process that stands for the namespace where a tool asks for one.
    pub(crate) fn pid(&self) -> u32 {
        self.holder.id()
    }

    /// A command that will run inside.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.pid())).arg(program);
        command
    }

    /// Runs a command of words inside.
    pub(crate) fn run(&self, words: &str) -> io::Result<()> {
        let mut words = words.split_whitespace();
        let mut command = self.command(words.next().unwrap_or_default());
        succeed(command.args(words))
    }

    /// Runs a line of shell inside.
    pub(crate) fn shell(&self, line: &str) -> io::Result<()> {
        succeed(self.command("sh").args(["-c", line]))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Runs a command whose failure is an error that says what it said.
pub(crate) fn succeed(command: &mut Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim())))
}

/// Runs a command of words outside of any namespace.
pub(crate) fn run(words: &str) -> io::Result<()> {
    let mut words = words.split_whitespace();
    succeed(Command::new(words.next().unwrap_or_default()).args(words))
}
