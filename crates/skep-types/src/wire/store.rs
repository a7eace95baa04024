//! What a machine asks of another's store, and the answers.
//!
//! # Store stream (asker ↔ holder)
//! One bidirectional stream for each question, on a connection of its own (see `skep-net`). The asker sends one [`StoreAsk`] and ends its
//! side. The holder sends one [`StoreAnswer`]; after [`StoreAnswer::Slice`] follow the bytes of the slice, as `skep-store` defines
//! them, and the end of the stream. The asker knows from the size how many these are, and takes no more.
//!
//! A holder sends the slices that one machine asks for one at a time, in the order of the questions as they came.

use super::{MAX_ADDRS, MAX_REASON_BYTES, Peer};
use crate::{Invite, ModelId, Pass};
use borsh::{BorshDeserialize, BorshSerialize};

/// The most machines that an answer names. With [`MAX_ADDRS`] addresses of IPv6 each they take 11 KB of a message.
pub const MAX_HOLDERS: usize = 32;
/// The most runs of groups that an answer lists.
pub const MAX_HELD_RUNS: usize = 64;
/// The most blocks of a model whose members an answer counts; of a larger model it counts none.
pub const MAX_COUNTED_BLOCKS: usize = 1024;

/// Asker → holder.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum StoreAsk {
    /// To a member that takes requests: what does this network serve, and who holds it?
    Network {
        /// What lets the asker in, as in a [`Join`](super::Join); only the machine that began the network and its doorkeepers let anybody in.
        invite: Option<Invite>,
        /// What says that the asker is in already.
        pass: Option<Pass>,
    },
    /// What is held of this model?
    Holds {
        /// The asker's.
        pass: Pass,
        /// The model.
        model: ModelId,
    },
    /// The slice of the last group of this model, which proves the size.
    Last {
        /// The asker's.
        pass: Pass,
        /// The model.
        model: ModelId,
    },
    /// The slice of groups `start..end` of this model.
    Slice {
        /// The asker's.
        pass: Pass,
        /// The model.
        model: ModelId,
        /// First group.
        start: u64,
        /// One past the last group; above `start`.
        end: u64,
    },
}

/// Holder → asker.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum StoreAnswer {
    /// The asker is let in.
    Network(ServedModel),
    /// What is held.
    Holds {
        /// Size of the model's file.
        bytes: u64,
        /// Runs of groups, start and end, at most [`MAX_HELD_RUNS`].
        runs: Vec<(u64, u64)>,
    },
    /// The slice follows.
    Slice {
        /// Size of the model's file.
        bytes: u64,
    },
    /// Not all of what was asked for is held.
    NotHeld,
    /// Nothing is given, and why.
    Refused {
        /// One sentence.
        reason: String,
    },
}

/// What a network serves, and who holds it.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ServedModel {
    /// The model.
    pub model: ModelId,
    /// Size of its file. Only a slice proves it.
    pub bytes: u64,
    /// Machines that hold some of the file, at most [`MAX_HOLDERS`].
    pub holders: Vec<Peer>,
    /// How many living members serve each block, from block 0 on; empty for a model of more than [`MAX_COUNTED_BLOCKS`] blocks.
    pub members: Vec<u16>,
    /// With it the asker may fetch from all members.
    pub pass: Pass,
}

impl StoreAsk {
    /// What breaks a bound that the encoding itself does not have, if anything does.
    pub fn fault(&self) -> Option<&'static str> {
        match self {
            Self::Network { invite: Some(invite), .. } if invite.check().is_err() => {
                Some("its invite is not within the bounds of one")
            }
            Self::Slice { start, end, .. } if start >= end => Some("its slice is empty"),
            _ => None,
        }
    }
}

impl StoreAnswer {
    /// What breaks a bound that the encoding itself does not have, if anything does.
    pub fn fault(&self) -> Option<&'static str> {
        match self {
            Self::Network(served) if served.holders.len() > MAX_HOLDERS => Some("it names too many holders"),
            Self::Network(served) if served.members.len() > MAX_COUNTED_BLOCKS => Some("it counts too many blocks"),
            Self::Network(served) if served.holders.iter().any(|holder| holder.addrs.len() > MAX_ADDRS) => {
                Some("a holder lists too many addresses")
            }
            Self::Holds { runs, .. } if runs.len() > MAX_HELD_RUNS => Some("it lists too many runs"),
            Self::Holds { runs, .. } if runs.iter().any(|(start, end)| start >= end) => {
                Some("one of its runs is empty")
            }
            Self::Refused { reason } if reason.len() > MAX_REASON_BYTES => Some("its reason is too long"),
            _ => None,
        }
    }
}
