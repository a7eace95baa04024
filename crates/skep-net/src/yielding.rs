//! The window of a connection for weights: it fills what others leave of a line, and takes its queue for a sign to leave more.
//!
//! CUBIC sends until a router's buffer is full, and at home that is 100 ms and more in which a token's activations stand, too: on lines
//! of 20 Mbit/s a lap of 48 ms took 190 ms beside a fetch. So this window grows only while a trip takes hardly longer than the
//! shortest one did, as LEDBAT (RFC 6817) and its successor LEDBAT++ do: by a packet or 1/64 per trip, doubled at the beginning. Beyond
//! [`QUEUE`] it shrinks once per trip by the part that is too much, at most by half; at a loss, as CUBIC does.

use std::time::{Duration, Instant};

/// How much longer than the shortest trip one may take because of a queue.
pub(crate) const QUEUE: Duration = Duration::from_millis(10);
/// The least window. On a line of 5 Mbit/s it takes 50 ms, so that machines nearer than that see a queue, though a short one; less of it
/// would let the noise of busy machines in one room, where trips are much shorter than [`QUEUE`], stop a fetch.
const LEAST_BYTES: u64 = 32 << 10;
/// The window at the beginning.
const BEGINNING_BYTES: u64 = 64 << 10;
/// The most that may be in flight.
const MOST_BYTES: u64 = 64 << 20;

/// A window and what it has learnt.
#[derive(Clone, Debug)]
pub(crate) struct Yielding {
    window: u64,
    mtu: u64,
    /// Whether no queue was seen yet.
    doubling: bool,
    /// When the window last shrank: what was sent before says nothing of it.
    shrank: Option<Instant>,
}

impl Yielding {
    pub(crate) fn new(mtu: u16) -> Self {
        Self { window: BEGINNING_BYTES, mtu: mtu.into(), doubling: true, shrank: None }
    }

    pub(crate) fn window(&self) -> u64 {
        self.window
    }

    pub(crate) fn set_mtu(&mut self, mtu: u16) {
        self.mtu = mtu.into();
    }

    /// `bytes` that were sent at `sent` have arrived. A trip there and back takes `trip` now, and the shortest took `shortest`.
    pub(crate) fn arrived(&mut self, now: Instant, sent: Instant, bytes: u64, trip: Duration, shortest: Duration) {
        let queue = trip.saturating_sub(shortest);
        if self.doubling && queue < QUEUE / 2 {
            self.window = (self.window + bytes).min(MOST_BYTES);
        } else if queue <= QUEUE {
            self.doubling = false;
            let per_trip = self.mtu.max(self.window / 64);
            self.window = (self.window + (per_trip * bytes / self.window).max(1)).min(MOST_BYTES);
        } else {
            let excess = queue.as_secs_f64() / QUEUE.as_secs_f64() - 1.0;
            self.shrink(now, sent, (1.0 - excess).max(0.5));
        }
    }

    /// Something that was sent at `sent` is lost.
    pub(crate) fn lost(&mut self, now: Instant, sent: Instant) {
        self.shrink(now, sent, 0.7);
    }

    fn shrink(&mut self, now: Instant, sent: Instant, factor: f64) {
        self.doubling = false;
        if self.shrank.is_none_or(|shrank| sent > shrank) {
            self.window = ((self.window as f64 * factor) as u64).max(LEAST_BYTES);
            self.shrank = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PACKET: u16 = 1200;
    /// Bytes whose arrival is told at once.
    const BATCH: u64 = 16 * PACKET as u64;

    /// A line of `rate` bytes per second over which this connection alone sends for `trips` trips. The bytes in flight at each, beyond
    /// what the line holds, stand in its queue. Returns the queues in seconds and the share of the line that was used.
    fn alone(rate: f64, shortest: Duration, trips: usize) -> Vec<(f64, f64)> {
        let mut window = Yielding::new(PACKET);
        let holds = rate * shortest.as_secs_f64();
        let (mut now, mut seen) = (Instant::now(), Vec::new());
        for _ in 0..trips {
            let in_flight = window.window() as f64;
            let queue = ((in_flight - holds) / rate).max(0.0);
            seen.push((queue, (in_flight / holds).min(1.0)));
            let trip = shortest + Duration::from_secs_f64(queue);
            let (sent, batches) = (now, (window.window() / BATCH).max(1));
            now += trip;
            for _ in 0..batches {
                window.arrived(now, sent + Duration::from_nanos(1), BATCH, trip, shortest);
            }
        }
        seen
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// After a while the queue is near its limit and the line is in use, be it of 4 Mbit/s or of 1 Gbit/s.
        #[test]
        fn a_line_is_used_and_its_queue_stays_short(rate in 500_000.0f64..125e6, ms in 20u64..150) {
            let seen = alone(rate, Duration::from_millis(ms), 400);
            for (queue, used) in &seen[300..] {
                let least = LEAST_BYTES as f64 / rate - ms as f64 / 1e3;
                prop_assert!(*queue <= least.max(QUEUE.as_secs_f64()) * 1.3, "a queue of {queue} s");
                prop_assert!(*used > 0.8, "{used} of the line");
            }
        }

        #[test]
        fn whatever_happens_the_window_keeps_to_its_bounds(
            events in prop::collection::vec((any::<bool>(), 0u64..100, 1u64..2_000_000, 0u64..500), 0..200),
        ) {
            let start = Instant::now();
            let (mut window, mut now) = (Yielding::new(1400), start);
            for (lost, later, bytes, trip) in events {
                let sent = now;
                now += Duration::from_millis(later);
                if lost {
                    window.lost(now, sent);
                } else {
                    window.arrived(now, sent, bytes, Duration::from_millis(trip), Duration::from_millis(20));
                }
                prop_assert!((LEAST_BYTES..=MOST_BYTES).contains(&window.window()));
            }
        }
    }

    #[test]
    fn one_trip_shrinks_it_once() {
        let (start, ms) = (Instant::now(), Duration::from_millis);
        let mut window = Yielding::new(1200);
        window.arrived(start, start, 1 << 20, ms(20), ms(20));
        let before = window.window();
        for _ in 0..9 {
            window.arrived(start + ms(40), start + ms(1), 1200, ms(35), ms(20));
        }
        assert_eq!(window.window(), before / 2);
        window.lost(start + ms(41), start + ms(39));
        assert_eq!(window.window(), before / 2, "that was sent before it shrank");
        window.lost(start + ms(90), start + ms(50));
        assert_eq!(window.window(), (before as f64 / 2.0 * 0.7) as u64);
    }
}
