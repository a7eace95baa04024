//! What a gateway takes a node to be: what the node tells, corrected by what the gateway saw.
//!
//! # The law
//! A node tells its figures, and in each frame how long it held the frame. Both are its own word. What the gateway itself measures
//! is the lap: from a token that it sent to the candidates that came back. After an answer without interruption it compares.
//!
//! 1. *Hold.* What a node held a frame for, less what its figures say (wait + visit + blocks × decode), moves that node's bias half of
//!    the way. A node that tells no figures is taken to need what it held the frames for.
//! 2. *Excess.* What is left of the lap when all holds and all delays are taken off, less [`SLACK`] for each hop, nobody admits to. It is compared
//!    with the sum of the excesses that the chain's nodes are charged with, and the difference is shared among them evenly (the projection of
//!    Kaczmarz); no excess falls below zero. Nodes that are honest are cleared by other chains, so what stays is with the one that is not.
//! 3. *Failure.* A node that lived all the while and because of which an answer stood still is charged with that time, spread over
//!    [`SPREAD`] tokens, and with [`STRIKE`] times as much for each time that this has happened before without an answer that went well since.
//!    A node that vanished is charged with nothing.
//! 4. Bias and excess are added to the cost of a visit, and halve every [`HALF_LIFE`]: nobody is judged for ever by what once was.
//!
//! Nothing that a node says makes it cheaper than the laps it takes part in.

use skep_plan::{Figures, UNKNOWN_VISIT};
use skep_types::wire::NodeFigures;
use std::time::{Duration, Instant};

/// What the channels and threads of two machines may take of a hop without anybody being to blame.
pub(crate) const SLACK: Duration = Duration::from_millis(1);
/// Over how many tokens the time of a failure is spread: as many as a short answer has.
const SPREAD: f64 = 64.0;
/// Each further failure counts so many times as much, so that who keeps failing is tried ever more rarely: three half-lives later each time.
const STRIKE: f64 = 8.0;
/// The most that a node is charged with, microseconds.
const EXCESS_MAX_US: f64 = 6e7;
/// After this time half of a correction is forgotten.
const HALF_LIFE: Duration = Duration::from_secs(60);

/// What is known of one node's speed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Appraisal {
    told: Option<NodeFigures>,
    /// Microseconds that it held a frame for beyond what it tells; may be negative.
    bias_us: f64,
    /// Microseconds of laps that nobody admits to and this node is charged with.
    excess_us: f64,
    /// Failures since the last answer that went well.
    strikes: u16,
    /// Mean time that it held a frame for, and of how many blocks, if it was seen at work.
    held: Option<(Duration, u32)>,
    /// When the corrections were last brought up to date.
    at: Option<Instant>,
}

/// One node's part of a lap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    /// Mean time that it held a frame for, by its own word.
    pub(crate) hold: Duration,
    /// Blocks that it ran.
    pub(crate) blocks: u32,
}

impl Appraisal {
    /// The node tells its figures.
    pub(crate) fn tell(&mut self, told: NodeFigures) {
        self.told = Some(told);
    }

    /// What the node tells.
    pub(crate) fn told(&self) -> Option<&NodeFigures> {
        self.told.as_ref()
    }

    /// What the gateway adds to a visit, microseconds; less than zero where the node is better than its word.
    pub(crate) fn correction_us(&self, now: Instant) -> f64 {
        (self.bias_us + self.excess_us) * self.kept(now)
    }

    /// The part of the corrections that is not forgotten.
    fn kept(&self, now: Instant) -> f64 {
        let age = self.at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        0.5f64.powf(age.as_secs_f64() / HALF_LIFE.as_secs_f64())
    }

    /// Forgets what has become old.
    fn age(&mut self, now: Instant) {
        let kept = self.kept(now);
        (self.bias_us, self.excess_us, self.at) = (self.bias_us * kept, self.excess_us * kept, Some(now));
    }

    /// Rule 1.
    fn seen(&mut self, now: Instant, held: Held) {
        self.age(now);
        if let Some(expected) = self.told.and_then(|told| expected_us(&told, held.blocks)) {
            let sample = held.hold.as_secs_f64() * 1e6 - expected;
            self.bias_us += (sample - self.bias_us) / 2.0;
        }
        self.held = Some((held.hold, held.blocks));
        self.strikes = 0;
    }

    /// Rule 3: an answer stood still for so long because of this node.
    pub(crate) fn failed(&mut self, now: Instant, stall: Duration) {
        self.age(now);
        let charge = stall.as_secs_f64() * 1e6 / SPREAD * STRIKE.powi(self.strikes.into());
        self.strikes = self.strikes.saturating_add(1);
        self.excess_us = self.excess_us.max(charge).min(EXCESS_MAX_US);
    }

    /// The figures to plan by, where the way there takes `delay` and this gateway has `sessions` under way there.
    pub(crate) fn figures(&self, now: Instant, delay: Option<Duration>, sessions: u32, blocks: u32) -> Figures {
        let nanos = |ns: u32| (ns > 0).then(|| Duration::from_nanos(ns.into()));
        let told = self.told.filter(|told| told.visit_us > 0);
        let seen = self.held.map(|(hold, blocks)| hold / blocks.max(1));
        let excess = self.excess_us * self.kept(now);
        let decode_block = self.told.and_then(|told| nanos(told.decode_ns)).or(seen);
        let visit = match told {
            Some(told) => Some(micros(f64::from(told.visit_us) + self.correction_us(now))),
            // The blocks count for all that it held the frames for.
            None if seen.is_some() => Some(micros(excess)),
            // Nothing is known but that it failed.
            None => (excess > 0.0).then(|| UNKNOWN_VISIT + micros(excess)),
        };
        let wait = told.map(|told| Duration::from_micros(told.wait_us.into())).or(seen.map(|_| Duration::ZERO));
        // A frame meets half of a visit of each other session on the average.
        let load =
            decode_block.zip(visit).map_or(Duration::ZERO, |(block, visit)| (block * blocks + visit) / 2 * sessions);
        Figures {
            decode_block,
            prefill_block: self.told.and_then(|told| nanos(told.prefill_ns)),
            visit,
            wait: wait.map(|wait| wait.max(load)),
            delay,
            goodput: self.told.map(|told| u64::from(told.goodput_kib_s) << 10).filter(|goodput| *goodput > 0),
            memory: self.told.map(|told| told.memory),
            beacons: Vec::new(),
        }
    }
}

/// What a frame of one row takes by the node's figures, microseconds.
fn expected_us(told: &NodeFigures, blocks: u32) -> Option<f64> {
    let measured = told.decode_ns > 0 && told.visit_us > 0;
    let compute = f64::from(told.decode_ns) * f64::from(blocks) / 1e3;
    measured.then(|| f64::from(told.wait_us) + f64::from(told.visit_us) + compute)
}

fn micros(us: f64) -> Duration {
    Duration::from_secs_f64(us.clamp(0.0, EXCESS_MAX_US) / 1e6)
}

/// Compares a measured lap with what the nodes of its chain say, rules 1 and 2. `delays` is the sum of the one-way delays of all hops.
/// `own` nodes are this gateway's machine, whose word is its own.
pub(crate) fn compare(now: Instant, lap: Duration, delays: Duration, chain: &mut [(&mut Appraisal, Held, bool)]) {
    for (appraisal, held, _) in chain.iter_mut() {
        appraisal.seen(now, *held);
    }
    let held: Duration = chain.iter().map(|(_, held, _)| held.hold).sum();
    let slack = SLACK * (chain.len() as u32 + 1);
    let unexplained = lap.saturating_sub(held + delays + slack).as_secs_f64() * 1e6;
    let mut others: Vec<&mut Appraisal> =
        chain.iter_mut().filter(|(.., own)| !own).map(|(one, ..)| &mut **one).collect();
    let charged: f64 = others.iter().map(|appraisal| appraisal.excess_us).sum();
    let share = (unexplained - charged) / others.len().max(1) as f64;
    others.iter_mut().for_each(|appraisal| appraisal.excess_us = (appraisal.excess_us + share).max(0.0));
}

#[cfg(test)]
mod tests;
