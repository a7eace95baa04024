//! How many bytes a second come over this machine's links, measured by large frames as they come.
//!
//! # The law
//! 1. Only the body of a frame counts that has [`LARGE_BYTES`] at least: a smaller one is over before the link shows what it can.
//! 2. The clock starts when the reader first has to wait for more of that body, and stops with its last byte; the bytes in between
//!    count. What had already come is not counted: it lay in memory, and the link had nothing to do with how fast it is read. So a frame
//!    that was here as a whole when it was looked at says nothing.
//! 3. A frame of which less than [`COUNTED_BYTES`] count says nothing.
//! 4. What is told is all counted bytes over all counted time, where each further frame makes the earlier ones count an eighth less.
//!
//! Weights do not count: they [yield](crate::yielding) to everything else.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

/// The least body of a frame that is measured.
pub(crate) const LARGE_BYTES: usize = 32 << 10;
/// The fewest bytes that are taken for a measurement.
const COUNTED_BYTES: u64 = 16 << 10;
/// What remains of the weight of earlier frames.
const KEPT: f64 = 7.0 / 8.0;

/// What was measured on all links of this machine.
#[derive(Debug, Default)]
pub(crate) struct Goodput {
    state: Mutex<Sums>,
}

#[derive(Debug, Default)]
struct Sums {
    bytes: f64,
    seconds: f64,
}

impl Goodput {
    /// Bytes per second, if anything was measured.
    pub(crate) fn read(&self) -> Option<u64> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // A conversion from a float stops at the greatest integer.
        (state.seconds > 0.0).then(|| ((state.bytes / state.seconds) as u64).max(1))
    }

    fn add(&self, bytes: u64, took: Duration) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.bytes = state.bytes * KEPT + bytes as f64;
        state.seconds = state.seconds * KEPT + took.as_secs_f64();
    }
}

/// Waits for what `read` brings; the clock of the large body that is being read, if one is, starts with the first wait.
pub(crate) async fn watched<T>(body: &mut Option<Body>, read: impl Future<Output = T>) -> T {
    let mut read = pin!(read);
    match poll_fn(|context| Poll::Ready(read.as_mut().poll(context))).await {
        Poll::Ready(came) => came,
        Poll::Pending => {
            if let Some(body) = body {
                body.waits(Instant::now());
            }
            read.await
        }
    }
}

/// The measurement of one large body.
#[derive(Debug, Default)]
pub(crate) struct Body {
    since: Option<Instant>,
    bytes: u64,
}

impl Body {
    /// The reader waits for more.
    pub(crate) fn waits(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// More has come.
    pub(crate) fn came(&mut self, bytes: usize) {
        if self.since.is_some() {
            self.bytes += bytes as u64;
        }
    }

    /// The last byte is here.
    pub(crate) fn ends(self, now: Instant, goodput: &Goodput) {
        let took = self.since.map(|since| now.saturating_duration_since(since));
        if let Some(took) = took.filter(|took| self.bytes >= COUNTED_BYTES && !took.is_zero()) {
            goodput.add(self.bytes, took);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body of which `before` bytes are here and `after` come within `ms` milliseconds.
    fn frame(goodput: &Goodput, before: usize, after: usize, ms: u64) {
        let start = Instant::now();
        let mut body = Body::default();
        body.came(before);
        body.waits(start);
        body.came(after / 2);
        body.waits(start + Duration::from_millis(ms / 2));
        body.came(after - after / 2);
        body.ends(start + Duration::from_millis(ms), goodput);
    }

    #[test]
    fn only_what_was_waited_for_counts() {
        let goodput = Goodput::default();
        assert_eq!(goodput.read(), None);
        frame(&goodput, 1 << 20, 100_000, 100);
        assert_eq!(goodput.read(), Some(1_000_000));
        let here = Goodput::default();
        let mut body = Body::default();
        body.came(1 << 20);
        body.ends(Instant::now(), &here);
        frame(&here, 1 << 20, COUNTED_BYTES as usize - 1, 1);
        frame(&here, 0, 1 << 20, 0);
        assert_eq!(
            here.read(),
            None,
            "neither what lay here, nor the last few bytes, nor what took no time says anything"
        );
    }

    #[test]
    fn the_mean_follows_a_link_that_becomes_another() {
        let goodput = Goodput::default();
        (0..50).for_each(|_| frame(&goodput, 0, 100_000, 100));
        frame(&goodput, 0, 100_000, 10);
        let one = goodput.read().unwrap();
        assert!((1_000_000..1_200_000).contains(&one), "one fast frame among fifty: {one}");
        (0..50).for_each(|_| frame(&goodput, 0, 100_000, 10));
        let now = goodput.read().unwrap();
        assert!((9_500_000..=10_000_000).contains(&now), "{now}");
    }
}
