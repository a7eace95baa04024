//! Machines agree: a lone one, four of them, and those who join or fall behind.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::world::{Links, World};
use common::*;
use skep_ledger::Action;

const CALM: Links = Links { delay_ms: (5, 15), loss_percent: 0 };

fn sound(world: &World) {
    assert_eq!(world.violations, Vec::<String>::new());
    assert_eq!(world.troubles, Vec::<String>::new());
    assert_eq!(world.evidence.len(), 0, "nobody equivocates");
}

fn balance(world: &mut World, at: usize, number: u8) -> u64 {
    world.machines[at].engine.as_mut().unwrap().chain().state().account(&node(number)).balance.0
}

#[test]
fn a_lone_validator_makes_blocks_on_demand_only() {
    let mut world = World::new(1, genesis(1), &[node(1)], CALM);
    world.run_until(60_000);
    assert_eq!(world.height(0), 0, "nothing waits, so nothing is made");
    assert_eq!(world.machines[0].engine.as_ref().unwrap().wake_at(), None);
    world.begin();
    assert_eq!(world.height(0), 1);
    let before = balance(&mut world, 0, 4);
    (0..10).for_each(|_| assert!(world.submit(0, node(3))));
    world.run_until(world.now_ms + 1);
    assert_eq!((world.height(0), balance(&mut world, 0, 4)), (2, before + 10), "what waits goes into one block");
    world.run_until(world.now_ms + 60_000);
    assert_eq!(world.height(0), 2);
    sound(&world);
}

#[test]
fn four_agree() {
    let mut world = World::new(2, genesis(4), &[1, 2, 3, 4].map(node), CALM);
    world.begin();
    let before = balance(&mut world, 0, 4);
    for round in 0..20 {
        world.submit(round % 4, node(3));
        world.run_until(world.now_ms + 200);
    }
    let heights: Vec<u64> = (0..4).map(|at| world.height(at)).collect();
    assert!(heights.iter().all(|height| *height == heights[0] && *height > 15), "{heights:?}");
    assert_eq!(balance(&mut world, 2, 4), before + 20);
    let height = heights[0];
    world.run_until(world.now_ms + 60_000);
    assert_eq!(world.height(0), height, "no blocks while idle");
    sound(&world);
}

#[test]
fn a_lone_ledger_becomes_a_networks() {
    let mut world = World::new(4, genesis(1), &[1, 2, 3].map(node), CALM);
    world.begin();
    for _ in 0..5 {
        world.submit(0, node(3));
        world.run_until(world.now_ms + 50);
    }
    assert_eq!(world.height(0), 6);
    world.run_until(world.now_ms + 2000);
    assert_eq!(world.height(2), 6, "who does not validate follows");
    let endorse = |world: &mut World, voter: u8, nonce: u64, validator: u8| {
        let (now, chain) = (world.now(), world.genesis.chain());
        let action = Action::Endorse { validator: node(validator), power: 1 };
        assert!(world.submit_tx(usize::from(voter) - 1, signed(chain, now.unix_s, node(voter), nonce, action)));
        world.run_until(world.now_ms + 1500);
    };
    endorse(&mut world, 1, 0, 2);
    let height = world.height(0);
    let header = |world: &World, height: u64| world.machines[0].disk.blocks[height as usize - 1].block.header.clone();
    assert_eq!(
        header(&world, height).validators,
        equals(1).hash(),
        "the block that seats is agreed on by those before"
    );
    assert_eq!(header(&world, height).next, equals(2).hash());
    world.submit(1, node(4));
    world.run_until(world.now_ms + 1000);
    assert_eq!(world.height(0), height + 1);
    assert_eq!(header(&world, height + 1).validators, equals(2).hash(), "and the next one by both");
    // From now on, one of two is not enough.
    world.machines[1].side = 1;
    world.submit(0, node(5));
    world.run_until(world.now_ms + 5000);
    assert_eq!(world.height(0), height + 1);
    world.machines[1].side = 0;
    world.run_until(world.now_ms + 12_000);
    assert!(world.height(0) > height + 1);
    endorse(&mut world, 1, 1, 3);
    endorse(&mut world, 2, 0, 3);
    let machine = world.machines[2].engine.as_mut().unwrap();
    assert_eq!(machine.chain().head().next, equals(3));
    sound(&world);
}

#[test]
fn a_machine_that_was_away_catches_up() {
    let mut world = World::new(5, genesis(4), &[1, 2, 3, 4].map(node), CALM);
    world.begin();
    world.crash(3);
    for round in 0..120 {
        world.submit(round % 3, node(3));
        world.run_until(world.now_ms + 250);
    }
    let before = world.height(0);
    assert!(before > 100, "{before}");
    world.start(3);
    world.run_until(world.now_ms + 1000);
    assert_eq!(world.height(3), before, "more than one answer is needed, and a second is enough for all");
    sound(&world);
}

#[test]
fn a_dead_validator_costs_its_turns_a_few_times_only() {
    let mut world = World::new(6, genesis(4), &[1, 2, 3, 4].map(node), CALM);
    world.begin();
    world.crash(2);
    let mut late = Vec::new();
    for _ in 0..40 {
        let (from, height) = (world.now_ms, world.height(0));
        world.submit(0, node(3));
        while world.height(0) == height {
            world.run_until(world.now_ms + 5);
        }
        late.push(world.now_ms - from > 500);
    }
    let last = late.iter().rposition(|late| *late).unwrap();
    assert!(last < 12 && late.iter().filter(|late| **late).count() <= 3, "{late:?}");
    // It is back in its turns when it signs again.
    world.start(2);
    world.run_until(world.now_ms + 500);
    for _ in 0..12 {
        world.submit(0, node(3));
        world.run_until(world.now_ms + 300);
    }
    let proposers: Vec<_> =
        world.machines[0].disk.blocks.iter().rev().take(6).map(|it| it.block.header.proposer).collect();
    assert!(proposers.contains(&node(3)), "{proposers:?}");
    sound(&world);
}

#[test]
fn one_machine_in_the_dark_does_not_stop_the_others_and_none_waits_for_a_quorum_that_is_not_there() {
    let mut world = World::new(7, genesis(4), &[1, 2, 3, 4].map(node), CALM);
    world.begin();
    for (at, machine) in world.machines.iter_mut().enumerate() {
        machine.side = at as u64 / 2;
    }
    world.submit(0, node(3));
    world.run_until(world.now_ms + 20_000);
    assert_eq!((0..4).map(|at| world.height(at)).collect::<Vec<_>>(), [1; 4], "two of four decide nothing");
    world.machines.iter_mut().for_each(|machine| machine.side = 0);
    world.run_until(world.now_ms + 12_000);
    assert!((0..4).all(|at| world.height(at) >= 2), "and go on when they hear each other");
    sound(&world);
}
