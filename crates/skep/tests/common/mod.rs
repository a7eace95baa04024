//! A running `skep demo` and a client that reads its stream event by event.

#![allow(dead_code, reason = "each test file uses its own part")]

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

pub struct NodeInfo {
    pub pid: u32,
    pub id: String,
    pub blocks: [u64; 2],
}

/// A demo with its own data folder. Dropping it ends all of its processes.
pub struct Demo {
    child: Child,
    pub api: String,
    pub model: String,
    pub nodes: Vec<NodeInfo>,
    _home: tempfile::TempDir,
}

impl Demo {
    pub fn start(arguments: &[&str]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_skep"))
            .args(["demo", "--json", "--no-open", "--port", "0"])
            .args(arguments)
            .env("SKEP_HOME", home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        let nodes = ready["nodes"].as_array().unwrap().iter().map(|node| NodeInfo {
            pid: node["pid"].as_u64().unwrap() as u32,
            id: node["id"].as_str().unwrap().to_owned(),
            blocks: [node["blocks"][0].as_u64().unwrap(), node["blocks"][1].as_u64().unwrap()],
        });
        Self {
            api: ready["api"].as_str().unwrap().to_owned(),
            model: ready["model"].as_str().unwrap().to_owned(),
            nodes: nodes.collect(),
            child,
            _home: home,
        }
    }

    pub fn stream(&self, body: &Value) -> Stream {
        stream(&self.api, body)
    }

    /// `kill -9` of the node whose id begins so.
    pub fn kill(&self, id: &str) {
        let node = self.nodes.iter().find(|node| node.id.starts_with(id)).unwrap();
        signal("-9", node.pid);
    }

    pub fn kill_parent(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// What Ctrl-C does.
    pub fn interrupt(&mut self) -> ExitStatus {
        signal("-INT", self.child.id());
        self.child.wait().unwrap()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // The nodes end with the pipe that this process holds.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks for a completion that is streamed.
pub fn stream(api: &str, body: &Value) -> Stream {
    let request = ureq::post(format!("{api}/v1/completions")).header("content-type", "application/json");
    read_stream(request.send(body.to_string()).unwrap())
}

/// Takes an answer up that broke off when its gateway ended.
pub fn resume(api: &str, id: &str) -> Result<Stream, ureq::Error> {
    ureq::get(format!("{api}/skep/v1/answers/{id}")).call().map(read_stream)
}

fn read_stream(response: ureq::http::Response<ureq::Body>) -> Stream {
    let route = response.headers()["skep-route"].to_str().unwrap().to_owned();
    let lines = BufReader::new(response.into_body().into_reader());
    let lines: Box<dyn BufRead> = Box::new(lines);
    Stream { route, lines: lines.lines(), result: Answer::default() }
}

pub fn signal(which: &str, pid: u32) {
    assert!(Command::new("kill").args([which, &pid.to_string()]).status().unwrap().success());
}

/// Whether a process runs; one that ended but was not waited for does not.
pub fn is_running(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.rsplit(") ").next().unwrap_or_default().starts_with('Z'))
}

/// A greedy completion of `max_tokens` tokens.
pub fn body(max_tokens: u32, pace: Option<f32>) -> Value {
    let mut body = json!({
        "prompt": "Once upon a time, there was a little girl named Lily. She",
        "max_tokens": max_tokens, "temperature": 0, "stream": true,
    });
    if let Some(pace) = pace {
        body["pace"] = json!(pace);
    }
    body
}

/// What came of a stream.
#[derive(Default)]
pub struct Answer {
    pub text: String,
    /// What the answer is called.
    pub id: String,
    /// The text of each event, in order. A token that ends inside a character has no event of its own.
    pub events: Vec<String>,
    /// Tokens drawn, as the gateway counted them.
    pub tokens: u64,
    arrivals: Vec<Instant>,
    pub recoveries: usize,
}

impl Answer {
    /// The longest time between two events of which the later came after `moment`.
    pub fn longest_gap_after(&self, moment: Instant) -> Duration {
        let gaps = self.arrivals.windows(2).filter(|pair| pair[1] > moment).map(|pair| pair[1] - pair[0]);
        gaps.max().unwrap_or_default()
    }
}

/// An answer under way.
pub struct Stream {
    route: String,
    lines: Lines<Box<dyn BufRead>>,
    result: Answer,
}

impl Stream {
    /// The ids, as the `skep-route` header shortens them, of the nodes that answer.
    pub fn route(&self) -> Vec<String> {
        self.route.split(',').map(|hop| hop.split('[').next().unwrap().trim().to_owned()).collect()
    }

    /// What came so far.
    pub fn so_far(&self) -> &Answer {
        &self.result
    }

    /// Reads on to the next event that carries text and returns its index; `None` at the end.
    pub fn next_event(&mut self) -> Option<u32> {
        loop {
            let line = self.lines.next()?.unwrap();
            let Some(data) = line.strip_prefix("data: ") else { continue };
            if data == "[DONE]" {
                return None;
            }
            let event: Value = serde_json::from_str(data).unwrap();
            assert!(event.get("error").is_none(), "the request failed: {event}");
            if let Some(recoveries) = event["skep"]["recoveries"].as_array() {
                self.result.recoveries = recoveries.len();
                self.result.tokens = event["skep"]["completion_tokens"].as_u64().unwrap();
            }
            self.result.id = event["id"].as_str().unwrap_or_default().to_owned();
            let choice = &event["choices"][0];
            let piece = choice["text"].as_str().unwrap_or_default();
            self.result.text.push_str(piece);
            if choice["finish_reason"].is_null() && choice.is_object() {
                self.result.events.push(piece.to_owned());
                self.result.arrivals.push(Instant::now());
                return Some(self.result.events.len() as u32 - 1);
            }
        }
    }

    pub fn read_to_end(mut self) -> Answer {
        while self.next_event().is_some() {}
        self.result
    }
}
