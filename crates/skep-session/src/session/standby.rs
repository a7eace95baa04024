//! Warm standbys (rule 4): machines that follow a stage and can take its place at once.

use super::{Effect, Phase, Rung, Session, Task, plan::Link};
use crate::stage::SILENT;
use skep_plan::{Request, Stage};
use skep_types::{
    NodeId,
    wire::{Control, Peer},
};
use std::{collections::BTreeSet, time::Duration};

/// Tokens after which an answer is taken to be long enough to be worth a standby.
const WORTH_IT: u32 = 8;
/// Rows that a standby may have to run before it answers: it waits for so many, to run them together.
const BEHIND: u32 = 64;

/// A machine that gets the inputs of a stage.
#[derive(Debug)]
pub(super) struct Standby {
    stage: Stage,
    /// It answered the `Open`, and its inputs were asked for.
    ready: bool,
    /// The epoch in the hello of the stream on which the gateway sends to it, if it follows the first stage.
    stream: u32,
}

impl Session {
    /// The machines that could take a stage's place at once, with that place.
    pub fn standbys(&self) -> impl Iterator<Item = (usize, NodeId)> {
        self.standbys.iter().filter(|(_, standby)| standby.ready).map(|(at, standby)| (*at, standby.stage.peer.node))
    }

    fn standby_at(&self, node: NodeId) -> Option<usize> {
        self.standbys.iter().find(|(_, standby)| standby.stage.peer.node == node).map(|(at, _)| *at)
    }

    /// Opens a standby for each stage that has none, where some machine can be one.
    pub(super) fn stand_by(&mut self, out: &mut Vec<Effect>) {
        let Task::Generate(task) = &self.config.task else { return };
        let left = task.max_new - self.drawn();
        let calm = matches!(self.phase, Phase::Running { .. }) && self.links.iter().all(|link| link.settled);
        if !self.config.limits.standby || !self.standbys_due || !calm || self.drawn() < WORTH_IT || left < WORTH_IT {
            return;
        }
        self.standbys_due = false;
        for at in 0..self.route.len() {
            if self.standbys.contains_key(&at) {
                continue;
            }
            let Some(stage) = self.standby_for(at) else { continue };
            let message = self.open_message(stage.blocks, self.next_of(at));
            self.members.insert(stage.peer.node, stage.peer.clone());
            out.push(Effect::Control { to: stage.peer.clone(), message });
            self.standbys.insert(at, Standby { stage, ready: false, stream: self.epoch });
        }
    }

    /// The best machine that holds all blocks of a stage and has no part in this session.
    fn standby_for(&self, at: usize) -> Option<Stage> {
        let blocks = self.route[at].blocks;
        let mut avoid: BTreeSet<NodeId> = self.suspects.keys().chain(&self.closed).copied().collect();
        avoid.extend(self.members.keys());
        let offers = self.network.candidates().iter().map(|candidate| &candidate.offer);
        avoid.extend(offers.filter(|offer| !offer.blocks.covers(&blocks)).map(|offer| offer.peer.node));
        let beside = |at: Option<usize>| at.and_then(|at| self.route.get(at)).map(|stage| stage.peer.node);
        let request = Request {
            before: beside(at.checked_sub(1)),
            after: beside(Some(at + 1)),
            ..self.request_for(blocks, avoid)
        };
        let plan = self.network.plan(&request).ok()?;
        <[Stage; 1]>::try_from(plan.stages).ok().map(|[stage]| stage)
    }

    /// A node answered an `Open`. Returns whether it is a standby.
    pub(super) fn standby_opened(&mut self, node: NodeId, out: &mut Vec<Effect>) -> bool {
        let Some(at) = self.standby_at(node) else { return false };
        let Some(standby) = self.standbys.get_mut(&at).filter(|standby| !standby.ready) else { return true };
        (standby.ready, standby.stream) = (true, self.epoch);
        let to = standby.stage.peer.clone();
        match at.checked_sub(1) {
            None => self.send_silently(0, out),
            Some(before) => {
                let message = Control::Mirror { session: self.id, to: Some(to) };
                out.push(Effect::Control { to: self.route[before].peer.clone(), message });
            }
        }
        true
    }

    /// A node will not be a standby. Returns whether it was one.
    pub(super) fn standby_declined(&mut self, node: NodeId, out: &mut Vec<Effect>) -> bool {
        let Some(at) = self.standby_at(node) else { return false };
        self.drop_standby(at, out);
        self.closed.insert(node);
        true
    }

    /// Sends tokens from a position on to the standby of the first stage.
    pub(super) fn send_silently(&self, from: u32, out: &mut Vec<Effect>) {
        if let Some(standby) = self.standbys.get(&0).filter(|standby| standby.ready) {
            self.send_to(&standby.stage.peer, standby.stream, (from, SILENT), out);
        }
    }

    /// Ends one standby; it may be opened again.
    fn drop_standby(&mut self, at: usize, out: &mut Vec<Effect>) {
        let Some(Standby { stage: Stage { peer, .. }, ready, .. }) = self.standbys.remove(&at) else { return };
        let source = at.checked_sub(1).filter(|before| ready && self.links.get(*before).is_some_and(|link| !link.lost));
        if let Some(source) = source {
            let message = Control::Mirror { session: self.id, to: None };
            out.push(Effect::Control { to: self.route[source].peer.clone(), message });
        }
        self.close_one(&peer, out);
        self.standbys_due = true;
    }

    fn close_one(&mut self, peer: &Peer, out: &mut Vec<Effect>) {
        if self.members.remove(&peer.node).is_some() {
            out.push(Effect::Control { to: peer.clone(), message: Control::Close { session: self.id } });
        }
    }

    /// Ends all standbys: the chain that they follow is about to change.
    pub(super) fn drop_standbys(&mut self, out: &mut Vec<Effect>) {
        for at in self.standbys.keys().copied().collect::<Vec<_>>() {
            self.drop_standby(at, out);
        }
    }

    /// Rung a; false if a lost stage has no standby that got all of its inputs, or the chain is not settled elsewhere.
    pub(super) fn promote(&mut self, now: Duration, out: &mut Vec<Effect>) -> bool {
        let lost: Vec<usize> = (0..self.links.len()).filter(|at| self.links[*at].lost).collect();
        let good = |at: usize| self.links[at].settled && !self.links[at].lost;
        let fits = |at: &usize| {
            let ready = |standby: &Standby| standby.ready && !self.suspects.contains_key(&standby.stage.peer.node);
            self.standbys.get(at).is_some_and(ready) && at.checked_sub(1).is_none_or(good)
        };
        let others = (0..self.links.len()).filter(|at| !self.links[*at].lost).all(|at| self.links[at].settled);
        if !matches!(self.phase, Phase::Running { .. }) || !others || !lost.iter().all(fits) {
            return false;
        }
        self.epoch += 1;
        self.ledger.tried(Rung::Standby);
        self.front_stream = None;
        for &at in &lost {
            let Some(standby) = self.standbys.remove(&at) else { continue };
            if at == 0 {
                self.front_stream = Some(standby.stream);
            }
            let gone = std::mem::replace(&mut self.route[at], standby.stage);
            self.links[at] = Link { opened: true, ..Link::default() };
            self.close_one(&gone.peer, out);
            self.closed.insert(gone.peer.node);
            // What the next standby was fed by is gone.
            self.drop_standby(at + 1, out);
        }
        for &at in &lost {
            self.redirect(at, out);
            if let Some(before) = at.checked_sub(1) {
                self.redirect(before, out);
            }
        }
        self.lasts.extend(self.route.last().map(|stage| stage.peer.node));
        (self.settles_at, self.standbys_due) = (self.end(), true);
        self.send_tokens(self.step_from, self.step_from, out);
        self.await_candidates(now, (self.end() - self.step_from).max(BEHIND), out);
        true
    }

    /// Sends a stage's outputs of the step in flight to the stage that now follows it.
    fn redirect(&self, at: usize, out: &mut Vec<Effect>) {
        let message = Control::Redirect {
            session: self.id,
            epoch: self.epoch,
            next: self.next_of(at),
            replay_from: self.step_from,
            forward_from: self.step_from,
        };
        out.push(Effect::Control { to: self.route[at].peer.clone(), message });
    }
}
