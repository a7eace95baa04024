//! The chain for one request.

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
/// A span may be entered and left in the middle. Nodes in `avoid` are not used, and no node is used twice. A node has one span: if
/// it is listed more than once, its longest listing counts, the lowest of equally long ones. Among the chains with the fewest stages,
/// `salt` chooses; the order of `offers` does not matter.
///
/// # Errors
/// [`NoRoute`] with the first wanted block that no allowed offer holds; if there is none, there is a chain.
pub fn route(offers: &[Offer], wanted: BlockRange, avoid: &BTreeSet<NodeId>, salt: u64) -> Result<Vec<Stage>, NoRoute> {
    let offers = usable(offers, avoid);
    let distance = distances(&offers, wanted);
    let mut chain = Vec::new();
    let mut at = wanted.start();
    while at < wanted.end() {
        let gap = NoRoute { block: first_gap(&offers, wanted) };
        let left = *distance.get(&at).ok_or(gap)?;
        let best = offers
            .iter()
            .filter(|offer| offer.blocks.contains(at))
            .filter(|offer| distance.get(&reach(offer, wanted)).is_some_and(|rest| rest + 1 == left))
            .min_by_key(|offer| (mix(salt, at, &offer.peer.node), offer.peer.node))
            .ok_or(gap)?;
        let end = reach(best, wanted);
        let blocks = BlockRange::new(at, end).map_err(|_| gap)?;
        chain.push(Stage { peer: best.peer.clone(), blocks });
        at = end;
    }
    Ok(chain)
}

/// The one span of each node that is not avoided.
fn usable<'a>(offers: &'a [Offer], avoid: &BTreeSet<NodeId>) -> Vec<&'a Offer> {
    let mut by_node: BTreeMap<NodeId, &Offer> = BTreeMap::new();
    for offer in offers.iter().filter(|offer| !avoid.contains(&offer.peer.node)) {
        let longer = |kept: &Offer| {
            let (new, old) = (offer.blocks, kept.blocks);
            new.len() > old.len() || (new.len() == old.len() && new.start() < old.start())
        };
        let kept = by_node.entry(offer.peer.node).or_insert(offer);
        if longer(kept) {
            *kept = offer;
        }
    }
    by_node.into_values().collect()
}

/// Where a stage of this offer leaves the chain: as late as it can, since covering less never takes more stages.
fn reach(offer: &Offer, wanted: BlockRange) -> u32 {
    offer.blocks.end().min(wanted.end())
}

/// The fewest stages from each point where a chain may stand to the end of `wanted`; points without a way on are left out.
///
/// A chain stands only at the start or at the end of some span, so the number of points depends on the offers, not on the blocks.
/// No node comes twice on a shortest way: its span would be left at its end, and no later point lies in it.
fn distances(offers: &[&Offer], wanted: BlockRange) -> BTreeMap<u32, u32> {
    let mut points: BTreeSet<u32> = offers.iter().map(|offer| reach(offer, wanted)).collect();
    points.retain(|point| *point > wanted.start());
    points.insert(wanted.start());
    let mut distance = BTreeMap::from([(wanted.end(), 0u32)]);
    for at in points.into_iter().rev().filter(|point| *point < wanted.end()) {
        let from_here = offers.iter().filter(|offer| offer.blocks.contains(at));
        if let Some(rest) = from_here.filter_map(|offer| distance.get(&reach(offer, wanted))).min() {
            let steps = rest + 1;
            distance.insert(at, steps);
        }
    }
    distance
}

/// The first wanted block that no offer holds; the end of `wanted` if there is none.
fn first_gap(offers: &[&Offer], wanted: BlockRange) -> u32 {
    let mut at = wanted.start();
    while at < wanted.end() {
        match offers.iter().filter(|offer| offer.blocks.contains(at)).map(|offer| reach(offer, wanted)).max() {
            Some(end) => at = end,
            None => break,
        }
    }
    at
}

/// A fixed mixing (SplitMix64's finaliser) that orders replicas differently for each salt and each point of the chain.
fn mix(salt: u64, at: u32, node: &NodeId) -> u64 {
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
