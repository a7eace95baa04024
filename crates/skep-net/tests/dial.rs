//! A machine that asks to be dialled back learns whether it can be reached.

#![allow(clippy::unwrap_used, reason = "a test")]

use skep_net::{Net, NetConfig, NetEvent};
use skep_types::wire::{DialAsk, DialReply};
use std::net::SocketAddr;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_dialled_back_answers_at_its_port_and_at_no_other() {
    let bind = |key: u8| Net::bind(NetConfig::new([key; 32], "127.0.0.1:0".parse().unwrap()));
    let ((asker, _kept), (member, mut events)) = (bind(1).await.unwrap(), bind(2).await.unwrap());
    let dialler = member.clone();
    tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            let NetEvent::Dial { from, ask, reply } = event else { continue };
            let addr = SocketAddr::new(dialler.seen_at(from).unwrap(), ask.port);
            let reached = dialler.dial_back(from, addr).await;
            let answer = if reached { DialReply::Reached { addr } } else { DialReply::Silent { addr } };
            reply.send(answer).await.unwrap();
        }
    });
    let addr = asker.peer().addrs[0];
    let ask = async |port| asker.ask_dial(&member.peer(), DialAsk { pass: None, port }).await.unwrap();
    assert_eq!(ask(addr.port()).await, DialReply::Reached { addr });
    // A socket that somebody else holds, and that answers nothing.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(ask(silent.port()).await, DialReply::Silent { addr: silent });
    // Another machine's key is not taken for the asker's.
    assert!(!member.dial_back(asker.node_id(), member.peer().addrs[0]).await);
}
