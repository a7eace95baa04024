//! A peer that does not follow the protocol: it is told so, and nobody else notices.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::*;
use iroh::endpoint::{Connection, ReadError, RecvStream, SendStream, VarInt, presets};
use iroh::{Endpoint, EndpointAddr, PublicKey, RelayMode, SecretKey};
use skep_net::{FrameReceiver, Net, NetError, NetEvent, NetStats};
use skep_types::NodeId;
use skep_types::wire::*;
use std::time::Duration;
use tokio::sync::mpsc::Receiver;

/// A bare QUIC endpoint that may say anything.
async fn attacker(number: u8) -> Endpoint {
    Endpoint::builder(presets::Minimal)
        .secret_key(SecretKey::from_bytes(&secret(number)))
        .relay_mode(RelayMode::Disabled)
        .clear_ip_transports()
        .bind_addr(loopback())
        .unwrap()
        .bind()
        .await
        .unwrap()
}

async fn connect(endpoint: &Endpoint, to: &Net) -> Connection {
    let peer = to.peer();
    let address = EndpointAddr::new(PublicKey::from_bytes(&peer.node.0).unwrap()).with_ip_addr(peer.addrs[0]);
    soon(endpoint.connect(address, b"skep/1")).await.unwrap()
}

/// An attacker with a connection to a victim.
async fn pair() -> (Endpoint, Connection, Net, Receiver<NetEvent>) {
    let (victim, events) = net(1).await;
    let endpoint = attacker(66).await;
    let connection = connect(&endpoint, &victim).await;
    (endpoint, connection, victim, events)
}

fn hello_bytes(number: u8) -> Vec<u8> {
    let hello = borsh::to_vec(&hello(number)).unwrap();
    [&[2], &(hello.len() as u32).to_le_bytes()[..], &hello].concat()
}

async fn data(connection: &Connection, events: &mut Receiver<NetEvent>) -> (SendStream, FrameReceiver) {
    let mut stream = soon(connection.open_uni()).await.unwrap();
    stream.write_all(&hello_bytes(1)).await.unwrap();
    let NetEvent::Data { frames, .. } = next(events).await else { panic!("not a data stream") };
    (stream, frames)
}

async fn stopped_with(stream: &SendStream) -> Option<u64> {
    soon(stream.stopped()).await.unwrap().map(VarInt::into_inner)
}

async fn reset_with(stream: &mut RecvStream) -> u64 {
    match soon(stream.read_to_end(100)).await {
        Err(iroh::endpoint::ReadToEndError::Read(ReadError::Reset(code))) => code.into_inner(),
        other => panic!("not reset: {other:?}"),
    }
}

/// The victim still serves the same connection.
async fn is_unharmed(connection: &Connection, events: &mut Receiver<NetEvent>) {
    let (mut stream, mut frames) = data(connection, events).await;
    stream.write_all(&rows(3, vec![4.0]).encode().unwrap()).await.unwrap();
    assert_eq!(soon(frames.recv()).await.unwrap(), Some(rows(3, vec![4.0])));
}

#[tokio::test]
async fn an_unknown_first_byte_ends_its_stream_only() {
    let (_endpoint, connection, victim, mut events) = pair().await;
    let (_stream, mut bystander) = data(&connection, &mut events).await;
    for first in [0, 1, 3, 200, 255] {
        let mut stream = soon(connection.open_uni()).await.unwrap();
        stream.write_all(&[first, 1, 2, 3]).await.unwrap();
        assert_eq!(stopped_with(&stream).await, Some(1), "first byte {first}");
    }
    for first in [0, 2, 200, 255] {
        let (mut send, mut receive) = soon(connection.open_bi()).await.unwrap();
        send.write_all(&[first]).await.unwrap();
        assert_eq!(reset_with(&mut receive).await, 1, "first byte {first}");
    }
    assert_eq!(victim.stats(), NetStats { streams_refused: 9, ..NetStats::default() });
    is_unharmed(&connection, &mut events).await;
    assert!(tokio::time::timeout(Duration::from_millis(50), bystander.recv()).await.is_err());
}

#[tokio::test]
async fn a_stream_that_never_says_hello_is_dropped() {
    let mut config = config(1);
    config.limits.hello_timeout = Duration::from_millis(200);
    let (victim, mut events) = Net::bind(config).await.unwrap();
    let endpoint = attacker(66).await;
    let connection = connect(&endpoint, &victim).await;
    let mut silent = soon(connection.open_uni()).await.unwrap();
    silent.write_all(&hello_bytes(1)[..10]).await.unwrap();
    assert_eq!(stopped_with(&silent).await, Some(1));
    let (mut send, mut receive) = soon(connection.open_bi()).await.unwrap();
    send.write_all(&[3, 200, 0]).await.unwrap();
    assert_eq!(reset_with(&mut receive).await, 1);
    is_unharmed(&connection, &mut events).await;
}

#[tokio::test]
async fn a_bad_frame_header_is_refused_before_its_body() {
    let (endpoint, connection, _victim, mut events) = pair().await;
    let node = NodeId(*endpoint.id().as_bytes());
    let good = rows(3, vec![4.0]).encode().unwrap();
    let with = |at: usize, bytes: &[u8]| {
        let mut header = good[..FRAME_HEADER_BYTES].to_vec();
        header[at..at + bytes.len()].copy_from_slice(bytes);
        header
    };
    let long = MAX_FRAME_BYTES - FRAME_HEADER_BYTES + 4;
    let cases = [
        (vec![0xff; 24], FrameError::Kind(0xff)),
        (with(20, &(long as u32).to_le_bytes()), FrameError::TooLong(long)),
        (with(20, &u32::MAX.to_le_bytes()), FrameError::TooLong(u32::MAX as usize)),
        (with(2, &[65, 0]), FrameError::Hops(65)),
        (with(12, &[0; 4]), FrameError::Rows { pos: 3, rows: 0 }),
    ];
    for (header, source) in cases {
        let (mut stream, mut frames) = data(&connection, &mut events).await;
        stream.write_all(&good).await.unwrap();
        stream.write_all(&header).await.unwrap();
        assert!(soon(frames.recv()).await.unwrap().is_some());
        let refused = Err(NetError::Frame { node, source });
        assert_eq!(soon(frames.recv()).await, refused);
        assert_eq!(soon(frames.recv()).await, refused, "a failed stream stays failed");
        assert_eq!(stopped_with(&stream).await, Some(2));
    }
    is_unharmed(&connection, &mut events).await;
}

#[tokio::test]
async fn what_are_no_figures_ends_its_stream_only() {
    let (_endpoint, connection, _victim, mut events) = pair().await;
    let good = borsh::to_vec(&some_figures(1)).unwrap();
    let of_nobody = [&good[..good.len() - 1], &[3]].concat();
    for (length, body) in
        [(good.len() + 1, &good), (good.len(), &of_nobody), (0, &good), (MAX_CONTROL_BYTES + 1, &good)]
    {
        let mut stream = soon(connection.open_uni()).await.unwrap();
        stream.write_all(&[&[5], &(length as u32).to_le_bytes()[..], body, &[0]].concat()).await.unwrap();
        let NetEvent::Figures { mut figures, .. } = next(&mut events).await else { panic!("not figures") };
        assert!(soon(figures.recv()).await.is_err(), "{length} bytes: {body:?}");
        assert_eq!(stopped_with(&stream).await, Some(2));
    }
    is_unharmed(&connection, &mut events).await;
}

#[tokio::test]
async fn memory_follows_the_bytes_that_came_and_not_the_claim() {
    let (_endpoint, connection, _victim, mut events) = pair().await;
    let most = MAX_FRAME_BYTES - FRAME_HEADER_BYTES;
    let mut claim = rows(0, vec![0.0]).encode().unwrap();
    claim[20..24].copy_from_slice(&(most as u32).to_le_bytes());
    let before = virtual_bytes();
    let mut readers = Vec::new();
    for _ in 0..200 {
        let (mut stream, mut frames) = data(&connection, &mut events).await;
        stream.write_all(&claim).await.unwrap();
        // The reader has taken all that there is, and waits for the rest of 16 MiB.
        assert!(tokio::time::timeout(Duration::from_millis(5), frames.recv()).await.is_err());
        readers.push((stream, frames));
    }
    if let (Some(before), Some(after)) = (before, virtual_bytes()) {
        let grown = after.saturating_sub(before);
        assert!(grown < 1 << 30, "{grown} bytes for 200 claims of 16 MiB");
    }
    for (mut stream, mut frames) in readers {
        stream.finish().unwrap();
        let Err(NetError::Truncated { bytes, .. }) = soon(frames.recv()).await else { panic!("not truncated") };
        assert_eq!(bytes, claim.len());
    }
    is_unharmed(&connection, &mut events).await;
}

/// Address space of this process, where the system tells.
fn virtual_bytes() -> Option<u64> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    Some(pages.split(' ').next()?.parse::<u64>().ok()? * 4096)
}

#[tokio::test]
async fn a_frame_cut_in_half_is_an_error_and_not_an_end() {
    let (endpoint, connection, _victim, mut events) = pair().await;
    let node = NodeId(*endpoint.id().as_bytes());
    let half = &rows(0, vec![1.0; 100]).encode().unwrap()[..200];
    let (mut stream, mut frames) = data(&connection, &mut events).await;
    stream.write_all(half).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(50), frames.recv()).await.is_err());
    stream.reset(VarInt::from_u32(77)).unwrap();
    assert_eq!(soon(frames.recv()).await, Err(NetError::Reset { node, code: 77 }));
    let (mut stream, mut frames) = data(&connection, &mut events).await;
    stream.write_all(half).await.unwrap();
    stream.finish().unwrap();
    assert_eq!(soon(frames.recv()).await, Err(NetError::Truncated { node, bytes: 200 }));
    is_unharmed(&connection, &mut events).await;
}

#[tokio::test]
async fn control_messages_are_bounded_and_checked() {
    let (endpoint, connection, victim, mut events) = pair().await;
    let node = NodeId(*endpoint.id().as_bytes());
    let addrs = vec!["127.0.0.1:1".parse().unwrap(); MAX_ADDRS + 1];
    let crowded = borsh::to_vec(&open(Peer { addrs, ..victim.peer() })).unwrap();
    let crowded = [&(crowded.len() as u32).to_le_bytes()[..], &crowded].concat();
    let over = (MAX_CONTROL_BYTES as u32 + 1).to_le_bytes().to_vec();
    for bytes in [over, vec![0; 4], vec![0xff; 4], vec![3, 0, 0, 0, 9, 9, 9], crowded] {
        let (mut send, mut receive) = soon(connection.open_bi()).await.unwrap();
        send.write_all(&[&[1, 1, 0, 0, 0, 0], &bytes[..]].concat()).await.unwrap();
        let NetEvent::Control { mut requests, replies, .. } = next(&mut events).await else { panic!("not control") };
        match soon(requests.recv()).await {
            Err(NetError::MessageLength { node: from, .. } | NetError::Message { node: from, .. }) => {
                assert_eq!(from, node)
            }
            other => panic!("not refused: {other:?}"),
        }
        assert_eq!(stopped_with(&send).await, Some(2));
        drop(replies);
        assert_eq!(soon(receive.read_to_end(10)).await.unwrap(), b"");
    }
    // Joins are read before anybody sees them.
    let (mut send, mut receive) = soon(connection.open_bi()).await.unwrap();
    send.write_all(&[3, 2, 0, 0, 0, 7, 7]).await.unwrap();
    assert_eq!(reset_with(&mut receive).await, 2);
    is_unharmed(&connection, &mut events).await;
}

#[tokio::test]
async fn a_machine_that_is_never_welcome_may_knock_eight_times_on_a_connection() {
    let (endpoint, connection, victim, mut events) = pair().await;
    let said = Join { invite: None, ..join(Peer { node: NodeId(*endpoint.id().as_bytes()), addrs: Vec::new() }) };
    let said = borsh::to_vec(&said).unwrap();
    let said = [&[3], &(said.len() as u32).to_le_bytes()[..], &said].concat();
    let welcome_the = async |which: u32, connection: &Connection, events: &mut Receiver<NetEvent>| {
        for number in 0..8 {
            let (mut send, mut receive) = soon(connection.open_bi()).await.unwrap();
            send.write_all(&said).await.unwrap();
            let NetEvent::Join { from, reply, .. } = next(events).await else { panic!("not a join") };
            let refused = JoinReply::Refused { reason: "no".into() };
            let answer = if number == which { welcome(&victim, from) } else { refused };
            soon(reply.send(answer)).await.unwrap();
            soon(receive.read_to_end(200)).await.unwrap();
        }
    };
    // A welcome clears what was before it.
    welcome_the(7, &connection, &mut events).await;
    welcome_the(8, &connection, &mut events).await;
    let (mut send, _receive) = soon(connection.open_bi()).await.unwrap();
    send.write_all(&said).await.unwrap();
    let closed = soon(connection.closed()).await.to_string();
    assert!(closed.contains("too many joins without a welcome"), "{closed}");
    // Nobody looked at the ninth, and the machine may connect again.
    let connection = connect(&endpoint, &victim).await;
    is_unharmed(&connection, &mut events).await;
}

#[tokio::test]
async fn strange_datagrams_are_counted_and_ignored() {
    let (_endpoint, connection, victim, mut events) = pair().await;
    is_unharmed(&connection, &mut events).await;
    let pong_of_nothing = [2, 1, 0, 0, 0, 0, 0, 0, 0];
    for datagram in [&[][..], &[1; 3], &[9; 9], &[1; 10], &[0xff; 1000], &pong_of_nothing] {
        connection.send_datagram(datagram.to_vec().into()).unwrap();
    }
    connection.send_datagram(vec![1, 42, 0, 0, 0, 0, 0, 0, 0].into()).unwrap();
    assert_eq!(soon(connection.read_datagram()).await.unwrap()[..], [2, 42, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(victim.stats().datagrams_ignored, 6);
    is_unharmed(&connection, &mut events).await;
}

#[tokio::test]
async fn streams_and_connections_are_bounded() {
    let mut config = config(1);
    config.limits.max_streams = 4;
    config.limits.max_connections = 5;
    let (victim, mut events) = Net::bind(config).await.unwrap();
    let endpoint = attacker(66).await;
    let first = connect(&endpoint, &victim).await;
    let mut open = Vec::new();
    for _ in 0..4 {
        open.push(data(&first, &mut events).await);
    }
    let fifth = tokio::time::timeout(Duration::from_millis(200), first.open_uni()).await;
    assert!(fifth.is_err(), "a fifth stream was let in");
    drop(open.pop());
    soon(first.open_uni()).await.unwrap();
    // One machine has four connections at most: the fifth closes the first.
    let mut others = Vec::new();
    for _ in 0..4 {
        others.push(connect(&endpoint, &victim).await);
    }
    soon(first.closed()).await;
    is_unharmed(&others[3], &mut events).await;
    // All machines together have five.
    let (one, two) = (attacker(67).await, attacker(68).await);
    let fifth = connect(&one, &victim).await;
    is_unharmed(&fifth, &mut events).await;
    let peer = victim.peer();
    let address = EndpointAddr::new(PublicKey::from_bytes(&peer.node.0).unwrap()).with_ip_addr(peer.addrs[0]);
    let refused = async {
        if let Ok(connection) = two.connect(address, b"skep/1").await {
            connection.closed().await;
        }
    };
    soon(refused).await;
    assert!(victim.stats().connections_refused >= 1);
    is_unharmed(&fifth, &mut events).await;
}
