//! Passes: who is a member of a network, who lets others in, and who was removed.
//!
//! Three statements, each signed with ed25519 over a context and its fields in `borsh`:
//!
//! | statement | signed by | over |
//! |---|---|---|
//! | [`Pass`] | the machine that began the network, or a doorkeeper | `b"skep pass 2\0"`, network, member, expires |
//! | [`Delegation`] | the machine that began the network | `b"skep doorkeeper 1\0"`, network, keeper, expires |
//! | [`Removal`] | the machine that began the network, or a doorkeeper | `b"skep removal 1\0"`, network, member, by, expires |
//!
//! # Passes
//! Every member takes a pass from the machine that it names, whose key the connection has proven, and from nobody else: a pass is of no use
//! to whoever copies it, so it is no secret. Nobody has to ask who is a member, so members compute for each other, find each other and
//! fetch weights from each other also while the machine that began the network is away. A pass ends by itself after [`PASS_SECONDS`], by
//! the clock of whoever reads it; one that would last longer than that from now, and [`CLOCKS_APART`], is not taken. A member asks for a
//! new one once half of that is over.
//!
//! # Doorkeepers
//! A network must outlive the machine that began it without anybody having done anything for that. So that machine names *doorkeepers*
//! among the members: a doorkeeper holds a [`Delegation`], makes invites, lets machines in and renews passes. A pass that it signs
//! carries the delegation, so whoever reads it needs nothing else. The chain has one link and no more: a doorkeeper names no doorkeepers.
//! So there are never more keys that let others in than those which one owner chose, every pass is checked with two signatures at most,
//! and taking one delegation back takes back all that hangs on it. A delegation lasts for [`DELEGATION_SECONDS`] and is signed anew
//! while both machines are there. A network has at most [`MAX_DOORKEEPERS`] that are remembered.
//!
//! # Removals
//! A removal says that a key is no member, whatever pass it shows, until it ends: after [`REMOVAL_SECONDS`], and of a doorkeeper when its
//! delegation would have ended. The machine that began the network may remove every other key. A doorkeeper may remove members, but neither
//! the machine that began the network nor a doorkeeper: else the first stolen key of one would throw out all others. With a doorkeeper
//! go the passes, the invites and the removals that it signed. At most [`MAX_REMOVALS`] are remembered.

use crate::NodeId;
use borsh::{BorshDeserialize, BorshSerialize};

/// How long a pass lasts: 14 days. So long may all who renew it be away before a member is a stranger.
pub const PASS_SECONDS: u64 = 14 * 24 * 3600;
/// How long a delegation lasts: five years, about as long as people use a computer. So long does a network that lost the machine that began it go on.
pub const DELEGATION_SECONDS: u64 = 5 * 365 * 24 * 3600;
/// How long a removal lasts: 30 days, longer than any pass, and as long as the longest invite that was there when it was signed.
pub const REMOVAL_SECONDS: u64 = 30 * 24 * 3600;
/// How far the clocks of two members may differ, where a statement's end is too far away.
pub const CLOCKS_APART: u64 = 3600;
/// The most doorkeepers of one network that anybody remembers.
pub const MAX_DOORKEEPERS: usize = 16;
/// The most removals that anybody remembers: half of them by the machine that began the network, the others shared by the doorkeepers.
pub const MAX_REMOVALS: usize = 1024;

/// Makes each signature one of its kind of statement and of nothing else that the same key signs.
const PASS_CONTEXT: &[u8] = b"skep pass 2\0";
const DELEGATION_CONTEXT: &[u8] = b"skep doorkeeper 1\0";
const REMOVAL_CONTEXT: &[u8] = b"skep removal 1\0";

/// A signed word that a machine is a member of a network. Nothing in this crate checks its signatures.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Pass {
    /// The key of the machine that began the network.
    pub network: NodeId,
    /// Who is a member.
    pub member: NodeId,
    /// When it ends, in seconds since 1970.
    pub expires: u64,
    /// The doorkeeper who signed it; none if the machine that began the network did.
    pub by: Option<Box<Delegation>>,
    /// By the key [`Pass::signer`].
    pub signature: [u8; 64],
}

/// A signed word of the machine that began a network that another one may let machines in.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Delegation {
    /// Who may.
    pub keeper: NodeId,
    /// When it ends, in seconds since 1970.
    pub expires: u64,
    /// By the key of the network.
    pub signature: [u8; 64],
}

/// A signed word that a machine is no member of a network, whatever it shows.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Removal {
    /// Who is no member.
    pub member: NodeId,
    /// Who says so.
    pub by: NodeId,
    /// When it ends, in seconds since 1970.
    pub expires: u64,
    /// By the key `by`.
    pub signature: [u8; 64],
}

impl Pass {
    /// The bytes that are signed.
    pub fn to_sign(network: NodeId, member: NodeId, expires: u64) -> Vec<u8> {
        [PASS_CONTEXT, &network.0, &member.0, &expires.to_le_bytes()].concat()
    }

    /// Whose signature it has.
    pub fn signer(&self) -> NodeId {
        self.by.as_ref().map_or(self.network, |delegation| delegation.keeper)
    }
}

impl Delegation {
    /// The bytes that are signed.
    pub fn to_sign(network: NodeId, keeper: NodeId, expires: u64) -> Vec<u8> {
        [DELEGATION_CONTEXT, &network.0, &keeper.0, &expires.to_le_bytes()].concat()
    }
}

impl Removal {
    /// The bytes that are signed.
    pub fn to_sign(network: NodeId, member: NodeId, by: NodeId, expires: u64) -> Vec<u8> {
        [REMOVAL_CONTEXT, &network.0, &member.0, &by.0, &expires.to_le_bytes()].concat()
    }
}
