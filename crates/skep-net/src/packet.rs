//! Streams of a protocol above this one: whole packets of bytes that this crate does not look into.
//!
//! A packet is its length as a little-endian `u32`, from 1 to [`PACKET_BYTES_MAX`], and that many bytes. Whoever takes part in agreeing on
//! blocks reads them; a machine that does not refuses these streams.

use crate::stream::{BLOCKS, CODE_BUSY, Inbox, LEDGER, Outbox};
use crate::{Net, NetError};
use bytes::Bytes;
use skep_types::NodeId;
use skep_types::wire::Peer;

/// The longest packet in bytes: a block, and what goes around it.
pub const PACKET_BYTES_MAX: usize = (1 << 20) + (1 << 17);

/// Bytes that are ready to be sent, to several machines without being copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet(Bytes);

impl Packet {
    /// A packet with these bytes, or nothing if there are none or too many.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let length = u32::try_from(bytes.len()).ok().filter(|_| (1..=PACKET_BYTES_MAX).contains(&bytes.len()))?;
        Some(Self([&length.to_le_bytes(), bytes].concat().into()))
    }

    /// Its length on the wire.
    #[allow(clippy::len_without_is_empty, reason = "it never is")]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// The sending end of a stream of packets. Dropping it ends the stream.
pub struct PacketSender(pub(crate) Outbox);

impl PacketSender {
    /// Sends a packet; waits while the reader lags behind by more than the stream's window. A send dropped half-way is completed by the next.
    ///
    /// # Errors
    /// When the peer stopped reading or the connection ended.
    pub async fn send(&mut self, packet: &Packet) -> Result<(), NetError> {
        self.0.send(packet.0.clone()).await
    }

    pub(crate) fn refuse(&mut self) {
        self.0.reset(CODE_BUSY);
    }
}

/// The receiving end of a stream of packets. Dropping it tells the sender that nobody reads.
pub struct PacketReceiver(pub(crate) Inbox);

impl PacketReceiver {
    /// The machine at the other end.
    pub fn node(&self) -> NodeId {
        self.0.node()
    }

    /// The bytes of the next packet, or none when the sender is done. May be dropped and called again without loss.
    ///
    /// # Errors
    /// When a length is out of bounds, the peer gave up or the connection ended; the same again on every later call.
    pub async fn recv(&mut self) -> Result<Option<Vec<u8>>, NetError> {
        self.0.packet(PACKET_BYTES_MAX).await
    }

    /// Says that what came is not what this stream carries. It is of no use after that.
    pub fn refuse(&mut self) {
        self.0.refuse(crate::stream::CODE_MALFORMED);
    }
}

impl Net {
    /// Opens a stream on which this machine speaks of blocks; one that is `urgent` goes before others on the same connection.
    ///
    /// # Errors
    /// When `to` cannot be reached within [`NetLimits::connect_timeout`](crate::NetLimits::connect_timeout).
    pub async fn open_blocks(&self, to: &Peer, urgent: bool) -> Result<PacketSender, NetError> {
        let outbox = self.shared.open_one_way(to, vec![BLOCKS]).await?;
        Ok(PacketSender(if urgent { outbox.urgent() } else { outbox }))
    }

    /// Opens a stream to ask a ledger.
    ///
    /// # Errors
    /// When `to` cannot be reached within [`NetLimits::connect_timeout`](crate::NetLimits::connect_timeout).
    pub async fn open_ledger(&self, to: &Peer) -> Result<(PacketSender, PacketReceiver), NetError> {
        let (outbox, inbox) = self.shared.open_both(to, vec![LEDGER]).await?;
        Ok((PacketSender(outbox), PacketReceiver(inbox)))
    }
}
