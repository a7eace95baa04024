//! Accusations and the ladder (rules 3 to 8).

use super::{
    Effect, Phase, Rung, Session, SessionError,
    plan::{Chain, Health, Link, held_by_none},
};
use skep_types::{NodeId, wire::MAX_HOPS};
use std::time::Duration;

impl Session {
    /// `node` did something that a healthy stage does not do.
    pub(super) fn accuse(&mut self, now: Duration, node: NodeId, cause: &str, out: &mut Vec<Effect>) {
        self.accuse_all(now, &[node], cause, out);
    }

    pub(super) fn accuse_all(&mut self, now: Duration, nodes: &[NodeId], cause: &str, out: &mut Vec<Effect>) {
        let busy = matches!(self.phase, Phase::Running { .. } | Phase::Opening { .. });
        let mut lost = Vec::new();
        for &node in nodes {
            self.standby_declined(node, out);
            let place = self.place_of(node).filter(|_| busy);
            let health = self.suspects.entry(node).or_insert(Health { offences: 0, since: now });
            if let Some(at) = place {
                *health = Health { offences: health.offences.saturating_add(1), since: now };
                self.links[at].lost = true;
                lost.push(node);
            } else if health.offences == 0 {
                health.offences = 1;
            }
        }
        if !lost.is_empty() {
            self.recover(now, &lost, cause, out);
        }
    }

    /// Finds a way on, by the cheapest rung that holds.
    fn recover(&mut self, now: Duration, lost: &[NodeId], cause: &str, out: &mut Vec<Effect>) {
        self.ledger.interrupted(lost);
        let recoveries = self.ledger.changes - 1;
        if recoveries >= self.config.limits.max_recoveries {
            let cause =
                lost.iter().map(|node| format!("node {}: {cause}", node.short())).collect::<Vec<_>>().join("; ");
            return self.fail(SessionError::TooManyRecoveries { recoveries, cause }, out);
        }
        if !self.promote(now, out) {
            self.drop_standbys(out);
            self.front_stream = None;
            if !self.replay(now, out) {
                self.prefill_anew(now, out);
            }
        }
    }

    /// Rung b; false if there is nothing to build on or no way to fill the holes.
    fn replay(&mut self, now: Duration, out: &mut Vec<Effect>) -> bool {
        let Some((chain, links)) = self.patched_chain().filter(|(chain, _)| chain.len() <= MAX_HOPS) else {
            return false;
        };
        (self.route, self.links) = (chain, links);
        let kept: Vec<NodeId> = self.route.iter().map(|stage| stage.peer.node).collect();
        self.close(|node| kept.contains(&node), out);
        self.epoch += 1;
        self.ledger.tried(Rung::Replay);
        self.open(now, Rung::Replay, out);
        true
    }

    /// Rung c, and the very first chain.
    pub(super) fn prefill_anew(&mut self, now: Duration, out: &mut Vec<Effect>) {
        self.close(|_| false, out);
        self.route.clear();
        self.links.clear();
        let (retry, why) = match self.whole_chain(now) {
            Chain::Now(chain) if chain.len() <= MAX_HOPS => {
                self.links = vec![Link::default(); chain.len()];
                self.route = chain;
                self.renew();
                self.ledger.tried(Rung::Prefill);
                return self.open(now, Rung::Prefill, out);
            }
            Chain::Now(chain) => (Duration::MAX, held_by_none(chain[MAX_HOPS].blocks.start())),
            Chain::Later(retry, why) => (retry, why),
            Chain::Nobody(why) => (Duration::MAX, why),
        };
        let until = match self.phase {
            Phase::Waiting { until, .. } => until,
            _ => now + self.config.limits.route_wait,
        };
        // A suspect that may soon be asked again is worth its pause.
        let until = if retry == Duration::MAX { until } else { until.max(retry + Duration::from_millis(1)) };
        self.phase = Phase::Waiting { until, retry, why };
        out.push(Effect::WakeAt(until.min(retry)));
    }
}
