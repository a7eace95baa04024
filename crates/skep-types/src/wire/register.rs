//! What members tell each other of who lets others in and who was removed.
//!
//! # Register stream (member ↔ member)
//! One bidirectional stream for each exchange. The opener sends one [`RegisterHello`], whose digest sums up what it knows. If the other one
//! knows the same, it ends the stream. Else it sends all that it knows in pages, at least one, and ends its side; the opener answers
//! with what was not among that, and ends its own. Each takes what holds, and so both know the same.

use super::Peer;
use crate::{Delegation, MAX_DOORKEEPERS, MAX_REMOVALS, Pass, Removal};
use borsh::{BorshDeserialize, BorshSerialize};

/// The most removals of one page.
pub const PAGE_REMOVALS: usize = 64;
/// The most pages of one side of an exchange.
pub const MAX_REGISTER_PAGES: usize = MAX_REMOVALS.div_ceil(PAGE_REMOVALS);
/// The most machines of a page that say where doors are: the doorkeepers, and the machine that began the network.
pub const MAX_DOORS: usize = MAX_DOORKEEPERS + 1;
/// The most addresses of one of them.
pub const MAX_DOOR_ADDRS: usize = 4;

/// The first message of a register stream.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct RegisterHello {
    /// Says that the sender is a member; the machine that began the network needs none.
    pub pass: Option<Pass>,
    /// BLAKE3 of the `borsh` of a list of delegations in the order of their keepers, and of a list of removals in the order of member and
    /// signer: all that the sender knows.
    pub digest: [u8; 32],
}

/// A part of what a member knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct RegisterPage {
    /// Who lets others in, at most [`MAX_DOORKEEPERS`].
    pub delegations: Vec<Delegation>,
    /// Who was removed, at most [`PAGE_REMOVALS`].
    pub removals: Vec<Removal>,
    /// Where doors were reached: a hint that nobody signed. At most [`MAX_DOORS`], with [`MAX_DOOR_ADDRS`] addresses each.
    pub doors: Vec<Peer>,
}

impl RegisterPage {
    /// What breaks a bound that the encoding itself does not have, if anything does.
    pub fn fault(&self) -> Option<&'static str> {
        if self.delegations.len() > MAX_DOORKEEPERS {
            return Some("it names too many doorkeepers");
        }
        if self.removals.len() > PAGE_REMOVALS {
            return Some("it lists too many removals");
        }
        if self.doors.len() > MAX_DOORS || self.doors.iter().any(|door| door.addrs.len() > MAX_DOOR_ADDRS) {
            return Some("it says too much about where doors are");
        }
        None
    }
}
