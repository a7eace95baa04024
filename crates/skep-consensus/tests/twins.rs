//! Validators that say two things at once, in a network that splits, loses, delays, and whose machines lose power.
//!
//! A scenario is drawn by its seed: for some virtual seconds messages are lost and late, the machines are split in two at random
//! again and again, and machines die, some between two effects of one step, with logs that end anywhere after what was synced. Then
//! all of that stops. Nobody may ever take two blocks of one height for final, and in the end all have to go on together.
//!
//! Twins are machines with one key that know nothing of each other. One pair among four validators is less than a third of the power.
//!
//! `cargo test -p skep-consensus --release --test twins -- --ignored --nocapture twins_10000` runs the ten thousand scenarios of the bar;
//! `SKEP_TWINS=FROM..TO` chooses others. It takes minutes.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::rng::Rng;
use common::world::{Links, Slot, World};
use common::*;
use std::collections::BTreeSet;

/// Until when the network is bad, virtual milliseconds.
const BAD_MS: u64 = 4000;
/// How long it may take until all have gone on together.
const GOOD_MS: u64 = 12_000;

#[derive(Debug, Default)]
struct Count {
    scenarios: u64,
    unsafe_: u64,
    stuck: u64,
    equivocal: u64,
    unconvicted: u64,
    crashes: u64,
    blocks: u64,
    deliveries: u64,
}

struct Scenario {
    world: World,
    rng: Rng,
    crashes: u64,
    down: Vec<(u64, usize)>,
}

impl Scenario {
    fn new(seed: u64, twins: u8) -> Self {
        let keys: Vec<_> = (1..=4).chain(1..=twins).map(node).collect();
        let mut rng = Rng::new(seed ^ 0x7717);
        let links = Links {
            delay_ms: (1, [20, 100, 400][rng.below(3) as usize]),
            loss_percent: [0, 5, 20][rng.below(3) as usize],
        };
        let world = World::new(seed, genesis(4), &keys, links);
        Self { world, rng, crashes: 0, down: Vec::new() }
    }

    /// One of 50 ms in a bad network.
    fn disturb(&mut self) {
        let (rng, world) = (&mut self.rng, &mut self.world);
        if rng.percent(15) {
            for machine in &mut world.machines {
                machine.side = rng.below(2);
            }
        } else if rng.percent(10) {
            world.machines.iter_mut().for_each(|machine| machine.side = 0);
        }
        if rng.percent(8) {
            let at = rng.below(world.machines.len() as u64) as usize;
            if world.machines[at].engine.is_some() && world.machines[at].fuse.is_none() {
                if rng.percent(50) {
                    world.crash(at)
                } else {
                    world.machines[at].fuse = Some(rng.below(12))
                }
                self.down.push((world.now_ms + 50 + rng.below(1500), at));
                self.crashes += 1;
            }
        }
        let (now, machines) = (world.now_ms, &mut world.machines);
        let mut back = Vec::new();
        self.down.retain(|(until, at)| {
            let due = *until <= now && machines[*at].engine.is_none();
            if due {
                back.push(*at);
            }
            !due
        });
        back.into_iter().for_each(|at| world.start(at));
    }

    fn submit(&mut self) {
        let world = &mut self.world;
        let at = self.rng.below(world.machines.len() as u64) as usize;
        let payer = node(1 + self.rng.below(8) as u8);
        if !world.submit(at, payer) {
            let (now, chain) = (world.now(), world.genesis.chain());
            let nonce = world.machines[at].engine.as_ref().map_or(0, |engine| engine.next_nonce(&payer));
            world.submit_tx(at, post(chain, now.unix_s, payer, nonce));
        }
    }

    fn run(&mut self) {
        while self.world.now_ms < BAD_MS {
            self.disturb();
            self.submit();
            self.world.run_until(self.world.now_ms + 50);
        }
        let world = &mut self.world;
        world.links = Links { delay_ms: (1, 30), loss_percent: 0 };
        for at in 0..world.machines.len() {
            world.machines[at].side = 0;
            world.machines[at].fuse = None;
            if world.machines[at].engine.is_none() {
                world.start(at);
            }
        }
    }

    /// Whether all get to three blocks that nobody has seen yet.
    fn goes_on(&mut self) -> bool {
        let goal = self.world.finals.len() as u64 + 3;
        while self.world.now_ms < BAD_MS + GOOD_MS {
            self.submit();
            self.world.run_until(self.world.now_ms + 100);
            if (0..4).all(|at| self.world.is_twin(at) || self.world.height(at) >= goal) {
                return true;
            }
        }
        false
    }
}

fn run(seeds: std::ops::Range<u64>, twins: u8) -> Count {
    let mut count = Count::default();
    for seed in seeds {
        let mut scenario = Scenario::new(seed, twins);
        scenario.run();
        let live = scenario.goes_on();
        let world = &scenario.world;
        // One conviction of a validator at a height is as good as several.
        let case = |(height, _, _, id): &Slot| (*height, *id);
        let seen: BTreeSet<_> =
            world.seen.iter().filter(|(at, _)| !world.is_twin(*at)).map(|(_, slot)| case(slot)).collect();
        let told: BTreeSet<_> = world.shown.iter().map(|(_, slot)| case(slot)).collect();
        let missed = seen.difference(&told).count();
        count.scenarios += 1;
        count.unsafe_ += u64::from(!world.violations.is_empty());
        count.stuck += u64::from(!live);
        count.equivocal += u64::from(!seen.is_empty());
        count.unconvicted += u64::from(missed > 0);
        count.crashes += scenario.crashes;
        count.blocks += world.finals.len() as u64;
        count.deliveries += world.deliveries;
        let innocent = world.evidence.keys().filter(|id| id.0[0] > twins).count();
        assert_eq!(innocent, 0, "seed {seed}: an honest validator is convicted");
        if twins < 2 && (!world.violations.is_empty() || !live || missed > 0 || !world.troubles.is_empty()) {
            let heights: Vec<_> = (0..world.machines.len()).map(|at| world.height(at)).collect();
            println!(
                "seed {seed}: {:?} live {live} {heights:?} missed {missed} of {} {:?}",
                world.violations,
                seen.len(),
                world.troubles
            );
        }
    }
    count
}

fn bar(count: &Count) {
    println!("{count:?}");
    assert_eq!((count.unsafe_, count.stuck, count.unconvicted), (0, 0, 0), "{count:?}");
}

#[test]
fn honest_validators_agree_through_crashes_and_splits() {
    let count = run(0..100, 0);
    bar(&count);
    assert_eq!(count.equivocal, 0, "nobody equivocates");
    assert!(count.crashes > 200, "{count:?}");
}

#[test]
fn one_twin_of_four_harms_nobody_and_is_convicted() {
    let count = run(0..150, 1);
    bar(&count);
    assert!(count.equivocal > 120, "{count:?}");
}

#[test]
fn two_twins_of_four_do_harm() {
    let count = run(0..150, 2);
    assert!(count.unsafe_ > 0, "the simulation could not see a fork: {count:?}");
}

#[test]
#[ignore = "minutes"]
fn twins_10000() {
    let seeds = std::env::var("SKEP_TWINS").unwrap_or("0..10000".into());
    let (from, to) = seeds.split_once("..").unwrap();
    bar(&run(from.parse().unwrap()..to.parse().unwrap(), 1));
}
