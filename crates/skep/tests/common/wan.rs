//! A network of real `skep` processes, each on a host of its own in an emulated wide-area network.

#![allow(dead_code, reason = "each user of this file uses its own part")]

use serde_json::Value;
use skep_netlab::{Host, Lab};
use std::io::{BufRead, BufReader, Error};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub type Failure = Box<dyn std::error::Error>;
/// The UDP port of every node.
pub const PORT: u16 = 7000;

/// A running `skep up` or `skep relay`. Dropping it ends the process.
pub struct Up {
    child: Child,
    /// What it said when it was ready.
    pub said: Value,
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Up {
    /// Starts a node on a host and waits until it is ready.
    pub fn start(host: &Host, home: &std::path::Path, arguments: &[&str]) -> Result<Self, Failure> {
        // Whatever this machine does, these are not about what its owner lends.
        Self::run(
            host,
            home,
            &[&["up", "--threads", "1", "--sensors", "/dev/null", "--share", "full"], arguments].concat(),
        )
    }

    /// Starts a command that goes on until it is ended, and waits until it is ready. Should this process be killed, it ends with the
    /// pipe.
    pub fn run(host: &Host, home: &std::path::Path, words: &[&str]) -> Result<Self, Failure> {
        let mut command = skep(host, home);
        command.args(words).args(["--json", "--end-with-stdin"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().ok_or("no standard output")?;
        let mut up = Self { child, said: Value::Null };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        up.said = serde_json::from_str(&line).map_err(|_| format!("{words:?} on {} did not start", host.address()))?;
        Ok(up)
    }

    /// The id of the node's key.
    pub fn id(&self) -> &str {
        self.said["node"]["id"].as_str().unwrap_or_default()
    }

    /// `kill -9`, and the process is gone.
    pub fn kill(mut self) {
        let _ = self.child.kill();
    }
}

/// `skep` on a host, with a data folder of its own.
pub fn skep(host: &Host, home: &std::path::Path) -> Command {
    let mut command = host.command(env!("CARGO_BIN_EXE_skep"));
    command.env("SKEP_HOME", home).stdin(Stdio::null());
    command
}

/// What a command printed, or its failure as an error.
pub fn printed(command: &mut Command) -> Result<String, Failure> {
    let output = command.output()?;
    if !output.status.success() {
        return Err(Error::other(String::from_utf8_lossy(&output.stderr).into_owned()).into());
    }
    Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
}

/// A gateway on the first host and one node on each other host.
pub struct Network {
    // In this order, so that processes end before their hosts.
    pub nodes: Vec<Up>,
    pub gateway: Up,
    pub home: tempfile::TempDir,
    pub hosts: Vec<Host>,
    pub lab: Lab,
}

impl Network {
    /// A network in which all hosts are `rtt` apart and packets are lost with probability `loss`. The gateway holds only the first
    /// block, as a node must hold one, and may compute it at no cost in trips; each of `spans` is held by a node of its own.
    pub fn start(model: &[&str], spans: &[(u32, u32)], rtt: Duration, loss: f64) -> Result<Self, Failure> {
        let mut lab = Lab::new(spans.len() as u64)?;
        let hosts = lab.hosts(spans.len() + 1, rtt, loss)?;
        let home = tempfile::tempdir()?;
        let listen = |host: &Host| format!("{}:{PORT}", host.address());
        let at = listen(&hosts[0]);
        let arguments = [model, &["--ephemeral", "--listen", &at, "--port", "7537", "--blocks", "0..1"]].concat();
        let gateway = Up::start(&hosts[0], home.path(), &arguments)?;
        let mut network = Self { nodes: Vec::new(), gateway, home, hosts, lab };
        let link = network.invite(&[])?;
        for (number, (first, end)) in spans.iter().enumerate() {
            let host = &network.hosts[number + 1];
            let (at, blocks) = (listen(host), format!("{first}..{end}"));
            let arguments = [&[&link, "--ephemeral", "--listen", &at, "--blocks", &blocks], model].concat();
            let node = Up::start(host, network.home.path(), &arguments)?;
            network.nodes.push(node);
        }
        Ok(network)
    }

    /// A link for a machine that may join.
    pub fn invite(&self, arguments: &[&str]) -> Result<String, Failure> {
        printed(skep(&self.hosts[0], self.home.path()).arg("invite").args(arguments))
    }

    /// A greedy answer of so many tokens, as the API gives it.
    pub fn ask(&self, prompt: &str, tokens: u32) -> Result<Value, Failure> {
        let tokens = tokens.to_string();
        let words = ["chat", prompt, "--temperature", "0", "--max-tokens", &tokens, "--json"];
        Ok(serde_json::from_str(&printed(skep(&self.hosts[0], self.home.path()).args(words))?)?)
    }

    /// What `skep status --json` prints.
    pub fn status(&self) -> Result<Value, Failure> {
        Ok(serde_json::from_str(&printed(skep(&self.hosts[0], self.home.path()).args(["status", "--json"]))?)?)
    }
}

/// `n_blocks` blocks in `k` even spans.
pub fn even_spans(n_blocks: u32, k: u32) -> Vec<(u32, u32)> {
    (0..k).map(|stage| (stage * n_blocks / k, (stage + 1) * n_blocks / k)).collect()
}

/// The text of an answer.
pub fn text(answer: &Value) -> &str {
    answer["choices"][0]["message"]["content"].as_str().unwrap_or_default()
}

/// The nodes that an answer went through, in order.
pub fn route(answer: &Value) -> Vec<&str> {
    let hops = answer["skep"]["hops"].as_array().map(Vec::as_slice).unwrap_or_default();
    hops.iter().filter_map(|hop| hop["node"].as_str()).collect()
}
