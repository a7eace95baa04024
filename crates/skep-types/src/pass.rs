//! Passes: a gateway says who may fetch weights from the members of its network.
//!
//! A [`Pass`] is three fields and the ed25519 signature, by the key of the network's gateway, of `b"skep pass 1\0"` followed by the
//! three fields in `borsh` (72 bytes: two keys and a little-endian `u64`). A gateway gives one to a machine that it has let in. Every
//! node that joined the same gateway takes it from the machine that it names, whose key the connection has proven, and from
//! nobody else: a pass is of no use to whoever copies it, so it is no secret. No node has to ask the gateway who is a member, so members
//! fetch from each other also while the gateway is away.
//!
//! A pass cannot be taken back; it ends by itself after [`PASS_SECONDS`], by the clock of whoever reads it.

use crate::NodeId;
use borsh::{BorshDeserialize, BorshSerialize};

/// How long a pass lasts: long enough that clocks which differ by an hour do not matter.
pub const PASS_SECONDS: u64 = 6 * 3600;

/// Makes the signature one of a pass and of nothing else that the same key signs.
const CONTEXT: &[u8] = b"skep pass 1\0";

/// A signed permission to fetch weights from the members of a network.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Pass {
    /// The key of the network's gateway, which signs.
    pub network: NodeId,
    /// Who may fetch.
    pub member: NodeId,
    /// When it ends, in seconds since 1970.
    pub expires: u64,
    /// By the key `network`; nothing in this crate checks it.
    pub signature: [u8; 64],
}

impl Pass {
    /// The bytes that the gateway signs.
    pub fn to_sign(network: NodeId, member: NodeId, expires: u64) -> Vec<u8> {
        [CONTEXT, &network.0, &member.0, &expires.to_le_bytes()].concat()
    }
}
