//! Weights over the wire: questions to another machine's store, and its answers.
//!
//! They have connections of their own, so that megabytes of weights neither wait before a token's activations nor fill the window that
//! these share. Such a connection has a window that [yields](crate::yielding).

use crate::connect::{lost, within};
use crate::link::{CLOSE_CROWDED, CLOSE_UNWELCOME};
use crate::message::encode;
use crate::net::{BULK_ALPN, Shared};
use crate::stream::{CODE_BUSY, CODE_HELLO, CODE_MALFORMED, CODE_UNFINISHED, Inbox, Outbox, STORE};
use crate::{Net, NetError, congestion};
use iroh::endpoint::{Connection, VarInt};
use skep_types::NodeId;
use skep_types::wire::{Peer, StoreAnswer, StoreAsk};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// Questions that wait for the reader before those who ask are made to wait.
const ASKED_QUEUE: usize = 64;
/// Questions in a row on one connection that were refused before it is closed.
const REFUSALS: u32 = 8;
/// A machine that takes nothing of an answer for so long does not want it.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

const CLOSE_DONE: VarInt = VarInt::from_u32(0);

/// A connection to another machine's store. Dropping it closes the connection.
pub struct StoreLink {
    shared: Arc<Shared>,
    node: NodeId,
    connection: Connection,
}

impl Drop for StoreLink {
    fn drop(&mut self) {
        self.connection.close(CLOSE_DONE, b"nothing more is asked");
    }
}

impl StoreLink {
    /// The machine at the other end.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Whether the connection still stands.
    pub fn is_open(&self) -> bool {
        self.connection.close_reason().is_none()
    }

    /// Bytes of UDP that came over this connection: all that it cost, retransmissions and headers included.
    pub fn received_bytes(&self) -> u64 {
        self.connection.stats().udp_rx.bytes
    }

    /// Asks, and waits for the answer as long as the connection lives. After [`StoreAnswer::Slice`] the bytes of the slice follow.
    ///
    /// # Errors
    /// When the question breaks a bound, the answer is malformed, or the stream or the connection ends before it.
    pub async fn ask(&self, ask: StoreAsk) -> Result<(StoreAnswer, SliceReceiver), NetError> {
        let node = self.node;
        let mut bytes = vec![STORE];
        encode(node, ask, &mut bytes)?;
        let limit = self.shared.limits.connect_timeout;
        let (mut outbox, mut inbox) = within(limit, node, "opening a stream", async {
            let (send, receive) = self.connection.open_bi().await.map_err(lost(node))?;
            Ok((Outbox::new(node, send), Inbox::new(node, receive)))
        })
        .await?;
        outbox.send(bytes).await?;
        // The holder sees the end of the question at once.
        drop(outbox);
        let answer = inbox.message().await?.ok_or(NetError::Truncated { node, bytes: 0 })?;
        Ok((answer, SliceReceiver(inbox)))
    }
}

/// The bytes of a slice as they come. Dropping it tells the holder that nobody reads.
pub struct SliceReceiver(Inbox);

impl SliceReceiver {
    /// The next bytes, at most 64 KiB of them; none at the end.
    ///
    /// # Errors
    /// When the holder gave up or the connection ended.
    pub async fn recv(&mut self) -> Result<Option<Vec<u8>>, NetError> {
        self.0.piece().await
    }
}

/// A question of another machine.
pub struct StoreAsked {
    /// Who asks; its key is proven.
    pub from: NodeId,
    /// What.
    pub ask: StoreAsk,
    /// Where to answer. Dropped without an answer, the asker sees the stream end.
    pub reply: StoreResponder,
}

/// A connection that other machines ask over.
pub(crate) struct BulkLink {
    connection: Connection,
    refusals: AtomicU32,
}

/// Answers one question.
pub struct StoreResponder {
    outbox: Outbox,
    link: Arc<BulkLink>,
}

impl StoreResponder {
    /// Sends an answer that no slice follows; too long a reason is cut.
    ///
    /// # Errors
    /// When the asker is gone.
    pub async fn send(mut self, answer: StoreAnswer) -> Result<(), NetError> {
        match &answer {
            StoreAnswer::Refused { .. } => self.link.refusals.fetch_add(1, Ordering::Relaxed),
            _ => self.link.refusals.swap(0, Ordering::Relaxed),
        };
        self.outbox.send_message(answer).await
    }

    /// Begins the answer with a slice of a file of `bytes` bytes.
    ///
    /// # Errors
    /// When the asker is gone.
    pub async fn slice(mut self, bytes: u64) -> Result<SliceSender, NetError> {
        self.link.refusals.store(0, Ordering::Relaxed);
        self.outbox.send_message(StoreAnswer::Slice { bytes }).await?;
        Ok(SliceSender(self.outbox))
    }
}

/// Sends the bytes of a slice. Dropping it ends the stream, well unless a send was dropped half-way.
pub struct SliceSender(Outbox);

impl SliceSender {
    /// Sends bytes; returns when QUIC has taken them, which waits while the asker or the way to it is slow.
    ///
    /// # Errors
    /// When the asker reads no more, is gone, or took nothing for half a minute.
    pub async fn send(&mut self, bytes: Vec<u8>) -> Result<(), NetError> {
        let node = self.0.node();
        within(READ_TIMEOUT, node, "sending weights", self.0.send(bytes)).await
    }

    /// Ends the stream as one that broke: the slice is not whole.
    pub fn give_up(mut self) {
        self.0.reset(CODE_UNFINISHED);
    }
}

impl Net {
    /// Connects to the store of `to`.
    ///
    /// # Errors
    /// When it cannot be reached within [`NetLimits::hello_timeout`](crate::NetLimits::hello_timeout): nobody waits for a token here, and
    /// when the first packet is lost QUIC sends it again only after a second.
    pub async fn open_store(&self, to: &Peer) -> Result<StoreLink, NetError> {
        let connection = self.shared.connect(to, BULK_ALPN, self.shared.limits.hello_timeout).await?;
        Ok(StoreLink { shared: self.shared.clone(), node: to.node, connection })
    }

    /// What other machines ask of this one's store from now on. Before the first call, and when the receiver is gone, they are told that
    /// nobody answers.
    pub fn store_asks(&self) -> mpsc::Receiver<StoreAsked> {
        let (sender, receiver) = mpsc::channel(ASKED_QUEUE);
        *self.shared.asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        receiver
    }
}

/// Serves a connection for weights that another machine opened, until it ends.
pub(crate) async fn serve(shared: Arc<Shared>, connection: Connection) {
    let node = NodeId(*connection.remote_id().as_bytes());
    if shared.bulk.fetch_add(1, Ordering::Relaxed) >= shared.limits.max_bulk {
        shared.counters.connections.fetch_add(1, Ordering::Relaxed);
        connection.close(CLOSE_CROWDED, b"too many connections");
    }
    {
        let mut stores = shared.stores.lock().unwrap_or_else(PoisonError::into_inner);
        stores.retain(|store| store.close_reason().is_none());
        stores.push(connection.clone());
    }
    let link = Arc::new(BulkLink { connection, refusals: AtomicU32::new(0) });
    while let Ok((send, receive)) = link.connection.accept_bi().await {
        if link.refusals.load(Ordering::Relaxed) >= REFUSALS {
            link.connection.close(CLOSE_UNWELCOME, b"too many refusals");
            break;
        }
        // A path that was found since may have its own window.
        congestion::give_way(&link.connection);
        let outbox = Outbox::new(node, send);
        tokio::spawn(question(shared.clone(), link.clone(), outbox, Inbox::new(node, receive)));
    }
    shared.bulk.fetch_sub(1, Ordering::Relaxed);
}

/// Hands a good question to whoever answers; ends any other stream.
async fn question(shared: Arc<Shared>, link: Arc<BulkLink>, mut outbox: Outbox, mut inbox: Inbox) {
    let node = inbox.node();
    let first = within(shared.limits.hello_timeout, node, "the question", async {
        match inbox.byte().await? {
            Some(STORE) => inbox.message::<StoreAsk>().await,
            _ => Ok(None),
        }
    });
    let code = match first.await {
        Ok(Some(ask)) => {
            let sender = shared.asked.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let asked = StoreAsked { from: node, ask, reply: StoreResponder { outbox, link } };
            let refused = match sender {
                Some(sender) => sender.send(asked).await.err().map(|refused| refused.0),
                None => Some(asked),
            };
            if let Some(mut refused) = refused {
                refused.reply.outbox.reset(CODE_BUSY);
            }
            return;
        }
        Ok(None) => CODE_HELLO,
        Err(NetError::Message { .. } | NetError::MessageLength { .. }) => CODE_MALFORMED,
        Err(_) => CODE_HELLO,
    };
    shared.counters.streams.fetch_add(1, Ordering::Relaxed);
    inbox.refuse(code);
    outbox.reset(code);
}
