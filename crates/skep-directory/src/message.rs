//! What nodes say to directories and directories to nodes. `borsh`, after its length as a little-endian `u32`, at most
//! [`MESSAGE_BYTES_MAX`].

use crate::Shard;
use borsh::{BorshDeserialize, BorshSerialize};
use skep_types::offer::{BEACONS, OFFER_BYTES_MAX, Offer, VOLUNTEER_BYTES_MAX, Volunteer};
use skep_types::signed::{Signed, StatementError};
use skep_types::{BlockRange, ModelId};
use thiserror::Error;

/// The most offers of one answer: what a planner needs to choose among, in one round trip.
pub const OFFERS_MAX: usize = 32;
/// The most volunteers of one page.
pub const PAGE_RECORDS: usize = 48;
/// The most marks of one answer.
pub const MARKS_MAX: usize = 1024;
/// The most volunteers that a shard is answered with: its three directories and who would be next.
pub const THERE_MAX: usize = 4;
/// The most spans of one answer: all of a shard that is as full as it should be.
pub const SPANS_MAX: usize = 768;
/// The longest message.
pub const MESSAGE_BYTES_MAX: usize = OFFERS_MAX * OFFER_BYTES_MAX + 256;
const _: () = assert!(SPANS_MAX * size_of::<Span>() + 64 < MESSAGE_BYTES_MAX);
const _: () = assert!(PAGE_RECORDS * VOLUNTEER_BYTES_MAX + 64 < MESSAGE_BYTES_MAX);
const _: () = assert!(MARKS_MAX * MARK_BYTES + 64 < MESSAGE_BYTES_MAX);

/// One-way delay to each of the network's beacons in tenths of a millisecond; `u16::MAX` where it was not measured.
pub type Near = [u16; BEACONS];

/// Between a node and a directory.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Message {
    /// Who keeps this shard?
    Who {
        /// The shard.
        shard: Shard,
    },
    /// The volunteers that rank highest in a shard, highest first.
    There {
        /// The shard.
        shard: Shard,
        /// At most [`THERE_MAX`].
        volunteers: Vec<Signed<Volunteer>>,
        /// Offers in the network.
        size: u32,
    },
    /// Keep this offer, in the shard of this depth.
    Publish {
        /// The depth.
        depth: u8,
        /// The offer.
        offer: Box<Signed<Offer>>,
    },
    /// It is kept.
    Kept {
        /// Where.
        shard: Shard,
        /// How many servers the model has, about; 0 if that is not known yet.
        servers: u32,
        /// Offers in the network.
        size: u32,
        /// The supply of the shard's slowest block, in hundredths of the average block's; see [`Span`].
        slowest: u8,
    },
    /// It is not kept.
    Refused {
        /// Where it would have been.
        shard: Shard,
        /// Why.
        reason: Refusal,
        /// How many servers the model has, about; 0 if that is not known yet.
        servers: u32,
    },
    /// Forget the sender's offers of this model.
    Leave {
        /// The model.
        model: ModelId,
    },
    /// Who offers these blocks?
    Find {
        /// Where to look.
        shard: Shard,
        /// The blocks.
        blocks: BlockRange,
        /// Draws half of the answer, so that no claim can keep others out.
        salt: u64,
        /// The asker's delay to the beacons, as in an offer: the other half serves it fastest.
        near: Near,
    },
    /// Offers that hold some of the blocks asked for.
    Found {
        /// Where they come from.
        shard: Shard,
        /// How many servers the model has, about; 0 if that is not known yet.
        servers: u32,
        /// Offers in the network.
        size: u32,
        /// At most [`OFFERS_MAX`].
        offers: Vec<Signed<Offer>>,
    },
    /// I keep a directory.
    Here {
        /// Signed by the sender.
        record: Signed<Volunteer>,
    },
    /// Which records have you taken up since?
    Roll {
        /// The number of the answer before; 0 at first.
        since: u64,
    },
    /// The records asked for, those that are known.
    Page {
        /// At most [`PAGE_RECORDS`].
        records: Vec<Signed<Volunteer>>,
    },
    /// Who serves what in this shard, in short?
    Look {
        /// The shard.
        shard: Shard,
    },
    /// All that is kept of a shard, in short and unsigned.
    Spans {
        /// The shard.
        shard: Shard,
        /// Those with the lowest points, at most [`SPANS_MAX`].
        spans: Vec<Span>,
    },
    /// The records taken up since, in short, in the order in which they were taken up.
    Marks {
        /// What to ask from next.
        until: u64,
        /// Fewer than [`MARKS_MAX`] are the last.
        marks: Vec<Mark>,
    },
    /// Give me the records of these volunteers.
    Want {
        /// Their keys as volunteers, at most [`PAGE_RECORDS`].
        keys: Vec<u64>,
    },
}

/// The encoding of a [`Mark`].
const MARK_BYTES: usize = 10;

/// Which record of which volunteer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub struct Mark {
    /// The volunteer's key.
    pub key: u64,
    /// The record's number in seconds, modulo 2¹⁶.
    pub second: u16,
}

/// What one node serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub struct Span {
    /// The node's point in the model.
    pub point: u64,
    /// Its first block.
    pub start: u16,
    /// The block after its last one.
    pub end: u16,
    /// Warm time of one block over one token, nanoseconds; 0 if it was not measured.
    pub decode_ns: u32,
}

impl Span {
    /// What it gives each of its blocks, in tokens per million seconds: `1 / (blocks · time)`; nothing if its time was not measured.
    pub fn supply(&self) -> u64 {
        let blocks = u64::from(self.end.saturating_sub(self.start));
        MILLION_SECONDS_NS.checked_div(blocks * u64::from(self.decode_ns)).unwrap_or(0)
    }
}

/// Nanoseconds in a million seconds.
const MILLION_SECONDS_NS: u64 = 1_000_000_000_000_000;

/// Why an offer is not kept.
#[derive(Clone, Debug, PartialEq, Eq, Error, BorshSerialize, BorshDeserialize)]
pub enum Refusal {
    /// The signer is not the sender.
    #[error("the offer is another node's")]
    NotYours,
    /// The statement does not hold.
    #[error("the offer does not hold: {0}")]
    Invalid(String),
    /// Its number is not above the one that is kept.
    #[error("the offer is not newer than the one that is kept")]
    Replayed,
    /// The shard keeps as many offers as it can, with lower points.
    #[error("the shard is full of offers with lower points")]
    Crowded,
    /// The node keeps as many offers here as it may.
    #[error("the node has too many offers here")]
    TooMany,
    /// The directory keeps as many shards as it can.
    #[error("the directory keeps as many shards as it can")]
    NoRoom,
}

impl From<StatementError> for Refusal {
    fn from(error: StatementError) -> Self {
        match error {
            StatementError::Replayed { .. } => Self::Replayed,
            error => Self::Invalid(error.to_string()),
        }
    }
}

impl Message {
    /// Whether its lists keep their limits; a message that does not is dropped.
    pub fn is_valid(&self) -> bool {
        match self {
            Self::Who { shard } | Self::Find { shard, .. } => shard.is_valid(),
            Self::There { shard, volunteers, .. } => shard.is_valid() && volunteers.len() <= THERE_MAX,
            Self::Found { shard, offers, .. } => shard.is_valid() && offers.len() <= OFFERS_MAX,
            Self::Page { records } => records.len() <= PAGE_RECORDS,
            Self::Look { shard } => shard.is_valid(),
            Self::Marks { marks, .. } => marks.len() <= MARKS_MAX,
            Self::Want { keys } => keys.len() <= PAGE_RECORDS,
            Self::Spans { shard, spans } => shard.is_valid() && spans.len() <= SPANS_MAX,
            _ => true,
        }
    }
}
