//! What an answer tells about itself.

use skep_plan::Stage;
use skep_types::{NodeId, wire::HopReport};
use std::time::Duration;

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// The model ended it, or a stop text appeared.
    Stop,
    /// The most tokens were drawn.
    Length,
    /// Nobody waited for it any more.
    Cancelled,
}

/// How an answer was continued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rung {
    /// A standby that had got the lost stage's inputs took its place.
    Standby,
    /// The stage before the lost one sent its outputs again.
    Replay,
    /// All tokens so far were prefilled over another chain.
    Prefill,
}

/// One interruption that was overcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Index of the token that was awaited.
    pub at_token: u32,
    /// The nodes that were lost.
    pub lost: Vec<NodeId>,
    /// How it was overcome; the last way, if more than one was tried.
    pub rung: Rung,
    /// From the token before (or the start) to the token after.
    pub stall: Duration,
}

/// What one stage reported about its frames. Only frames that end in candidates bring reports to the gateway: all of the decoding,
/// and the last chunk of a prefill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HopTotals {
    /// The stage.
    pub stage: Stage,
    /// Frames reported.
    pub frames: u32,
    /// Time from a frame's arrival at the stage to its departure, summed.
    pub hold: Duration,
    /// How many of these frames came after the first token: laps of one token each, while nothing was interrupted.
    pub laps: u32,
    /// The time from arrival to departure of these laps, summed.
    pub lap_hold: Duration,
    /// Round-trip time from the stage to the next hop, as last reported.
    pub rtt_last: Option<Duration>,
}

/// How an answer came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Why it ended.
    pub finish: Finish,
    /// Tokens drawn, the end token not counted.
    pub completion_tokens: u32,
    /// The last chain, with what its stages reported.
    pub hops: Vec<HopTotals>,
    /// Interruptions, in order.
    pub recoveries: Vec<RecoveryReport>,
    /// From the start to the first draw; zero if there was none.
    pub first_token: Duration,
    /// From the start to the end.
    pub total: Duration,
    /// Mean time between draws, if there were two or more.
    pub lap_mean: Option<Duration>,
}

/// What a session writes down for its report.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    start: Duration,
    first_draw: Duration,
    last_draw: Duration,
    draws: u32,
    /// Changes of route so far.
    pub changes: u32,
    interruption: Option<(Vec<NodeId>, Rung)>,
    recoveries: Vec<RecoveryReport>,
    hops: Vec<HopTotals>,
}

impl Ledger {
    pub fn start(&mut self, now: Duration) {
        (self.start, self.first_draw, self.last_draw) = (now, now, now);
    }

    /// These nodes were lost while a token was awaited.
    pub fn interrupted(&mut self, lost: &[NodeId]) {
        self.changes += 1;
        let (nodes, _) = self.interruption.get_or_insert_with(|| (Vec::new(), Rung::Prefill));
        for node in lost.iter().filter(|node| !nodes.contains(node)).copied().collect::<Vec<_>>() {
            nodes.push(node);
        }
    }

    /// How the interruption is being overcome.
    pub fn tried(&mut self, rung: Rung) {
        if let Some((_, tried)) = &mut self.interruption {
            *tried = rung;
        }
    }

    /// A token, or the end of the answer, was drawn. Returns the interruption that this ends.
    pub fn drawn(&mut self, now: Duration, index: u32) -> Option<RecoveryReport> {
        let before = std::mem::replace(&mut self.last_draw, now);
        self.draws += 1;
        if self.draws == 1 {
            self.first_draw = now;
        }
        let (lost, rung) = self.interruption.take()?;
        let report = RecoveryReport { at_token: index, lost, rung, stall: now.saturating_sub(before) };
        self.recoveries.push(report.clone());
        Some(report)
    }

    /// Reports that came with candidates. A frame that was replayed has none from the stages before the replay, so the reports belong
    /// to the last stages of the chain.
    pub fn hops(&mut self, chain: &[Stage], reports: &[HopReport]) {
        let decoding = self.draws > 0 && self.interruption.is_none();
        let skipped = chain.len().saturating_sub(reports.len());
        for (stage, report) in chain[skipped..].iter().zip(reports) {
            let totals = match self.hops.iter_mut().position(|totals| totals.stage == *stage) {
                Some(at) => &mut self.hops[at],
                None => {
                    self.hops.push(empty(stage));
                    let newest = self.hops.len() - 1;
                    &mut self.hops[newest]
                }
            };
            totals.frames += 1;
            let hold = Duration::from_micros(u64::from(report.hold_us));
            totals.hold += hold;
            if decoding {
                totals.laps += 1;
                totals.lap_hold += hold;
            }
            let rtt = (report.rtt_us != u32::MAX).then(|| Duration::from_micros(u64::from(report.rtt_us)));
            totals.rtt_last = rtt.or(totals.rtt_last);
        }
    }

    pub fn report(&self, now: Duration, finish: Finish, completion_tokens: u32, chain: &[Stage]) -> Report {
        let of = |stage: &Stage| self.hops.iter().find(|totals| totals.stage == *stage).cloned();
        let laps = self.draws.saturating_sub(1);
        Report {
            finish,
            completion_tokens,
            hops: chain.iter().map(|stage| of(stage).unwrap_or_else(|| empty(stage))).collect(),
            recoveries: self.recoveries.clone(),
            first_token: self.first_draw.saturating_sub(self.start),
            total: now.saturating_sub(self.start),
            lap_mean: (laps > 0).then(|| self.last_draw.saturating_sub(self.first_draw) / laps),
        }
    }
}

fn empty(stage: &Stage) -> HopTotals {
    HopTotals {
        stage: stage.clone(),
        frames: 0,
        hold: Duration::ZERO,
        laps: 0,
        lap_hold: Duration::ZERO,
        rtt_last: None,
    }
}
