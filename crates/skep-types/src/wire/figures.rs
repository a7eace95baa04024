//! What a node tells the gateway that it joined about itself.

use crate::offer::Audience;
use borsh::{BorshDeserialize, BorshSerialize};

/// A node's own measurements, and what it will honour. All are claims: the gateway plans by them until it has seen better.
///
/// Encoded as 45 bytes of `borsh`. Zero in a time or a rate means: not measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct NodeFigures {
    /// Warm time of one block over the one token of a decode lap, nanoseconds.
    pub decode_ns: u32,
    /// Warm time of one block over one token of a prefill, nanoseconds.
    pub prefill_ns: u32,
    /// Fixed cost of one visit, microseconds.
    pub visit_us: u32,
    /// How long a frame waits for those ahead of it, microseconds; zero is a figure here if `visit_us` is one.
    pub wait_us: u32,
    /// What comes over its links in large frames, KiB per second.
    pub goodput_kib_s: u32,
    /// The most blocks that it can hold at once while it moves to another span; zero if it stays where it is.
    pub room: u32,
    /// Bytes for sessions that it will honour now.
    pub memory: u64,
    /// Sessions under way.
    pub sessions: u32,
    /// What it asks, in the smallest unit of money, for one block over 1,000 tokens.
    pub price: u64,
    /// Whom it serves.
    pub audience: Audience,
}

impl NodeFigures {
    /// Whether a gateway would plan otherwise by `other`: something that counts has changed, or a measurement by more than an eighth.
    pub fn differ(&self, other: &Self) -> bool {
        let far = |a: u32, b: u32| a.abs_diff(b) > a.max(b) / 8;
        let (told, same) = (self.measured(), other.measured());
        let counted =
            |figures: &Self| (figures.room, figures.sessions, figures.memory, figures.price, figures.audience);
        counted(self) != counted(other) || told.into_iter().zip(same).any(|(a, b)| far(a, b))
    }

    fn measured(&self) -> [u32; 5] {
        [self.decode_ns, self.prefill_ns, self.visit_us, self.wait_us, self.goodput_kib_s]
    }
}
