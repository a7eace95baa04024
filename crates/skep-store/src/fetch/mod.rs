//! What is asked of which peer: a state machine without I/O.
//!
//! [`Fetch::step`] takes what happened and the time since some fixed moment, and returns what to do. The same inputs at the same times
//! give the same effects. Whoever carries them out calls again when something happened, and at [`Fetch::next_wake`].
//!
//! **Size.** Until the size is known, up to [`SIZE_ASKS`] peers are asked to prove it with the slice of the last group.
//!
//! **Who is asked for what.** Each peer has at most `in_flight_per_peer` requests, each for one run of groups that is as long as the peer has
//! shown to deliver in `piece_time`. It is asked for what the fewest peers hold, and among equals for the first run at or after
//! `begin_at`: nodes that begin at different places have something to give to each other.
//!
//! **Who is not.** A peer answers its requests in their order. When the oldest is without a verified group for `stall`, it is
//! cancelled; its peer rests, twice as long each time up to [`MAX_REST`], and what is missing of it is open to all again. When nothing is open, an idle peer takes over what another is slow at; a
//! group is never under way more than twice. A peer that sent one wrong part is dropped for good and the lie is named: there is no
//! honest way to such a part, since an honest node checks what it sends. A peer that vanishes loses nothing but its requests.
//!
//! **Bounds.** `peers_max` peers, [`MAX_RUNS`] runs of what each holds, [`MAX_DROPPED`] names of liars, and as many failed requests for each MiB
//! as `tries_max` for each peer, after which it is given up until another peer joins.

mod flights;
mod pick;

use crate::{Lie, RangeSet, Shape};
use skep_types::NodeId;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::time::Duration;

/// How many peers are asked for the size at once.
pub const SIZE_ASKS: usize = 3;
/// The longest rest of a peer that failed.
pub const MAX_REST: Duration = Duration::from_secs(60);
/// The most runs that count of what a peer says it holds, the first ones. Who serves blocks holds a few runs; each costs time at every choice.
pub const MAX_RUNS: usize = 64;
/// The most liars whose names are kept, the oldest going first. Each cost no more than one wrong part.
pub const MAX_DROPPED: usize = 4096;
/// How long a peer that has nothing of use is left alone before it is asked again what it holds.
pub const HOLDS_AGAIN: Duration = Duration::from_secs(5);
/// Groups whose failures are counted together: 1 MiB.
const UNIT: u64 = 64;

/// The limits of a fetch.
#[derive(Clone, Debug)]
pub struct FetchConfig {
    /// Requests that one peer has at once. Two keep its link busy while an answer ends.
    pub in_flight_per_peer: usize,
    /// Peers that count; others are ignored.
    pub peers_max: usize,
    /// Groups of the shortest request and of the first one.
    pub piece_min: u64,
    /// Groups of the longest request.
    pub piece_max: u64,
    /// How long a request should take.
    pub piece_time: Duration,
    /// How long the oldest request of a peer may go without a verified group.
    pub stall: Duration,
    /// Failed requests for one MiB, times the number of peers, before it is given up.
    pub tries_max: u32,
    /// The group to begin at.
    pub begin_at: u64,
}

impl Default for FetchConfig {
    fn default() -> Self {
        Self {
            in_flight_per_peer: 2,
            peers_max: 64,
            piece_min: 8,
            piece_max: 256,
            piece_time: Duration::from_secs(1),
            stall: Duration::from_secs(5),
            tries_max: 8,
            begin_at: 0,
        }
    }
}

/// Names a request.
pub type RequestId = u64;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All of it was verified.
    Done,
    /// The peer said that it does not hold it.
    NotHeld,
    /// The stream broke.
    Failed,
    /// The peer sent a wrong part.
    Lied(Lie),
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// A peer can be asked.
    Joined(NodeId),
    /// A peer cannot be asked any more. Its requests are over.
    Left(NodeId),
    /// What a peer says it holds, in groups.
    Holds {
        /// The peer.
        peer: NodeId,
        /// All that it holds.
        groups: RangeSet,
    },
    /// These bytes of the file are needed, too.
    Want(Range<u64>),
    /// The size was proven.
    Size {
        /// The request that asked for it.
        request: RequestId,
        /// The size.
        shape: Shape,
    },
    /// Groups of a request were verified and kept, in their order.
    Got {
        /// The request.
        request: RequestId,
        /// The groups.
        groups: Range<u64>,
    },
    /// A request is over.
    Ended {
        /// The request.
        request: RequestId,
        /// How.
        how: Ended,
    },
    /// Nothing but time.
    Tick,
}

/// What a liar did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The groups that it was asked for; the last one when it was asked for the size, which then is not known.
    pub asked: Option<Range<u64>>,
    /// The part that was wrong.
    pub lie: Lie,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Ask a peer for the size and the slice of the last group.
    AskSize {
        /// The request's name.
        request: RequestId,
        /// The peer.
        peer: NodeId,
    },
    /// Ask a peer what it holds. The answer is an [`Input::Holds`].
    AskHolds {
        /// The peer.
        peer: NodeId,
    },
    /// Ask a peer for a slice.
    AskSlice {
        /// The request's name.
        request: RequestId,
        /// The peer.
        peer: NodeId,
        /// The groups.
        groups: Range<u64>,
    },
    /// Stop reading the answer to a request; it is over.
    Cancel {
        /// The request.
        request: RequestId,
    },
    /// Have nothing to do with this peer any more.
    Drop {
        /// The peer.
        peer: NodeId,
        /// What it did.
        evidence: Evidence,
    },
    /// These groups failed too often; they are tried again when another peer joins.
    GaveUp {
        /// The groups.
        groups: Range<u64>,
    },
    /// All that is wanted is held.
    Complete,
}

/// How far a fetch is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes wanted, in whole groups.
    pub wanted_bytes: u64,
    /// Of these, bytes verified.
    pub verified_bytes: u64,
    /// Bytes wanted and not verified that no peer here says it holds.
    pub unheld_bytes: u64,
    /// Bytes verified a second time.
    pub twice_bytes: u64,
    /// Peers that can be asked.
    pub peers: usize,
    /// Requests under way.
    pub requests: usize,
}

/// A peer that can be asked.
#[derive(Debug, Default)]
struct Peer {
    holds: RangeSet,
    /// When it was last asked what it holds.
    holds_asked: Duration,
    /// Bytes per second.
    rate: Option<u64>,
    requests: usize,
    /// Failures since the last success.
    failures: u32,
    rests_until: Duration,
}

/// A request under way.
#[derive(Debug)]
struct Flight {
    peer: NodeId,
    /// What is still to come; none when the size was asked for.
    left: Option<Range<u64>>,
    asked: Option<Range<u64>>,
    since: Duration,
    /// When the last group came, or the request before it was over.
    progress: Duration,
}

/// A fetch of parts of one file.
#[derive(Debug)]
pub struct Fetch {
    config: FetchConfig,
    now: Duration,
    shape: Option<Shape>,
    /// In bytes, until the size is known.
    wanted_early: RangeSet,
    wanted: RangeSet,
    held: RangeSet,
    /// Wanted, not held, not under way, not given up.
    open: RangeSet,
    given_up: RangeSet,
    tries: BTreeMap<u64, u32>,
    peers: BTreeMap<NodeId, Peer>,
    dropped: VecDeque<(NodeId, Evidence)>,
    flights: BTreeMap<RequestId, Flight>,
    next_request: RequestId,
    twice: u64,
    complete: bool,
    effects: Vec<Effect>,
}

impl Fetch {
    /// Of a file; `kept` are its size and the groups that are here from an earlier time, if any.
    pub fn new(config: FetchConfig, kept: Option<(Shape, RangeSet)>) -> Self {
        let (shape, held) = kept.map_or((None, RangeSet::new()), |(shape, held)| (Some(shape), held));
        let mut fetch = Self {
            config,
            now: Duration::ZERO,
            shape: None,
            wanted_early: RangeSet::new(),
            wanted: RangeSet::new(),
            held,
            open: RangeSet::new(),
            given_up: RangeSet::new(),
            tries: BTreeMap::new(),
            peers: BTreeMap::new(),
            dropped: VecDeque::new(),
            flights: BTreeMap::new(),
            next_request: 0,
            twice: 0,
            complete: false,
            effects: Vec::new(),
        };
        if let Some(shape) = shape {
            fetch.learn_size(shape);
        }
        fetch
    }

    /// The size, once it is proven.
    pub fn shape(&self) -> Option<Shape> {
        self.shape
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        let bytes = |set: &RangeSet| set.iter().map(|range| self.bytes(range)).sum();
        let missing = self.wanted.difference(&self.held);
        let somewhere = self.peers.values().fold(missing.clone(), |left, peer| left.difference(&peer.holds));
        Progress {
            wanted_bytes: bytes(&self.wanted),
            verified_bytes: bytes(&self.wanted) - bytes(&missing),
            unheld_bytes: bytes(&somewhere),
            twice_bytes: self.twice,
            peers: self.peers.len(),
            requests: self.flights.len(),
        }
    }

    /// The liars, the latest last.
    pub fn dropped(&self) -> impl Iterator<Item = &(NodeId, Evidence)> {
        self.dropped.iter()
    }

    /// When [`Fetch::step`] has something to do even if nothing happens.
    pub fn next_wake(&self) -> Option<Duration> {
        if self.complete {
            return None;
        }
        let of = |flight: &Flight| [flight.progress + self.config.stall / 4, flight.progress + self.config.stall];
        let flights = self.firsts().flat_map(|(_, flight)| of(flight));
        let peers = self.peers.values().flat_map(|peer| [peer.rests_until, peer.holds_asked + HOLDS_AGAIN]);
        flights.chain(peers).filter(|at| *at > self.now).min()
    }

    /// Takes in what happened at time `now` and says what to do. Time does not go back.
    pub fn step(&mut self, now: Duration, input: Input) -> Vec<Effect> {
        self.now = self.now.max(now);
        match input {
            Input::Joined(peer) => self.join(peer),
            Input::Left(peer) => self.leave(peer),
            Input::Holds { peer, groups } => {
                if let Some(known) = self.peers.get_mut(&peer) {
                    known.holds = groups.iter().take(MAX_RUNS).collect();
                }
            }
            Input::Want(bytes) => self.want(bytes),
            Input::Size { request, shape } if self.flights.contains_key(&request) => {
                self.learn_size(shape);
                self.end_size_asks(request);
            }
            Input::Size { .. } | Input::Tick => {}
            Input::Got { request, groups } => self.got(request, groups),
            Input::Ended { request, how } => self.ended(request, how),
        }
        self.expire();
        self.finish();
        self.assign();
        std::mem::take(&mut self.effects)
    }

    fn bytes(&self, groups: Range<u64>) -> u64 {
        let bytes = self.shape.map_or(0..0, |shape| shape.bytes_of(groups));
        bytes.end - bytes.start
    }

    fn join(&mut self, peer: NodeId) {
        if let Some((_, evidence)) = self.dropped.iter().find(|(liar, _)| *liar == peer) {
            self.effects.push(Effect::Drop { peer, evidence: evidence.clone() });
        } else if self.peers.len() < self.config.peers_max && !self.peers.contains_key(&peer) {
            self.peers.insert(peer, Peer { holds_asked: self.now, ..Peer::default() });
            self.effects.push(Effect::AskHolds { peer });
            for groups in std::mem::take(&mut self.given_up).iter() {
                self.open.insert(groups);
            }
            self.tries.clear();
        }
    }

    fn leave(&mut self, peer: NodeId) {
        if self.peers.remove(&peer).is_none() {
            return;
        }
        for request in self.requests_of(peer) {
            self.land(request);
        }
    }

    fn requests_of(&self, peer: NodeId) -> Vec<RequestId> {
        self.flights.iter().filter(|(_, flight)| flight.peer == peer).map(|(request, _)| *request).collect()
    }

    fn want(&mut self, bytes: Range<u64>) {
        match self.shape {
            None => self.wanted_early.insert(bytes),
            Some(shape) => self.want_groups(shape.groups_of(bytes)),
        }
    }

    fn want_groups(&mut self, groups: Range<u64>) {
        let new = RangeSet::from_iter([groups.clone()]).difference(&self.wanted).difference(&self.held);
        new.iter().for_each(|range| self.open.insert(range));
        self.wanted.insert(groups);
        self.complete = false;
    }

    fn learn_size(&mut self, shape: Shape) {
        if self.shape.is_some() {
            return;
        }
        self.shape = Some(shape);
        self.want_groups(shape.last_group());
        for bytes in std::mem::take(&mut self.wanted_early).iter() {
            self.want_groups(shape.groups_of(bytes));
        }
    }

    /// The first proof is as good as any: the others that were asked need not answer.
    fn end_size_asks(&mut self, answered: RequestId) {
        let others = self.flights.iter().filter(|(request, flight)| flight.asked.is_none() && **request != answered);
        for request in others.map(|(request, _)| *request).collect::<Vec<_>>() {
            self.cancel(request);
        }
    }

    /// Says once that all is there, and ends what is still under way a second time.
    fn finish(&mut self) {
        let unfinished = self.shape.is_none() || !self.open.is_empty();
        if self.complete || unfinished || self.wanted.count() != self.wanted.intersection(&self.held).count() {
            return;
        }
        self.complete = true;
        for request in self.flights.keys().copied().collect::<Vec<_>>() {
            self.cancel(request);
        }
        self.effects.push(Effect::Complete);
    }
}
