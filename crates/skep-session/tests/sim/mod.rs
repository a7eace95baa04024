//! A network in virtual time: real sessions and stages, delays, kills, restarts, false alarms, garbage.
//!
//! Streams keep their order and nothing else does. A dead machine is noticed within [`DETECTION_US`]. Everything follows from the
//! seed, so a failing seed is the whole bug report.

mod faults;
mod wires;

use crate::common::{
    D_MODEL, D_PATCH, GATEWAY, HashModel, HashSampler, VECTOR, VOCAB, expected, expected_vector, mix, peer,
};
use skep_session::{
    Effect, Encode, Generate, Input, Limits, Report, Session, SessionConfig, SessionError, Source, Stage, StageConfig,
    Task,
};
use skep_types::{
    BlockRange, ModelId, NodeId,
    wire::{Control, ControlReply, Fault, Frame, HopReport, Peer, SessionId},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Write},
    time::Duration,
};

pub use faults::Faults;

pub const DETECTION_US: u64 = 700_000;
pub const DELAY_US: u64 = 60_000;

/// Numbers from a seed and a counter.
#[derive(Debug, Clone)]
pub struct Rng(u64, u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(mix(0x5eed, seed), 0)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.1 += 1;
        mix(self.0, self.1) % n.max(1)
    }

    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// A hash that text is written into.
struct Story(u64);

impl fmt::Write for Story {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 = text.bytes().fold(self.0, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
        Ok(())
    }
}

#[derive(Debug)]
enum Event {
    /// To the gateway.
    Input(Input),
    /// To a node, in the given life of it.
    Control(u8, u32, Control),
    /// From, to, life of the receiver, generation of the stream.
    Frame(u8, u8, u32, u32, SessionId, Frame),
    /// The stage of this node in this session cannot reach that one.
    NextLost(u8, SessionId, NodeId),
    Detect(u8),
    Restart(u8),
    Rejoin(u8),
    Fault(faults::Fault),
}

/// The stream to the next hop, with its epoch, and the one to the mirror.
type Streams = (Option<(u8, u32, u64)>, Option<(u8, u64)>);

pub struct Node {
    pub blocks: BlockRange,
    pub alive: bool,
    pub listed: bool,
    /// Counts restarts, so that what was sent to an earlier life is lost.
    life: u32,
    /// Dead, but nobody knows yet.
    unnoticed: bool,
    garbage: u32,
    stages: BTreeMap<SessionId, (Stage, HashModel)>,
    /// Those of each session.
    streams: BTreeMap<SessionId, Streams>,
}

pub enum Outcome {
    Done(Box<Report>),
    Failed(SessionError),
}

pub struct World {
    pub seed: u64,
    rng: Rng,
    now: u64,
    queue: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    session: Session,
    pub nodes: BTreeMap<u8, Node>,
    /// When the newest message of each stream arrives.
    arrivals: BTreeMap<(u8, u8, Option<u64>, SessionId), u64>,
    /// Counts streams.
    streams: u64,
    generations: BTreeMap<(u8, u8), u32>,
    wake: Option<u64>,
    faults: Faults,
    n_blocks: u32,
    d_patch: u32,
    slow_open_us: u64,
    pub expected: Vec<u32>,
    pub answer: Vec<u32>,
    pub expected_vector: Vec<f32>,
    pub vector: Vec<f32>,
    /// When the start and each token happened.
    pub token_times: Vec<u64>,
    /// When something was broken on purpose.
    pub disasters: Vec<u64>,
    pub outcome: Option<Outcome>,
    /// How often a stage was sent rows past its own.
    pub gaps: u32,
    /// Hash of all that happened.
    pub log: u64,
    pub trace: bool,
}

impl World {
    /// A random network, request and series of disasters.
    pub fn new(seed: u64, faults: fn(&mut Rng, u32) -> Faults) -> Self {
        let mut rng = Rng::new(seed);
        let n_blocks = rng.between(1, 6) as u32;
        let spans = faults::spans(&mut rng, n_blocks);
        let prompt: Vec<u32> = (0..rng.between(1, 12)).map(|_| rng.below(u64::from(VOCAB)) as u32).collect();
        let max_new = rng.between(3, 40) as u32;
        let sampler = HashSampler { seed, best: rng.between(1, 6) as u32 };
        let end_tokens = if rng.chance(20) { vec![rng.below(u64::from(VOCAB)) as u32] } else { Vec::new() };
        let expected = expected(n_blocks, &prompt, max_new, &end_tokens, &sampler);
        let prefill_chunk = [0, 0, 1, 2, 3, 7][rng.below(6) as usize];
        let sampler = Box::new(sampler);
        let task = Task::Generate(Generate { prompt, max_new, end_tokens, sampler, prefill_chunk });
        let faults = faults(&mut rng, max_new);
        Self { expected, ..Self::with(seed, rng, task, spans, faults) }
    }

    /// The same for a request for a vector; everything that goes wrong does so at its beginning.
    pub fn encoding(seed: u64, faults: fn(&mut Rng, u32) -> Faults) -> Self {
        let mut rng = Rng::new(seed);
        let n_blocks = rng.between(1, 6) as u32;
        let spans = faults::spans(&mut rng, n_blocks);
        let rows = rng.between(1, 12) as u32;
        let source = if rng.chance(50) {
            Source::Tokens((0..rows).map(|_| rng.below(u64::from(VOCAB)) as u32).collect())
        } else {
            Source::Patches { rows, values: (0..rows * D_PATCH).map(|_| rng.below(256) as f32).collect() }
        };
        let expected_vector = expected_vector(n_blocks, &source);
        let d_patch = if matches!(source, Source::Patches { .. }) { D_PATCH } else { 0 };
        let faults = faults(&mut rng, 1);
        let world = Self::with(seed, rng, Task::Encode(Encode { source, width: VECTOR }), spans, faults);
        Self { expected_vector, d_patch, ..world }
    }

    fn with(seed: u64, mut rng: Rng, task: Task, spans: Vec<BlockRange>, faults: Faults) -> Self {
        let n_blocks = spans.iter().map(BlockRange::end).max().unwrap();
        let config = SessionConfig {
            model: ModelId([5; 32]),
            n_blocks,
            vocab: VOCAB,
            d_model: D_MODEL,
            kv_bytes: 16,
            gateway: peer(GATEWAY),
            task,
            id_seed: [seed as u8; 32],
            limits: Limits {
                open_timeout: Duration::from_millis(600),
                step_timeout: Duration::from_secs(4),
                ..Limits::default()
            },
        };
        let node = |(at, blocks): (usize, BlockRange)| {
            let (stages, life) = (BTreeMap::new(), 0);
            let node = Node {
                blocks,
                alive: true,
                listed: true,
                life,
                unnoticed: false,
                garbage: 0,
                stages,
                streams: BTreeMap::new(),
            };
            (at as u8 + 1, node)
        };
        Self {
            seed,
            faults,
            slow_open_us: if rng.chance(30) { rng.between(1, 300_000) } else { 0 },
            rng,
            now: 0,
            queue: BTreeMap::new(),
            sequence: 0,
            session: Session::new(config).unwrap(),
            nodes: spans.into_iter().enumerate().map(node).collect(),
            arrivals: BTreeMap::new(),
            streams: 0,
            generations: BTreeMap::new(),
            wake: None,
            n_blocks,
            d_patch: 0,
            expected: Vec::new(),
            answer: Vec::new(),
            expected_vector: Vec::new(),
            vector: Vec::new(),
            token_times: vec![0],
            disasters: Vec::new(),
            outcome: None,
            gaps: 0,
            log: 0,
            trace: false,
        }
    }

    /// Runs to the end of the answer and some time more, so that what was sent arrives.
    pub fn run(&mut self) {
        let network = self.network();
        self.input(Input::Start { network });
        self.strike(0);
        let mut deadline = 600_000_000;
        loop {
            let next = self.queue.first_key_value().map(|(at, _)| at.0);
            let wake = self.wake.filter(|wake| next.is_none_or(|next| *wake < next));
            let Some(time) = wake.or(next).filter(|time| *time <= deadline) else { break };
            self.now = self.now.max(time);
            if wake.is_some() {
                self.wake = None;
                self.input(Input::Wake);
            } else if let Some((_, event)) = self.queue.pop_first() {
                self.event(event);
            }
            if self.outcome.is_some() {
                deadline = deadline.min(self.now + 5_000_000);
            }
        }
    }

    fn at(&mut self, time: u64, event: Event) {
        self.sequence += 1;
        self.queue.insert((time, self.sequence), event);
    }

    fn after(&mut self, low: u64, high: u64, event: Event) {
        let time = self.now + self.rng.between(low, high);
        self.at(time, event);
    }

    /// Adds to the story of this run. The words of a frame are left out unless somebody reads: they are most of the work.
    fn note(&mut self, what: fmt::Arguments) {
        if self.trace {
            println!("{:>9} us  {what}", self.now);
        }
        let mut story = Story(mix(self.log, self.now));
        story.write_fmt(what).unwrap();
        self.log = story.0;
    }

    fn note_frame(&mut self, what: &str, peer: u8, frame: &Frame) {
        let Frame { epoch, pos, rows, forward_from, wants_candidates, .. } = frame;
        self.note(format_args!("{what} {peer} {epoch} {pos} {rows} {forward_from} {wants_candidates}"));
    }

    fn input(&mut self, input: Input) {
        match &input {
            Input::Candidates { from, frame, .. } => self.note_frame("candidates from", from.0[0], frame),
            Input::Start { .. } | Input::Network(_) => self.note(format_args!("offers {}", self.listed())),
            other => self.note(format_args!("input {other:?}")),
        }
        for effect in self.session.step(Duration::from_micros(self.now), input) {
            assert!(self.outcome.is_none(), "seed {}: an effect after the end: {effect:?}", self.seed);
            match &effect {
                Effect::Send { to, frame, .. } => self.note_frame("send to", to.node.0[0], frame),
                Effect::Control { to, message } => self.note_control(to.node.0[0], message),
                other => self.note(format_args!("effect {other:?}")),
            }
            self.effect(effect);
        }
    }

    /// The listed nodes, as a set of bits.
    fn listed(&self) -> u64 {
        self.nodes.iter().filter(|(_, node)| node.listed).map(|(id, _)| 1 << id).sum()
    }

    fn effect(&mut self, effect: Effect) {
        match effect {
            Effect::Control { to, message } => self.control(&to, message),
            Effect::Send { to, session, epoch, frame } => {
                assert!(frame.epoch >= epoch);
                // The gateway has one stream for each machine and epoch.
                self.send((GATEWAY, u64::from(epoch)), &to, session, frame);
            }
            Effect::Token { index, id } => {
                assert_eq!(index as usize, self.answer.len(), "seed {}: index out of order", self.seed);
                self.answer.push(id);
                self.token_times.push(self.now);
                self.strike(index + 1);
            }
            Effect::Vector(values) => {
                assert!(self.vector.is_empty(), "seed {}: a second vector", self.seed);
                self.vector = values;
            }
            Effect::Recovered(report) => assert!(!report.lost.is_empty(), "seed {}", self.seed),
            Effect::Done(report) => {
                self.token_times.push(self.now);
                self.outcome = Some(Outcome::Done(report));
            }
            Effect::Failed(error) => self.outcome = Some(Outcome::Failed(error)),
            Effect::WakeAt(at) => self.wake = Some(at.as_micros() as u64),
        }
    }

    fn control(&mut self, to: &Peer, message: Control) {
        let id = to.node.0[0];
        let (life, alive, unnoticed) = (self.nodes[&id].life, self.nodes[&id].alive, self.nodes[&id].unnoticed);
        let session = match &message {
            Control::Open { session, .. }
            | Control::Redirect { session, .. }
            | Control::Mirror { session, .. }
            | Control::Close { session } => *session,
        };
        if let Control::Open { epoch, .. } = &message {
            self.strike_recovery(*epoch, id);
        }
        if !alive && !unnoticed {
            // Nobody answers there: the dial fails.
            return self.after(100, DELAY_US, Event::Input(Input::Lost { node: to.node }));
        }
        let time = self.arrival(GATEWAY, id, None, session, 0);
        self.at(time, Event::Control(id, life, message));
    }

    fn send(&mut self, (from, stream): (u8, u64), to: &Peer, session: SessionId, frame: Frame) {
        frame.encode().unwrap();
        let id = to.node.0[0];
        let time = self.arrival(from, id, Some(stream), session, 0);
        let generation = self.generations.get(&(from, id)).copied().unwrap_or(0);
        let life = self.nodes.get(&id).map_or(0, |node| node.life);
        if self.nodes.get(&id).is_some_and(|node| !node.alive && !node.unnoticed) {
            return self.unreachable(from, id, session);
        }
        self.at(time, Event::Frame(from, id, life, generation, session, frame));
    }

    /// `from` learns that it cannot reach `to`.
    fn unreachable(&mut self, from: u8, to: u8, session: SessionId) {
        let node = peer(to).node;
        let event =
            if from == GATEWAY { Event::Input(Input::Lost { node }) } else { Event::NextLost(from, session, node) };
        self.after(100, DELAY_US, event);
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Input(input) => self.input(input),
            Event::Control(id, life, message) => self.on_control(id, life, message),
            Event::Frame(from, id, life, generation, session, frame) => {
                if self.generations.get(&(from, id)).copied().unwrap_or(0) != generation {
                    return;
                }
                if id == GATEWAY {
                    return self.input(Input::Candidates { from: peer(from).node, session, frame });
                }
                self.on_frame(from, id, life, session, frame);
            }
            Event::NextLost(id, session, node) => self.reply_fault(id, session, Fault::NextLost { node }),
            Event::Detect(id) => self.detect(id),
            Event::Restart(id) => {
                if let Some(node) = self.nodes.get_mut(&id) {
                    node.alive = true;
                    node.unnoticed = false;
                }
                self.note(format_args!("node {id} restarts"));
                self.after(100, DELAY_US, Event::Rejoin(id));
            }
            Event::Rejoin(id) => {
                let node = self.nodes.get_mut(&id).unwrap();
                if node.alive && !node.listed {
                    node.listed = true;
                    let network = self.network();
                    self.input(Input::Network(network));
                }
            }
            Event::Fault(fault) => self.inflict(fault),
        }
    }

    fn on_control(&mut self, id: u8, life: u32, message: Control) {
        let (n_blocks, d_patch) = (self.n_blocks, self.d_patch);
        let node = self.nodes.get_mut(&id).unwrap();
        if !node.alive || node.life != life {
            return;
        }
        match message {
            Control::Open { session, epoch, blocks, next, output, max_positions, .. } => {
                assert!(node.blocks.covers(&blocks), "seed {}: node {id} does not hold {blocks}", self.seed);
                let d_model = D_MODEL;
                let config =
                    StageConfig { session, epoch, blocks, n_blocks, d_model, d_patch, output, max_positions, next };
                node.stages.insert(session, (Stage::new(config), HashModel::new(blocks)));
                node.streams.remove(&session);
                let slow = if self.slow_open_us > 0 { self.rng.below(self.slow_open_us) } else { 0 };
                let time = self.arrival(id, GATEWAY, None, session, slow);
                let reply = ControlReply::Opened { session, epoch };
                self.at(time, Event::Input(Input::Reply { from: peer(id).node, reply }));
            }
            Control::Redirect { session, epoch, next, replay_from, forward_from } => {
                let Some((stage, _)) = node.stages.get_mut(&session) else { return };
                let sent = stage.redirect(epoch, next.clone(), replay_from, forward_from);
                let (out, mirror) = node.streams.entry(session).or_default();
                if let Some((to, stream)) = mirror.take().filter(|(to, _)| *to == next.node.0[0]) {
                    *out = Some((to, epoch, stream));
                }
                self.outgoing(id, session, sent);
            }
            Control::Mirror { session, to } => {
                let Some((stage, _)) = node.stages.get_mut(&session) else { return };
                let sent = stage.set_mirror(to);
                node.streams.entry(session).or_default().1 = None;
                self.outgoing(id, session, sent);
            }
            Control::Close { session } => {
                node.stages.remove(&session);
                node.streams.remove(&session);
            }
        }
    }

    fn on_frame(&mut self, from: u8, id: u8, life: u32, session: SessionId, frame: Frame) {
        let node = self.nodes.get_mut(&id).unwrap();
        if !node.alive || node.life != life {
            return;
        }
        let Some((stage, model)) = node.stages.get_mut(&session) else {
            return self.unreachable(from, id, session);
        };
        let sent = stage.on_frame(peer(from).node, frame, model);
        match sent {
            Ok(sent) => self.outgoing(id, session, sent),
            Err(fault) => {
                self.gaps += u32::from(matches!(fault, Fault::Gap { .. }));
                self.note(format_args!("node {id} faults {fault:?}"));
                self.reply_fault(id, session, fault);
            }
        }
    }

    fn outgoing(&mut self, id: u8, session: SessionId, sent: Vec<skep_session::Outgoing>) {
        for mut out in sent {
            out.frame.hops.push(HopReport { hold_us: 10, rtt_us: u32::MAX });
            let node = self.nodes.get_mut(&id).unwrap();
            if node.garbage > 0 && faults::spoil(&mut self.rng, &mut out.frame.payload) {
                node.garbage -= 1;
                self.disasters.push(self.now);
            }
            let stream = self.stream(id, session, &out);
            self.send((id, stream), &out.next, session, out.frame);
        }
    }

    fn reply_fault(&mut self, id: u8, session: SessionId, fault: Fault) {
        let Some((stage, _)) = self.nodes[&id].stages.get(&session) else { return };
        let reply = ControlReply::Fault { session, epoch: stage.epoch(), fault };
        let time = self.arrival(id, GATEWAY, None, session, 0);
        self.at(time, Event::Input(Input::Reply { from: peer(id).node, reply }));
    }

    /// Blocks that no living, listed node holds.
    pub fn uncovered(&self, without: &BTreeSet<u8>) -> bool {
        let holds = |block: u32| {
            let living = self.nodes.iter().filter(|(id, node)| node.alive && node.listed && !without.contains(id));
            living.into_iter().any(|(_, node)| node.blocks.contains(block))
        };
        !(0..self.n_blocks).all(holds)
    }

    /// Sessions that living nodes still serve.
    pub fn leftovers(&self) -> usize {
        self.nodes.values().filter(|node| node.alive).map(|node| node.stages.len()).sum()
    }
}
