//! What one gateway may ask of this node, whatever software it runs: the node itself keeps count.
//!
//! # Rules
//! 1. An identity is the key of the gateway's connection. This node's own gateway is not limited: its owner is.
//! 2. *Concurrency.* A session counts from its `Open` to its end.
//! 3. *Rate.* Each identity has a bucket of [`PeerLimits::opens_per_minute`] that fills evenly within a minute; each `Open` takes one,
//!    refused ones too, so that asking in vain is not free.
//! 4. *Size.* A session may not ask for more positions than [`PeerLimits::positions`].
//! 5. *Idleness.* A session to which no frame has come for [`PeerLimits::idle`] is ended, so that nobody holds memory for nothing. Who goes on
//!    with it later finds it gone, and opens it anew.
//! 6. A refusal says which limit it was, and what would change it.
//!
//! An identity is forgotten when it has no session and its bucket is full, so at most [`MOST_KNOWN`] are remembered; further ones are refused.

use skep_types::NodeId;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Identities that are remembered at once.
const MOST_KNOWN: usize = 4096;
const MINUTE: Duration = Duration::from_secs(60);

/// What one gateway may ask of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerLimits {
    /// Sessions at once.
    pub sessions: u32,
    /// Sessions opened within a minute.
    pub opens_per_minute: u32,
    /// Positions of one session: tokens read and written.
    pub positions: u32,
    /// How long a session may last without a frame.
    pub idle: Duration,
}

impl Default for PeerLimits {
    /// 48 sessions, 6,000 a minute (an embedding request opens one for each of its texts), 131,072 positions, ten minutes without a frame.
    fn default() -> Self {
        Self { sessions: 48, opens_per_minute: 6000, positions: 1 << 17, idle: Duration::from_secs(600) }
    }
}

/// Who has how much.
#[derive(Debug)]
pub(super) struct Gate {
    own: NodeId,
    limits: PeerLimits,
    known: HashMap<NodeId, Usage>,
}

#[derive(Debug)]
struct Usage {
    sessions: u32,
    /// Opens that are left, as of `at`.
    left: f64,
    at: Instant,
}

impl Gate {
    pub(super) fn new(own: NodeId, limits: PeerLimits) -> Self {
        Self { own, limits, known: HashMap::new() }
    }

    /// Counts an `Open` of a session of so many positions, and the session if it may be.
    ///
    /// # Errors
    /// One sentence with the limit that it would pass.
    pub(super) fn open(&mut self, now: Instant, from: NodeId, positions: u32) -> Result<(), String> {
        if from == self.own {
            return Ok(());
        }
        let PeerLimits { sessions, opens_per_minute, positions: longest, .. } = self.limits;
        if self.known.len() >= MOST_KNOWN && !self.known.contains_key(&from) {
            self.forget_idle(now);
            if self.known.len() >= MOST_KNOWN {
                return Err(format!("{MOST_KNOWN} gateways are served here, the most that this node keeps count of"));
            }
        }
        let most = f64::from(opens_per_minute);
        let usage = self.known.entry(from).or_insert(Usage { sessions: 0, left: most, at: now });
        usage.fill(now, most);
        if usage.left < 1.0 {
            let wait = ((1.0 - usage.left) * MINUTE.as_secs_f64() / most.max(1.0)).ceil();
            return Err(format!(
                "this gateway has opened {opens_per_minute} sessions within a minute, the most that one may: ask again in {wait} s"
            ));
        }
        usage.left -= 1.0;
        if positions > longest {
            return Err(format!(
                "a session of {positions} positions is longer than the {longest} that one may have here"
            ));
        }
        if usage.sessions >= sessions {
            return Err(format!("this gateway has {sessions} sessions open here, the most that one may"));
        }
        usage.sessions += 1;
        Ok(())
    }

    /// A session that was let in is over.
    pub(super) fn close(&mut self, now: Instant, from: NodeId) {
        if let Some(usage) = self.known.get_mut(&from) {
            usage.sessions = usage.sessions.saturating_sub(1);
        }
        if self.known.len() > MOST_KNOWN / 2 {
            self.forget_idle(now);
        }
    }

    fn forget_idle(&mut self, now: Instant) {
        let most = f64::from(self.limits.opens_per_minute);
        self.known.retain(|_, usage| {
            usage.fill(now, most);
            usage.sessions > 0 || usage.left < most
        });
    }
}

impl Usage {
    fn fill(&mut self, now: Instant, most: f64) {
        let fresh = now.saturating_duration_since(self.at).as_secs_f64() / MINUTE.as_secs_f64() * most;
        (self.left, self.at) = ((self.left + fresh).min(most), now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: NodeId = NodeId([1; 32]);
    const OTHER: NodeId = NodeId([2; 32]);

    fn gate(limits: PeerLimits) -> Gate {
        Gate::new(OWN, limits)
    }

    fn few() -> PeerLimits {
        PeerLimits { sessions: 2, opens_per_minute: 6, positions: 100, ..PeerLimits::default() }
    }

    #[test]
    fn sessions_at_once_are_counted_by_identity() {
        let (mut gate, now) = (gate(few()), Instant::now());
        for _ in 0..2 {
            gate.open(now, OTHER, 10).unwrap();
        }
        let refused = gate.open(now, OTHER, 10).unwrap_err();
        assert_eq!(refused, "this gateway has 2 sessions open here, the most that one may");
        gate.open(now, NodeId([3; 32]), 10).unwrap();
        gate.close(now, OTHER);
        gate.open(now, OTHER, 10).unwrap();
    }

    #[test]
    fn opens_within_a_minute_are_counted_refused_ones_too() {
        let (mut gate, now) = (gate(few()), Instant::now());
        for _ in 0..6 {
            assert!(
                gate.open(now, OTHER, 101)
                    .unwrap_err()
                    .starts_with("a session of 101 positions is longer than the 100")
            );
        }
        let refused = gate.open(now, OTHER, 10).unwrap_err();
        assert!(refused.ends_with("the most that one may: ask again in 10 s"), "{refused}");
        assert!(gate.open(now + Duration::from_secs(9), OTHER, 10).is_err());
        gate.open(now + Duration::from_secs(11), OTHER, 10).unwrap();
        assert!(gate.open(now + Duration::from_secs(11), OTHER, 10).is_err());
    }

    #[test]
    fn the_owner_is_not_limited() {
        let (mut gate, now) = (
            gate(PeerLimits { sessions: 0, opens_per_minute: 0, positions: 0, ..PeerLimits::default() }),
            Instant::now(),
        );
        gate.open(now, OWN, u32::MAX).unwrap();
        assert!(gate.open(now, OTHER, 1).is_err());
    }

    #[test]
    fn strangers_without_end_take_no_memory_without_end() {
        let (mut gate, now) = (gate(few()), Instant::now());
        let who = |count: u32| NodeId([[7, 7, 7, 7], count.to_le_bytes()].concat().repeat(4).try_into().unwrap());
        for count in 0..MOST_KNOWN as u32 {
            gate.open(now, who(count), 1).unwrap();
        }
        assert!(gate.open(now, who(1 << 20), 1).unwrap_err().starts_with("4096 gateways are served here"));
        for count in 0..MOST_KNOWN as u32 {
            gate.close(now, who(count));
        }
        gate.open(now + MINUTE, who(1 << 20), 1).unwrap();
        assert_eq!(gate.known.len(), 1);
    }
}
