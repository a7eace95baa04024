//! Placement and routes, checked against their definitions and against brute force.
#![allow(clippy::unwrap_used, reason = "a test")]

use proptest::prelude::*;
use skep_plan::{NoRoute, Offer, PlanError, Stage, place, route};
use skep_types::{BlockRange, NodeId, wire::Peer};
use std::collections::BTreeSet;

fn peer(id: u8) -> Peer {
    Peer { node: NodeId([id; 32]), addrs: vec![([127, 0, 0, 1], 4000 + u16::from(id)).into()] }
}

fn offer(id: u8, start: u32, end: u32) -> Offer {
    Offer { peer: peer(id), blocks: BlockRange::new(start, end).unwrap() }
}

fn range(start: u32, end: u32) -> BlockRange {
    BlockRange::new(start, end).unwrap()
}

fn spans(chain: &[Stage]) -> Vec<(u8, u32, u32)> {
    chain.iter().map(|stage| (stage.peer.node.0[0], stage.blocks.start(), stage.blocks.end())).collect()
}

#[test]
fn four_nodes_hold_two_covers() {
    let spans = place(6, 4).unwrap();
    assert_eq!(spans, [range(0, 3), range(3, 6), range(0, 3), range(3, 6)]);
}

#[test]
fn five_nodes_split_three_and_two() {
    let spans = place(6, 5).unwrap();
    assert_eq!(spans, [range(0, 2), range(2, 4), range(4, 6), range(0, 3), range(3, 6)]);
}

#[test]
fn three_nodes_hold_one_cover() {
    assert_eq!(place(7, 3).unwrap(), [range(0, 2), range(2, 4), range(4, 7)]);
    assert_eq!(place(7, 1).unwrap(), [range(0, 7)]);
}

#[test]
fn nodes_left_over_repeat_blocks() {
    let spans = place(2, 6).unwrap();
    assert_eq!(spans, [range(0, 1), range(1, 2), range(0, 1), range(0, 1), range(1, 2), range(0, 1)]);
}

#[test]
fn nothing_is_refused() {
    assert_eq!(place(0, 4), Err(PlanError::Nothing { n_blocks: 0, n_nodes: 4 }));
    assert_eq!(place(4, 0), Err(PlanError::Nothing { n_blocks: 4, n_nodes: 0 }));
}

#[test]
fn one_node_that_holds_all_is_the_whole_chain() {
    let offers = [offer(1, 0, 3), offer(2, 3, 6), offer(3, 0, 6)];
    assert_eq!(spans(&route(&offers, range(0, 6), &BTreeSet::new(), 7).unwrap()), [(3, 0, 6)]);
}

#[test]
fn spans_are_entered_and_left_in_the_middle() {
    let offers = [offer(1, 0, 4), offer(2, 2, 8)];
    assert_eq!(spans(&route(&offers, range(1, 7), &BTreeSet::new(), 0).unwrap()), [(1, 1, 4), (2, 4, 7)]);
}

#[test]
fn avoided_nodes_leave_a_gap_that_is_named() {
    let offers = [offer(1, 0, 4), offer(2, 4, 6), offer(3, 5, 8)];
    let avoid = BTreeSet::from([NodeId([2; 32])]);
    assert_eq!(route(&offers, range(0, 8), &avoid, 0), Err(NoRoute { block: 4 }));
    assert_eq!(route(&[], range(3, 8), &BTreeSet::new(), 0), Err(NoRoute { block: 3 }));
}

#[test]
fn the_salt_spreads_requests_over_replicas() {
    let offers = [offer(1, 0, 2), offer(2, 2, 4), offer(3, 0, 2), offer(4, 2, 4)];
    let chains: BTreeSet<_> =
        (0..64).map(|salt| spans(&route(&offers, range(0, 4), &BTreeSet::new(), salt).unwrap())).collect();
    assert_eq!(chains.len(), 4, "{chains:?}");
}

/// The fewest stages by trying every chain: any next node, any place to leave.
fn brute_force(offers: &[Offer], at: u32, end: u32, used: &mut Vec<NodeId>) -> Option<usize> {
    if at >= end {
        return Some(0);
    }
    let mut best = None;
    for offer in offers.iter().filter(|offer| offer.blocks.contains(at)) {
        if used.contains(&offer.peer.node) {
            continue;
        }
        used.push(offer.peer.node);
        for leave in at + 1..=offer.blocks.end().min(end) {
            let rest = brute_force(offers, leave, end, used).map(|rest| rest + 1);
            best = [best, rest].into_iter().flatten().min();
        }
        used.pop();
    }
    best
}

proptest! {
    #[test]
    fn covers_are_complete_and_even(n_blocks in 1u32..100, n_nodes in 1u32..40) {
        let spans = place(n_blocks, n_nodes).unwrap();
        prop_assert_eq!(spans.len(), n_nodes as usize);
        let holders = |block| spans.iter().filter(|span| span.contains(block)).count();
        let wanted = if n_nodes >= 4 { 2 } else { 1 };
        for block in 0..n_blocks {
            prop_assert!(holders(block) >= wanted, "block {} in {:?}", block, spans);
        }
        for span in &spans {
            prop_assert!(span.end() <= n_blocks);
            prop_assert!(n_nodes < 2 || n_blocks < 2 || span.len() < n_blocks, "{} holds all", span);
        }
        let (first, second) = spans.split_at(if n_nodes < 4 { spans.len() } else { spans.len().div_ceil(2) });
        for cover in [first, second] {
            let longest = cover.iter().map(BlockRange::len).max().unwrap_or(0);
            prop_assert!(cover.iter().all(|span| span.len() + 1 >= longest), "{:?}", cover);
        }
    }

    #[test]
    fn routes_are_as_short_as_brute_force(
        spans in prop::collection::vec((0u32..7, 1u32..5), 0..7),
        start in 0u32..4, len in 1u32..6, avoided in 0u8..8, salt: u64,
    ) {
        let offers: Vec<Offer> =
            spans.iter().enumerate().map(|(id, (start, len))| offer(id as u8, *start, start + len)).collect();
        let wanted = range(start, start + len);
        let avoid = BTreeSet::from([NodeId([avoided; 32])]);
        let allowed: Vec<Offer> = offers.iter().filter(|offer| !avoid.contains(&offer.peer.node)).cloned().collect();
        let shortest = brute_force(&allowed, wanted.start(), wanted.end(), &mut Vec::new());
        let found = route(&offers, wanted, &avoid, salt);
        let mut turned = offers.clone();
        turned.reverse();
        prop_assert_eq!(&route(&turned, wanted, &avoid, salt), &found);
        match found {
            Err(NoRoute { block }) => {
                prop_assert_eq!(shortest, None);
                prop_assert!(wanted.contains(block) && !allowed.iter().any(|offer| offer.blocks.contains(block)));
            }
            Ok(chain) => {
                prop_assert_eq!(Some(chain.len()), shortest);
                let mut at = wanted.start();
                for stage in &chain {
                    prop_assert_eq!(stage.blocks.start(), at);
                    prop_assert!(allowed.iter().any(|offer| offer.peer == stage.peer && offer.blocks.covers(&stage.blocks)));
                    at = stage.blocks.end();
                }
                prop_assert_eq!(at, wanted.end());
                let nodes: BTreeSet<_> = chain.iter().map(|stage| stage.peer.node).collect();
                prop_assert_eq!(nodes.len(), chain.len());
            }
        }
    }

    #[test]
    fn a_node_listed_twice_is_used_once(salt: u64) {
        let offers = [offer(1, 0, 2), offer(1, 4, 6), offer(2, 2, 4)];
        prop_assert_eq!(route(&offers, range(0, 6), &BTreeSet::new(), salt), Err(NoRoute { block: 4 }));
    }
}
