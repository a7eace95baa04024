//! What this node measures of its own work, for gateways that plan: while it serves, and once before.
//!
//! What a block takes over one token of a decode lap is the median of the last [`PASSES_KEPT`] passes ([`Median`]): nodes go to other blocks by it,
//! so one pass that the system interrupted must not change it, and neither may how many sessions share a pass. A pass of `r` rows says only
//! that one row takes between an `r`-th of it and all of it, and counts as the nearest time to the present figure that this allows.
//!
//! Each other figure is a moving mean over about [`MEMORY`] passes, so that it follows what the machine does beside this work. A wait is
//! forgotten by halves while nobody comes: else a machine that was once busy would be taken for busy ever after, and never be asked again.

use skep_kernels::PAGE;
use skep_model::Span;
use skep_types::BlockRange;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How many samples a mean remembers.
const MEMORY: u32 = 8;
/// How many passes the median is of: some seconds of one answer.
const PASSES_KEPT: usize = 63;
/// Rows of a measured prefill, one page.
const PROMPT: usize = PAGE;
/// Passes of the measurement at the start, if they are quick.
const PASSES: u32 = 8;
/// No further pass is begun after this time.
const LONGEST: Duration = Duration::from_millis(250);
/// In this time half of a wait is forgotten.
const WAIT_HALF_LIFE: Duration = Duration::from_secs(2);

/// What was measured. Cheap to read while the compute thread works.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    state: Mutex<Measured>,
    decode_block: Mutex<Median>,
    /// When the last frame was answered.
    visited: Mutex<Option<Instant>>,
    pub(super) reused: AtomicU64,
    /// Spans that are loaded, and bytes of their weights.
    spans: AtomicUsize,
    weight_bytes: AtomicU64,
    /// The blocks that are served, whether they are loaded or not.
    blocks: Mutex<Option<BlockRange>>,
    /// Sessions of other machines.
    foreign: AtomicU32,
}

/// The figures of a node; `None` where nothing was measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Measured {
    /// One block over the one token of a decode lap.
    pub(crate) decode_block: Option<Duration>,
    /// One block over one token of a prefill.
    pub(crate) prefill_block: Option<Duration>,
    /// What a visit takes beside its blocks and the wait for them.
    pub(crate) visit: Option<Duration>,
    /// How long a frame waits until a pass takes it.
    pub(crate) wait: Option<Duration>,
    /// Bytes that are free for sessions.
    pub(crate) memory: u64,
    /// Sessions under way.
    pub(crate) sessions: u32,
}

/// Where the time of one frame went.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spent {
    /// From its arrival to the pass that took it.
    pub(super) waited: Duration,
    /// In the blocks.
    pub(super) blocks: Duration,
}

impl Meter {
    pub(crate) fn read(&self) -> Measured {
        self.read_at(Instant::now())
    }

    fn read_at(&self, now: Instant) -> Measured {
        let visited = *self.visited.lock().unwrap_or_else(PoisonError::into_inner);
        let quiet = visited.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        let kept = 0.5f64.powf(quiet.as_secs_f64() / WAIT_HALF_LIFE.as_secs_f64());
        let state = *self.state();
        let decode_block = self.decode_block().value();
        Measured { decode_block, wait: state.wait.map(|wait| wait.mul_f64(kept)), ..state }
    }

    /// Positions of all sessions so far whose rows were stored and did not have to be run.
    pub(crate) fn reused(&self) -> u64 {
        self.reused.load(Ordering::Relaxed)
    }

    /// So many rows were stored and did not have to be run.
    pub(super) fn reuse(&self, rows: u64) {
        self.reused.fetch_add(rows, Ordering::Relaxed);
    }

    /// Spans that are loaded, and bytes of their weights.
    pub(crate) fn loaded(&self) -> (usize, u64) {
        (self.spans.load(Ordering::Relaxed), self.weight_bytes.load(Ordering::Relaxed))
    }

    /// The blocks that are served.
    pub(crate) fn blocks(&self) -> Option<BlockRange> {
        *self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sessions of other machines under way.
    pub(crate) fn foreign(&self) -> u32 {
        self.foreign.load(Ordering::Relaxed)
    }

    /// So many sessions are of other machines.
    pub(super) fn holds_foreign(&self, sessions: usize) {
        self.foreign.store(u32::try_from(sessions).unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    /// These blocks are served.
    pub(super) fn serves(&self, blocks: BlockRange) {
        *self.blocks.lock().unwrap_or_else(PoisonError::into_inner) = Some(blocks);
    }

    /// What is loaded has changed.
    pub(super) fn loads(&self, (spans, bytes): (usize, u64)) {
        self.spans.store(spans, Ordering::Relaxed);
        self.weight_bytes.store(bytes, Ordering::Relaxed);
    }

    fn state(&self) -> MutexGuard<'_, Measured> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn decode_block(&self) -> MutexGuard<'_, Median> {
        self.decode_block.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is promised to sessions has changed.
    pub(super) fn holds(&self, sessions: usize, memory: u64) {
        let mut state = self.state();
        (state.sessions, state.memory) = (u32::try_from(sessions).unwrap_or(u32::MAX), memory);
    }

    /// `rows` rows went through `blocks` blocks together; each session brought one row at most, or they were of prompts.
    pub(super) fn ran(&self, took: Duration, blocks: u32, rows: u32, decoding: bool) {
        match decoding {
            true => self.decode_block().add(took / blocks.max(1), rows),
            false if rows as usize >= PROMPT => mix(&mut self.state().prefill_block, took / blocks.max(1) / rows),
            false => {}
        }
    }

    /// A frame of few rows was answered `total` after its arrival.
    pub(super) fn visited(&self, total: Duration, spent: Spent) {
        *self.visited.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        let mut state = self.state();
        mix(&mut state.wait, spent.waited);
        mix(&mut state.visit, total.saturating_sub(spent.waited + spent.blocks));
    }

    /// Runs made-up rows through all blocks, so that the first gateway that asks is told something measured. The first pass
    /// brings the weights into memory and does not count.
    pub(super) fn measure(&self, span: &Span) {
        let config = span.config();
        let (blocks, positions) = (span.blocks(), PROMPT.min(config.context));
        let Ok(mut cache) = span.new_cache(blocks, positions) else { return };
        let made_up = |at: usize| ((at * 7919) % 2048) as f32 / 1024.0 - 1.0;
        let rows: Vec<f32> = (0..positions * config.d_model).map(made_up).collect();
        let mut pass = |take: usize| {
            let mut rows = rows[..take * config.d_model].to_vec();
            let begun = Instant::now();
            span.forward(&mut cache, &mut rows).ok()?;
            let took = begun.elapsed();
            let begun = Instant::now();
            // The last stage of a text also makes logits, once a visit.
            let _ = span.logits(&rows[..config.d_model]);
            let visit = begun.elapsed();
            cache.truncate(0);
            Some((took, visit))
        };
        let begun = Instant::now();
        if pass(1).is_none() {
            return;
        }
        for count in 0..PASSES {
            if count > 0 && begun.elapsed() > LONGEST {
                break;
            }
            let (Some((one, visit)), Some((prompt, _))) = (pass(1), pass(positions)) else { return };
            if config.family.causal {
                self.decode_block().add(one / blocks.len(), 1);
            }
            let mut state = self.state();
            mix(&mut state.prefill_block, prompt / blocks.len() / positions as u32);
            mix(&mut state.visit, visit);
            // Nobody is here yet.
            mix(&mut state.wait, Duration::ZERO);
        }
    }
}

/// The median of the last [`PASSES_KEPT`] times.
#[derive(Debug, Default)]
struct Median {
    /// The latest last.
    times: VecDeque<Duration>,
}

impl Median {
    fn value(&self) -> Option<Duration> {
        let mut sorted: Vec<Duration> = self.times.iter().copied().collect();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied()
    }

    /// A pass of `rows` rows took this.
    fn add(&mut self, took: Duration, rows: u32) {
        let now = if rows > 1 { self.value() } else { None };
        let time = now.map_or(took, |now| now.clamp(took / rows, took));
        if self.times.len() == PASSES_KEPT {
            self.times.pop_front();
        }
        self.times.push_back(time);
    }
}

/// Moves a mean towards a sample.
fn mix(mean: &mut Option<Duration>, sample: Duration) {
    *mean = Some(mean.map_or(sample, |mean| (mean * (MEMORY - 1) + sample) / MEMORY));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_visit_is_what_neither_waiting_nor_blocks_explain() {
        let meter = Meter::default();
        let ms = Duration::from_millis;
        meter.visited(ms(10), Spent { waited: ms(2), blocks: ms(5) });
        meter.ran(ms(8), 4, 3, true);
        meter.ran(ms(64), 2, 32, false);
        meter.ran(ms(999), 2, 9, false);
        meter.holds(3, 77);
        let expected = Measured {
            decode_block: Some(ms(2)),
            prefill_block: Some(ms(1)),
            visit: Some(ms(3)),
            wait: Some(ms(2)),
            memory: 77,
            sessions: 3,
        };
        let at = meter.visited.lock().unwrap().unwrap();
        assert_eq!(meter.read_at(at), expected);
        assert_eq!(meter.read_at(at + WAIT_HALF_LIFE), Measured { wait: Some(ms(1)), ..expected });
    }

    #[test]
    fn a_median_follows_what_lasts_and_not_what_happens_once() {
        let meter = Meter::default();
        let ran = |us, rows| meter.ran(Duration::from_micros(us), 1, rows, true);
        let now = || meter.read().decode_block.unwrap();
        (0..8).for_each(|_| ran(1000, 1));
        (0..7).for_each(|_| ran(9000, 1));
        assert_eq!(now(), Duration::from_micros(1000));
        (0..40).for_each(|_| ran(4000, 1));
        assert_eq!(now(), Duration::from_micros(4000));
    }

    #[test]
    fn a_pass_of_several_rows_counts_for_what_it_tells_of_one() {
        let meter = Meter::default();
        let ran = |us, rows| (0..2 * PASSES_KEPT).for_each(|_| meter.ran(Duration::from_micros(us), 1, rows, true));
        let now = || meter.read().decode_block.unwrap().as_micros();
        ran(1000, 1);
        ran(3000, 4);
        assert_eq!(now(), 1000, "four rows at 1 ms each may well take 3 ms");
        ran(8000, 4);
        assert_eq!(now(), 2000, "not even if four rows cost four times as much as one");
        ran(1500, 4);
        assert_eq!(now(), 1500, "one row takes no longer than four");
    }
}
