//! What a machine asks another one to find out whether it can be reached.
//!
//! # Dial-back stream (member ↔ member)
//! One bidirectional stream: one [`DialAsk`] one way, one [`DialReply`] the other. Whoever is asked dials the address at which it sees the
//! asker, with the port that the asker names, from a socket of its own that has never sent a packet to it: a router that lets in only
//! answers lets nothing of that through. It dials no other address, so nobody can be made to send packets to a third.

use super::MAX_REASON_BYTES;
use crate::Pass;
use borsh::{BorshDeserialize, BorshSerialize};
use std::net::SocketAddr;

/// Asker → member.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct DialAsk {
    /// Says that the asker is a member; the machine that began the network needs none.
    pub pass: Option<Pass>,
    /// The port to dial.
    pub port: u16,
}

/// Member → asker.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum DialReply {
    /// The asker answered there.
    Reached {
        /// What was dialled.
        addr: SocketAddr,
    },
    /// Nothing answered there.
    Silent {
        /// What was dialled.
        addr: SocketAddr,
    },
    /// The asker's packets come through the relay, so its address is not known.
    Relayed,
    /// Nothing was dialled, and why.
    Refused {
        /// One sentence.
        reason: String,
    },
}

impl DialReply {
    /// What breaks a bound that the encoding itself does not have, if anything does.
    pub fn fault(&self) -> Option<&'static str> {
        match self {
            Self::Refused { reason } if reason.len() > MAX_REASON_BYTES => Some("its reason is too long"),
            _ => None,
        }
    }
}
