//! Streams of packets: what comes is what was sent, and what no packet may be is refused.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::*;
use skep_net::{NetError, NetEvent, PACKET_BYTES_MAX, Packet};

#[tokio::test]
async fn packets_go_one_way_and_both_ways() {
    let ((a, _events_of_a), (b, mut events)) = (net(1).await, net(2).await);
    let mut blocks = a.open_blocks(&b.peer(), true).await.unwrap();
    let longest = vec![7; PACKET_BYTES_MAX];
    let sending = tokio::spawn(async move {
        blocks.send(&Packet::new(b"one").unwrap()).await.unwrap();
        blocks.send(&Packet::new(&longest).unwrap()).await.unwrap();
    });
    let NetEvent::Packets { from, mut packets, answers: None } = next(&mut events).await else { panic!("no blocks") };
    assert_eq!(from, a.node_id());
    assert_eq!(soon(packets.recv()).await.unwrap().unwrap(), b"one");
    assert_eq!(soon(packets.recv()).await.unwrap().unwrap().len(), PACKET_BYTES_MAX);
    sending.await.unwrap();
    assert_eq!(soon(packets.recv()).await, Ok(None), "the sender is done");

    let (mut ask, mut told) = a.open_ledger(&b.peer()).await.unwrap();
    ask.send(&Packet::new(b"what?").unwrap()).await.unwrap();
    let NetEvent::Packets { mut packets, answers: Some(mut answers), .. } = next(&mut events).await else {
        panic!("no question")
    };
    assert_eq!(soon(packets.recv()).await.unwrap().unwrap(), b"what?");
    answers.send(&Packet::new(b"that").unwrap()).await.unwrap();
    assert_eq!(soon(told.recv()).await.unwrap().unwrap(), b"that");
}

#[tokio::test]
async fn who_is_refused_is_told_so() {
    let ((a, _events_of_a), (b, mut events)) = (net(1).await, net(2).await);
    let mut blocks = a.open_blocks(&b.peer(), false).await.unwrap();
    blocks.send(&Packet::new(b"one").unwrap()).await.unwrap();
    let NetEvent::Packets { mut packets, .. } = next(&mut events).await else { panic!("no blocks") };
    packets.refuse();
    let packet = Packet::new(&vec![0; PACKET_BYTES_MAX]).unwrap();
    let fault = soon(async {
        loop {
            if let Err(fault) = blocks.send(&packet).await {
                break fault;
            }
        }
    });
    assert!(matches!(fault.await, NetError::Stopped { code: 2, .. }));
}

#[test]
fn no_packet_is_empty_or_too_long() {
    assert_eq!(Packet::new(&[]), None);
    assert!(Packet::new(&vec![0; PACKET_BYTES_MAX]).is_some());
    assert_eq!(Packet::new(&vec![0; PACKET_BYTES_MAX + 1]), None);
}

#[tokio::test]
async fn a_length_out_of_bounds_ends_the_stream_before_anything_is_kept() {
    use iroh::endpoint::presets;
    use iroh::{Endpoint, EndpointAddr, PublicKey, RelayMode, SecretKey};
    let (b, mut events) = net(2).await;
    let endpoint = Endpoint::builder(presets::Minimal)
        .secret_key(SecretKey::from_bytes(&secret(66)))
        .relay_mode(RelayMode::Disabled)
        .clear_ip_transports()
        .bind_addr(loopback())
        .unwrap();
    let endpoint = endpoint.bind().await.unwrap();
    let peer = b.peer();
    let address = EndpointAddr::new(PublicKey::from_bytes(&peer.node.0).unwrap()).with_ip_addr(peer.addrs[0]);
    let connection = soon(endpoint.connect(address, b"skep/1")).await.unwrap();
    for length in [0, PACKET_BYTES_MAX as u32 + 1, u32::MAX] {
        let mut stream = soon(connection.open_uni()).await.unwrap();
        stream.write_all(&[&[9u8][..], &length.to_le_bytes()].concat()).await.unwrap();
        let NetEvent::Packets { mut packets, .. } = next(&mut events).await else { panic!("no blocks") };
        let fault = soon(packets.recv()).await.unwrap_err();
        assert!(matches!(fault, NetError::MessageLength { bytes, .. } if bytes == length as usize));
        assert_eq!(soon(packets.recv()).await.unwrap_err(), fault, "and stays so");
    }
}
