//! What comes in: connections, streams, first bytes.

use crate::connect::within;
use crate::dial::DialResponder;
use crate::link::{CLOSE_CROWDED, Link};
use crate::net::{BULK_ALPN, LOOK, NetEvent, Shared};
use crate::packet::{PacketReceiver, PacketSender};
use crate::stream::{
    BLOCKS, CODE_BUSY, CODE_HELLO, CODE_MALFORMED, CONTROL, ControlReplies, ControlRequests, DATA, DIAL, DIRECTORY,
    DirectoryReceiver, FIGURES, FiguresReceiver, FrameReceiver, Inbox, JOIN, JoinResponder, LEDGER, Outbox, REGISTER,
    RegisterReceiver, RegisterSender,
};
use crate::{NetError, bulk, heartbeat, relay};
use iroh::endpoint::{Connection, Incoming};
use skep_types::NodeId;
use skep_types::wire::{DialAsk, Join, JoinReply, MemberHello, RegisterHello, StreamHello};
use std::sync::{Arc, atomic::Ordering};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Handshakes that may be under way at once.
const HANDSHAKES: usize = 64;

/// Accepts connections until the endpoint closes.
pub(crate) async fn accept(shared: Arc<Shared>) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    while let Some(incoming) = shared.endpoint.accept().await {
        let permit = handshakes.clone().try_acquire_owned();
        let full = shared.book().count(false) >= shared.limits.max_connections;
        match permit {
            Ok(permit) if !full => {
                let shared = shared.clone();
                tokio::spawn(async move {
                    welcome(&shared, incoming).await;
                    drop(permit);
                });
            }
            _ => {
                shared.counters.connections.fetch_add(1, Ordering::Relaxed);
                incoming.refuse();
            }
        }
    }
}

async fn welcome(shared: &Arc<Shared>, incoming: Incoming) {
    let connection = match incoming.accept() {
        Ok(accepting) => timeout(shared.limits.hello_timeout, accepting).await.ok().and_then(Result::ok),
        Err(_) => None,
    };
    if let Some(connection) = &connection {
        shared.tally.add(connection);
    }
    match connection {
        Some(connection) if connection.alpn() == BULK_ALPN => {
            drop(tokio::spawn(bulk::serve(shared.clone(), connection)))
        }
        Some(connection) if connection.alpn() == LOOK => relay::be_looked_for(shared, connection),
        Some(connection) if shared.book().count(false) < shared.limits.max_connections => {
            adopt(shared, connection, false);
        }
        refused => {
            shared.counters.connections.fetch_add(1, Ordering::Relaxed);
            if let Some(connection) = refused {
                connection.close(CLOSE_CROWDED, b"too many connections");
            }
        }
    }
}

/// Takes a connection into the book and serves it until it ends.
pub(crate) fn adopt(shared: &Arc<Shared>, connection: Connection, dialled: bool) -> Arc<Link> {
    let node = NodeId(*connection.remote_id().as_bytes());
    let link = Link::new(node, connection, dialled);
    shared.book().add(link.clone());
    tracing::debug!(node = %node.short(), dialled, "connected");
    // The heartbeats have their own task, so that no stream can delay an answer.
    shared.runtime.spawn(heartbeat::read(shared.clone(), link.clone()));
    shared.runtime.spawn(streams(shared.clone(), link.clone()));
    link
}

async fn streams(shared: Arc<Shared>, link: Arc<Link>) {
    let node = link.node;
    let fault = loop {
        tokio::select! {
            stream = link.connection.accept_uni() => match stream {
                Ok(stream) => {
                    tokio::spawn(uni(shared.clone(), Inbox::on(&link, stream)));
                }
                Err(fault) => break fault,
            },
            streams = link.connection.accept_bi() => match streams {
                Ok((send, receive)) => {
                    let (outbox, inbox) = (Outbox::on(&link, send), Inbox::on(&link, receive));
                    tokio::spawn(both(shared.clone(), link.clone(), outbox, inbox));
                }
                Err(fault) => break fault,
            },
        }
    };
    tracing::debug!(node = %node.short(), %fault, "disconnected");
    shared.book().remove(&link);
}

/// Hands a good stream to the reader of the events; ends any other.
async fn uni(shared: Arc<Shared>, mut inbox: Inbox) {
    let node = inbox.node();
    let hello = within(shared.limits.hello_timeout, node, "the hello", async {
        match inbox.byte().await? {
            Some(DATA) => Ok(inbox.message::<StreamHello>().await?.map(OneWay::Data)),
            Some(DIRECTORY) => Ok(inbox.message::<MemberHello>().await?.map(OneWay::Directory)),
            Some(FIGURES) => Ok(Some(OneWay::Figures)),
            Some(BLOCKS) => Ok(Some(OneWay::Blocks)),
            _ => Ok(None),
        }
    });
    match hello.await {
        Ok(Some(OneWay::Data(hello))) => {
            let event = NetEvent::Data { from: node, hello, frames: FrameReceiver(inbox, shared.goodput.clone()) };
            offer(&shared, event).await;
        }
        Ok(Some(OneWay::Directory(hello))) => {
            let event = NetEvent::Directory { from: node, hello, messages: DirectoryReceiver(inbox) };
            offer(&shared, event).await;
        }
        Ok(Some(OneWay::Figures)) => {
            offer(&shared, NetEvent::Figures { from: node, figures: FiguresReceiver(inbox) }).await;
        }
        Ok(Some(OneWay::Blocks)) => {
            let packets = PacketReceiver(inbox);
            offer(&shared, NetEvent::Packets { from: node, packets, answers: None }).await;
        }
        refused => {
            count(&shared, node, refused.err());
            inbox.refuse(CODE_HELLO);
        }
    }
}

async fn both(shared: Arc<Shared>, link: Arc<Link>, mut outbox: Outbox, mut inbox: Inbox) {
    let node = link.node;
    let first = within(shared.limits.hello_timeout, node, "the hello", async {
        Ok(match inbox.byte().await? {
            Some(CONTROL) => inbox.message::<MemberHello>().await?.map_or(First::Other, First::Control),
            Some(DIAL) => inbox.message::<DialAsk>().await?.map_or(First::Other, First::Dial),
            Some(REGISTER) => inbox.message::<RegisterHello>().await?.map_or(First::Other, First::Register),
            Some(LEDGER) => First::Ledger,
            Some(JOIN) if link.may_join() => {
                inbox.message::<Join>().await?.map_or(First::Other, |join| First::Join(Box::new(join)))
            }
            _ => First::Other,
        })
    });
    match first.await {
        Ok(First::Control(hello)) => {
            let (requests, replies) = (ControlRequests(inbox), ControlReplies(outbox.urgent()));
            offer(&shared, NetEvent::Control { from: node, hello, requests, replies }).await;
        }
        Ok(First::Dial(ask)) => {
            offer(&shared, NetEvent::Dial { from: node, ask, reply: DialResponder(outbox) }).await;
        }
        Ok(First::Register(hello)) => {
            let (tell, told) = (RegisterSender(outbox.urgent()), RegisterReceiver(inbox));
            offer(&shared, NetEvent::Register { from: node, hello, tell, told }).await;
        }
        Ok(First::Ledger) => {
            let (packets, answers) = (PacketReceiver(inbox), Some(PacketSender(outbox)));
            offer(&shared, NetEvent::Packets { from: node, packets, answers }).await;
        }
        Ok(First::Join(join)) if join.peer.node == node => {
            offer(&shared, NetEvent::Join { from: node, join: *join, reply: JoinResponder { outbox, link } }).await;
        }
        Ok(First::Join(_)) => {
            count(&shared, node, None);
            let reason = "the join names another key than the connection's".to_owned();
            let _ = JoinResponder { outbox, link }.send(JoinReply::Refused { reason }).await;
        }
        refused => {
            let fault = refused.err();
            let malformed = matches!(fault, Some(NetError::Message { .. } | NetError::MessageLength { .. }));
            let code = if malformed { CODE_MALFORMED } else { CODE_HELLO };
            count(&shared, node, fault);
            inbox.refuse(code);
            outbox.reset(code);
        }
    }
}

/// What a unidirectional stream turned out to be.
enum OneWay {
    Data(StreamHello),
    Directory(MemberHello),
    Figures,
    Blocks,
}

/// What a bidirectional stream turned out to be.
enum First {
    Control(MemberHello),
    Register(RegisterHello),
    Dial(DialAsk),
    Join(Box<Join>),
    Ledger,
    Other,
}

fn count(shared: &Shared, node: NodeId, fault: Option<NetError>) {
    shared.counters.streams.fetch_add(1, Ordering::Relaxed);
    tracing::debug!(node = %node.short(), ?fault, "refused a stream");
}

/// Waits for room in the queue; when nobody reads any more, the stream is refused.
async fn offer(shared: &Shared, event: NetEvent) {
    let refused = match shared.events() {
        Some(events) => events.send(event).await.err().map(|refused| refused.0),
        None => Some(event),
    };
    match refused {
        Some(NetEvent::Data { mut frames, .. }) => frames.0.refuse(CODE_BUSY),
        Some(NetEvent::Directory { mut messages, .. }) => messages.0.refuse(CODE_BUSY),
        Some(NetEvent::Figures { mut figures, .. }) => figures.0.refuse(CODE_BUSY),
        Some(NetEvent::Control { mut requests, mut replies, .. }) => {
            requests.0.refuse(CODE_BUSY);
            replies.0.reset(CODE_BUSY);
        }
        Some(NetEvent::Register { mut tell, mut told, .. }) => {
            told.0.refuse(CODE_BUSY);
            tell.0.reset(CODE_BUSY);
        }
        Some(NetEvent::Packets { mut packets, answers, .. }) => {
            packets.0.refuse(CODE_BUSY);
            answers.into_iter().for_each(|mut answers| answers.refuse());
        }
        Some(NetEvent::Dial { mut reply, .. }) => reply.0.reset(CODE_BUSY),
        Some(NetEvent::Join { mut reply, .. }) => reply.outbox.reset(CODE_BUSY),
        _ => {}
    }
}
