//! The owner's upload cap, shared by all that this node sends of its weights.

use std::time::Duration;

/// Lets so many bytes per second pass. What was not used in the last tenth of a second may be used at once, and no more.
#[derive(Debug)]
pub(crate) struct Bucket {
    bytes_per_second: u64,
    /// When all that was let pass so far is paid for.
    paid_at: Duration,
}

/// What was not used for longer is lost.
const BURST: Duration = Duration::from_millis(100);

impl Bucket {
    /// Of at least one byte per second.
    pub(crate) fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second: bytes_per_second.max(1), paid_at: Duration::ZERO }
    }

    /// Lets so many bytes per second pass from now on; what was let pass before is paid for as it was.
    pub(crate) fn set_rate(&mut self, bytes_per_second: u64) {
        self.bytes_per_second = bytes_per_second.max(1);
    }

    /// Bytes per second.
    #[cfg(test)]
    pub(crate) fn rate(&self) -> u64 {
        self.bytes_per_second
    }

    /// How long `bytes` that are to be sent at `now` have to wait.
    pub(crate) fn take(&mut self, now: Duration, bytes: usize) -> Duration {
        let begin = self.paid_at.max(now.saturating_sub(BURST));
        let nanos = (bytes as u128 * 1_000_000_000).div_ceil(u128::from(self.bytes_per_second));
        self.paid_at = begin.saturating_add(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)));
        begin.saturating_sub(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever is asked when: in any time, no more passes than the rate times that time, the burst, and one portion.
        #[test]
        fn no_more_passes_than_is_allowed(
            rate in 1u64..10_000_000,
            portions in prop::collection::vec((0u64..2000, 0usize..100_000), 1..60),
        ) {
            let mut bucket = Bucket::new(rate);
            let (mut now, mut sent) = (Duration::ZERO, Vec::new());
            for (pause, bytes) in portions {
                now += Duration::from_millis(pause);
                now += bucket.take(now, bytes);
                sent.push((now, bytes));
            }
            for (i, (from, _)) in sent.iter().enumerate() {
                let mut total = 0;
                for (to, bytes) in &sent[i..] {
                    let allowed = rate as f64 * (*to - *from + BURST).as_secs_f64() + 1.0;
                    prop_assert!(total as f64 <= allowed, "{} bytes in {:?}, {} allowed", total, *to - *from, allowed);
                    total += bytes;
                }
            }
        }
    }

    #[test]
    fn a_stream_of_portions_goes_at_the_rate() {
        let mut bucket = Bucket::new(1000);
        let mut now = Duration::from_secs(60);
        for _ in 0..100 {
            now += bucket.take(now, 100);
        }
        // Ten seconds' worth: the first portion at once, another from the burst, and the last one begins before it is paid for.
        assert_eq!(now, Duration::from_millis(69_800));
    }
}
