//! One end of a QUIC stream: whole messages and frames in and out.

use crate::NetError;
use crate::goodput::{self, Body, Goodput, LARGE_BYTES};
use crate::link::Link;
use crate::message::{Message, encode};
use bytes::{Buf, Bytes};
use iroh::endpoint::{ReadError, RecvStream, SendStream, VarInt, WriteError};
use skep_types::NodeId;
use skep_types::wire::{
    Control, ControlReply, FRAME_HEADER_BYTES, Frame, FrameHeader, JoinReply, MAX_CONTROL_BYTES, NodeFigures,
    RegisterPage,
};
use std::sync::{Arc, atomic::Ordering};
use std::time::Instant;

pub(crate) const CONTROL: u8 = 1;
pub(crate) const DATA: u8 = 2;
pub(crate) const JOIN: u8 = 3;
pub(crate) const STORE: u8 = 4;
pub(crate) const FIGURES: u8 = 5;
pub(crate) const DIRECTORY: u8 = 6;
pub(crate) const REGISTER: u8 = 7;
pub(crate) const DIAL: u8 = 8;
pub(crate) const BLOCKS: u8 = 9;
pub(crate) const LEDGER: u8 = 10;

pub(crate) const CODE_HELLO: VarInt = VarInt::from_u32(1);
pub(crate) const CODE_MALFORMED: VarInt = VarInt::from_u32(2);
pub(crate) const CODE_UNFINISHED: VarInt = VarInt::from_u32(3);
pub(crate) const CODE_BUSY: VarInt = VarInt::from_u32(4);

/// Most bytes taken from QUIC at once, and the most kept for reuse between two frames.
const PIECE: usize = 64 << 10;

/// The sending end. A send that was dropped half-way is completed by the next one; if there is none, the stream is reset, so that the
/// reader never takes the half for an end.
pub(crate) struct Outbox {
    node: NodeId,
    stream: SendStream,
    pending: Bytes,
    _user: Option<Arc<()>>,
}

impl Outbox {
    pub(crate) fn new(node: NodeId, stream: SendStream) -> Self {
        Self { node, stream, pending: Bytes::new(), _user: None }
    }

    /// An end of a stream on a link, which is in use as long.
    pub(crate) fn on(link: &Link, stream: SendStream) -> Self {
        Self { node: link.node, stream, pending: Bytes::new(), _user: Some(link.user()) }
    }

    pub(crate) async fn send(&mut self, bytes: impl Into<Bytes>) -> Result<(), NetError> {
        self.flush().await?;
        self.pending = bytes.into();
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), NetError> {
        while self.pending.has_remaining() {
            let written = self.stream.write(&self.pending).await.map_err(|fault| write_error(self.node, fault))?;
            self.pending.advance(written);
        }
        Ok(())
    }

    pub(crate) async fn send_message<M: Message>(&mut self, message: M) -> Result<(), NetError> {
        let mut bytes = Vec::new();
        encode(self.node, message, &mut bytes)?;
        self.send(bytes).await
    }

    pub(crate) fn node(&self) -> NodeId {
        self.node
    }

    /// Control goes before data on a busy connection.
    pub(crate) fn urgent(self) -> Self {
        // A stream that is closed already needs no priority.
        let _ = self.stream.set_priority(1);
        self
    }

    pub(crate) fn reset(&mut self, code: VarInt) {
        let _ = self.stream.reset(code);
        self.pending = Bytes::new();
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        if !self.pending.is_empty() {
            self.reset(CODE_UNFINISHED);
        }
    }
}

/// The receiving end. Reads may be dropped and begun again without losing a byte.
pub(crate) struct Inbox {
    node: NodeId,
    stream: RecvStream,
    buffer: Vec<u8>,
    failed: Option<NetError>,
    /// The measurement of the large body that is being read.
    body: Option<Body>,
    _user: Option<Arc<()>>,
}

impl Inbox {
    pub(crate) fn new(node: NodeId, stream: RecvStream) -> Self {
        Self { node, stream, buffer: Vec::new(), failed: None, body: None, _user: None }
    }

    /// An end of a stream on a link, which is in use as long.
    pub(crate) fn on(link: &Link, stream: RecvStream) -> Self {
        Self { _user: Some(link.user()), ..Self::new(link.node, stream) }
    }

    pub(crate) fn node(&self) -> NodeId {
        self.node
    }

    /// Waits until `wanted` bytes are in the buffer; false if the stream ended before the first. The buffer never grows beyond twice
    /// the bytes that came.
    async fn fill(&mut self, wanted: usize) -> Result<bool, NetError> {
        while self.buffer.len() < wanted {
            let most = (wanted - self.buffer.len()).min(PIECE);
            let came = goodput::watched(&mut self.body, self.stream.read_chunk(most)).await;
            match came.map_err(|fault| read_error(self.node, fault))? {
                Some(bytes) => {
                    self.body.iter_mut().for_each(|body| body.came(bytes.len()));
                    self.buffer.extend_from_slice(&bytes);
                }
                None if self.buffer.is_empty() => return Ok(false),
                None => return Err(NetError::Truncated { node: self.node, bytes: self.buffer.len() }),
            }
        }
        Ok(true)
    }

    fn taken(&mut self) {
        self.buffer.clear();
        if self.buffer.capacity() > PIECE {
            self.buffer = Vec::new();
        }
    }

    pub(crate) async fn byte(&mut self) -> Result<Option<u8>, NetError> {
        let byte = self.fill(1).await?.then(|| self.buffer[0]);
        self.taken();
        Ok(byte)
    }

    /// What comes next of bytes that are no messages; none at the end.
    pub(crate) async fn piece(&mut self) -> Result<Option<Vec<u8>>, NetError> {
        let piece = self.stream.read_chunk(PIECE).await.map_err(|fault| read_error(self.node, fault))?;
        Ok(piece.map(|bytes| bytes.to_vec()))
    }

    pub(crate) async fn message<M: Message>(&mut self) -> Result<Option<M>, NetError> {
        self.check()?;
        let outcome = self.read_message().await;
        self.keep(outcome)
    }

    async fn read_message<M: Message>(&mut self) -> Result<Option<M>, NetError> {
        let node = self.node;
        if !self.fill(4).await? {
            return Ok(None);
        }
        let length = u32::from_le_bytes([self.buffer[0], self.buffer[1], self.buffer[2], self.buffer[3]]) as usize;
        if !(1..=MAX_CONTROL_BYTES).contains(&length) {
            return Err(NetError::MessageLength { node, bytes: length });
        }
        self.fill(4 + length).await?;
        let message: M = borsh::from_slice(&self.buffer[4..])
            .map_err(|fault| NetError::Message { node, reason: fault.to_string() })?;
        if let Some(reason) = message.fault() {
            return Err(NetError::Message { node, reason: reason.to_owned() });
        }
        self.taken();
        Ok(Some(message))
    }

    /// The next bytes that their length goes before.
    pub(crate) async fn packet(&mut self, most: usize) -> Result<Option<Vec<u8>>, NetError> {
        self.check()?;
        let outcome = self.read_packet(most).await;
        self.keep(outcome)
    }

    async fn read_packet(&mut self, most: usize) -> Result<Option<Vec<u8>>, NetError> {
        if !self.fill(4).await? {
            return Ok(None);
        }
        let length = u32::from_le_bytes([self.buffer[0], self.buffer[1], self.buffer[2], self.buffer[3]]) as usize;
        if !(1..=most).contains(&length) {
            return Err(NetError::MessageLength { node: self.node, bytes: length });
        }
        self.fill(4 + length).await?;
        let packet = self.buffer[4..].to_vec();
        self.taken();
        Ok(Some(packet))
    }

    async fn frame(&mut self, goodput: &Goodput) -> Result<Option<Frame>, NetError> {
        self.check()?;
        let outcome = self.read_frame(goodput).await;
        self.keep(outcome)
    }

    async fn read_frame(&mut self, goodput: &Goodput) -> Result<Option<Frame>, NetError> {
        let refused = |node| move |source| NetError::Frame { node, source };
        if !self.fill(FRAME_HEADER_BYTES).await? {
            return Ok(None);
        }
        let mut head = [0; FRAME_HEADER_BYTES];
        head.copy_from_slice(&self.buffer[..FRAME_HEADER_BYTES]);
        let header = FrameHeader::parse(&head).map_err(refused(self.node))?;
        if header.body_bytes() >= LARGE_BYTES {
            self.body.get_or_insert_default();
        }
        self.fill(FRAME_HEADER_BYTES + header.body_bytes()).await?;
        if let Some(body) = self.body.take() {
            body.ends(Instant::now(), goodput);
        }
        let frame = Frame::decode(header, &self.buffer[FRAME_HEADER_BYTES..]).map_err(refused(self.node))?;
        self.taken();
        Ok(Some(frame))
    }

    fn check(&self) -> Result<(), NetError> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    /// A stream that failed stays failed, and its sender is told.
    fn keep<T>(&mut self, outcome: Result<T, NetError>) -> Result<T, NetError> {
        if let Err(fault) = &outcome {
            self.failed = Some(fault.clone());
            self.refuse(CODE_MALFORMED);
        }
        outcome
    }

    pub(crate) fn refuse(&mut self, code: VarInt) {
        self.buffer = Vec::new();
        // The stream may have ended by itself; then nobody needs to be told.
        let _ = self.stream.stop(code);
    }
}

fn write_error(node: NodeId, fault: WriteError) -> NetError {
    match fault {
        WriteError::Stopped(code) => NetError::Stopped { node, code: code.into_inner() },
        other => NetError::Lost { node, reason: other.to_string() },
    }
}

fn read_error(node: NodeId, fault: ReadError) -> NetError {
    match fault {
        ReadError::Reset(code) => NetError::Reset { node, code: code.into_inner() },
        other => NetError::Lost { node, reason: other.to_string() },
    }
}

macro_rules! sender {
    ($(#[$doc:meta])* $name:ident, $message:ty) => {
        $(#[$doc])*
        pub struct $name(pub(crate) Outbox);

        impl $name {
            /// The machine at the other end.
            pub fn node(&self) -> NodeId {
                self.0.node
            }

            /// Sends one message; too long a reason is cut. A send dropped half-way is completed by the next.
            ///
            /// # Errors
            /// When the message breaks a bound, the peer stopped reading or the connection ended.
            pub async fn send(&mut self, message: $message) -> Result<(), NetError> {
                self.0.send_message(message).await
            }
        }
    };
}

macro_rules! receiver {
    ($(#[$doc:meta])* $name:ident, $message:ty) => {
        $(#[$doc])*
        pub struct $name(pub(crate) Inbox);

        impl $name {
            /// The machine at the other end.
            pub fn node(&self) -> NodeId {
                self.0.node
            }

            /// The next message, or none when the peer is done. May be dropped and called again (as in `select!`) without loss.
            ///
            /// # Errors
            /// When the message is malformed or over a bound, the peer gave up or the connection ended; the same again on every later
            /// call.
            pub async fn recv(&mut self) -> Result<Option<$message>, NetError> {
                self.0.message().await
            }
        }
    };
}

sender!(
    /// Gateway's end of a control stream, towards the stage. Dropping it ends the stream's requests.
    ControlSender,
    Control
);
receiver!(
    /// Gateway's end of a control stream, from the stage.
    ControlReceiver,
    ControlReply
);
receiver!(
    /// Stage's end of a control stream, from the gateway.
    ControlRequests,
    Control
);
sender!(
    /// Stage's end of a control stream, towards the gateway. Dropping it ends the stream's replies.
    ControlReplies,
    ControlReply
);

sender!(
    /// A node's end of a stream of figures. Dropping it ends the stream.
    FiguresSender,
    NodeFigures
);
receiver!(
    /// A gateway's end of a stream of figures. Who reads slowly makes the node wait.
    FiguresReceiver,
    NodeFigures
);

sender!(
    /// A member's end of a stream of messages about directories. Dropping it ends the stream.
    DirectorySender,
    skep_directory::Message
);
receiver!(
    /// The other end of it. Who reads slowly makes the member wait.
    DirectoryReceiver,
    skep_directory::Message
);

sender!(
    /// One side's pages of a register stream. Dropping it ends them.
    RegisterSender,
    RegisterPage
);
receiver!(
    /// The other side's pages of a register stream.
    RegisterReceiver,
    RegisterPage
);

/// The sending end of a data stream. Dropping it ends the stream, well unless a send was dropped half-way.
pub struct DataSender(pub(crate) Outbox);

impl DataSender {
    /// The machine at the other end.
    pub fn node(&self) -> NodeId {
        self.0.node
    }

    /// Sends one frame with one write; returns when QUIC has taken all of it, which waits while the reader lags behind by more than the
    /// stream window. A send dropped half-way is completed by the next.
    ///
    /// # Errors
    /// When the frame is one that the receiver would refuse (nothing is sent), the peer stopped reading or the connection ended.
    pub async fn send(&mut self, frame: &Frame) -> Result<(), NetError> {
        let bytes = frame.encode().map_err(|source| NetError::Frame { node: self.0.node, source })?;
        self.0.send(bytes).await
    }
}

/// The receiving end of a data stream. Dropping it tells the sender that nobody reads.
pub struct FrameReceiver(pub(crate) Inbox, pub(crate) Arc<Goodput>);

impl FrameReceiver {
    /// The machine at the other end.
    pub fn node(&self) -> NodeId {
        self.0.node
    }

    /// The next frame, or none when the sender is done. May be dropped and called again (as in `select!`) without loss.
    ///
    /// # Errors
    /// When bytes are not a frame (a bad header is refused before its body is waited for), the peer gave up or the connection ended; the
    /// same again on every later call.
    pub async fn recv(&mut self) -> Result<Option<Frame>, NetError> {
        self.0.frame(&self.1).await
    }
}

/// Answers one join. Dropped without an answer, the joining node sees the stream end.
pub struct JoinResponder {
    pub(crate) outbox: Outbox,
    /// The connection that the join came over.
    pub(crate) link: Arc<Link>,
}

impl JoinResponder {
    /// Sends the answer; too long a reason is cut.
    ///
    /// # Errors
    /// When the joining node is gone.
    pub async fn send(mut self, reply: JoinReply) -> Result<(), NetError> {
        if matches!(reply, JoinReply::Welcome { .. }) {
            self.link.joins.store(0, Ordering::Relaxed);
        }
        self.outbox.send_message(reply).await
    }
}
