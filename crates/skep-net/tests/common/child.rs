//! A machine in a process of its own: this test file's `answers_until_killed`, run alone.

#![allow(clippy::unwrap_used, dead_code, reason = "a test")]

use skep_net::parse_peer;
use skep_types::wire::Peer;
use std::{
    io::{BufRead, BufReader, Lines},
    process::{Child, ChildStdout, Command, Stdio},
};

pub const ROLE: &str = "SKEP_NET_TEST_KEY";
/// The peer that the machine joins first, if any.
const GATEWAY: &str = "SKEP_NET_TEST_GATEWAY";

pub struct Machine {
    child: Child,
    pub peer: Peer,
    /// Held so that the machine can go on printing.
    _lines: Lines<BufReader<ChildStdout>>,
}

impl Machine {
    /// Starts a machine with the key of `number`; `wrapper` is put before its command line.
    pub fn start(number: u8, wrapper: &[&str]) -> Self {
        Self::start_joining(number, wrapper, "")
    }

    /// As [`Machine::start`]; it also joins `gateway`.
    pub fn start_joining(number: u8, wrapper: &[&str], gateway: &str) -> Self {
        let this = std::env::current_exe().unwrap();
        let (program, before) = match wrapper.split_first() {
            Some((program, rest)) => ((*program).into(), [rest, &[this.to_str().unwrap()]].concat()),
            None => (this.clone().into_os_string(), Vec::new()),
        };
        let mut child = Command::new(program)
            .args(before)
            .args(["--exact", "answers_until_killed", "--ignored", "--nocapture", "--test-threads=1"])
            .env(ROLE, number.to_string())
            .env(GATEWAY, gateway)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let peer = loop {
            let line = lines.next().expect("the machine ended").unwrap();
            if let Some((_, peer)) = line.split_once("PEER ") {
                break parse_peer(peer).unwrap();
            }
        };
        Self { child, peer, _lines: lines }
    }

    pub fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap().success());
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    /// Lets it end by itself.
    pub fn finish(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the machine does: it answers each control request until its standard input ends, so that it never outlives its parent.
pub fn answer(number: u8) {
    use skep_net::{Net, NetEvent};
    use skep_types::wire::{Control, ControlReply};
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let (net, mut events) = Net::bind(super::config(number)).await.unwrap();
        println!("\nPEER {}", skep_net::format_peer(&net.peer()));
        let gateway = std::env::var(GATEWAY).unwrap();
        if !gateway.is_empty() {
            let joiner = net.clone();
            tokio::spawn(async move {
                let join = super::join(joiner.peer());
                joiner.join(&parse_peer(&gateway).unwrap(), join).await.unwrap();
            });
        }
        let serve = async {
            while let Some(event) = events.recv().await {
                match event {
                    NetEvent::Control { mut requests, mut replies, .. } => drop(tokio::spawn(async move {
                        while let Ok(Some(Control::Open { session, epoch, .. })) = requests.recv().await {
                            replies.send(ControlReply::Opened { session, epoch }).await.unwrap();
                        }
                    })),
                    NetEvent::Data { mut frames, .. } => {
                        drop(tokio::spawn(async move { while let Ok(Some(_)) = frames.recv().await {} }))
                    }
                    _ => {}
                }
            }
        };
        let end = tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
        tokio::select! {
            () = serve => {}
            ended = end => drop(ended),
        }
        net.close().await;
    });
}
