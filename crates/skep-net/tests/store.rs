//! Questions to another machine's store: answered on connections of their own, and bounded.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::*;
use iroh::endpoint::{Connection, VarInt, presets};
use iroh::{Endpoint, EndpointAddr, PublicKey, RelayMode, SecretKey};
use skep_net::{Net, NetError, StoreAsked, StoreLink, is_signed_pass};
use skep_types::wire::*;
use skep_types::{ModelId, NodeId, Pass};
use tokio::sync::mpsc::Receiver;

const ID: ModelId = ModelId([3; 32]);

/// A machine that answers, one that asks, and the link between them.
async fn pair() -> (Net, Receiver<StoreAsked>, Net, StoreLink) {
    let (holder, _events) = net(1).await;
    let asked = holder.store_asks();
    let (asker, _events) = net(2).await;
    let link = soon(asker.open_store(&holder.peer())).await.unwrap();
    (holder, asked, asker, link)
}

fn slice(pass: Pass, start: u64, end: u64) -> StoreAsk {
    StoreAsk::Slice { pass, model: ID, start, end }
}

#[tokio::test]
async fn a_slice_comes_whole_and_what_breaks_off_is_told() {
    let (holder, mut asked, asker, link) = pair().await;
    let before = (holder.traffic().sent, asker.traffic().received);
    let pass = holder.pass(asker.node_id(), 77);
    assert!(is_signed_pass(&pass) && pass.member == asker.node_id() && pass.network == holder.node_id());
    let serve = async {
        for whole in [true, false] {
            let asked = soon(asked.recv()).await.unwrap();
            assert_eq!((asked.from, asked.ask), (asker.node_id(), slice(pass.clone(), 3, 9)));
            let mut sender = asked.reply.slice(1 << 20).await.unwrap();
            for part in 0..40u8 {
                sender.send(vec![part; 10_000]).await.unwrap();
            }
            if !whole {
                sender.give_up();
            }
        }
    };
    let ask = async {
        for whole in [true, false] {
            let mut came = Vec::new();
            let end = match soon(link.ask(slice(pass.clone(), 3, 9))).await {
                // What breaks off takes along what is still on its way.
                Err(error) => Err(error),
                Ok((answer, mut bytes)) => {
                    assert_eq!(answer, StoreAnswer::Slice { bytes: 1 << 20 });
                    loop {
                        match soon(bytes.recv()).await {
                            Ok(Some(piece)) => came.extend(piece),
                            end => break end,
                        }
                    }
                }
            };
            if whole {
                assert_eq!(end, Ok(None));
                assert!(came == (0..40u8).flat_map(|part| vec![part; 10_000]).collect::<Vec<_>>());
            } else {
                assert_eq!(end, Err(NetError::Reset { node: holder.node_id(), code: 3 }));
            }
        }
        assert!(link.received_bytes() > 400_000);
    };
    tokio::join!(serve, ask);
    let counted = || (holder.traffic().sent - before.0, asker.traffic().received - before.1);
    let of_link = counted();
    assert!(of_link.0 > 400_000 && of_link.1 > 400_000, "{of_link:?}");
    drop(link);
    assert!(counted().1 >= of_link.1, "what a connection carried counts when it is gone");
    // Activations have their own connection, which nobody opened yet.
    assert_eq!((asker.rtt(holder.node_id()), holder.rtt(asker.node_id())), (None, None));
}

#[tokio::test]
async fn nobody_answers_where_nobody_reads() {
    let (holder, _events) = net(1).await;
    let (asker, _events) = net(2).await;
    let link = soon(asker.open_store(&holder.peer())).await.unwrap();
    let told = soon(link.ask(StoreAsk::Network { invite: None, pass: None })).await.err().unwrap();
    assert_eq!(told, NetError::Reset { node: holder.node_id(), code: 4 });
    let mut asked = holder.store_asks();
    let (answer, ()) = tokio::join!(soon(link.ask(StoreAsk::Network { invite: None, pass: None })), async {
        let asked = soon(asked.recv()).await.unwrap();
        asked.reply.send(StoreAnswer::Refused { reason: "é".repeat(400) }).await.unwrap();
    });
    let StoreAnswer::Refused { reason } = answer.unwrap().0 else { panic!("not refused") };
    assert_eq!(reason, "é".repeat(256));
}

#[tokio::test]
async fn refusals_in_a_row_close_the_connection_and_an_answer_begins_the_count_again() {
    let (_holder, mut asked, _asker, link) = pair().await;
    tokio::spawn(async move {
        let mut number = 0;
        while let Some(asked) = asked.recv().await {
            number += 1;
            let answer = if number == 5 { StoreAnswer::NotHeld } else { StoreAnswer::Refused { reason: "no".into() } };
            let _ = asked.reply.send(answer).await;
        }
    });
    let mut answers = 0;
    while soon(link.ask(StoreAsk::Network { invite: None, pass: None })).await.is_ok() {
        answers += 1;
    }
    assert_eq!(answers, 13);
}

#[tokio::test]
async fn a_changed_pass_is_not_signed() {
    let (gateway, _events) = net(1).await;
    let pass = gateway.pass(NodeId([9; 32]), 77);
    let changed = [
        Pass { network: NodeId([9; 32]), ..pass.clone() },
        Pass { member: NodeId([8; 32]), ..pass.clone() },
        Pass { expires: 78, ..pass.clone() },
        Pass { signature: [0; 64], ..pass.clone() },
    ];
    assert!(is_signed_pass(&pass) && !changed.iter().any(is_signed_pass));
}

/// A bare QUIC connection for weights that may say anything.
async fn attacker(to: &Net) -> (Endpoint, Connection) {
    let endpoint = Endpoint::builder(presets::Minimal)
        .secret_key(SecretKey::from_bytes(&secret(66)))
        .relay_mode(RelayMode::Disabled)
        .clear_ip_transports()
        .bind_addr(loopback())
        .unwrap()
        .bind()
        .await
        .unwrap();
    let peer = to.peer();
    let address = EndpointAddr::new(PublicKey::from_bytes(&peer.node.0).unwrap()).with_ip_addr(peer.addrs[0]);
    let connection = soon(endpoint.connect(address, b"skep-store/1")).await.unwrap();
    (endpoint, connection)
}

#[tokio::test]
async fn what_is_no_question_ends_its_stream_only() {
    let (holder, _events) = net(1).await;
    let mut asked = holder.store_asks();
    let (_endpoint, connection) = attacker(&holder).await;
    let message = |kind: u8, body: &[u8]| [&[kind], &(body.len() as u32).to_le_bytes()[..], body].concat();
    let ask = borsh::to_vec(&slice(holder.pass(NodeId([9; 32]), 77), 5, 5)).unwrap();
    // Streams that belong on the other kind of connection, an unknown one, a message that is none, an empty slice, too long a message.
    let bad = [
        (message(1, &[0, 0]), 1),
        (message(3, &[0, 0]), 1),
        (vec![200, 1, 2], 1),
        (message(4, &[77]), 2),
        (message(4, &ask), 2),
        ([&[4], &(MAX_CONTROL_BYTES as u32 + 1).to_le_bytes()[..]].concat(), 2),
    ];
    for (bytes, code) in bad {
        let (mut send, _receive) = soon(connection.open_bi()).await.unwrap();
        send.write_all(&bytes).await.unwrap();
        assert_eq!(soon(send.stopped()).await.unwrap().map(VarInt::into_inner), Some(code), "{bytes:?}");
    }
    let (mut send, _receive) = soon(connection.open_bi()).await.unwrap();
    send.write_all(&message(4, &[0, 0, 0])).await.unwrap();
    assert_eq!(soon(asked.recv()).await.unwrap().ask, StoreAsk::Network { invite: None, pass: None });
    assert_eq!(holder.stats().streams_refused, 6);
}
