//! Passes: the machine that began a network says who is a member of it.
//!
//! A [`Pass`] is three fields and the ed25519 signature, by the key of the machine that began the network, of `b"skep pass 1\0"` followed
//! by the three fields in `borsh` (72 bytes: two keys and a little-endian `u64`). That machine gives one to whom it lets in. Every
//! member takes it from the machine that it names, whose key the connection has proven, and from
//! nobody else: a pass is of no use to whoever copies it, so it is no secret. Nobody has to ask who is a member, so members
//! compute for each other, find each other and fetch weights from each other also while the machine that began the network is away.
//!
//! A pass cannot be taken back; it ends by itself after [`PASS_SECONDS`], by the clock of whoever reads it. A member asks for a new one
//! once half of that is over.

use crate::NodeId;
use borsh::{BorshDeserialize, BorshSerialize};

/// How long a pass lasts: 14 days. So long may the machine that began a network be away before its members are strangers.
pub const PASS_SECONDS: u64 = 14 * 24 * 3600;

/// Makes the signature one of a pass and of nothing else that the same key signs.
const CONTEXT: &[u8] = b"skep pass 1\0";

/// A signed word that a machine is a member of a network.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Pass {
    /// The key of the machine that began the network, which signs.
    pub network: NodeId,
    /// Who is a member.
    pub member: NodeId,
    /// When it ends, in seconds since 1970.
    pub expires: u64,
    /// By the key `network`; nothing in this crate checks it.
    pub signature: [u8; 64],
}

impl Pass {
    /// The bytes that are signed.
    pub fn to_sign(network: NodeId, member: NodeId, expires: u64) -> Vec<u8> {
        [CONTEXT, &network.0, &member.0, &expires.to_le_bytes()].concat()
    }
}
