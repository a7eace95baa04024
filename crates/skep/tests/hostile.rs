//! A hostile member and a crowd of strangers against a network of real processes: what they cost is bounded, and the network goes on.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;
#[path = "common/up.rs"]
mod up;

use common::{body, stream};
use skep_directory::{Message, Shard};
use skep_net::{Net, NetConfig, NetEvent, parse_peer};
use skep_types::offer::{Audience, BEACONS, Offer, Terms};
use skep_types::signed::Signed;
use skep_types::wire::{Join, JoinReply, MemberHello, NodeFigures, Peer, SessionId, StreamHello};
use skep_types::{BlockRange, Invite, ModelId};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc::Receiver;
use up::{Up, skep, succeed, up};

/// What an honest process may grow by under attack.
const GROWTH_MAX: u64 = 64 << 20;
const TOKENS: u32 = 60;

/// Honest nodes that hold a quarter of the model each, so that who claims to hold all of it is attractive; and a key that was let in.
struct Scene {
    honest: Vec<Up>,
    whole: String,
    attacker: Net,
    events: Receiver<NetEvent>,
    hello: MemberHello,
    _homes: Vec<tempfile::TempDir>,
}

fn api(node: &Up) -> &str {
    node.said["api"].as_str().unwrap()
}

fn peer(node: &Up) -> Peer {
    parse_peer(node.said["peer"].as_str().unwrap()).unwrap()
}

fn model(node: &Up) -> ModelId {
    node.said["model"].as_str().unwrap().parse().unwrap()
}

/// What the attacker says that it holds: everything.
fn blocks() -> BlockRange {
    BlockRange::new(0, 8).unwrap()
}

fn invite(home: &Path, node: &Up) -> Invite {
    succeed(skep(home).args(["invite", "--api", api(node)])).parse().unwrap()
}

async fn endpoint() -> (Net, Receiver<NetEvent>) {
    Net::bind(NetConfig::new(skep_net::random_bytes(), "0.0.0.0:0".parse().unwrap())).await.unwrap()
}

fn join(net: &Net, model: ModelId, invite: Option<Invite>) -> Join {
    Join { peer: net.peer(), model, blocks: Some(blocks()), pid: None, invite, pass: None }
}

impl Scene {
    async fn new() -> Self {
        let homes: Vec<_> = (0..4).map(|_| tempfile::tempdir().unwrap()).collect();
        let first = up(homes[0].path(), &["--port", "0", "--listen", "0.0.0.0:0", "--blocks", "0..2"]);
        let link = succeed(skep(homes[0].path()).args(["invite", "--api", api(&first)]));
        let more = [(1, "2..4"), (2, "4..6"), (3, "6..8")];
        let more = more.map(|(home, blocks)| up(homes[home].path(), &["--port", "0", "--blocks", blocks, &link]));
        let whole = stream(api(&first), &body(TOKENS, None)).read_to_end().text;
        let (attacker, events) = endpoint().await;
        let invite = invite(homes[0].path(), &first);
        let welcome = attacker.join(&peer(&first), join(&attacker, model(&first), Some(invite))).await.unwrap();
        let JoinReply::Welcome { pass } = welcome else { panic!("not let in: {welcome:?}") };
        let hello = MemberHello { pass: Some(pass) };
        let honest = std::iter::once(first).chain(more).collect();
        Self { honest, whole, attacker, events, hello, _homes: homes }
    }

    /// An answer at each of two honest gateways is the undisturbed one. Returns how long each took.
    async fn answers(&self) -> Vec<Duration> {
        let mut times = Vec::new();
        for node in &self.honest[..2] {
            let (address, begun) = (api(node).to_owned(), Instant::now());
            let answer = tokio::task::spawn_blocking(move || stream(&address, &body(TOKENS, None)).read_to_end());
            assert_eq!(answer.await.unwrap().text, self.whole);
            times.push(begun.elapsed());
        }
        times
    }

    /// Memory and open files of the honest processes.
    fn costs(&self) -> Vec<(u64, usize)> {
        let cost = |node: &Up| {
            let pid = node.child.id().to_string();
            let memory = skep_testkit::process_memory(&pid, "VmRSS").unwrap();
            (memory, std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count())
        };
        self.honest.iter().map(cost).collect()
    }

    fn assert_bounded(&self, before: &[(u64, usize)]) {
        for ((memory, files), (memory_before, files_before)) in self.costs().into_iter().zip(before) {
            println!("memory {} -> {} KiB, files {files_before} -> {files}", memory_before >> 10, memory >> 10);
            assert!(memory < memory_before + GROWTH_MAX, "{memory_before} bytes grew to {memory}");
            assert!(files < files_before + 64, "{files_before} open files grew to {files}");
        }
    }

    fn offer(&self, decode_ns: u32, memory: u64, seq: u64, lasts_s: u64) -> Signed<Offer> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let terms = Terms {
            model: model(&self.honest[0]),
            blocks: blocks(),
            price: 0,
            decode_ns,
            prefill_ns: decode_ns,
            visit_us: 1,
            wait_us: 0,
            goodput_kib_s: u32::MAX,
            room: 0,
            memory,
            audience: Audience::Anyone,
            beacons: [u16::MAX; BEACONS],
        };
        let peer = self.attacker.peer();
        let offer = Offer { node: peer.node, seq, expires: now + lasts_s, terms, addrs: peer.addrs[..1].to_vec() };
        Signed::sign(offer, &self.attacker).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_floods_directories_and_opens_streams_half_costs_little() {
    let scene = Scene::new().await;
    let before = scene.costs();
    let mut halves = Vec::new();
    for to in [peer(&scene.honest[0]), peer(&scene.honest[1])] {
        // Streams that say who opens them, and then nothing: as many as the connection lets through.
        for number in 0..200u8 {
            halves.push(scene.attacker.open_control(&to, scene.hello.clone()).await.map(drop));
            let hello = StreamHello { session: SessionId([number; 16]), epoch: 1 };
            halves.push(scene.attacker.open_data(&to, hello).await.map(drop));
        }
        let mut directory = scene.attacker.open_directory(&to, scene.hello.clone()).await.unwrap();
        let good = scene.offer(1_000, 1 << 40, 1, 50);
        let forged = Signed { statement: Offer { seq: 9, ..good.statement.clone() }, ..good.clone() };
        let too_long = scene.offer(1_000, 1 << 40, 2, 100_000);
        let (model, whole) = (model(&scene.honest[0]), BlockRange::new(0, 8).unwrap());
        let shard = Shard { model, depth: 0, prefix: 0 };
        let until = Instant::now() + Duration::from_secs(2);
        let mut sent = 0u64;
        while Instant::now() < until {
            for offer in [&good, &forged, &too_long] {
                let publish = Message::Publish { depth: 0, offer: Box::new(offer.clone()) };
                directory.send(publish).await.unwrap();
            }
            directory
                .send(Message::Find { shard, blocks: whole, salt: sent, near: [u16::MAX; BEACONS] })
                .await
                .unwrap();
            directory.send(Message::Who { shard }).await.unwrap();
            sent += 5;
        }
        println!("{sent} messages about directories in 2 s");
        scene.answers().await;
    }
    scene.answers().await;
    scene.assert_bounded(&before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_joins_of_strangers_leave_nothing_behind() {
    let scene = Scene::new().await;
    let before = scene.costs();
    let (to, model) = (peer(&scene.honest[0]), model(&scene.honest[0]));
    let knock = async |times: u32| {
        let (stranger, _events) = endpoint().await;
        let mut refused = 0;
        for _ in 0..times {
            // Every ninth on a connection closes it.
            refused += u32::from(matches!(
                stranger.join(&to, join(&stranger, model, None)).await,
                Ok(JoinReply::Refused { .. })
            ));
        }
        stranger.close().await;
        refused
    };
    let begun = Instant::now();
    let (a, b, c, d) = tokio::join!(knock(2_500), knock(2_500), knock(2_500), knock(2_500));
    println!("10,000 joins in {:.1} s, {} refused with a reason", begun.elapsed().as_secs_f64(), a + b + c + d);
    assert!(a + b + c + d > 5_000);
    scene.answers().await;
    scene.assert_bounded(&before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_lies_about_its_speed_and_never_computes_is_passed_over() {
    let mut scene = Scene::new().await;
    // It tells the gateway that it joined, and all others by its offers, that it is the fastest there is; and takes work that it never does.
    let figures = NodeFigures {
        decode_ns: 1,
        prefill_ns: 1,
        visit_us: 1,
        wait_us: 0,
        goodput_kib_s: u32::MAX,
        room: 0,
        memory: 1 << 40,
        sessions: 0,
        price: 0,
        audience: Audience::Anyone,
    };
    let mut told = scene.attacker.open_figures(&peer(&scene.honest[0])).await.unwrap();
    told.send(figures).await.unwrap();
    let mut taken = Vec::new();
    for to in [peer(&scene.honest[0]), peer(&scene.honest[1])] {
        let mut directory = scene.attacker.open_directory(&to, scene.hello.clone()).await.unwrap();
        let publish = Message::Publish { depth: 0, offer: Box::new(scene.offer(1, 1 << 40, 1, 55)) };
        directory.send(publish).await.unwrap();
        taken.push(directory);
    }
    tokio::time::sleep(Duration::from_secs(6)).await;
    let mut slow = [0, 0];
    for _ in 0..5 {
        for (slow, time) in slow.iter_mut().zip(scene.answers().await) {
            *slow += u32::from(time > Duration::from_secs(1));
        }
    }
    let mut asked = 0;
    while let Ok(event) = scene.events.try_recv() {
        asked += u32::from(matches!(event, NetEvent::Control { .. }));
    }
    println!("the liar was asked {asked} times; answers that waited for it at each gateway: {slow:?} of 5");
    assert!(asked > 0, "nobody believed the liar, so this has shown nothing");
    assert!(slow.iter().all(|slow| *slow <= 1), "nothing was learned: {slow:?}");
}
