//! Twenty nodes, real processes, come and go at random under load: no request fails, and every answer is the undisturbed one.
//!
//! What nodes do that choose their blocks themselves is in [`balance`].
//!
//! A run takes 20 seconds, or `SKEP_CHAOS_SECONDS`; `SKEP_CHAOS_SEED` draws another one.

#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "chaos/balance.rs"]
mod balance;
mod common;

use serde_json::{Value, json};
use skep_node::{Gateway, GatewayLimits, Node, NodeConfig, StageLimits};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const NODES: usize = 20;
const BLOCKS: u64 = 8;
/// Requests under way at once.
const CLIENTS: usize = 3;
const PROMPTS: [&str; 4] = ["ROMEO:", "What is love?", "Now is the winter of our discontent", "To be, or not"];

/// SplitMix64.
struct Rng(u64);

impl Rng {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

/// A node's process. Dropping it ends the process.
struct Peer {
    child: Child,
    blocks: [u64; 2],
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Swarm {
    gateway: Gateway,
    address: String,
    peers: Vec<Peer>,
    rng: Rng,
    joins: u32,
    kills: u32,
    goodbyes: u32,
}

fn model() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/skep-bard-q8_0.gguf"))
}

impl Swarm {
    fn join(&mut self, blocks: [u64; 2]) {
        let child = Command::new(env!("CARGO_BIN_EXE_skep"))
            .args(["up", "--json", "--ephemeral", "--end-with-stdin", "--threads", "1", "--join", &self.address])
            .args(["--sensors", "/dev/null", "--share", "full"])
            .args(["--blocks", &format!("{}..{}", blocks[0], blocks[1]), "--model"])
            .arg(model())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        self.peers.push(Peer { child, blocks });
        self.joins += 1;
    }

    /// The spans of the nodes that the gateway has, by the ids of their processes.
    fn present(&self) -> Vec<u32> {
        let view = serde_json::to_value(self.gateway.network()).unwrap();
        let nodes = view["nodes"].as_array().unwrap();
        nodes.iter().filter(|node| node["alive"] == true).map(|node| node["pid"].as_u64().unwrap() as u32).collect()
    }

    /// Whether every block is held by two nodes that have joined, or by one if `without` goes.
    fn covered_without(&self, without: Option<usize>, holders: usize) -> bool {
        let present = self.present();
        let held = |block: u64| {
            let holds = |(index, peer): &(usize, &Peer)| {
                Some(*index) != without
                    && (peer.blocks[0]..peer.blocks[1]).contains(&block)
                    && present.contains(&peer.child.id())
            };
            self.peers.iter().enumerate().filter(holds).count()
        };
        (0..BLOCKS).all(|block| held(block) >= holders)
    }

    fn wait_until(&self, what: &str, mut reached: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !reached(self) {
            assert!(Instant::now() < deadline, "{what} within a minute");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// One node comes, or one goes that is not the last holder of a block.
    fn change(&mut self) {
        let room = self.peers.len() < NODES;
        if room && (self.peers.len() < NODES / 2 || self.rng.below(2) == 0) {
            let length = 1 + self.rng.below(5);
            let start = self.rng.below(BLOCKS - length + 1);
            self.join([start, start + length]);
            return;
        }
        let index = self.rng.below(self.peers.len() as u64) as usize;
        if !self.covered_without(Some(index), 1) {
            return;
        }
        let peer = self.peers.swap_remove(index);
        if self.rng.below(3) == 0 {
            common::signal("-INT", peer.child.id());
            // Its owner waits for it; here nobody does, so that the next change can come.
            std::thread::spawn(move || {
                let mut peer = peer;
                let _ = peer.child.wait();
            });
            self.goodbyes += 1;
        } else {
            drop(peer);
            self.kills += 1;
        }
    }

    /// Sessions that the nodes which are there say they have.
    fn sessions(&self) -> u64 {
        let view = serde_json::to_value(self.gateway.network()).unwrap();
        let nodes = view["nodes"].as_array().unwrap();
        let alive = nodes.iter().filter(|node| node["alive"] == true);
        alive.map(|node| node["figures"]["sessions"].as_u64().unwrap()).sum()
    }
}

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |value| value.parse().unwrap())
}

fn body(prompt: &str, pace: Option<f32>) -> Value {
    let mut body = json!({ "prompt": prompt, "max_tokens": 150, "temperature": 0, "stream": true });
    if let Some(pace) = pace {
        body["pace"] = json!(pace);
    }
    body
}

/// Open files of this process, and bytes that it holds.
fn held_here() -> (usize, u64) {
    let files = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = pages.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    (files, pages * 4096)
}

/// What a client saw.
#[derive(Default)]
struct Seen {
    answers: u32,
    recoveries: usize,
    stalls: Vec<Duration>,
}

fn client(api: &str, expected: &[String], first: usize, over: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    while !over.load(Ordering::Relaxed) {
        let which = (first + seen.answers as usize) % PROMPTS.len();
        let start = Instant::now();
        let answer = common::stream(api, &body(PROMPTS[which], Some(75.0))).read_to_end();
        assert_eq!(answer.text, expected[which], "an answer differs from the undisturbed one");
        seen.answers += 1;
        if answer.recoveries > 0 {
            seen.recoveries += answer.recoveries;
            seen.stalls.push(answer.longest_gap_after(start));
        }
    }
    seen
}

#[test]
fn processes_come_and_go_at_random_and_no_request_fails() {
    let (seconds, seed) = (number("SKEP_CHAOS_SECONDS", 20), number("SKEP_CHAOS_SEED", 1));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (node, api) = runtime.block_on(start());
    let address = skep_net::format_peer(node.peer());
    let gateway = node.gateway().unwrap().clone();
    let rng = Rng(seed);
    let mut swarm = Swarm { gateway, address, peers: Vec::new(), rng, joins: 0, kills: 0, goodbyes: 0 };
    for blocks in [[0, 4], [4, 8], [0, 3], [3, 6], [5, 8], [2, 6]] {
        swarm.join(blocks);
    }
    swarm.wait_until("two holders of each block", |swarm| swarm.covered_without(None, 2));
    let expected = PROMPTS.map(|prompt| common::stream(&api, &body(prompt, None)).read_to_end().text);
    let before = held_here();

    let over = AtomicBool::new(false);
    let seen: Vec<Seen> = std::thread::scope(|scope| {
        let (over, api, expected) = (&over, &api, &expected);
        let clients: Vec<_> = (0..CLIENTS).map(|i| scope.spawn(move || client(api, expected, i, over))).collect();
        let end = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < end && clients.iter().all(|client| !client.is_finished()) {
            swarm.change();
            std::thread::sleep(Duration::from_millis(200 + swarm.rng.below(1800)));
        }
        over.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    report(&swarm, &seen, seconds);
    swarm.wait_until("no session left anywhere", |swarm| swarm.sessions() == 0);
    let after = held_here();
    println!(
        "files of the gateway {} then {}, memory {} MB then {} MB",
        before.0,
        after.0,
        before.1 >> 20,
        after.1 >> 20
    );
    // A connection to each node that is there, and those of the clients, which are kept for a while.
    assert!(after.0 <= before.0 + 2 * NODES + CLIENTS, "files are left open: {} and then {}", before.0, after.0);
    assert!(after.1 <= before.1 + (128 << 20), "memory is kept: {} and then {} bytes", before.1, after.1);
    drop(swarm);
    runtime.block_on(node.close());
}

async fn start() -> (Node, String) {
    let node = Node::start(NodeConfig {
        secret: skep_net::random_bytes(),
        bind: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        model: model(),
        blocks: None,
        gateway: Some(GatewayLimits::default()),
        stage: StageLimits::default(),
        admitted: None,
        join: None,
        invite: None,
        steward: None,
    })
    .await
    .unwrap();
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let api = format!("http://{}", listener.local_addr().unwrap());
    let router = skep_api::router(node.gateway().unwrap().clone(), skep_api::ApiConfig::default());
    tokio::spawn(skep_api::serve(listener, router, skep_api::Patience::default(), std::future::pending()));
    (node, api)
}

fn report(swarm: &Swarm, seen: &[Seen], seconds: u64) {
    let answers: u32 = seen.iter().map(|seen| seen.answers).sum();
    let recoveries: usize = seen.iter().map(|seen| seen.recoveries).sum();
    let mut stalls: Vec<Duration> = seen.iter().flat_map(|seen| seen.stalls.iter().copied()).collect();
    stalls.sort_unstable();
    let at = |share: usize| stalls.get((stalls.len() * share / 100).min(stalls.len().saturating_sub(1)));
    println!(
        "{seconds} s: {} joins, {} kills, {} goodbyes; {answers} answers, all as undisturbed, {recoveries} recoveries in {} of them; \
         longest pause of such an answer: median {:?}, p95 {:?}, longest {:?}",
        swarm.joins,
        swarm.kills,
        swarm.goodbyes,
        stalls.len(),
        at(50).copied().unwrap_or_default(),
        at(95).copied().unwrap_or_default(),
        stalls.last().copied().unwrap_or_default(),
    );
    assert!(answers > 0, "nothing was answered");
}
