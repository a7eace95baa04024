//! Joining and moving: what never gets worse, and what gets better.
#![allow(clippy::unwrap_used, reason = "a test")]

mod topology;

use proptest::prelude::*;
use skep_plan::{GAIN, HOLDERS_KEPT, Holding, Joiner, MOVES_MAX, Move, PlanError, join, rebalance, supply};
use skep_types::BlockRange;
use std::time::Duration;
use topology::{node, spans::*};

#[test]
fn joiners_tile_an_empty_network() {
    let joiner = Joiner { blocks_max: 3, block_time: Duration::from_millis(1) };
    let mut holdings: Vec<Holding> = Vec::new();
    for (id, expected) in [range(0, 3), range(3, 6), range(5, 8)].into_iter().enumerate() {
        let span = join(8, &holdings, &joiner).unwrap();
        assert_eq!(span, expected);
        holdings.push(holding(id, span.start(), span.end(), 1000));
    }
    // Block 5 has two holders already.
    assert_eq!(join(8, &holdings, &joiner).unwrap(), range(0, 3));
    assert_eq!(join(2, &holdings[..1], &joiner).unwrap(), range(0, 2));
}

#[test]
fn a_joiner_goes_where_supply_is_scarcest() {
    let holdings = [holding(1, 0, 4, 100), holding(2, 4, 8, 900)];
    let joiner = Joiner { blocks_max: 4, block_time: Duration::from_micros(5000) };
    assert_eq!(join(8, &holdings, &joiner).unwrap(), range(4, 8));
    assert_eq!(supply(8, &holdings)[3..5], [2_500_000_000, 277_777_777]);
}

#[test]
fn there_must_be_something_to_hold() {
    let joiner = |blocks_max| Joiner { blocks_max, block_time: Duration::from_millis(1) };
    assert_eq!(join(0, &[], &joiner(3)), Err(PlanError::Nothing { n_blocks: 0, n_nodes: 1 }));
    assert!(join(3, &[], &joiner(0)).is_err());
    assert_eq!(rebalance(0, &[]), []);
    assert_eq!(rebalance(4, &[]), []);
}

#[test]
fn a_replica_moves_to_blocks_that_nobody_holds() {
    let holdings = [holding(1, 0, 4, 10), holding(2, 0, 4, 10), holding(3, 0, 4, 10), holding(4, 6, 8, 10)];
    let plan = rebalance(8, &holdings);
    assert_eq!(plan.len(), 1);
    assert!(plan[0].to.covers(&range(4, 6)), "{plan:?}");
    assert!(holders(&moved(&holdings, [&plan[0]]), 0) >= HOLDERS_KEPT);
}

#[test]
fn the_last_holders_never_move_away() {
    let holdings = [holding(1, 0, 4, 10), holding(2, 0, 4, 10)];
    assert_eq!(rebalance(8, &holdings), []);
}

#[test]
fn only_settled_nodes_with_room_move() {
    let mut holdings = [1, 2, 3, 4].map(|id| holding(id, 0, 4, 10)).to_vec();
    holdings.push(holding(5, 4, 8, 10));
    let plan = rebalance(8, &holdings);
    assert_eq!(plan.len(), 1, "{plan:?}");
    assert_eq!(plan[0], Move { node: node(1), from: range(0, 4), to: range(4, 8) });
    assert_eq!((plan[0].load(), plan[0].unload()), (Some(range(4, 8)), Some(range(0, 4))));
    let mut cramped = holdings.clone();
    cramped.iter_mut().for_each(|holding| holding.room = 7);
    assert_eq!(rebalance(8, &cramped), []);
    holdings.iter_mut().for_each(|holding| holding.settled = false);
    assert_eq!(rebalance(8, &holdings), []);
}

#[test]
fn a_gain_below_a_third_moves_nobody() {
    // 5 against 4 equal nodes: moving one would only swap the two.
    let mut holdings: Vec<Holding> = (0..5).map(|id| holding(id, 0, 4, 10)).collect();
    holdings.extend((5..9).map(|id| holding(id, 4, 8, 10)));
    assert_eq!(rebalance(8, &holdings), []);
    // 6 against 2 become 4 against 4.
    holdings.truncate(7);
    holdings.push(holding(9, 0, 4, 10));
    assert_eq!(rebalance(8, &holdings).len(), 2);
}

fn network() -> impl Strategy<Value = (u32, Vec<Holding>)> {
    (1u32..24).prop_flat_map(|n_blocks| {
        let one = (0..n_blocks, 1..=n_blocks, 1u64..1000, 0u32..40, 0u8..8);
        let all = prop::collection::vec(one, 0..20).prop_map(move |all| {
            let made = all.into_iter().enumerate().map(|(id, (start, len, time, room, settled))| {
                let mut made = holding(id, start, (start + len).min(n_blocks), time);
                (made.room, made.settled) = (room, settled > 0);
                made
            });
            made.collect()
        });
        (Just(n_blocks), all)
    })
}

proptest! {
    #[test]
    fn a_joiner_makes_the_slowest_block_as_fast_as_it_can(
        (n_blocks, holdings) in network(), blocks_max in 1u32..30, time in 1u64..1000,
    ) {
        let joiner = Joiner { blocks_max, block_time: Duration::from_micros(time) };
        let span = join(n_blocks, &holdings, &joiner).unwrap();
        prop_assert_eq!(span.len(), blocks_max.min(n_blocks));
        let with = |span: BlockRange| {
            let mut all = holdings.clone();
            all.push(holding(99, span.start(), span.end(), time));
            (slowest(n_blocks, &all), supply(n_blocks, &all).iter().filter(|block| **block > 0).count())
        };
        prop_assert!(holdings.is_empty() || with(span).0 >= slowest(n_blocks, &holdings));
        for start in 0..=n_blocks - span.len() {
            prop_assert!(with(range(start, start + span.len())) <= with(span), "{} is better than {}", start, span);
        }
    }

    #[test]
    fn no_move_uncovers_or_slows_anything((n_blocks, holdings) in network()) {
        let plan = rebalance(n_blocks, &holdings);
        prop_assert!(plan.len() <= MOVES_MAX);
        let mut now = holdings.clone();
        for step in &plan {
            let mover = now.iter().find(|holding| holding.node == step.node).unwrap();
            prop_assert!(mover.settled && step.to.len() == step.from.len() && step.to.end() <= n_blocks);
            prop_assert!(step.from.len() + step.load().unwrap().len() <= mover.room);
            let after = moved(&now, [step]);
            for block in 0..n_blocks {
                let kept = holders(&holdings, block).min(HOLDERS_KEPT);
                prop_assert!(holders(&after, block) >= kept, "block {} in {:?}", block, plan);
            }
            prop_assert!(slowest(n_blocks, &after) >= slowest(n_blocks, &now));
            now = after;
        }
        if !plan.is_empty() {
            let (before, after) = (slowest(n_blocks, &holdings), slowest(n_blocks, &now));
            let unheld = |all: &[Holding]| (0..n_blocks).filter(|block| holders(all, *block) == 0).count();
            let worth = after * GAIN.1 >= before * GAIN.0 && (before > 0 || unheld(&now) < unheld(&holdings));
            prop_assert!(worth, "{} became {}: {:?}", before, after, plan);
        }
        let mut turned = holdings.clone();
        turned.reverse();
        prop_assert_eq!(rebalance(n_blocks, &turned), plan);
    }

    #[test]
    fn plans_come_to_rest((n_blocks, mut holdings) in network()) {
        for _ in 0..40 {
            let plan = rebalance(n_blocks, &holdings);
            if plan.is_empty() {
                return Ok(());
            }
            holdings = plan.iter().fold(holdings, |now, step| moved(&now, [step]));
        }
        prop_assert!(false, "still moving: {:?}", holdings);
    }
}
