//! What goes wrong, and when.

use super::{DETECTION_US, Event, Rng, World};
use crate::common::{GATEWAY, VOCAB, peer};
use skep_session::Input;
use skep_types::{
    BlockRange,
    wire::{Payload, SessionId},
};
use std::collections::BTreeSet;

/// One kind of disaster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Any stage dies.
    Kill,
    /// Two neighbouring stages die at once.
    KillTwo,
    /// A stage is reported lost though it lives; its stage may be gone with the control stream.
    Alarm,
    /// A data stream breaks with all that is on its way.
    Break,
    /// The last stage sends garbage.
    Garbage,
    /// A standby dies.
    KillStandby,
    /// A stage dies and its standby with it.
    KillBoth,
    /// This node dies, if that leaves a cover.
    KillNode(u8),
}

/// A series of disasters.
#[derive(Debug, Clone)]
pub struct Faults {
    /// At the draw of which token each happens.
    pub plan: Vec<(u32, Fault)>,
    /// How many machines that are being opened for a recovery die.
    pub kill_replacements: u32,
    /// Whether kills may leave blocks that nobody holds.
    pub uncover: bool,
    /// Whether dead machines come back, empty.
    pub restarts: bool,
}

impl Faults {
    /// Nothing goes wrong.
    pub fn none(_: &mut Rng, _: u32) -> Self {
        Self { plan: Vec::new(), kill_replacements: 0, uncover: false, restarts: false }
    }

    /// One machine dies.
    pub fn one_kill(rng: &mut Rng, tokens: u32) -> Self {
        Self { plan: vec![(rng.below(u64::from(tokens)) as u32, Fault::Kill)], ..Self::none(rng, tokens) }
    }

    /// Up to five disasters of any kind; every block stays on a living, listed machine.
    pub fn any(rng: &mut Rng, tokens: u32) -> Self {
        let kinds = [
            Fault::Kill,
            Fault::Kill,
            Fault::KillTwo,
            Fault::Alarm,
            Fault::Break,
            Fault::Garbage,
            Fault::KillStandby,
            Fault::KillBoth,
        ];
        let one = |rng: &mut Rng| (rng.below(u64::from(tokens)) as u32, kinds[rng.below(8) as usize]);
        let plan = (0..rng.between(1, 5)).map(|_| one(rng)).collect();
        Self { plan, kill_replacements: rng.below(3) as u32, uncover: false, restarts: rng.chance(50) }
    }

    /// As [`Faults::any`], and blocks may be gone for a while or for good.
    pub fn uncovering(rng: &mut Rng, tokens: u32) -> Self {
        Self { uncover: true, restarts: rng.chance(70), ..Self::any(rng, tokens) }
    }
}

/// Spans of a random network in which every block is on two nodes or more.
pub fn spans(rng: &mut Rng, n_blocks: u32) -> Vec<BlockRange> {
    if rng.chance(50) {
        return skep_plan::place(n_blocks, rng.between(4, 9) as u32).unwrap();
    }
    let mut spans = Vec::new();
    let held = |spans: &[BlockRange], block| spans.iter().filter(|span| span.contains(block)).count();
    while let Some(block) = (0..n_blocks).find(|block| held(&spans, *block) < 2) {
        let start = block.saturating_sub(rng.below(3) as u32);
        let end = (block + 1 + rng.below(3) as u32).min(n_blocks);
        spans.push(BlockRange::new(start, end).unwrap());
    }
    spans
}

/// Makes an output that no stage may send. Returns whether it was one.
pub fn spoil(rng: &mut Rng, payload: &mut Payload) -> bool {
    match payload {
        Payload::Candidates(list) => match rng.below(4) {
            0 => list[0].1 = f32::NAN,
            1 => list[0].0 = VOCAB,
            2 => list.push((list[0].0, -1.0)),
            _ => list.insert(0, (0, -1e9)),
        },
        Payload::Vector(values) => match rng.below(3) {
            0 => values[0] = f32::INFINITY,
            1 => values.push(1.0),
            _ => *payload = Payload::Candidates(vec![(1, 1.0)]),
        },
        _ => return false,
    }
    true
}

impl World {
    /// Token number `drawn` has been drawn: lets happen what is planned for this time.
    pub(super) fn strike(&mut self, drawn: u32) {
        let (now, later): (Vec<_>, Vec<_>) = self.faults.plan.drain(..).partition(|(at, _)| *at <= drawn);
        self.faults.plan = later;
        for (_, fault) in now {
            self.after(0, 250_000, Event::Fault(fault));
        }
    }

    /// A node is being opened; if that is for a recovery it may die.
    pub(super) fn strike_recovery(&mut self, epoch: u32, id: u8) {
        let recovering = epoch > 0 || !self.disasters.is_empty();
        if recovering && self.faults.kill_replacements > 0 && self.rng.chance(40) {
            self.faults.kill_replacements -= 1;
            self.after(0, 300_000, Event::Fault(Fault::KillNode(id)));
        }
    }

    pub(super) fn inflict(&mut self, fault: Fault) {
        let stages: Vec<u8> = self.session.route().iter().map(|stage| stage.peer.node.0[0]).collect();
        if stages.is_empty() || self.outcome.is_some() {
            return;
        }
        self.note(format_args!("disaster {fault:?} on {stages:?}"));
        let at = self.rng.below(stages.len() as u64) as usize;
        match fault {
            Fault::Kill => self.kill(&[stages[at]]),
            Fault::KillTwo => self.kill(&stages[at..(at + 2).min(stages.len())]),
            Fault::KillStandby | Fault::KillBoth => {
                let standbys: Vec<(usize, u8)> = self.session.standbys().map(|(at, node)| (at, node.0[0])).collect();
                if standbys.is_empty() {
                    return;
                }
                let (place, standby) = standbys[self.rng.below(standbys.len() as u64) as usize];
                match fault {
                    Fault::KillStandby => self.kill(&[standby]),
                    _ => self.kill(&[standby, stages[place]]),
                }
            }
            Fault::KillNode(id) => self.kill(&[id]),
            Fault::Alarm => {
                self.disasters.push(self.now);
                if self.rng.chance(50) {
                    self.nodes.get_mut(&stages[at]).unwrap().stages.clear();
                }
                self.input(Input::Lost { node: peer(stages[at]).node });
            }
            Fault::Break => {
                let from = if at == 0 { GATEWAY } else { stages[at - 1] };
                let session: SessionId = self.session.id();
                self.disasters.push(self.now);
                *self.generations.entry((from, stages[at])).or_default() += 1;
                self.unreachable(from, stages[at], session);
            }
            Fault::Garbage => self.nodes.get_mut(&stages[stages.len() - 1]).unwrap().garbage = 1,
        }
    }

    fn kill(&mut self, ids: &[u8]) {
        let ids: BTreeSet<u8> = ids.iter().copied().filter(|id| self.nodes[id].alive).collect();
        if ids.is_empty() || (!self.faults.uncover && self.uncovered(&ids)) {
            return;
        }
        self.disasters.push(self.now);
        for id in ids {
            self.note(format_args!("node {id} dies"));
            let node = self.nodes.get_mut(&id).unwrap();
            node.alive = false;
            node.unnoticed = true;
            node.life += 1;
            node.stages.clear();
            node.streams.clear();
            self.after(20_000, DETECTION_US - 100_000, Event::Detect(id));
            if self.faults.restarts {
                self.after(100_000, 1_500_000, Event::Restart(id));
            }
        }
    }

    /// The death of a node is noticed: by the gateway, which tells the session and takes it off the list, and by the stages before.
    pub(super) fn detect(&mut self, id: u8) {
        let node = self.nodes.get_mut(&id).unwrap();
        node.unnoticed = false;
        node.listed = false;
        let lost = peer(id).node;
        let before: Vec<(u8, SessionId)> = self
            .nodes
            .iter()
            .flat_map(|(from, node)| {
                node.stages.iter().flat_map(|(session, (stage, _))| {
                    let to = [Some(stage.next()), stage.mirror()];
                    to.into_iter().flatten().map(|to| (*from, *session, to.node)).collect::<Vec<_>>()
                })
            })
            .filter(|(.., next)| *next == lost)
            .map(|(from, session, _)| (from, session))
            .collect();
        for (from, session) in before {
            self.after(100, 60_000, Event::NextLost(from, session, lost));
        }
        let (first, second) = (Input::Lost { node: lost }, Input::Network(self.network()));
        let (first, second) = if self.rng.chance(50) { (first, second) } else { (second, first) };
        self.input(first);
        self.after(0, 30_000, Event::Input(second));
        if self.nodes[&id].alive {
            self.after(100, 60_000, Event::Rejoin(id));
        }
    }
}
