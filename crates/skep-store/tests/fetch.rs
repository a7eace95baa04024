//! A fetch from seeded swarms of peers that lie, stall, vanish, are slow or hold only a part, in virtual time.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::Served;
use skep_store::fetch::{Effect, Ended, FetchConfig, Input, RequestId};
use skep_store::{Decoder, Fetch, GROUP_BYTES, Lie, Part, RangeSet, Shape, StoreError};
use skep_types::NodeId;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::LazyLock;
use std::time::Duration;

const GROUPS: u64 = 96;
static SERVED: LazyLock<Served> = LazyLock::new(|| Served::new((GROUPS * GROUP_BYTES) as usize - 3));
static PARTS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let whole = SERVED.parts(0..GROUPS);
    let group = |(part, bytes)| if matches!(part, Part::Group(_)) { Some(bytes) } else { None };
    whole.into_iter().filter_map(group).collect()
});

/// A small random source: the tests need the same numbers everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % below
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Habit {
    Honest,
    /// Sends a wrong part after so many right ones.
    Lies(u64),
    /// Falls silent for good after so many parts.
    Stalls(u64),
    /// Leaves at this time.
    Vanishes(Duration),
    /// Says that it holds all, and refuses each second request.
    Refuses,
}

struct SimPeer {
    habit: Habit,
    holds: RangeSet,
    delay: Duration,
    part_time: Duration,
    free_at: Duration,
    sent: u64,
    asked: u64,
}

#[derive(Debug)]
enum Event {
    Join(NodeId),
    Leave(NodeId),
    Holds(NodeId),
    Part(RequestId, Vec<u8>),
    Refused(RequestId),
}

/// An answer being read.
struct Reading {
    peer: NodeId,
    decoder: Decoder,
    size: bool,
}

struct World {
    now: Duration,
    fetch: Fetch,
    peers: BTreeMap<NodeId, SimPeer>,
    events: BTreeMap<(Duration, u64), Event>,
    number: u64,
    readings: BTreeMap<RequestId, Reading>,
    file: Vec<u8>,
    got: RangeSet,
    complete: Option<Duration>,
    given_up: RangeSet,
    dropped: BTreeMap<NodeId, Lie>,
    trace: blake3::Hasher,
    limit: usize,
}

fn node(i: u64) -> NodeId {
    NodeId([i as u8 + 1; 32])
}

impl World {
    fn new(config: FetchConfig, kept: Option<(Shape, RangeSet)>) -> Self {
        Self {
            now: Duration::ZERO,
            limit: config.in_flight_per_peer,
            fetch: Fetch::new(config, kept),
            peers: BTreeMap::new(),
            events: BTreeMap::new(),
            number: 0,
            readings: BTreeMap::new(),
            file: vec![0; SERVED.bytes.len()],
            got: RangeSet::new(),
            complete: None,
            given_up: RangeSet::new(),
            dropped: BTreeMap::new(),
            trace: blake3::Hasher::new(),
        }
    }

    fn peer(&mut self, i: u64, habit: Habit, holds: Range<u64>, rate_kib_s: u64, joins_ms: u64) {
        // Whoever holds a part holds the last group.
        let holds = [holds, GROUPS - 1..GROUPS].into_iter().collect();
        let part_time = Duration::from_micros(16 * 1_000_000 / rate_kib_s);
        let delay = Duration::from_millis(20 + i);
        self.peers
            .insert(node(i), SimPeer { habit, holds, delay, part_time, free_at: Duration::ZERO, sent: 0, asked: 0 });
        self.at(Duration::from_millis(joins_ms), Event::Join(node(i)));
        if let Habit::Vanishes(when) = habit {
            self.at(when.max(Duration::from_millis(joins_ms + 1)), Event::Leave(node(i)));
        }
    }

    fn at(&mut self, when: Duration, event: Event) {
        self.number += 1;
        self.events.insert((when, self.number), event);
    }

    fn step(&mut self, input: Input) {
        let effects = self.fetch.step(self.now, input);
        for effect in effects {
            self.trace.update(format!("{:?} {effect:?}", self.now).as_bytes());
            self.carry_out(effect);
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::AskSize { request, peer } => self.ask(request, peer, None),
            Effect::AskSlice { request, peer, groups } => self.ask(request, peer, Some(groups)),
            Effect::AskHolds { peer } => self.at(self.now + self.peers[&peer].delay, Event::Holds(peer)),
            Effect::Cancel { request } => assert!(self.readings.remove(&request).is_some(), "cancelled twice"),
            Effect::Drop { peer, evidence } => {
                self.dropped.insert(peer, evidence.lie);
            }
            Effect::GaveUp { groups } => self.given_up.insert(groups),
            Effect::Complete => self.complete = Some(self.now),
        }
    }

    /// A peer answers as its habit is; its answers leave one after the other.
    fn ask(&mut self, request: RequestId, id: NodeId, groups: Option<Range<u64>>) {
        assert!(!self.dropped.contains_key(&id), "a liar is asked again");
        let size = groups.is_none();
        let groups = groups.unwrap_or(SERVED.shape().last_group());
        let decoder = Decoder::new(SERVED.id(), SERVED.shape(), groups.clone()).unwrap();
        self.readings.insert(request, Reading { peer: id, decoder, size });
        let at_once = self.readings.values().filter(|reading| reading.peer == id).count();
        assert!(at_once <= self.limit, "{at_once} requests at one peer");
        let peer = self.peers.get_mut(&id).unwrap();
        peer.asked += 1;
        let mut when = (self.now + peer.delay).max(peer.free_at);
        let mut events = Vec::new();
        if peer.habit == Habit::Refuses && peer.asked.is_multiple_of(2) || !peer.holds.covers(groups.clone()) {
            events.push((when, Event::Refused(request)));
        } else {
            for (_, mut bytes) in SERVED.parts(groups) {
                peer.sent += 1;
                match peer.habit {
                    Habit::Lies(after) if peer.sent > after => bytes[peer.sent as usize % 7] ^= 4,
                    Habit::Stalls(after) if peer.sent > after => break,
                    _ => {}
                }
                when += if bytes.len() > 64 { peer.part_time } else { Duration::ZERO };
                events.push((when, Event::Part(request, bytes)));
            }
        }
        peer.free_at = when;
        events.into_iter().for_each(|(when, event)| self.at(when + Duration::from_millis(1), event));
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Join(peer) => self.step(Input::Joined(peer)),
            Event::Leave(peer) => {
                self.readings.retain(|_, reading| reading.peer != peer);
                self.step(Input::Left(peer));
            }
            Event::Holds(peer) => {
                let groups = self.peers[&peer].holds.clone();
                self.step(Input::Holds { peer, groups });
            }
            Event::Refused(request) => {
                if self.readings.remove(&request).is_some() {
                    self.step(Input::Ended { request, how: Ended::NotHeld });
                }
            }
            Event::Part(request, bytes) => self.part(request, &bytes),
        }
    }

    fn part(&mut self, request: RequestId, bytes: &[u8]) {
        let Some(reading) = self.readings.get_mut(&request) else { return };
        let (size, verdict) = (reading.size, reading.decoder.push(bytes));
        let over = reading.decoder.next_part().is_none();
        match verdict {
            Err(StoreError::Lie(lie)) => {
                self.readings.remove(&request);
                return self.step(Input::Ended { request, how: Ended::Lied(lie) });
            }
            Err(other) => panic!("{other}"),
            Ok(verified) => {
                if let Part::Group(group) = verified.part() {
                    let at = SERVED.shape().bytes_of(group..group + 1);
                    self.file[at.start as usize..at.end as usize].copy_from_slice(verified.bytes());
                    self.got.insert(group..group + 1);
                    if size {
                        self.step(Input::Size { request, shape: SERVED.shape() });
                    }
                    self.step(Input::Got { request, groups: group..group + 1 });
                }
            }
        }
        if over && self.readings.remove(&request).is_some() {
            self.step(Input::Ended { request, how: Ended::Done });
        }
    }

    /// Until it is complete, or `end`.
    fn run(&mut self, end: Duration) {
        while self.complete.is_none() && self.now < end {
            let event = self.events.first_key_value().map(|((when, _), _)| *when);
            let wake = self.fetch.next_wake();
            match [event, wake].into_iter().flatten().min() {
                None => break,
                Some(when) if event == Some(when) => {
                    self.now = self.now.max(when);
                    let (_, event) = self.events.pop_first().unwrap();
                    self.happen(event);
                }
                Some(when) => {
                    self.now = self.now.max(when);
                    self.step(Input::Tick);
                    assert!(self.fetch.next_wake().is_none_or(|next| next > self.now), "it would spin");
                }
            }
        }
    }

    fn assert_whole(&self, wanted: Range<u64>) {
        assert!(self.complete.is_some(), "{:?} after {:?}: {:?}", self.fetch.progress(), self.now, self.given_up);
        for group in wanted {
            let at = SERVED.shape().bytes_of(group..group + 1);
            assert_eq!(self.file[at.start as usize..at.end as usize], PARTS[group as usize]);
        }
    }
}

fn config() -> FetchConfig {
    FetchConfig { piece_min: 2, piece_max: 16, ..FetchConfig::default() }
}

/// A swarm with one honest peer that holds everything, and up to seven others of any habit.
fn swarm(seed: u64) -> World {
    let mut dice = Dice(seed);
    let mut world = World::new(FetchConfig { begin_at: dice.roll(GROUPS), ..config() }, None);
    let n = 1 + dice.roll(7);
    for i in 0..n {
        let habit = match dice.roll(8) {
            0 | 1 => Habit::Lies(dice.roll(30)),
            2 => Habit::Stalls(dice.roll(30)),
            3 => Habit::Vanishes(Duration::from_millis(dice.roll(4000))),
            4 => Habit::Refuses,
            _ => Habit::Honest,
        };
        let start = dice.roll(GROUPS / 2);
        let holds = if dice.roll(2) == 0 { 0..GROUPS } else { start..start + 1 + dice.roll(GROUPS / 2) };
        let rate = [16, 200, 1000, 10_000][dice.roll(4) as usize];
        world.peer(i, habit, holds, rate, dice.roll(500));
    }
    let joins = dice.roll(3000);
    world.peer(n, Habit::Honest, 0..GROUPS, 500 + dice.roll(2000), joins);
    world
}

#[test]
fn every_swarm_with_one_whole_honest_peer_delivers() {
    for seed in 0..150 {
        let mut world = swarm(seed);
        world.step(Input::Want(0..u64::MAX));
        world.run(Duration::from_secs(300));
        world.assert_whole(0..GROUPS);
        let liars: BTreeSet<NodeId> = world
            .peers
            .iter()
            .filter(|(_, peer)| matches!(peer.habit, Habit::Lies(after) if peer.sent > after))
            .map(|(id, _)| *id)
            .collect();
        let named: BTreeSet<NodeId> = world.dropped.keys().copied().collect();
        assert!(named.is_subset(&liars), "seed {seed}: an honest peer was dropped");
        let progress = world.fetch.progress();
        assert_eq!(
            (progress.verified_bytes, progress.wanted_bytes),
            (SERVED.bytes.len() as u64, SERVED.bytes.len() as u64)
        );
        assert!(progress.twice_bytes < SERVED.bytes.len() as u64 / 5, "seed {seed}: {progress:?}");
        assert_eq!(progress.requests, 0);
    }
}

#[test]
fn the_same_seed_does_the_same() {
    let run = |seed| {
        let mut world = swarm(seed);
        world.step(Input::Want(0..u64::MAX));
        world.run(Duration::from_secs(300));
        world.trace.finalize()
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5), run(6));
}

#[test]
fn only_what_is_wanted_is_fetched_and_more_may_be_wanted_later() {
    let mut world = World::new(config(), None);
    world.peer(0, Habit::Honest, 0..GROUPS, 1000, 0);
    world.step(Input::Want(0..1));
    world.run(Duration::from_secs(60));
    world.assert_whole(0..1);
    assert_eq!(world.got.iter().collect::<Vec<_>>(), [0..1, GROUPS - 1..GROUPS]);
    world.complete = None;
    world.step(Input::Want(10 * GROUP_BYTES + 1..20 * GROUP_BYTES));
    world.run(Duration::from_secs(60));
    world.assert_whole(10..20);
    assert_eq!(world.got.iter().collect::<Vec<_>>(), [0..1, 10..20, GROUPS - 1..GROUPS]);
    assert_eq!(world.fetch.progress().twice_bytes, 0);
}

#[test]
fn what_is_kept_from_an_earlier_time_is_not_fetched() {
    let kept = RangeSet::from_iter([0..50, GROUPS - 1..GROUPS]);
    let mut world = World::new(config(), Some((SERVED.shape(), kept)));
    world.peer(0, Habit::Honest, 0..GROUPS, 1000, 0);
    world.step(Input::Want(0..u64::MAX));
    world.run(Duration::from_secs(60));
    assert!(world.complete.is_some());
    assert!(world.got.covers(50..GROUPS - 1) && world.got.count() == GROUPS - 51);
}

#[test]
fn two_peers_are_nearly_twice_as_fast_as_one() {
    let time = |peers| {
        let mut world = World::new(config(), None);
        (0..peers).for_each(|i| world.peer(i, Habit::Honest, 0..GROUPS, 200, 0));
        world.step(Input::Want(0..u64::MAX));
        world.run(Duration::from_secs(300));
        world.assert_whole(0..GROUPS);
        world.complete.unwrap()
    };
    let (one, two) = (time(1), time(2));
    assert!(two * 18 < one * 10, "{one:?} and {two:?}");
}

#[test]
fn a_liar_is_named_and_stays_away() {
    let mut world = World::new(config(), None);
    world.peer(0, Habit::Lies(20), 0..GROUPS, 1000, 0);
    world.peer(1, Habit::Honest, 0..GROUPS, 1000, 0);
    world.step(Input::Want(0..u64::MAX));
    world.run(Duration::from_secs(60));
    world.assert_whole(0..GROUPS);
    assert_eq!(world.dropped.keys().collect::<Vec<_>>(), [&node(0)]);
    let (liar, evidence) = world.fetch.dropped().next().unwrap();
    assert_eq!((*liar, evidence.asked.is_some()), (node(0), true));
    // It comes back under its name: the answer is the same evidence, and no request.
    let effects = world.fetch.step(world.now, Input::Joined(node(0)));
    assert_eq!(effects, [Effect::Drop { peer: node(0), evidence: world.fetch.dropped().next().unwrap().1.clone() }]);
}

#[test]
fn a_half_open_peer_delays_by_one_stall_at_most() {
    let mut world = World::new(config(), None);
    world.peer(0, Habit::Stalls(9), 0..GROUPS, 1000, 0);
    world.peer(1, Habit::Honest, 0..GROUPS, 1000, 0);
    world.step(Input::Want(0..u64::MAX));
    world.run(Duration::from_secs(60));
    world.assert_whole(0..GROUPS);
    assert!(world.complete.unwrap() < Duration::from_secs(2) + config().stall, "{:?}", world.complete);
    assert_eq!(world.fetch.progress().twice_bytes, 0, "what it owed was brought more than once");
}

#[test]
fn a_slow_peer_is_not_taken_for_a_silent_one() {
    let mut world = World::new(FetchConfig::default(), None);
    // 2.7 s a group, so the second request waits for 21 s behind the first.
    world.peer(0, Habit::Honest, 0..GROUPS, 6, 0);
    world.step(Input::Want(0..u64::MAX));
    world.run(Duration::from_secs(600));
    world.assert_whole(0..GROUPS);
    let asked = world.peers[&node(0)].asked;
    assert!(asked <= 1 + GROUPS.div_ceil(FetchConfig::default().piece_min), "{asked} requests");
}

#[test]
fn the_rest_of_a_slow_peer_is_taken_over() {
    let mut world = World::new(config(), None);
    world.peer(0, Habit::Honest, 0..GROUPS, 4, 0);
    world.peer(1, Habit::Honest, 0..GROUPS, 2000, 0);
    world.step(Input::Want(0..u64::MAX));
    world.run(Duration::from_secs(300));
    world.assert_whole(0..GROUPS);
    // Alone, the slow one takes 8 s for its first two requests of two groups.
    assert!(world.complete.unwrap() < Duration::from_secs(4), "{:?}", world.complete);
}

#[test]
fn what_few_hold_is_asked_of_them_first() {
    let mut world = World::new(config(), None);
    world.peer(0, Habit::Honest, 0..GROUPS, 300, 0);
    world.peer(1, Habit::Honest, 0..GROUPS / 2, 300, 0);
    world.step(Input::Want(0..u64::MAX));
    world.run(Duration::from_secs(300));
    world.assert_whole(0..GROUPS);
    // The whole peer brings what only it has while the other brings the rest: half the time of one alone, 5.1 s.
    assert!(world.complete.unwrap() < Duration::from_millis(3300), "{:?}", world.complete);
}

#[test]
fn what_nobody_delivers_is_given_up_until_another_peer_joins() {
    let mut world = World::new(config(), None);
    world.peer(0, Habit::Stalls(20), 0..GROUPS, 1000, 0);
    world.step(Input::Want(0..u64::MAX));
    world.run(Duration::from_secs(3600));
    assert!(world.complete.is_none() && !world.given_up.is_empty());
    let asked = world.peers[&node(0)].asked;
    assert!(asked < 100, "{asked} requests to a silent peer");
    world.peer(1, Habit::Honest, 0..GROUPS, 1000, world.now.as_millis() as u64);
    world.run(Duration::from_secs(7200));
    world.assert_whole(0..GROUPS);
}

#[test]
fn while_nobody_holds_it_it_waits_and_says_so() {
    let mut world = World::new(config(), None);
    world.peer(0, Habit::Honest, 0..10, 1000, 0);
    world.step(Input::Want(0..20 * GROUP_BYTES));
    world.run(Duration::from_secs(60));
    assert!(world.complete.is_none());
    assert_eq!(world.got.iter().collect::<Vec<_>>(), [0..10, GROUPS - 1..GROUPS]);
    assert_eq!(world.fetch.progress().unheld_bytes, 10 * GROUP_BYTES);
    // It is asked again from time to time, and then has more.
    world.peers.get_mut(&node(0)).unwrap().holds.insert(0..20);
    world.run(Duration::from_secs(120));
    world.assert_whole(0..20);
}

#[test]
fn strangers_are_bounded() {
    let mut fetch = Fetch::new(FetchConfig { peers_max: 3, ..config() }, Some((SERVED.shape(), RangeSet::new())));
    fetch.step(Duration::ZERO, Input::Want(0..u64::MAX));
    // Every second group: more runs than count.
    let groups: RangeSet = (0..5000).map(|run| 2 * run..2 * run + 1).collect();
    for i in 0..50 {
        fetch.step(Duration::ZERO, Input::Joined(node(i)));
        fetch.step(Duration::ZERO, Input::Holds { peer: node(i), groups: groups.clone() });
    }
    assert_eq!((fetch.progress().peers, fetch.progress().requests), (3, 6));
    // Answers to requests that nobody made change nothing.
    let before = fetch.progress();
    for how in [Ended::Done, Ended::Failed, Ended::NotHeld, Ended::Lied(Lie::Group(1))] {
        fetch.step(Duration::ZERO, Input::Ended { request: 999, how });
    }
    fetch.step(Duration::ZERO, Input::Size { request: 999, shape: Shape::new(1).unwrap() });
    assert_eq!((fetch.progress(), fetch.shape()), (before, Some(SERVED.shape())));
}
