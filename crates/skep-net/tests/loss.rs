//! Packets get lost, the first ones too.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use skep_net::Way;
use skep_types::wire::Peer;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;

/// Packets from the dialling side are lost for so long.
const DEAF: Duration = Duration::from_millis(50);

/// Stands between a dialling machine and `to`, and loses what the former says in the first [`DEAF`].
async fn deaf_at_first(to: SocketAddr) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let addr = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 2048];
        let mut dialling: Option<(SocketAddr, Instant)> = None;
        while let Ok((bytes, from)) = socket.recv_from(&mut buffer).await {
            let target = if from == to {
                dialling.map(|(from, _)| from)
            } else {
                let (_, first) = *dialling.get_or_insert((from, Instant::now()));
                (first.elapsed() > DEAF).then_some(to)
            };
            if let Some(target) = target {
                let _ = socket.send_to(&buffer[..bytes], target).await;
            }
        }
    });
    addr
}

#[tokio::test]
async fn a_first_packet_that_is_lost_does_not_cost_the_dial() {
    let (a, _a_events) = common::net(1).await;
    let (b, _b_events) = common::net(2).await;
    let addr = deaf_at_first(b.peer().addrs[0]).await;
    let to = Peer { node: b.node_id(), addrs: vec![addr] };
    let way = a.way_to(&to, Duration::from_secs(1)).await.unwrap();
    assert!(matches!(way, Way::Direct { .. }), "{way:?}");
}
