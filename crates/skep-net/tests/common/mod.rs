//! Endpoints on loopback for the tests.

#![allow(clippy::unwrap_used, dead_code, reason = "a test; each test file uses a part of this")]

pub mod child;

use skep_net::{Net, NetConfig, NetEvent};
use skep_types::wire::*;
use skep_types::{BlockRange, ModelId, NodeId};
use std::{future::Future, net::SocketAddr, time::Duration};
use tokio::sync::mpsc::Receiver;

/// Longer than anything takes on a machine that is busy with other tests.
pub const SOON: Duration = Duration::from_secs(20);

pub fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// The same key for the same number.
pub fn secret(number: u8) -> [u8; 32] {
    [number; 32]
}

pub fn config(number: u8) -> NetConfig {
    NetConfig::new(secret(number), loopback())
}

pub async fn net(number: u8) -> (Net, Receiver<NetEvent>) {
    Net::bind(config(number)).await.unwrap()
}

pub async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, work).await.expect("nothing happened for 20 s")
}

pub async fn next(events: &mut Receiver<NetEvent>) -> NetEvent {
    soon(events.recv()).await.expect("the event queue ended")
}

pub fn hello(number: u8) -> StreamHello {
    StreamHello { session: SessionId([number; 16]), epoch: 1 }
}

pub fn rows(pos: u32, values: Vec<f32>) -> Frame {
    Frame {
        epoch: 1,
        pos,
        rows: 1,
        forward_from: 0,
        wants_candidates: false,
        hops: Vec::new(),
        payload: Payload::Rows(values),
    }
}

pub fn join(peer: Peer) -> Join {
    Join { peer, model: ModelId([3; 32]), blocks: BlockRange::new(0, 2).ok(), pid: Some(7), invite: None, pass: None }
}

pub fn open(next: Peer) -> Control {
    Control::Open {
        session: SessionId([5; 16]),
        epoch: 1,
        model: ModelId([3; 32]),
        blocks: BlockRange::new(0, 2).unwrap(),
        next,
        output: Output::Candidates(40),
        max_positions: 256,
    }
}

/// Waits until the event `is` comes; other events are dropped.
pub async fn until(events: &mut Receiver<NetEvent>, is: impl Fn(&NetEvent) -> bool) {
    while !is(&next(events).await) {}
}

pub fn is_down(node: NodeId) -> impl Fn(&NetEvent) -> bool {
    move |event| matches!(event, NetEvent::Down { node: down } if *down == node)
}

pub fn is_up(node: NodeId) -> impl Fn(&NetEvent) -> bool {
    move |event| matches!(event, NetEvent::Up { node: up } if *up == node)
}

pub fn some_figures(sessions: u32) -> NodeFigures {
    NodeFigures {
        decode_ns: 1,
        prefill_ns: 2,
        visit_us: 3,
        wait_us: 4,
        goodput_kib_s: 5,
        room: 0,
        memory: 6,
        sessions,
        price: 0,
        audience: skep_types::offer::Audience::Anyone,
    }
}

/// The hello of who has no pass.
pub fn no_pass() -> MemberHello {
    MemberHello { pass: None }
}

/// A welcome of `gateway` for `node`, always the same.
pub fn welcome(gateway: &Net, node: NodeId) -> JoinReply {
    JoinReply::Welcome { pass: gateway.pass(node, 77) }
}
