//! Two or three machines that follow the protocol.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::*;
use skep_directory::{Message, Shard};
use skep_net::{NetError, NetEvent, format_peer, load_or_create_key, parse_peer};
use skep_types::wire::*;
use skep_types::{ModelId, NodeId};

#[tokio::test]
async fn frames_arrive_bit_for_bit_and_in_order() {
    let (a, _a_events) = net(1).await;
    let (b, mut b_events) = net(2).await;
    let mut sender = soon(a.open_data(&b.peer(), hello(9))).await.unwrap();
    let NetEvent::Data { from, hello: got, mut frames } = next(&mut b_events).await else {
        panic!("not a data stream")
    };
    assert_eq!((from, got), (a.node_id(), hello(9)));
    let bits = [0, 0x8000_0000, 1, 0x7f80_0000, 0x7fc0_0001, 0xffff_ffff, 0x3f80_0000];
    let mut sent = rows(17, bits.map(f32::from_bits).to_vec());
    sent.hops = vec![HopReport { hold_us: 5, rtt_us: u32::MAX }];
    let tokens = Frame { rows: 2, payload: Payload::Tokens(vec![7, 9]), wants_candidates: true, ..rows(0, vec![]) };
    let candidates = Frame { payload: Payload::Candidates(vec![(3, -0.5)]), ..rows(1, vec![]) };
    for frame in [&sent, &tokens, &candidates] {
        sender.send(frame).await.unwrap();
        let got = soon(frames.recv()).await.unwrap().unwrap();
        assert_eq!(got.encode().unwrap(), frame.encode().unwrap());
    }
    drop(sender);
    assert_eq!(soon(frames.recv()).await, Ok(None));
    assert!(a.rtt(b.node_id()).is_some() && b.rtt(a.node_id()).is_some());
    assert!(a.is_alive(b.node_id()) && b.is_alive(a.node_id()));
}

#[tokio::test]
async fn the_largest_frame_arrives_and_a_larger_one_is_not_sent() {
    let (a, _a_events) = net(1).await;
    let (b, mut b_events) = net(2).await;
    let mut sender = soon(a.open_data(&b.peer(), hello(9))).await.unwrap();
    let NetEvent::Data { mut frames, .. } = next(&mut b_events).await else { panic!("not a data stream") };
    let most = (MAX_FRAME_BYTES - FRAME_HEADER_BYTES) / 4;
    let large = rows(0, vec![1.5; most]);
    let (sent, got) = soon(async { tokio::join!(sender.send(&large), frames.recv()) }).await;
    sent.unwrap();
    assert_eq!(got.unwrap().unwrap(), large);
    let refused = sender.send(&rows(0, vec![1.5; most + 1])).await;
    assert!(matches!(refused, Err(NetError::Frame { source: FrameError::TooLong(_), .. })), "{refused:?}");
    // The stream is as good as before.
    soon(sender.send(&rows(1, vec![2.0]))).await.unwrap();
    assert_eq!(soon(frames.recv()).await.unwrap(), Some(rows(1, vec![2.0])));
}

#[tokio::test]
async fn figures_arrive_one_after_the_other() {
    let (a, _a_events) = net(1).await;
    let (b, mut b_events) = net(2).await;
    let mut tell = soon(a.open_figures(&b.peer())).await.unwrap();
    let NetEvent::Figures { from, mut figures } = next(&mut b_events).await else { panic!("not figures") };
    assert_eq!(from, a.node_id());
    for sessions in 0..3 {
        tell.send(some_figures(sessions)).await.unwrap();
        assert_eq!(soon(figures.recv()).await, Ok(Some(some_figures(sessions))));
    }
    drop(tell);
    assert_eq!(soon(figures.recv()).await, Ok(None));
}

#[tokio::test]
async fn control_goes_both_ways_on_one_stream() {
    let (a, _a_events) = net(1).await;
    let (b, mut b_events) = net(2).await;
    let (mut ask, mut answers) = soon(a.open_control(&b.peer(), no_pass())).await.unwrap();
    let NetEvent::Control { from, hello: shown, mut requests, mut replies } = next(&mut b_events).await else {
        panic!("not control")
    };
    assert_eq!((from, shown), (a.node_id(), no_pass()));
    ask.send(open(a.peer())).await.unwrap();
    assert_eq!(soon(requests.recv()).await.unwrap(), Some(open(a.peer())));
    let session = SessionId([5; 16]);
    replies.send(ControlReply::Opened { session, epoch: 1 }).await.unwrap();
    assert_eq!(soon(answers.recv()).await.unwrap(), Some(ControlReply::Opened { session, epoch: 1 }));
    // A reason that is too long arrives cut, between characters.
    replies.send(ControlReply::Refused { session, reason: "a".to_owned() + &"é".repeat(400) }).await.unwrap();
    let Some(ControlReply::Refused { reason, .. }) = soon(answers.recv()).await.unwrap() else { panic!("no refusal") };
    assert_eq!(reason, "a".to_owned() + &"é".repeat(255));
    drop(replies);
    assert_eq!(soon(answers.recv()).await, Ok(None));
    drop((ask, answers));
    assert_eq!(soon(requests.recv()).await, Ok(None));
}

#[tokio::test]
async fn messages_about_directories_come_after_a_pass_and_are_bounded() {
    let (a, _a_events) = net(1).await;
    let (b, mut b_events) = net(2).await;
    let ours = MemberHello { pass: Some(b.pass(a.node_id(), 77)) };
    let mut sender = soon(a.open_directory(&b.peer(), ours.clone())).await.unwrap();
    let NetEvent::Directory { from, hello: shown, mut messages } = next(&mut b_events).await else {
        panic!("not that")
    };
    assert_eq!((from, shown), (a.node_id(), ours));
    let leave = Message::Leave { model: ModelId([3; 32]) };
    for _ in 0..3 {
        soon(sender.send(leave.clone())).await.unwrap();
        assert_eq!(soon(messages.recv()).await, Ok(Some(leave.clone())));
    }
    // No shard is so deep; neither end passes it on.
    let deep = Message::Who { shard: Shard { model: ModelId([3; 32]), depth: 255, prefix: 0 } };
    assert!(matches!(soon(sender.send(deep)).await, Err(NetError::Message { .. })));
    drop(sender);
    assert_eq!(soon(messages.recv()).await, Ok(None));
}

#[tokio::test]
async fn a_node_joins_by_the_text_of_a_peer() {
    let (gateway, mut events) = net(1).await;
    let (node, _node_events) = net(2).await;
    let to = parse_peer(&format_peer(&gateway.peer())).unwrap();
    let said = join(node.peer());
    let (asked, ()) = tokio::join!(soon(node.join(&to, said.clone())), async {
        let NetEvent::Join { from, join, reply } = next(&mut events).await else { panic!("not a join") };
        assert_eq!((from, join), (node.node_id(), said.clone()));
        reply.send(welcome(&gateway, from)).await.unwrap();
    });
    assert_eq!(asked, Ok(welcome(&gateway, node.node_id())));
    // An answer that never comes is an end, not a wait.
    let (asked, ()) = tokio::join!(soon(node.join(&to, said.clone())), async {
        drop(next(&mut events).await);
    });
    assert_eq!(asked, Err(NetError::Truncated { node: gateway.node_id(), bytes: 0 }));
}

#[tokio::test]
async fn a_join_under_another_key_is_refused_and_never_seen() {
    let (gateway, mut events) = net(1).await;
    let (node, _node_events) = net(2).await;
    let (honest, _honest_events) = net(3).await;
    let refused = soon(node.join(&gateway.peer(), join(honest.peer()))).await.unwrap();
    assert!(matches!(refused, JoinReply::Refused { reason } if reason.contains("another key")));
    let to = gateway.peer();
    let (asked, ()) = tokio::join!(soon(honest.join(&to, join(honest.peer()))), async {
        let NetEvent::Join { from, reply, .. } = next(&mut events).await else { panic!("not a join") };
        assert_eq!(from, honest.node_id());
        reply.send(welcome(&gateway, from)).await.unwrap();
    });
    assert_eq!(asked, Ok(welcome(&gateway, honest.node_id())));
    assert_eq!(gateway.stats().streams_refused, 1);
}

#[tokio::test]
async fn a_hundred_streams_at_once_do_not_mix() {
    let (a, _a_events) = net(1).await;
    let (b, mut b_events) = net(2).await;
    let peer = b.peer();
    let senders: Vec<_> = (0..100u8)
        .map(|number| {
            let (a, peer) = (a.clone(), peer.clone());
            tokio::spawn(async move {
                let mut sender = a.open_data(&peer, hello(number)).await.unwrap();
                for pos in 0..20 {
                    sender.send(&rows(pos, vec![f32::from(number); 512])).await.unwrap();
                }
            })
        })
        .collect();
    let mut readers = Vec::new();
    for _ in 0..100 {
        let NetEvent::Data { hello, mut frames, .. } = next(&mut b_events).await else { panic!("not a data stream") };
        readers.push(tokio::spawn(async move {
            let mut pos = 0;
            while let Some(frame) = frames.recv().await.unwrap() {
                assert_eq!(frame, rows(pos, vec![f32::from(hello.session.0[0]); 512]));
                pos += 1;
            }
            assert_eq!(pos, 20);
            hello.session.0[0]
        }));
    }
    let mut seen = Vec::new();
    for reader in readers {
        seen.push(soon(reader).await.unwrap());
    }
    for sender in senders {
        sender.await.unwrap();
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..100).collect::<Vec<u8>>());
}

#[tokio::test]
async fn simultaneous_dials_are_harmless() {
    for round in 0..5u8 {
        let (a, mut a_events) = net(10 + 2 * round).await;
        let (b, mut b_events) = net(11 + 2 * round).await;
        let (to_a, to_b) = (a.peer(), b.peer());
        let (one, two) = soon(async { tokio::join!(a.open_data(&to_b, hello(1)), b.open_data(&to_a, hello(2))) }).await;
        let (mut one, mut two) = (one.unwrap(), two.unwrap());
        let NetEvent::Data { mut frames, .. } = next(&mut b_events).await else { panic!("not a data stream") };
        one.send(&rows(1, vec![1.0])).await.unwrap();
        assert_eq!(soon(frames.recv()).await.unwrap(), Some(rows(1, vec![1.0])));
        let NetEvent::Data { mut frames, .. } = next(&mut a_events).await else { panic!("not a data stream") };
        two.send(&rows(2, vec![2.0])).await.unwrap();
        assert_eq!(soon(frames.recv()).await.unwrap(), Some(rows(2, vec![2.0])));
    }
}

#[tokio::test]
async fn a_reader_that_lets_go_is_noticed_by_the_sender() {
    let (a, _a_events) = net(1).await;
    let (b, mut b_events) = net(2).await;
    let mut sender = soon(a.open_data(&b.peer(), hello(9))).await.unwrap();
    drop(next(&mut b_events).await);
    let stopped = soon(async {
        loop {
            if let Err(fault) = sender.send(&rows(0, vec![0.0; 1 << 16])).await {
                return fault;
            }
        }
    });
    assert_eq!(stopped.await, NetError::Stopped { node: b.node_id(), code: 0 });
}

#[tokio::test]
async fn a_reader_that_lags_makes_the_sender_wait_and_loses_nothing() {
    let (a, _a_events) = net(1).await;
    let (b, mut b_events) = net(2).await;
    let mut sender = soon(a.open_data(&b.peer(), hello(9))).await.unwrap();
    let NetEvent::Data { mut frames, .. } = next(&mut b_events).await else { panic!("not a data stream") };
    // Twice as much as the two windows hold: the send cannot end while nobody reads, and dropping it must not lose its frame.
    let frame = rows(0, vec![0.25; 3 << 20]);
    let waited = tokio::time::timeout(std::time::Duration::from_millis(300), async {
        sender.send(&frame).await.unwrap();
        sender.send(&frame).await.unwrap();
    });
    assert!(waited.await.is_err(), "24 MB were taken with nobody reading");
    let last = rows(7, vec![1.0]);
    let reading = async {
        let mut count = 0;
        loop {
            let got = frames.recv().await.unwrap().unwrap();
            if got == last {
                return count;
            }
            assert_eq!(got, frame);
            count += 1;
        }
    };
    let (sent, count) = soon(async { tokio::join!(sender.send(&last), reading) }).await;
    sent.unwrap();
    assert!((1..=2).contains(&count), "{count} frames");
}

#[tokio::test]
async fn what_cannot_be_reached_is_refused_by_name() {
    let (a, _a_events) = net(1).await;
    let addrs = vec!["127.0.0.1:9".parse().unwrap()];
    let nobody = Peer { node: NodeId(*iroh::SecretKey::from_bytes(&secret(9)).public().as_bytes()), addrs };
    let refused = soon(a.open_data(&nobody, hello(1))).await.err().unwrap();
    assert!(refused.to_string().contains(&nobody.node.short()), "{refused}");
    let bare = Peer { addrs: Vec::new(), ..nobody };
    assert!(matches!(soon(a.open_control(&bare, no_pass())).await.err(), Some(NetError::Addresses { count: 0, .. })));
    assert_eq!(soon(a.open_control(&a.peer(), no_pass())).await.err(), Some(NetError::ToSelf));
    let mut taken = config(2);
    taken.bind = a.peer().addrs[0];
    let busy = skep_net::Net::bind(taken).await.err().unwrap();
    assert!(matches!(&busy, NetError::Bind { .. }), "{busy}");
    println!("a port in use reads: {busy}");
    let clone = a.clone();
    a.close().await;
    assert_eq!(soon(clone.open_control(&bare, no_pass())).await.err(), Some(NetError::Closed));
}

#[tokio::test]
async fn an_endpoint_on_all_interfaces_lists_addresses_that_work() {
    let mut everywhere = config(1);
    everywhere.bind = "0.0.0.0:0".parse().unwrap();
    let (a, mut a_events) = skep_net::Net::bind(everywhere.clone()).await.unwrap();
    everywhere.secret = secret(2);
    let (b, _b_events) = skep_net::Net::bind(everywhere).await.unwrap();
    let peer = a.peer();
    assert!(!peer.addrs.is_empty() && peer.addrs.iter().all(|addr| !addr.ip().is_unspecified() && addr.port() != 0));
    soon(b.open_data(&peer, hello(1))).await.unwrap();
    assert!(matches!(next(&mut a_events).await, NetEvent::Data { .. }));
}

#[test]
fn the_key_file_is_made_once_and_guarded() {
    let folder = std::env::temp_dir().join(format!("skep-net-key-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("node.key");
    let makers: Vec<_> = (0..8)
        .map(|_| {
            let path = path.clone();
            std::thread::spawn(move || load_or_create_key(&path).unwrap())
        })
        .collect();
    let keys: Vec<_> = makers.into_iter().map(|maker| maker.join().unwrap()).collect();
    assert!(keys.iter().all(|key| *key == keys[0] && *key != [0; 32]));
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    assert_eq!(load_or_create_key(&path).unwrap(), keys[0]);
    let reason = |path| load_or_create_key(path).unwrap_err().to_string();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        assert!(reason(&path).contains("mode 600"));
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    }
    std::fs::write(&path, "not a key").unwrap();
    assert!(reason(&path).ends_with("it does not hold a key"));
    assert_eq!(std::fs::read(&path).unwrap(), b"not a key");
    assert!(reason(&folder.join("missing/node.key")).contains("missing/node.key"));
    std::fs::remove_dir_all(&folder).unwrap();
}
