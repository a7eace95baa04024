//! Offers, stages, and the order of equal ones.

use skep_types::{BlockRange, NodeId, wire::Peer};

/// A node and the span of blocks that it serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The node.
    pub peer: Peer,
    /// The blocks it holds.
    pub blocks: BlockRange,
}

/// One link of a chain: a node and the blocks it runs, which may be a part of what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// The node.
    pub peer: Peer,
    /// The blocks it runs.
    pub blocks: BlockRange,
}

/// Whether a listing of a node counts rather than another: a node has one span.
pub(crate) fn better_listing(new: &Offer, old: &Offer) -> bool {
    let (new, old) = (new.blocks, old.blocks);
    new.len() > old.len() || (new.len() == old.len() && new.start() < old.start())
}

/// A fixed mixing (SplitMix64's finaliser) that orders replicas differently for each salt and each point of the chain.
pub(crate) fn mix(salt: u64, at: u32, node: &NodeId) -> u64 {
    let scramble = |mut z: u64| {
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let mut state = scramble(salt ^ (u64::from(at) << 32));
    for eight in node.0.as_chunks::<8>().0 {
        state = scramble(state ^ u64::from_le_bytes(*eight));
    }
    state
}
