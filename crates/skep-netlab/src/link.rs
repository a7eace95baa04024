//! One direction of a line: what it does to packets. No clock of its own.

use std::time::Duration;

/// What one direction of a line does. The default does nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Link {
    /// Time on the way, on top of queue and serialisation.
    pub delay: Duration,
    /// Up to so much more time on the way, evenly drawn per packet. Packets never overtake each other.
    pub jitter: Duration,
    /// Probability that a packet is lost, from 0 to 1.
    pub loss: f64,
    /// Bytes per second; without, as fast as can be.
    pub rate: Option<u64>,
    /// Bytes that may wait for their turn; what comes while the buffer is full is lost. Only a rate makes a queue.
    pub buffer: u64,
}

impl Link {
    /// A line of this delay that does nothing else.
    pub fn delay(delay: Duration) -> Self {
        Self { delay, ..Self::default() }
    }

    /// The same line with this probability of loss.
    pub fn with_loss(self, loss: f64) -> Self {
        Self { loss, ..self }
    }
}

/// A line and its state: its queue, and its random source.
#[derive(Clone, Debug)]
pub(crate) struct Pipe {
    link: Link,
    random: u64,
    /// When what was accepted so far has been sent.
    free_at: Duration,
    /// When the last packet arrives.
    last_arrival: Duration,
}

impl Pipe {
    pub(crate) fn new(link: Link, seed: u64) -> Self {
        Self { link, random: seed, free_at: Duration::ZERO, last_arrival: Duration::ZERO }
    }

    /// Changes what the line does from now on.
    pub(crate) fn set(&mut self, link: Link) {
        self.link = link;
    }

    /// When a packet of so many bytes that is sent at `now` arrives; `None` if it is lost.
    pub(crate) fn send(&mut self, now: Duration, bytes: usize) -> Option<Duration> {
        // Both numbers are drawn for every packet, so that a queue that drops one does not change what happens to the others.
        let (lost, jitter) = (self.draw() < self.link.loss, self.link.jitter.mul_f64(self.draw()));
        let sent = match self.link.rate {
            None => now,
            Some(rate) => {
                let begins = self.free_at.max(now);
                let waiting = (begins - now).as_secs_f64() * rate as f64;
                if waiting + bytes as f64 > self.link.buffer as f64 {
                    return None;
                }
                self.free_at = begins + Duration::from_secs_f64(bytes as f64 / rate as f64);
                self.free_at
            }
        };
        if lost {
            return None;
        }
        self.last_arrival = self.last_arrival.max(sent + self.link.delay + jitter);
        Some(self.last_arrival)
    }

    /// The next number from 0 up to 1, by splitmix64.
    fn draw(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.random;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ (x >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_packet_takes_the_delay_and_its_serialisation() {
        let link = Link { delay: 20 * MS, rate: Some(1_000_000), buffer: 10_000, ..Link::default() };
        let mut pipe = Pipe::new(link, 1);
        assert_eq!(pipe.send(MS, 1000), Some(22 * MS));
        assert_eq!(pipe.send(MS, 1000), Some(23 * MS), "the second waits for the first");
        assert_eq!(pipe.send(10 * MS, 1000), Some(31 * MS), "by then the line is free");
    }

    #[test]
    fn a_full_buffer_loses_what_comes_and_keeps_what_waits() {
        let link = Link { rate: Some(1_000_000), buffer: 3000, ..Link::default() };
        let mut pipe = Pipe::new(link, 1);
        let arrivals: Vec<_> = (0..5).map(|_| pipe.send(MS, 1000)).collect();
        assert_eq!(arrivals, [Some(2 * MS), Some(3 * MS), Some(4 * MS), None, None]);
        assert_eq!(pipe.send(4 * MS, 1000), Some(5 * MS));
    }

    #[test]
    fn loss_is_as_frequent_as_asked_and_the_same_for_one_seed() {
        let run = |seed| {
            let mut pipe = Pipe::new(Link::default().with_loss(0.01), seed);
            (0..100_000u32).filter(|_| pipe.send(MS, 100).is_none()).collect::<Vec<_>>()
        };
        let lost = run(7);
        assert!((900..1100).contains(&lost.len()), "{}", lost.len());
        assert_eq!(lost, run(7));
        assert_ne!(lost, run(8));
    }

    #[test]
    fn jitter_stays_within_its_bound_and_never_reorders() {
        let mut pipe = Pipe::new(Link { delay: 10 * MS, jitter: 5 * MS, ..Link::default() }, 3);
        let mut last = Duration::ZERO;
        let mut longest = Duration::ZERO;
        for i in 0..1000 {
            let now = MS * i / 10;
            let arrival = pipe.send(now, 100).unwrap();
            assert!(arrival >= last && arrival >= now + 10 * MS && arrival <= now + 15 * MS);
            longest = longest.max(arrival - now);
            last = arrival;
        }
        assert!(longest > 14 * MS, "{longest:?}");
    }
}
