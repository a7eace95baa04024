//! Thousands of seeded disasters: the answer is the undisturbed one, every time.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;
mod sim;

use sim::{Faults, Outcome, Rng, World};
use skep_session::{Finish, Limits, Rung};

type Plan = fn(&mut Rng, u32) -> Faults;

fn run(seed: u64, plan: Plan) -> World {
    let mut world = World::new(seed, plan);
    world.trace = std::env::var_os("SKEP_SIM_TRACE").is_some();
    world.run();
    world
}

/// What holds whatever happens: no wrong, missing or repeated token, and nothing left open.
fn check_always(world: &World) {
    let seed = world.seed;
    assert!(
        world.expected.starts_with(&world.answer),
        "seed {seed}: {:?} instead of {:?}",
        world.answer,
        world.expected
    );
    assert_eq!(world.leftovers(), 0, "seed {seed}: stages are still open");
}

/// What holds while every block is on a living, listed machine.
fn check_complete(world: &World) {
    check_always(world);
    let seed = world.seed;
    let report = match &world.outcome {
        Some(Outcome::Done(report)) => report,
        Some(Outcome::Failed(error)) => panic!("seed {seed}: failed: {error}"),
        None => panic!("seed {seed}: no end"),
    };
    assert!(matches!(report.finish, Finish::Stop | Finish::Length), "seed {seed}: {:?}", report.finish);
    assert_eq!(world.answer, world.expected, "seed {seed}");
    assert_eq!(report.completion_tokens as usize, world.expected.len(), "seed {seed}");
    assert!(report.recoveries.len() <= Limits::default().max_recoveries as usize, "seed {seed}");
    for two in world.token_times.windows(2) {
        let within = |at: &&u64| **at + sim::DETECTION_US >= two[0] && **at <= two[1];
        let disasters = world.disasters.iter().filter(within).count().max(1) as u64;
        let stall = two[1] - two[0];
        assert!(stall < 2_000_000 * disasters, "seed {seed}: {stall} us with {disasters} disasters at {:?}", two);
    }
}

#[test]
fn undisturbed_answers_are_right() {
    for seed in 0..200 {
        let world = run(seed, Faults::none);
        check_complete(&world);
        assert!(world.disasters.is_empty());
    }
}

#[test]
fn one_killed_stage_changes_nothing() {
    let (mut kills, mut replays, mut standbys, mut longest) = (0, 0, 0, 0);
    for seed in 0..1_000 {
        let world = run(seed, Faults::one_kill);
        check_complete(&world);
        assert_eq!(world.gaps, 0, "seed {seed}: a stage was sent rows past its own");
        kills += world.disasters.len();
        let Some(Outcome::Done(report)) = &world.outcome else { panic!("seed {seed}") };
        let of = |rung| report.recoveries.iter().filter(|recovery| recovery.rung == rung).count();
        (replays, standbys) = (replays + of(Rung::Replay), standbys + of(Rung::Standby));
        longest = longest.max(world.token_times.windows(2).map(|two| two[1] - two[0]).max().unwrap_or(0));
    }
    println!("{kills} kills, {standbys} standbys, {replays} replays, longest stall {longest} us");
    assert!(kills > 700, "only {kills} stages were killed");
    assert!(standbys > 100, "only {standbys} standbys took over");
}

#[test]
fn any_disasters_change_nothing_while_every_block_is_held() {
    let (mut standbys, mut replays, mut prefills, mut longest) = (0, 0, 0, 0);
    for seed in 0..3_000 {
        let world = run(seed, Faults::any);
        check_complete(&world);
        let Some(Outcome::Done(report)) = &world.outcome else { panic!("seed {seed}") };
        for recovery in &report.recoveries {
            match recovery.rung {
                Rung::Standby => standbys += 1,
                Rung::Replay => replays += 1,
                Rung::Prefill => prefills += 1,
            }
            longest = longest.max(recovery.stall.as_millis());
        }
    }
    println!("{standbys} standbys, {replays} replays, {prefills} prefills, longest stall {longest} ms");
    assert!(standbys > 200, "only {standbys} standbys took over");
    assert!(replays > 1_000 && prefills > 1_000, "{replays} replays, {prefills} prefills");
}

#[test]
fn any_disasters_leave_the_vector_the_same() {
    let (mut replays, mut prefills) = (0, 0);
    for seed in 0..3_000 {
        let mut world = World::encoding(seed, Faults::any);
        world.trace = std::env::var_os("SKEP_SIM_TRACE").is_some();
        world.run();
        check_complete(&world);
        assert_eq!(world.vector, world.expected_vector, "seed {seed}");
        let Some(Outcome::Done(report)) = &world.outcome else { panic!("seed {seed}") };
        for recovery in &report.recoveries {
            match recovery.rung {
                Rung::Standby => panic!("seed {seed}: an encoding has no standby"),
                Rung::Replay => replays += 1,
                Rung::Prefill => prefills += 1,
            }
        }
    }
    println!("{replays} replays, {prefills} prefills");
    assert!(replays > 500 && prefills > 500, "{replays} replays, {prefills} prefills");
}

#[test]
fn an_answer_that_cannot_go_on_ends_clean() {
    let (mut done, mut failed) = (0, 0);
    for seed in 0..1_000 {
        let world = run(seed, Faults::uncovering);
        check_always(&world);
        match &world.outcome {
            Some(Outcome::Done(_)) => done += 1,
            Some(Outcome::Failed(_)) => failed += 1,
            None => panic!("seed {seed}: no end"),
        }
    }
    assert!(done > 500 && failed > 20, "{done} done, {failed} failed");
}

#[test]
fn the_same_seed_is_the_same_story() {
    let mut stories = std::collections::BTreeSet::new();
    for seed in 0..50 {
        let first = run(seed, Faults::any);
        assert_eq!(first.log, run(seed, Faults::any).log, "seed {seed}");
        stories.insert(first.log);
    }
    assert!(stories.len() > 45);
}
