//! Running other programs: echoed, bounded in time, never left behind.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// The longest that one program may run: more than any of ours needs on two cores, less than CI gives us in all.
const LIMIT: Duration = Duration::from_secs(60 * 60);

/// A child process that is killed and waited for when it goes out of scope.
pub struct Guard(pub Child);

impl Drop for Guard {
    fn drop(&mut self) {
        // Killing a process that has ended already is no error worth a word.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A command with the words of `line`, run in `folder`, without standard input.
pub fn command<S: AsRef<OsStr>>(program: S, arguments: &str, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(arguments.split_whitespace()).current_dir(folder).stdin(Stdio::null());
    command
}

/// Cargo, by the path that started us.
pub fn cargo(arguments: &str, folder: &Path) -> Command {
    command(std::env::var_os("CARGO").unwrap_or("cargo".into()), arguments, folder)
}

/// Runs a command whose output goes to the terminal; an error unless it succeeds.
pub fn run(command: &mut Command) -> Result<(), String> {
    println!("$ {}", shown(command));
    let child = command.spawn().map_err(|error| format!("cannot start {}: {error}", shown(command)))?;
    finish(Guard(child), command)
}

/// Runs a command, passes its output on, and gives back the lines that `keep` wants, from whichever stream.
pub fn run_keeping(command: &mut Command, keep: fn(&str) -> bool) -> (Vec<String>, Result<(), String>) {
    println!("$ {}", shown(command));
    let mut child = match command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn() {
        Ok(child) => Guard(child),
        Err(error) => return (Vec::new(), Err(format!("cannot start {}: {error}", shown(command)))),
    };
    let (sender, kept) = mpsc::channel();
    let streams = [
        child.0.stdout.take().map(|stream| Box::new(stream) as Box<dyn Read + Send>),
        child.0.stderr.take().map(|stream| Box::new(stream) as Box<dyn Read + Send>),
    ];
    for stream in streams.into_iter().flatten() {
        let sender = sender.clone();
        thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                println!("{line}");
                if keep(&line) && sender.send(line).is_err() {
                    return;
                }
            }
        });
    }
    drop(sender);
    let outcome = finish(child, command);
    // A grandchild that kept the pipe must not keep us, so what is there now is what we take.
    let mut lines = Vec::new();
    while let Ok(line) = kept.recv_timeout(Duration::from_secs(5)) {
        lines.push(line);
    }
    (lines, outcome)
}

fn finish(mut child: Guard, command: &Command) -> Result<(), String> {
    let start = Instant::now();
    loop {
        match child.0.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(format!("{} ended with {status}", shown(command))),
            Ok(None) if start.elapsed() > LIMIT => {
                return Err(format!("{} ran for more than {} minutes", shown(command), LIMIT.as_secs() / 60));
            }
            Ok(None) => thread::sleep(Duration::from_millis(50)),
            Err(error) => return Err(format!("cannot wait for {}: {error}", shown(command))),
        }
    }
}

/// The standard output of a command, trimmed, or nothing if it cannot run or fails.
pub fn output(program: impl AsRef<OsStr>, arguments: &str) -> Option<String> {
    let output = Command::new(program).args(arguments.split_whitespace()).stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The standard output of a command, trimmed at its end; an error unless it succeeds.
pub fn stdout(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("cannot start {}: {error}", shown(command)))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("{} ended with {}: {said}", shown(command), output.status));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

/// The first of these programs that is on the search path.
pub fn which(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let candidates = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    candidates.into_iter().find(|candidate| candidate.is_file())
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_fails_is_an_error_that_names_it() {
        let here = Path::new(".");
        assert!(run(&mut command("true", "", here)).is_ok());
        assert!(run(&mut command("false", "x", here)).is_err_and(|error| error.starts_with("false x ended with")));
        assert!(run(&mut command("no-such-program", "", here)).is_err_and(|error| error.starts_with("cannot start")));
    }

    #[test]
    fn kept_lines_come_from_both_streams() {
        let mut command = command("sh", "", Path::new("."));
        command.args(["-c", "echo keep 1; echo drop; echo keep 2 >&2"]);
        let (mut lines, outcome) = run_keeping(&mut command, |line| line.starts_with("keep"));
        lines.sort();
        assert_eq!(lines, ["keep 1", "keep 2"]);
        assert!(outcome.is_ok());
    }

    #[test]
    fn a_guarded_child_does_not_outlive_its_guard() {
        let child = Command::new("sleep").arg("600").spawn().unwrap();
        let id = child.id();
        drop(Guard(child));
        assert!(!Path::new(&format!("/proc/{id}/cmdline")).exists());
    }
}
