//! A running `skep up` of this machine, for tests of real processes.

#![allow(dead_code, reason = "each test file uses its own part")]

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A running `skep up`. Dropping it ends the process, as `kill -9` does.
pub struct Up {
    pub child: Child,
    /// What it said when it was ready.
    pub said: Value,
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `skep` with a data folder of its own.
pub fn skep(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_skep"));
    command.env("SKEP_HOME", home).stdin(Stdio::null());
    command
}

/// A machine at rest, whatever this one does: the owner's limits are not what these tests are about, unless a test gives other sensors.
pub const AT_REST: [&str; 4] = ["--sensors", "/dev/null", "--share", "full"];

/// Starts a node.
pub fn start(home: &Path, arguments: &[&str]) -> Child {
    let sensors = if arguments.contains(&AT_REST[0]) { &[][..] } else { &AT_REST[..] };
    let mut command = skep(home);
    command.args(["up", "--json", "--threads", "1"]).args(sensors).args(arguments);
    command.stdout(Stdio::piped()).spawn().unwrap()
}

/// Waits until it says that it is ready.
pub fn ready(child: Child) -> Up {
    let mut up = Up { child, said: Value::Null };
    let mut line = String::new();
    BufReader::new(up.child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    up.said = serde_json::from_str(&line).unwrap_or_else(|_| panic!("it did not start: {line}"));
    up
}

/// Starts a node and waits until it says that it is ready.
pub fn up(home: &Path, arguments: &[&str]) -> Up {
    ready(start(home, arguments))
}

/// What a command printed.
pub fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}
