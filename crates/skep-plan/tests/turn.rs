//! Moves that nobody leads: what holds whoever of the named ones moves, and that it comes to rest.
#![allow(clippy::unwrap_used, reason = "a test")]

mod topology;

use proptest::prelude::*;
use skep_plan::{HOLDERS_KEPT, Holding, Move, decide_move, is_short, may_drop, moves, supply};
use topology::{Rng, node, spans::*};

/// Every node decides for itself, all at once.
fn decided(n_blocks: u32, holdings: &[Holding], turn: u64) -> Vec<Move> {
    holdings.iter().filter_map(|own| decide_move(n_blocks, own, holdings, turn)).collect()
}

#[test]
fn one_of_many_equal_nodes_moves_and_the_turn_draws_which() {
    let mut holdings: Vec<Holding> = (0..5).map(|id| holding(id, 0, 4, 10)).collect();
    holdings.extend([holding(5, 4, 8, 10), holding(6, 4, 8, 10)]);
    let mut movers: Vec<Move> = Vec::new();
    for turn in 0..40 {
        let all = decided(8, &holdings, turn);
        assert_eq!(all.len(), 1, "{all:?}");
        assert_eq!((all[0].from, all[0].to), (range(0, 4), range(4, 8)));
        movers.extend(all);
    }
    movers.sort_by_key(|step| step.node);
    movers.dedup();
    assert_eq!(movers.len(), 5, "whoever cannot move holds the others up for one turn only");
    // When it has moved, nobody follows.
    assert_eq!(decided(8, &moved(&holdings, &movers[..1]), 1), []);
}

#[test]
fn blocks_that_nobody_holds_are_taken_up_though_all_others_are_slow_too() {
    // The only fast node must stay, and what it gives its block makes the average look high.
    let mut holdings: Vec<Holding> = (0..3).map(|id| holding(id, 0, 1, 1000)).collect();
    holdings.push(holding(3, 1, 2, 1));
    let all = decided(3, &holdings, 7);
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!((all[0].from, all[0].to), (range(0, 1), range(2, 3)));
}

#[test]
fn who_is_not_settled_or_has_no_room_stays() {
    let mut holdings: Vec<Holding> = (0..4).map(|id| holding(id, 0, 4, 10)).collect();
    holdings.push(holding(4, 4, 8, 10));
    assert_eq!(decided(8, &holdings, 3).len(), 1);
    let mut cramped = holdings.clone();
    cramped.iter_mut().for_each(|holding| holding.room = 7);
    assert_eq!(decided(8, &cramped, 3), []);
    holdings.iter_mut().for_each(|holding| holding.settled = false);
    assert_eq!(decided(8, &holdings, 3), []);
}

#[test]
fn what_is_even_enough_is_left_alone() {
    assert_eq!(moves(0, &[], 1), []);
    assert_eq!(moves(4, &[], 1), []);
    assert_eq!(decided(4, &[holding(1, 0, 4, 10)], 1), []);
    // 5 against 4: the slowest block has more than three quarters of the average.
    let mut holdings: Vec<Holding> = (0..5).map(|id| holding(id, 0, 4, 10)).collect();
    holdings.extend((5..9).map(|id| holding(id, 4, 8, 10)));
    assert!(!is_short(&supply(8, &holdings)));
    assert_eq!(decided(8, &holdings, 1), []);
    // 3 against 2 holders is uneven, but moving one would only turn it round.
    let few: Vec<Holding> = (0..3).map(|id| holding(id, 0, 4, 10)).chain([holding(3, 4, 8, 9)]).collect();
    let all = decided(8, &few, 1);
    assert_eq!(decided(8, &moved(&few, &all), 1), [], "{all:?}");
}

#[test]
fn before_it_drops_blocks_a_node_makes_sure_that_two_others_have_them() {
    let step = Move { node: node(1), from: range(0, 4), to: range(2, 6) };
    let other = |id, start, end| holding(id, start, end, 10);
    assert!(may_drop(&step, &[other(2, 0, 2), other(3, 0, 4)]));
    assert!(!may_drop(&step, &[other(2, 0, 1), other(3, 0, 4)]));
    assert!(!may_drop(&step, &[other(1, 0, 2), other(3, 0, 4)]), "its own old offer does not count");
}

#[test]
fn a_thousand_nodes_of_which_most_holders_of_a_part_died_are_even_again_after_one_turn() {
    let mut rng = Rng(5);
    let mut holdings = Vec::new();
    for id in 0..1000 {
        let len = [4, 4, 8, 8, 16, 32][rng.between(0, 5) as usize];
        let start = len * rng.between(0, u64::from(32 / len) - 1) as u32;
        holdings.push(holding(id, start, start + len, rng.between(200, 2200)));
    }
    holdings.retain(|holding| holding.blocks.start() >= 8 || rng.one_in(5));
    assert!(is_short(&supply(32, &holdings)));
    let all = decided(32, &holdings, 11);
    let after = moved(&holdings, &all);
    let supplies = supply(32, &after);
    let average = supplies.iter().sum::<u64>() / 32;
    assert!(slowest(32, &after) * 8 >= average * 7, "{supplies:?}");
    assert!(all.len() < holdings.len() / 4, "{} of {} moved", all.len(), holdings.len());
    assert_eq!(decided(32, &after, 12), []);
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

/// The supplies, the slowest first.
fn sorted(n_blocks: u32, holdings: &[Holding]) -> Vec<u64> {
    let mut all = supply(n_blocks, holdings);
    all.sort_unstable();
    all
}

proptest! {
    #[test]
    fn whoever_of_the_named_ones_moves_nothing_gets_worse(
        (n_blocks, holdings) in network(), turn: u64, some: u32,
    ) {
        let all = decided(n_blocks, &holdings, turn);
        prop_assert_eq!(all.len(), all.iter().filter(|step| moves(n_blocks, &holdings, turn).contains(step)).count());
        for step in &all {
            let mover = holdings.iter().find(|holding| holding.node == step.node).unwrap();
            prop_assert!(mover.settled && step.to.len() == step.from.len() && step.to.end() <= n_blocks);
            prop_assert!(step.from.len() + step.load().unwrap().len() <= mover.room);
        }
        let chosen: Vec<&Move> = all.iter().enumerate().filter(|(at, _)| some >> at & 1 == 1).map(|(_, step)| step).collect();
        let after = moved(&holdings, chosen.iter().copied());
        for block in 0..n_blocks {
            let kept = holders(&holdings, block).min(HOLDERS_KEPT);
            prop_assert!(holders(&after, block) >= kept, "block {} after {:?}", block, chosen);
        }
        prop_assert!(slowest(n_blocks, &after) >= slowest(n_blocks, &holdings));
        if !chosen.is_empty() {
            prop_assert!(sorted(n_blocks, &after) > sorted(n_blocks, &holdings), "{:?}", chosen);
        }
        for step in &chosen {
            prop_assert!(may_drop(step, &after), "{:?}", step);
        }
    }

    #[test]
    fn when_all_named_ones_move_the_slowest_block_gains_a_seventh((n_blocks, holdings) in network(), turn: u64) {
        let all = decided(n_blocks, &holdings, turn);
        if !all.is_empty() {
            let after = moved(&holdings, &all);
            let (before, now) = (slowest(n_blocks, &holdings), slowest(n_blocks, &after));
            let unheld = |all: &[Holding]| (0..n_blocks).filter(|block| holders(all, *block) == 0).count();
            prop_assert!(now * 7 >= before * 8 && (before > 0 || unheld(&after) < unheld(&holdings)), "{:?}", all);
        }
        let mut turned = holdings.clone();
        turned.reverse();
        prop_assert_eq!(moves(n_blocks, &turned, turn), moves(n_blocks, &holdings, turn));
    }

    /// A move that is given up, or takes longer than a turn, is as if it had not been named.
    #[test]
    fn it_comes_to_rest_though_only_some_move((n_blocks, mut holdings) in network(), seed: u64) {
        let mut rng = Rng(seed);
        let mut quiet = 0;
        for turn in 0..400 {
            let all = decided(n_blocks, &holdings, turn);
            quiet = if all.is_empty() { quiet + 1 } else { 0 };
            if quiet == 20 {
                return Ok(());
            }
            let some: Vec<Move> = all.into_iter().filter(|_| !rng.one_in(3)).collect();
            holdings = moved(&holdings, &some);
        }
        prop_assert!(false, "still moving: {:?}", holdings);
    }
}
