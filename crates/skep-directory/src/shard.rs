//! Where an offer belongs, and who keeps directories.

use crate::SHELF_MAX;
use borsh::{BorshDeserialize, BorshSerialize};
use skep_types::{ModelId, NodeId};

/// Servers of one shard that are aimed at: a directory then keeps some 2,100 offers in three shards.
pub const SHARD_TARGET: u32 = 700;
/// Servers with the lowest points, which publish at depth 0 too. From half of them a model's size is known to a tenth.
pub const SAMPLE: usize = 256;
/// The deepest shard: a model with a thousand million servers.
pub const DEPTH_MAX: u8 = 20;
/// By how much the estimate must leave a depth's range before a node moves: ratio as (numerator, denominator).
pub const DEPTH_SLACK: (u64, u64) = (3, 2);
/// Up to so many nodes, everyone is a directory; and never fewer.
const DIRECTORIES_MIN: u64 = 32;

/// A part of a model's servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct Shard {
    /// The model.
    pub model: ModelId,
    /// Bits of the prefix, at most [`DEPTH_MAX`].
    pub depth: u8,
    /// The prefix, below 2^depth.
    pub prefix: u32,
}

impl Shard {
    /// The shard of depth `depth` that a point lies in.
    pub fn at(model: ModelId, depth: u8, point: u64) -> Self {
        let depth = depth.min(DEPTH_MAX);
        let prefix = point.checked_shr(64 - u32::from(depth)).unwrap_or(0) as u32;
        Self { model, depth, prefix }
    }

    /// Whether depth and prefix fit each other.
    pub fn is_valid(&self) -> bool {
        self.depth <= DEPTH_MAX && u64::from(self.prefix) < 1 << self.depth
    }

    /// Whether a point lies in this shard.
    pub fn contains(&self, point: u64) -> bool {
        Self::at(self.model, self.depth, point) == *self
    }

    /// The point of a node in a model.
    pub fn point(model: &ModelId, node: &NodeId) -> u64 {
        digest(b"skep point 1\0", &[&model.0, &node.0])
    }

    /// A number that stands for the shard in ranks.
    pub fn key(&self) -> u64 {
        digest(b"skep shard 1\0", &[&self.model.0, &[self.depth], &self.prefix.to_le_bytes()])
    }

    /// The place of the point from which the number of servers is told, if this shard keeps `count` offers; none if these are few. Those
    /// in the lower half are there even if some who should publish here do not think so.
    pub fn telling(count: usize) -> Option<usize> {
        (count >= SAMPLE / 2).then(|| (count / 2).max(SAMPLE / 2))
    }

    /// How many servers the model has, if this shard keeps `count` offers and `point` is the `k`-th lowest point of them, where `k` is
    /// [`Self::telling`].
    pub fn servers(&self, count: usize, point: Option<u64>) -> u32 {
        let in_shard = match (point, Self::telling(count)) {
            // The k-th lowest of n points lies at k / n of the range, on average.
            (Some(point), Some(k)) => {
                let within = (u128::from(point) << self.depth) & u128::from(u64::MAX);
                ((k as u128 - 1) << 64) / within.max(1)
            }
            _ => count as u128,
        };
        // A full shelf has no room for others, who must be told to go deeper.
        let least = if count < SHELF_MAX { count as u128 } else { (u128::from(SHARD_TARGET) * 3).div_ceil(2) + 1 };
        u32::try_from(in_shard.max(least) << self.depth).unwrap_or(u32::MAX)
    }
}

/// Whether a node stands in the sample at depth 0, by its point and the number of servers. One that stands there stays until it is
/// well outside.
pub(crate) fn in_sample(point: u64, servers: u32, stands: bool) -> bool {
    let ahead = (u128::from(point) * u128::from(servers)) >> 64;
    ahead < if stands { SAMPLE + SAMPLE / 2 } else { SAMPLE } as u128
}

/// The depth at which a model with so many servers is published, from the depth that was used so far.
pub(crate) fn depth_for(servers: u32, depth: u8) -> u8 {
    let fits = |depth: u8| u64::from(SHARD_TARGET) << depth;
    let (num, den) = DEPTH_SLACK;
    let servers = u64::from(servers);
    let wanted = (0..=DEPTH_MAX).find(|depth| servers <= fits(*depth)).unwrap_or(DEPTH_MAX);
    let too_full = servers * den > fits(depth) * num;
    let too_empty = servers * 2 * num < fits(depth) * den;
    if too_full || too_empty { wanted } else { depth }
}

/// The key of a volunteer: what its ranks, and whether it is eligible at all, come from.
pub(crate) fn volunteer_key(node: &NodeId) -> u64 {
    digest(b"skep volunteer 1\0", &[&node.0])
}

/// The rank of a volunteer in a shard; the highest keep it.
pub(crate) fn rank(shard_key: u64, volunteer_key: u64) -> u64 {
    let z = shard_key.wrapping_add(volunteer_key);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// How many directories a network with so many offers has, about.
pub fn directories_of(size: u32) -> u32 {
    let size = u64::from(size);
    (size / u64::from(SHARD_TARGET)).max(DIRECTORIES_MIN).min(size.max(DIRECTORIES_MIN)) as u32
}

/// Whether a node is among the `slack`-fold share of nodes that keep directories in a network of this size.
pub fn eligible(node: &NodeId, size: u32, slack: u32) -> bool {
    below(volunteer_key(node), size, slack)
}

pub(crate) fn below(key: u64, size: u32, slack: u32) -> bool {
    let wanted = u128::from(directories_of(size)) * u128::from(slack);
    u128::from(key) * u128::from(size) < wanted << 64
}

fn digest(context: &[u8], parts: &[&[u8]]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(context);
    for part in parts {
        hasher.update(part);
    }
    let mut first = [0; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MODEL: ModelId = ModelId([9; 32]);

    proptest! {
        #[test]
        fn the_shards_of_a_depth_divide_all_points(point: u64, depth in 0..=DEPTH_MAX, other: u64) {
            let shard = Shard::at(MODEL, depth, point);
            prop_assert!(shard.is_valid() && shard.contains(point));
            prop_assert_eq!(shard.contains(other), Shard::at(MODEL, depth, other) == shard);
        }

        #[test]
        fn a_depth_once_chosen_is_kept(servers: u32, depth in 0..=DEPTH_MAX) {
            let chosen = depth_for(servers, depth);
            prop_assert_eq!(depth_for(servers, chosen), chosen);
        }
    }

    #[test]
    fn a_shelf_tells_the_number_of_servers() {
        let mut points: Vec<u64> = (0..20_000u32)
            .map(|id| {
                let mut node = [0; 32];
                node[..4].copy_from_slice(&id.to_le_bytes());
                Shard::point(&MODEL, &NodeId(node))
            })
            .collect();
        points.sort_unstable();
        for depth in [0, 1, 2] {
            let shard = Shard::at(MODEL, depth, u64::MAX);
            let inside: Vec<u64> =
                points.iter().copied().filter(|point| shard.contains(*point)).take(SHELF_MAX).collect();
            // Those who are crowded out and do not come back make no difference.
            for count in [SAMPLE, 700, SHELF_MAX] {
                let point = inside[Shard::telling(count).unwrap() - 1];
                let servers = shard.servers(count, Some(point));
                assert!((17_000..23_000).contains(&servers), "{servers} at depth {depth}");
            }
        }
        assert_eq!(Shard::at(MODEL, 3, 0).servers(10, None), 80);
    }

    #[test]
    fn who_does_not_fit_on_a_shelf_is_sent_deeper() {
        let shard = Shard::at(MODEL, 0, 0);
        let few = Some(u64::MAX - 1);
        assert_eq!(shard.servers(SHELF_MAX - 1, few), SHELF_MAX as u32 - 1);
        assert!(depth_for(shard.servers(SHELF_MAX, few), 0) > 0);
    }

    #[test]
    fn the_sample_is_those_with_the_lowest_points() {
        let servers = 10 * SAMPLE as u32;
        let places = |point: u64| [false, true].map(|stands| in_sample(point, servers, stands));
        assert_eq!(places(u64::MAX / 11), [true, true]);
        assert_eq!(places(u64::MAX / 8), [false, true]);
        assert_eq!(places(u64::MAX / 6), [false, false]);
    }

    #[test]
    fn everyone_keeps_a_directory_in_a_small_network_and_few_in_a_large_one() {
        let nodes = (0..10_000u32).map(|id| {
            let mut node = [0; 32];
            node[..4].copy_from_slice(&id.to_le_bytes());
            NodeId(node)
        });
        for size in [0, 1, 32] {
            assert!(nodes.clone().all(|node| eligible(&node, size, 1)));
        }
        let chosen = nodes.filter(|node| eligible(node, 10_000, 1)).count();
        assert!((16..64).contains(&chosen), "{chosen}");
        assert_eq!(directories_of(1_000_000), 1428);
    }
}
