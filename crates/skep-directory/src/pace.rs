//! How much each node may ask of a directory.

use skep_types::NodeId;
use std::collections::BTreeMap;

/// Messages that a node may send at once.
pub const BURST: u32 = 32;
/// Messages per second that a node may send in the long run.
pub const PER_SECOND: u32 = 2;
/// Nodes whose pace is followed. Where there are more, those that have been quiet the longest are forgotten.
pub const PEERS_MAX: usize = 16_384;

/// A bucket of messages, in thousandths.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    level: u32,
    at_ms: u64,
}

/// The pace of each node that was heard of late.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    buckets: BTreeMap<NodeId, Bucket>,
}

impl Pace {
    /// Whether this node may send one more message now.
    pub fn allows(&mut self, node: NodeId, now_ms: u64) -> bool {
        if self.buckets.len() >= PEERS_MAX && !self.buckets.contains_key(&node) {
            // A full bucket says nothing that a new one would not say.
            self.buckets.retain(|_, bucket| bucket.filled(now_ms) < BURST * 1000);
            if self.buckets.len() >= PEERS_MAX {
                return false;
            }
        }
        let bucket = self.buckets.entry(node).or_insert(Bucket { level: BURST * 1000, at_ms: now_ms });
        *bucket = Bucket { level: bucket.filled(now_ms), at_ms: now_ms };
        let allowed = bucket.level >= 1000;
        bucket.level -= if allowed { 1000 } else { 0 };
        allowed
    }

    /// Forgets nodes of which nothing need be known.
    pub fn tidy(&mut self, now_ms: u64) {
        self.buckets.retain(|_, bucket| bucket.filled(now_ms) < BURST * 1000);
    }
}

impl Bucket {
    fn filled(self, now_ms: u64) -> u32 {
        let gained = now_ms.saturating_sub(self.at_ms).saturating_mul(u64::from(PER_SECOND));
        u32::try_from(u64::from(self.level).saturating_add(gained)).unwrap_or(u32::MAX).min(BURST * 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_to_the_pace_and_others_are_not() {
        let mut pace = Pace::default();
        let taken = (0..1000).filter(|_| pace.allows(NodeId([1; 32]), 0)).count();
        assert_eq!(taken, BURST as usize);
        assert!(pace.allows(NodeId([2; 32]), 0));
        let later = (0..1000).filter(|_| pace.allows(NodeId([1; 32]), 10_000)).count();
        assert_eq!(later, 10 * PER_SECOND as usize);
    }

    #[test]
    fn ten_thousand_keys_take_bounded_room() {
        let mut pace = Pace::default();
        let node = |id: usize| {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&id.to_le_bytes());
            NodeId(key)
        };
        let taken = (0..3 * PEERS_MAX).filter(|id| pace.allows(node(*id), 0)).count();
        assert_eq!((taken, pace.buckets.len()), (PEERS_MAX, PEERS_MAX));
        assert!(pace.allows(node(usize::MAX), 60_000));
        pace.tidy(120_000);
        assert!(pace.buckets.is_empty());
    }
}
