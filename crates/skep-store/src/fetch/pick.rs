//! Which peer is asked for what.

use super::{Effect, Fetch, Flight, HOLDS_AGAIN, Peer, RequestId, SIZE_ASKS};
use crate::{GROUP_BYTES, RangeSet};
use skep_types::NodeId;
use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

impl Fetch {
    /// Asks until each peer has its requests or there is nothing to ask for.
    pub(super) fn assign(&mut self) {
        if self.complete {
            return;
        }
        let Some(shape) = self.shape else { return self.ask_size() };
        // In rounds of one request each: all peers begin at once, and the limit per peer bounds the rounds.
        for round in 0..self.config.in_flight_per_peer {
            for peer in self.ready(round) {
                let choice = self.pick(peer, shape.groups()).or_else(|| self.take_over(peer));
                match choice {
                    Some(groups) => self.launch(peer, Some(groups)),
                    None => self.ask_holds(peer),
                }
            }
        }
    }

    /// The peers that have at most `requests` requests and do not rest.
    fn ready(&self, requests: usize) -> Vec<NodeId> {
        let ready = self.peers.iter().filter(|(_, peer)| peer.requests <= requests && peer.rests_until <= self.now);
        ready.map(|(peer, _)| *peer).collect()
    }

    fn ask_size(&mut self) {
        let peers = self.ready(0);
        for peer in peers.into_iter().take(SIZE_ASKS.saturating_sub(self.flights.len())) {
            self.launch(peer, None);
        }
    }

    fn ask_holds(&mut self, id: NodeId) {
        let now = self.now;
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.requests == 0 && now >= peer.holds_asked + HOLDS_AGAIN {
            peer.holds_asked = now;
            self.effects.push(Effect::AskHolds { peer: id });
        }
    }

    /// The rarest open run that the peer holds; among equals, the first from `begin_at` on.
    fn pick(&self, peer: NodeId, groups: u64) -> Option<Range<u64>> {
        let peer = self.peers.get(&peer)?;
        let useful = self.open.intersection(&peer.holds);
        if useful.is_empty() {
            return None;
        }
        let begin_at = self.config.begin_at % groups;
        // Between two cuts all groups are held by the same peers.
        let ends = self.peers.values().flat_map(|peer| peer.holds.iter()).flat_map(|range| [range.start, range.end]);
        let cuts: BTreeSet<u64> = ends.chain([begin_at]).collect();
        let mut best = None;
        for run in useful.iter() {
            let mut start = run.start;
            while start < run.end {
                let end = cuts.range(start + 1..run.end).next().copied().unwrap_or(run.end);
                let holders = self.peers.values().filter(|peer| peer.holds.contains(start)).count();
                let key = (holders, (start + groups - begin_at) % groups);
                if best.as_ref().is_none_or(|(least, _)| key < *least) {
                    best = Some((key, start..end));
                }
                start = end;
            }
        }
        let (_, run) = best?;
        Some(run.start..run.end.min(run.start + self.piece(peer)))
    }

    /// What another peer is slow at: the run that would be the last to come, if this peer would bring it in half the time. What
    /// comes in a quarter of a piece's time anyway is not worth a request.
    fn take_over(&self, id: NodeId) -> Option<Range<u64>> {
        let peer = self.peers.get(&id)?;
        let others = self.flights.iter().filter(|(_, flight)| flight.peer != id);
        let slow = others.filter_map(|(request, flight)| {
            let left = flight.left.clone().filter(|left| !left.is_empty())?;
            let under_way = self.flights.values().filter_map(|flight| flight.left.clone());
            let copies = under_way.filter(|other| other.start < left.end && left.start < other.end).count();
            // Another may have brought some of it already.
            let missing = RangeSet::from_iter(peer.holds.overlap(left.clone())).difference(&self.held);
            let here = missing.iter().next()?;
            let run = here.start..here.end.min(here.start + self.piece(peer));
            let (theirs, ours) = (self.still(*request, flight), self.needs(peer, &run));
            (copies == 1 && theirs > (2 * ours).max(self.config.piece_time / 4)).then_some((theirs, run))
        });
        // The first of equals, so that the choice does not depend on anything but the inputs.
        slow.fold(None, |best: Option<(Duration, Range<u64>)>, (time, run)| match best {
            Some((longest, _)) if longest >= time => best,
            _ => Some((time, run)),
        })
        .map(|(_, run)| run)
    }

    /// How long a request will still take with those before it, as far as its peer is known.
    fn still(&self, request: RequestId, flight: &Flight) -> Duration {
        let mut queue =
            self.flights.range(..=request).map(|(_, other)| other).filter(|other| other.peer == flight.peer);
        let first = queue.clone().next().unwrap_or(flight);
        if self.now.saturating_sub(first.progress) >= self.config.stall / 4 {
            // It may never come.
            return Duration::MAX / 4;
        }
        let Some(peer) = self.peers.get(&flight.peer) else { return Duration::ZERO };
        queue
            .try_fold(Duration::ZERO, |sum, other| sum.checked_add(self.needs(peer, other.left.as_ref()?)))
            .unwrap_or_default()
    }

    /// How long a peer needs for so many groups. A peer of unknown speed is taken to need the time of a piece.
    fn needs(&self, peer: &Peer, groups: &Range<u64>) -> Duration {
        match peer.rate {
            None => self.config.piece_time,
            Some(rate) => Duration::from_millis(self.bytes(groups.clone()).saturating_mul(1000) / rate),
        }
    }

    /// Groups of the peer's next request.
    fn piece(&self, peer: &Peer) -> u64 {
        let in_time = |rate: u64| rate.saturating_mul(self.config.piece_time.as_millis() as u64) / 1000 / GROUP_BYTES;
        let least = self.config.piece_min.max(1);
        peer.rate.map_or(least, in_time).clamp(least, self.config.piece_max.max(least))
    }
}
