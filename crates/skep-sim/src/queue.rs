//! What happens when, in milliseconds: a wheel of slots. Within a slot, events happen in the order in which they were put there.

/// Slots of the wheel; later events wait in the last slot and are put in again.
const SLOTS: u64 = 1 << 16;

/// A wheel of events.
#[derive(Debug)]
pub struct Queue<E> {
    slots: Vec<Vec<(u64, E)>>,
    now_ms: u64,
}

impl<E> Queue<E> {
    /// An empty queue that begins at `now_ms`.
    pub fn new(now_ms: u64) -> Self {
        Self { slots: (0..SLOTS).map(|_| Vec::new()).collect(), now_ms }
    }

    /// Puts an event in. One that is over happens in the next millisecond.
    pub fn push(&mut self, at_ms: u64, event: E) {
        let at_ms = at_ms.max(self.now_ms + 1);
        let slot = at_ms.min(self.now_ms + SLOTS - 1) % SLOTS;
        self.slots[slot as usize].push((at_ms, event));
    }

    /// Goes on by one millisecond and returns what happens then.
    pub fn advance(&mut self) -> Vec<E> {
        self.now_ms += 1;
        let due = std::mem::take(&mut self.slots[(self.now_ms % SLOTS) as usize]);
        let mut now = Vec::with_capacity(due.len());
        for (at_ms, event) in due {
            if at_ms <= self.now_ms {
                now.push(event);
            } else {
                self.push(at_ms, event);
            }
        }
        now
    }

    /// Unix milliseconds.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_happen_at_their_time_and_in_order() {
        let mut queue = Queue::new(1000);
        for (at, event) in [(1005, 1), (1002, 2), (1005, 3), (1000, 4), (1000 + 3 * SLOTS, 5)] {
            queue.push(at, event);
        }
        let mut seen = Vec::new();
        for _ in 0..4 * SLOTS {
            let events = queue.advance();
            seen.extend(events.into_iter().map(|event| (queue.now_ms(), event)));
        }
        assert_eq!(seen, [(1001, 4), (1002, 2), (1005, 1), (1005, 3), (1000 + 3 * SLOTS, 5)]);
    }
}
