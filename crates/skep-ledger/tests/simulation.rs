//! A million steps of a small economy in which people vanish and cheat: no money appears or is lost, and no cheat takes more than a window.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;
#[path = "simulation/world.rs"]
mod world;

use common::*;
use skep_ledger::State;
use world::*;

const STEPS: u64 = 1_200_000;
/// The largest window of a provider in the simulation.
const WINDOW_MAX: u64 = 200;
/// Every kind of event.
const KINDS: [&str; 11] = [
    "Transferred",
    "Issued",
    "TabOpened",
    "Claimed",
    "TabEnded",
    "Slashed",
    "Awarded",
    "Leased",
    "OrderEnded",
    "Sold",
    "SaleEnded",
];

fn snapshot(state: &State) -> Vec<Vec<u8>> {
    state.keys().map(|key| state.row(&key).unwrap().unwrap()).collect()
}

#[test]
fn money_is_conserved_and_no_cheat_takes_more_than_a_window() {
    let mut world = World::new(7);
    for step in 0..STEPS {
        let watched = (step % 512 == 0).then(|| (snapshot(&world.state), world.refused, world.applied));
        world.step();
        assert_conserved(&world.state);
        if let Some((before, refused, applied)) = watched
            && world.refused > refused
            && world.applied == applied
        {
            assert_eq!(snapshot(&world.state), before, "a refusal changed something at step {step}");
        }
        for leg in &world.legs {
            assert!(leg.at_risk() <= WINDOW_MAX, "a provider served a client too far ahead at step {step}");
        }
    }
    assert_eq!(world.state.totals().issued.0, world.issued, "no money but for verified work");
    // The walk must have been through everything, or it shows nothing.
    assert!(world.applied > STEPS / 10 && world.refused > STEPS / 20, "{} {}", world.applied, world.refused);
    for kind in KINDS {
        let seen = world.seen.get(kind).copied().unwrap_or(0);
        assert!(seen >= 200, "{kind} happened {seen} times of {:?}", world.seen);
    }
}

#[test]
fn the_same_seed_gives_the_same_state() {
    let run = |seed| {
        let mut world = World::new(seed);
        (0..20_000).for_each(|_| world.step());
        world.state.root().unwrap()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}
