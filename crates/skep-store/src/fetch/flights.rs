//! Requests under way: what comes back of them, and how they end.

use super::{Effect, Ended, Evidence, Fetch, Flight, MAX_DROPPED, MAX_REST, Peer, RequestId, UNIT};
use crate::{GROUP_BYTES, RangeSet};
use skep_types::NodeId;
use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

impl Fetch {
    /// Sends a request: for the size if `groups` is none.
    pub(super) fn launch(&mut self, peer: NodeId, groups: Option<Range<u64>>) {
        let request = self.next_request;
        self.next_request += 1;
        let now = self.now;
        let flight = Flight { peer, left: groups.clone(), asked: groups.clone(), since: now, progress: now };
        self.flights.insert(request, flight);
        if let Some(known) = self.peers.get_mut(&peer) {
            known.requests += 1;
        }
        self.effects.push(match groups {
            None => Effect::AskSize { request, peer },
            Some(groups) => {
                self.open.remove(groups.clone());
                Effect::AskSlice { request, peer, groups }
            }
        });
    }

    /// Takes in groups that were verified and kept.
    pub(super) fn got(&mut self, request: RequestId, groups: Range<u64>) {
        let Some(shape) = self.shape else { return };
        let groups = groups.start..groups.end.min(shape.groups());
        let twice: u64 = self.held.overlap(groups.clone()).map(|range| self.bytes(range)).sum();
        self.twice += twice;
        self.held.insert(groups.clone());
        self.open.remove(groups.clone());
        self.given_up.remove(groups.clone());
        if let Some(flight) = self.flights.get_mut(&request) {
            flight.progress = self.now;
            if let Some(left) = &mut flight.left {
                left.start = groups.end.clamp(left.start, left.end);
            }
        }
        // Others that were asked for the same may stop when nothing is left of it.
        let held = &self.held;
        let idle = |left: &Range<u64>| !left.is_empty() && held.covers(left.clone());
        let over =
            self.flights.iter().filter(|(other, flight)| **other != request && flight.left.as_ref().is_some_and(idle));
        for other in over.map(|(other, _)| *other).collect::<Vec<_>>() {
            self.cancel(other);
        }
    }

    /// Takes in the end of a request.
    pub(super) fn ended(&mut self, request: RequestId, how: Ended) {
        let Some(flight) = self.flights.get(&request) else { return };
        let (peer, since) = (flight.peer, flight.since);
        let (asked, left) = (flight.asked.clone(), flight.left.clone());
        let whole = match &left {
            Some(left) => left.is_empty(),
            None => self.shape.is_some(),
        };
        match how {
            Ended::Lied(lie) => return self.catch(request, peer, Evidence { asked, lie }),
            Ended::Done if whole => {
                let took = self.now.saturating_sub(since);
                let bytes = asked.map_or(0, |groups| self.bytes(groups));
                if let Some(peer) = self.peers.get_mut(&peer) {
                    peer.succeeded(bytes, took);
                }
            }
            Ended::NotHeld => {
                if let Some(peer) = self.peers.get_mut(&peer)
                    && let Some(left) = &left
                {
                    peer.holds.remove(left.clone());
                }
                self.fault(peer, left);
            }
            // An answer that ends early is a failure, whatever it is called.
            Ended::Done | Ended::Failed => self.fault(peer, left),
        }
        self.land(request);
    }

    /// The oldest request of each peer, the only one whose clock runs: the others wait for it.
    pub(super) fn firsts(&self) -> impl Iterator<Item = (RequestId, &Flight)> {
        let mut seen = BTreeSet::new();
        self.flights
            .iter()
            .filter(move |(_, flight)| seen.insert(flight.peer))
            .map(|(request, flight)| (*request, flight))
    }

    /// Ends the requests that stand still.
    pub(super) fn expire(&mut self) {
        let (now, stall) = (self.now, self.config.stall);
        let stalled = self.firsts().filter(|(_, flight)| now >= flight.progress + stall);
        for request in stalled.map(|(request, _)| request).collect::<Vec<_>>() {
            let Some(flight) = self.flights.get(&request) else { continue };
            let (peer, left) = (flight.peer, flight.left.clone());
            self.fault(peer, left);
            self.cancel(request);
        }
    }

    /// Ends a request from this side.
    pub(super) fn cancel(&mut self, request: RequestId) {
        self.land(request);
        self.effects.push(Effect::Cancel { request });
    }

    /// Forgets a request and opens what is missing of it, unless another is at it.
    pub(super) fn land(&mut self, request: RequestId) {
        let Some(flight) = self.flights.remove(&request) else { return };
        if let Some(peer) = self.peers.get_mut(&flight.peer) {
            peer.requests -= 1;
        }
        if let Some(next) = self.flights.values_mut().find(|next| next.peer == flight.peer) {
            next.progress = next.progress.max(self.now);
        }
        let Some(left) = flight.left else { return };
        let mut missing = RangeSet::from_iter([left]).difference(&self.held).difference(&self.given_up);
        for other in self.flights.values() {
            other.left.iter().for_each(|range| missing.remove(range.clone()));
        }
        missing.iter().for_each(|range| self.open.insert(range));
    }

    /// Counts a failure against a peer, and against what it did not deliver.
    fn fault(&mut self, peer: NodeId, left: Option<Range<u64>>) {
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.failures += 1;
            let rest = self.config.stall.saturating_mul(1 << (peer.failures - 1).min(16));
            peer.rests_until = self.now + rest.min(MAX_REST);
        }
        let Some(left) = left.filter(|left| !left.is_empty()) else { return };
        // Silent peers must not use up the tries of one that would answer.
        let tries_max = self.config.tries_max.saturating_mul(self.peers.len().max(1) as u32);
        for unit in left.start / UNIT..left.end.div_ceil(UNIT) {
            let tries = self.tries.entry(unit).or_default();
            *tries += 1;
            if *tries >= tries_max {
                let in_unit = left.start.max(unit * UNIT)..left.end.min((unit + 1) * UNIT);
                let missing = RangeSet::from_iter([in_unit]).difference(&self.held).difference(&self.given_up);
                for groups in missing.iter() {
                    self.open.remove(groups.clone());
                    self.given_up.insert(groups.clone());
                    self.effects.push(Effect::GaveUp { groups });
                }
            }
        }
    }

    /// Drops a liar for good.
    fn catch(&mut self, request: RequestId, peer: NodeId, evidence: Evidence) {
        self.land(request);
        self.effects.push(Effect::Drop { peer, evidence: evidence.clone() });
        self.dropped.push_back((peer, evidence));
        if self.dropped.len() > MAX_DROPPED {
            self.dropped.pop_front();
        }
        self.peers.remove(&peer);
        for request in self.requests_of(peer) {
            self.cancel(request);
        }
    }
}

impl Peer {
    fn succeeded(&mut self, bytes: u64, took: Duration) {
        self.failures = 0;
        if bytes >= GROUP_BYTES {
            let rate = (bytes * 1000 / (took.as_millis() as u64).max(1)).max(1);
            self.rate = Some(self.rate.map_or(rate, |before| (3 * before + rate) / 4));
        }
    }
}
