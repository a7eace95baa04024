//! A real network of the release binary, for the end-to-end steps.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::shell::{self, Guard};

/// From start to the first line; the bar is 60 s to the first token.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long its processes may take to end after the first was killed.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// A running `skep demo`; killed when it goes out of scope.
pub struct Demo {
    process: Guard,
    /// Address of the API, `http://127.0.0.1:PORT`.
    pub api: String,
    pub model: String,
    /// The processes of its nodes.
    pub nodes: Vec<u64>,
}

impl Demo {
    /// Starts a network with the bundled model and waits until it can answer.
    pub fn start(root: &Path) -> Result<Demo, String> {
        Self::start_with(root, None)
    }

    /// [`Demo::start`] with a model of the caller's.
    pub fn start_with(root: &Path, model: Option<&Path>) -> Result<Demo, String> {
        let mut command = shell::command(root.join("target/release/skep"), "demo --json --no-open --port 0", root);
        if let Some(model) = model {
            command.arg("--model").arg(model);
        }
        let (process, line) = start("the demo", &mut command, &root.join("target/xtask-demo.log"))?;
        let (api, model, nodes) = ready_line(&line)?;
        println!("demo: {api} with {} nodes", nodes.len());
        Ok(Demo { process, api, model, nodes })
    }

    /// Ends the parent: no process of the demo may stay behind.
    pub fn end_and_look(self, how: End) -> Result<(), String> {
        let Demo { process, mut nodes, .. } = self;
        let parent = process.0.id();
        if let Some(dead) = nodes.iter().find(|pid| !is_alive(**pid)) {
            return Err(format!("process {dead} of the demo was not there to begin with"));
        }
        nodes.push(u64::from(parent));
        // Dropping the guard is a `kill -9`, so for an interrupt it is kept until the end.
        let kept = match how {
            End::Kill => {
                drop(process);
                None
            }
            End::Interrupt => {
                shell::output("kill", &format!("-INT {parent}")).ok_or("cannot interrupt the demo")?;
                Some(process)
            }
        };
        let outcome = wait_until_gone(&nodes, GONE_WITHIN);
        drop(kept);
        outcome.map_err(|error| format!("{error} after {how:?}"))
    }
}

/// A running `skep up`, alone in its network, with settings and keys of its own; killed when it goes out of scope.
pub struct Up {
    _process: Guard,
    /// Address of the API, `http://127.0.0.1:PORT`.
    pub api: String,
}

impl Up {
    /// Starts it on a machine that is taken to be at rest, whatever else runs here, and waits until it can answer.
    pub fn start(root: &Path) -> Result<Up, String> {
        let home = root.join("target/xtask-home");
        if home.exists() {
            // What is shown first is for a machine that nobody has set up yet.
            std::fs::remove_dir_all(&home).map_err(|error| format!("cannot remove {}: {error}", home.display()))?;
        }
        let mut command = shell::command(root.join("target/release/skep"), "up --json --port 0 --open --sensors", root);
        command.arg(home.join("at-rest")).env("SKEP_HOME", &home);
        let (process, line) = start("the node", &mut command, &root.join("target/xtask-up.log"))?;
        let value: Value = serde_json::from_str(&line).map_err(|error| format!("{error} in its first line: {line}"))?;
        let api = value["api"].as_str().ok_or_else(|| format!("the node's first line has no api: {line}"))?.to_owned();
        println!("up: {api}");
        Ok(Up { _process: process, api })
    }
}

/// Starts a program that prints a line when it is ready, and gives that line; what else it says goes to `log`.
fn start(what: &str, command: &mut Command, log: &Path) -> Result<(Guard, String), String> {
    let errors = File::create(log).map_err(|error| format!("cannot write {}: {error}", log.display()))?;
    let child = command.stdout(Stdio::piped()).stderr(errors).spawn();
    let mut process = Guard(child.map_err(|error| format!("cannot start {what}: {error}"))?);
    let stdout = process.0.stdout.take().ok_or_else(|| format!("{what} has no standard output"))?;
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        // The pipe is read to its end, or the program could block on a full one.
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    let line = lines.recv_timeout(READY_WITHIN).map_err(|_| {
        let said = std::fs::read_to_string(log).unwrap_or_default();
        format!("{what} printed no line within {} s; it said:\n{said}", READY_WITHIN.as_secs())
    })?;
    Ok((process, line))
}

/// How a demo is ended.
#[derive(Debug, Clone, Copy)]
pub enum End {
    /// `kill -9`
    Kill,
    /// Ctrl-C
    Interrupt,
}

fn wait_until_gone(pids: &[u64], within: Duration) -> Result<(), String> {
    let start = Instant::now();
    loop {
        let left: Vec<&u64> = pids.iter().filter(|pid| is_alive(**pid)).collect();
        if left.is_empty() {
            return Ok(());
        }
        if start.elapsed() > within {
            return Err(format!("processes {left:?} were still there {} s", within.as_secs()));
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Whether a process runs; one that has ended but was not waited for does not.
fn is_alive(pid: u64) -> bool {
    let state = shell::output("ps", &format!("-o stat= -p {pid}"));
    state.is_some_and(|state| !state.is_empty() && !state.starts_with('Z'))
}

/// `{"api":"http://127.0.0.1:P","model":"ID","nodes":[{"pid":1,"id":"…","blocks":[a,b]},…]}`
fn ready_line(line: &str) -> Result<(String, String, Vec<u64>), String> {
    let wrong = |what: &str| format!("the demo's first line has no {what}: {line}");
    let value: Value =
        serde_json::from_str(line).map_err(|error| format!("{error} in the demo's first line: {line}"))?;
    let text = |name: &str| value[name].as_str().map(str::to_owned).ok_or_else(|| wrong(name));
    let nodes = value["nodes"].as_array().filter(|nodes| !nodes.is_empty()).ok_or_else(|| wrong("nodes"))?;
    let pids = nodes.iter().map(|node| node["pid"].as_u64().ok_or_else(|| wrong("pid")));
    Ok((text("api")?, text("model")?, pids.collect::<Result<_, _>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_read_or_refused() {
        let good = r#"{"api":"http://127.0.0.1:9","model":"ab","nodes":[{"pid":7,"id":"x","blocks":[0,2]}]}"#;
        assert_eq!(ready_line(good).unwrap(), ("http://127.0.0.1:9".into(), "ab".into(), vec![7]));
        for (from, to) in [("\"api\"", "\"x\""), ("[{\"pid\":7,\"id\":\"x\",\"blocks\":[0,2]}]", "[]"), ("7", "null")] {
            assert!(ready_line(&good.replace(from, to)).is_err(), "{to}");
        }
        assert!(ready_line("Skep is ready").is_err());
    }

    /// A root folder whose release binary is the shell, which reads the script `demo` that it is told to run.
    fn root_with(name: &str, script: &str) -> std::path::PathBuf {
        let root = std::env::temp_dir().join(format!("skep-xtask-{name}-{}", std::process::id()));
        std::fs::create_dir_all(root.join("target/release")).unwrap();
        std::os::unix::fs::symlink("/bin/sh", root.join("target/release/skep")).unwrap();
        std::fs::write(root.join("demo"), script).unwrap();
        root
    }

    #[test]
    fn a_demo_is_started_and_ends_when_killed() {
        let line = r#"{\"api\":\"http://127.0.0.1:9\",\"model\":\"ab\",\"nodes\":[{\"pid\":$$}]}"#;
        let root = root_with("good", &format!("echo \"{line}\"; exec sleep 600"));
        let demo = Demo::start(&root).unwrap();
        assert!(is_alive(demo.nodes[0]));
        demo.end_and_look(End::Kill).unwrap();
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_process_that_stays_is_reported() {
        let child = Guard(std::process::Command::new("sleep").arg("600").spawn().unwrap());
        let pid = u64::from(child.0.id());
        let error = wait_until_gone(&[pid], Duration::ZERO).unwrap_err();
        assert!(error.contains(&pid.to_string()), "{error}");
    }

    #[test]
    fn a_demo_that_ends_at_once_is_quoted() {
        let root = root_with("bad", "echo 'error: the port is in use' >&2; exit 3");
        let error = Demo::start(&root).err().unwrap();
        assert!(error.contains("error: the port is in use"), "{error}");
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn this_process_is_alive() {
        assert!(is_alive(u64::from(std::process::id())));
        assert!(!is_alive(u64::from(u32::MAX)));
    }
}
