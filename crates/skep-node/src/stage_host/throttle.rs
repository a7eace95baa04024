//! Keeps work for others under the owner's cap on the processors.
//!
//! # Rules
//! 1. The cap is a share of all processors. Passes with others' rows run on as many threads as stay under it, at least one; what one
//!    thread takes beyond it is paid by rest.
//! 2. What is paid for is the processor time of the whole process around such passes, the network's part included, as the system counts it;
//!    where it does not, the time of the pass times its threads.
//! 3. Rest that was not needed is not saved up for longer than [`BURST`], so the cap holds in short windows too.
//! 4. Passes of this machine's own work are neither paid for nor held back.

use std::time::Duration;

/// Rest that is saved up: shorter than anybody's window.
const BURST: Duration = Duration::from_millis(50);
/// The part of the cap that is used: what the process does when nobody looks at it (timers, heartbeats, sensors) is not paid for.
const USED: f64 = 0.9;
/// The longest pass with others' rows, as far as rows can be cut: a pause waits for the pass under way.
pub(super) const PASS_MOST: Duration = Duration::from_millis(100);
/// Processor time before a pass belongs to it if the last one ended within this time.
const BELONGS: Duration = Duration::from_secs(1);

/// The account of one node. Times are since any one moment.
#[derive(Debug)]
pub(super) struct Throttle {
    processors: f64,
    threads: usize,
    percent: u8,
    /// When all that was taken so far is paid for.
    paid_at: Duration,
    /// When processor time was counted last, and how much it was.
    counted: Option<(Duration, Duration)>,
}

impl Throttle {
    /// Without a cap, on a machine of so many processors, `threads` of which compute.
    pub(super) fn new(processors: u32, threads: usize) -> Self {
        let processors = f64::from(processors.max(1));
        Self { processors, threads: threads.max(1), percent: 100, paid_at: Duration::ZERO, counted: None }
    }

    /// Caps at this share from now on.
    pub(super) fn set(&mut self, percent: u8) {
        self.percent = percent.clamp(1, 100);
    }

    /// Whether there is a cap.
    pub(super) fn is_on(&self) -> bool {
        self.percent < 100
    }

    /// Processors that may be busy on the average.
    fn share(&self) -> f64 {
        self.processors * f64::from(self.percent) / 100.0 * USED
    }

    /// Threads of a pass with others' rows.
    pub(super) fn threads(&self) -> usize {
        if self.is_on() { (self.share() as usize).clamp(1, self.threads) } else { self.threads }
    }

    /// How long others have to wait.
    pub(super) fn rest(&self, now: Duration) -> Duration {
        if self.is_on() { self.paid_at.saturating_sub(now) } else { Duration::ZERO }
    }

    /// A pass without others' rows ended, when the process had taken so much.
    pub(super) fn ran_own(&mut self, now: Duration, processor: Option<Duration>) {
        self.counted = processor.map(|processor| (now, processor));
    }

    /// A pass with others' rows begins.
    pub(super) fn begins(&mut self, now: Duration, processor: Option<Duration>) {
        if self.counted.is_none_or(|(at, _)| now.saturating_sub(at) > BELONGS) {
            self.counted = processor.map(|processor| (now, processor));
        }
    }

    /// It took so long and ends now, when the process had taken so much.
    pub(super) fn ran(&mut self, now: Duration, took: Duration, processor: Option<Duration>) {
        let taken = match (processor, self.counted) {
            (Some(processor), Some((_, before))) => processor.saturating_sub(before),
            _ => took * u32::try_from(self.threads()).unwrap_or(u32::MAX),
        };
        self.counted = processor.map(|processor| (now, processor));
        let begin = self.paid_at.max(now.saturating_sub(took + BURST));
        self.paid_at = begin.saturating_add(taken.div_f64(self.share()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn threads_go_before_rest() {
        let mut throttle = Throttle::new(8, 8);
        assert_eq!((throttle.is_on(), throttle.threads(), throttle.rest(MS)), (false, 8, Duration::ZERO));
        for (percent, threads) in [(75, 5), (50, 3), (10, 1), (1, 1)] {
            throttle.set(percent);
            assert_eq!((throttle.is_on(), throttle.threads()), (true, threads), "{percent} %");
        }
        throttle.set(100);
        assert_eq!(throttle.threads(), 8);
    }

    #[test]
    fn a_pass_is_paid_for_with_what_the_process_took_beside_it() {
        let mut throttle = Throttle::new(2, 1);
        throttle.set(25);
        let second = 1000 * MS;
        throttle.begins(10 * second, Some(5 * second));
        throttle.ran(10 * second + 100 * MS, 100 * MS, Some(5 * second + 90 * MS));
        // 90 ms at 0.45 processors are 200 ms, of which 100 are over and 50 were saved up.
        assert_eq!(throttle.rest(10 * second + 100 * MS), 50 * MS);
        throttle.begins(10 * second + 150 * MS, Some(5 * second + 99 * MS));
        throttle.ran(10 * second + 160 * MS, 10 * MS, Some(5 * second + 108 * MS));
        // The 9 ms between the passes are paid for as well.
        assert_eq!(throttle.rest(10 * second + 160 * MS), 30 * MS);
        throttle.ran_own(10 * second + 500 * MS, Some(6 * second));
        throttle.begins(10 * second + 500 * MS, Some(6 * second));
        throttle.ran(10 * second + 510 * MS, 10 * MS, Some(6 * second + 9 * MS));
        assert_eq!(throttle.rest(10 * second + 510 * MS), Duration::ZERO);
    }

    proptest! {
        /// However long passes are and whoever waits between them: in any window, no more than the cap times the window, what was saved up,
        /// and one pass.
        #[test]
        fn no_window_takes_more_than_the_cap(
            percent in 1u8..100,
            processors in 1u32..64,
            passes in prop::collection::vec((0u64..400, 1u64..100), 1..60),
        ) {
            let mut throttle = Throttle::new(processors, 64);
            throttle.set(percent);
            let (mut now, mut taken) = (Duration::ZERO, Duration::ZERO);
            let mut ends = vec![(now, taken, Duration::ZERO)];
            for (idle, length) in passes {
                now += idle as u32 * MS;
                now += throttle.rest(now);
                throttle.begins(now, Some(taken));
                let pass = length as u32 * MS * throttle.threads() as u32;
                now += length as u32 * MS;
                taken += pass;
                throttle.ran(now, length as u32 * MS, Some(taken));
                ends.push((now, taken, pass));
            }
            let share = f64::from(processors) * f64::from(percent) / 100.0;
            for (i, (from, before, _)) in ends.iter().enumerate() {
                for (to, after, last) in &ends[i..] {
                    let allowed = (*to - *from + BURST).as_secs_f64() * share + last.as_secs_f64();
                    let used = (*after - *before).as_secs_f64();
                    prop_assert!(used <= allowed + 1e-6, "{used} s of {allowed} s");
                }
            }
        }
    }
}
