//! Machines agree: a lone one, four of them, and those who join or fall behind.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::world::{Links, World};
use common::*;

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
