//! What nodes say of themselves to the network: what they offer, and that they keep a directory of offers.
//!
//! Both are [signed statements](crate::signed). Figures are claims: whoever plans by them prices an unmeasured peer with care, and
//! measures.

use crate::signed::{Statement, StatementError};
use crate::{BlockRange, ModelId, NodeId};
use borsh::{BorshDeserialize, BorshSerialize};
use std::net::SocketAddr;

/// The longest signed offer in bytes: four addresses of IPv6 and room for what later versions add.
pub const OFFER_BYTES_MAX: usize = 384;
/// The longest signed volunteer's record in bytes.
pub const VOLUNTEER_BYTES_MAX: usize = 256;
/// The most addresses of an offer or a record.
pub const OFFER_ADDRS_MAX: usize = 4;
/// The longest life of an offer: what a directory tells is never older than this.
pub const OFFER_LIFETIME_S: u64 = 60;
/// The longest life of a volunteer's record.
pub const VOLUNTEER_LIFETIME_S: u64 = 180;
/// Beacons that an offer may give its delay to.
pub const BEACONS: usize = 8;
/// The most blocks of a model that can be offered.
pub const OFFER_BLOCK_MAX: u32 = 4096;

/// Whom a node serves: the label of its offer. What the node is to a gateway (a device of its own, one that it trusts), the gateway
/// knows from its own address book and takes from nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub enum Audience {
    /// Anyone.
    Anyone,
    /// Those whom its owner trusts.
    Trusted,
    /// Its owner's machines.
    Own,
}

/// What a node serves of a model, and under which terms. Zero in a figure means: not measured.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Terms {
    /// The model.
    pub model: ModelId,
    /// The span that it holds.
    pub blocks: BlockRange,
    /// What it asks, in the smallest unit of money, for one block over 1,000 tokens.
    pub price: u64,
    /// Warm time of one block over the one token of a decode lap, nanoseconds.
    pub decode_ns: u32,
    /// Warm time of one block over one token of a prefill, nanoseconds.
    pub prefill_ns: u32,
    /// Fixed cost of one visit, microseconds.
    pub visit_us: u32,
    /// How long a frame waits for those ahead of it, microseconds.
    pub wait_us: u32,
    /// What comes over its links in large frames, KiB per second.
    pub goodput_kib_s: u32,
    /// The most blocks that it can hold at once while it moves to another span; zero if it stays where it is.
    pub room: u32,
    /// Bytes for KV cache that it will honour.
    pub memory: u64,
    /// Whom it serves.
    pub audience: Audience,
    /// One-way delay to each of the network's beacons in tenths of a millisecond; `u16::MAX` where it was not measured.
    pub beacons: [u16; BEACONS],
}

/// What a node offers for one model. It has one offer per model, and so one span of it.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Offer {
    /// Who offers.
    pub node: NodeId,
    /// Grows with each offer of the node for this model, over restarts too: the clock in milliseconds will do.
    pub seq: u64,
    /// When the offer ends, Unix seconds; at most [`OFFER_LIFETIME_S`] after it was signed.
    pub expires: u64,
    /// What it serves, and how.
    pub terms: Terms,
    /// Where it may be reached, at most [`OFFER_ADDRS_MAX`].
    pub addrs: Vec<SocketAddr>,
}

impl Statement for Offer {
    const CONTEXT: &'static [u8] = b"skep offer 1\0";
    const BYTES_MAX: usize = OFFER_BYTES_MAX;
    const LIFETIME_S_MAX: u64 = OFFER_LIFETIME_S;

    fn signer(&self) -> NodeId {
        self.node
    }

    fn expires(&self) -> u64 {
        self.expires
    }

    fn seq(&self) -> u64 {
        self.seq
    }

    fn check(&self) -> Result<(), StatementError> {
        if self.terms.blocks.end() > OFFER_BLOCK_MAX {
            return Err(StatementError::Field("no model has that many blocks"));
        }
        few(&self.addrs)
    }
}

/// A node's word that it keeps a directory of offers.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Volunteer {
    /// Who.
    pub node: NodeId,
    /// Grows with each record of the node.
    pub seq: u64,
    /// When the record ends, Unix seconds; at most [`VOLUNTEER_LIFETIME_S`] after it was signed.
    pub expires: u64,
    /// How many offers it keeps.
    pub held: u32,
    /// Where it may be reached, at most [`OFFER_ADDRS_MAX`].
    pub addrs: Vec<SocketAddr>,
}

impl Statement for Volunteer {
    const CONTEXT: &'static [u8] = b"skep volunteer 1\0";
    const BYTES_MAX: usize = VOLUNTEER_BYTES_MAX;
    const LIFETIME_S_MAX: u64 = VOLUNTEER_LIFETIME_S;

    fn signer(&self) -> NodeId {
        self.node
    }

    fn expires(&self) -> u64 {
        self.expires
    }

    fn seq(&self) -> u64 {
        self.seq
    }

    fn check(&self) -> Result<(), StatementError> {
        few(&self.addrs)
    }
}

fn few(addrs: &[SocketAddr]) -> Result<(), StatementError> {
    if addrs.len() <= OFFER_ADDRS_MAX { Ok(()) } else { Err(StatementError::Field("it lists too many addresses")) }
}
