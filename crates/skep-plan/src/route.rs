//! The chain with the fewest stages.

use crate::labels::fastest;
use crate::weights::{Hops, Weight, Weights, clipped};
use skep_types::{BlockRange, NodeId, wire::Peer};
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;

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

/// No chain covers what is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("no node on offer holds block {block}")]
pub struct NoRoute {
    /// The first block that nobody holds.
    pub block: u32,
}

/// A chain of stages that runs exactly `wanted`, in order, with as few stages as any chain has.
///
/// It is what the planner answers where every stage costs the same and nothing else costs anything. A span may be entered and left in
/// the middle. Nodes in `avoid` are not used, and no node is used twice. A node has one span: if it is listed more than once, its
/// longest listing counts, the lowest of equally long ones. Among the chains with the fewest stages, `salt` chooses; the order of
/// `offers` does not matter.
///
/// # Errors
/// [`NoRoute`] with the first wanted block that no allowed offer holds; if there is none, there is a chain.
pub fn route(offers: &[Offer], wanted: BlockRange, avoid: &BTreeSet<NodeId>, salt: u64) -> Result<Vec<Stage>, NoRoute> {
    let offers = usable(offers, avoid);
    let gap = NoRoute { block: first_gap(offers.iter().map(|offer| offer.blocks), wanted) };
    let alike = |offer: &&Offer| Weight {
        node: offer.peer.node,
        span: clipped(offer.blocks, wanted),
        stage_max: usize::MAX,
        block: 0,
        visits: 1,
        transfer: 0,
        enter: 0,
        leave: 0,
        price: 0,
    };
    let weights = Weights {
        nodes: offers.iter().map(alike).collect(),
        blocks: wanted.len() as usize,
        first: wanted.start(),
        hops: Hops { laps: 0, between: &[], inward: &[], outward: &[] },
        salt,
        price_max: None,
    };
    let found = fastest(&weights).map_err(|_| gap)?;
    let stage = |step: &crate::search::Step| {
        // It fits because the blocks of a span are counted in 32 bits.
        let blocks = BlockRange::new(wanted.start() + step.start as u32, wanted.start() + step.end as u32);
        Some(Stage { peer: offers[step.node].peer.clone(), blocks: blocks.ok()? })
    };
    found.steps.iter().map(stage).collect::<Option<_>>().ok_or(gap)
}

/// The one span of each node that is not avoided.
fn usable<'a>(offers: &'a [Offer], avoid: &BTreeSet<NodeId>) -> Vec<&'a Offer> {
    let mut by_node: BTreeMap<NodeId, &Offer> = BTreeMap::new();
    for offer in offers.iter().filter(|offer| !avoid.contains(&offer.peer.node)) {
        let kept = by_node.entry(offer.peer.node).or_insert(offer);
        if better_listing(offer, kept) {
            *kept = offer;
        }
    }
    by_node.into_values().collect()
}

/// Whether a listing of a node counts rather than another: a node has one span.
pub(crate) fn better_listing(new: &Offer, old: &Offer) -> bool {
    let (new, old) = (new.blocks, old.blocks);
    new.len() > old.len() || (new.len() == old.len() && new.start() < old.start())
}

/// The first wanted block that no span holds; the end of `wanted` if there is none.
pub(crate) fn first_gap(spans: impl Iterator<Item = BlockRange> + Clone, wanted: BlockRange) -> u32 {
    let mut at = wanted.start();
    while at < wanted.end() {
        match spans.clone().filter(|span| span.contains(at)).map(|span| span.end().min(wanted.end())).max() {
            Some(end) => at = end,
            None => break,
        }
    }
    at
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
