//! Opening a chain, feeding it and ending it (rules 1 and 10).

use super::{Effect, Encode, Finish, Phase, Rung, Session, SessionError, Source, Task};
use crate::stage::{SILENT, rows_per_frame};
use skep_types::{
    BlockRange, NodeId,
    wire::{Control, ControlReply, Fault, Frame, MAX_HOPS, Output, Payload, Peer, SessionId},
};
use std::time::Duration;

/// A step may take one more [`super::Limits::step_timeout`] for every so many rows.
const ROWS_PER_TIMEOUT: u32 = 256;
/// How often a deadline doubles.
const MOST_DOUBLINGS: u32 = 3;

impl Session {
    pub(super) fn on_reply(&mut self, now: Duration, from: NodeId, reply: ControlReply, out: &mut Vec<Effect>) {
        match reply {
            ControlReply::Opened { session, .. } if session == self.id && self.standby_opened(from, out) => {}
            ControlReply::Opened { session, epoch } if session == self.id && epoch == self.epoch => {
                let Phase::Opening { rung, .. } = self.phase else { return };
                let Some(at) = self.place_of(from) else { return };
                self.links[at].opened = true;
                if self.links.iter().all(|link| link.opened) {
                    self.run(now, rung, out);
                }
            }
            ControlReply::Refused { session, .. } if session == self.id && self.standby_declined(from, out) => {}
            ControlReply::Refused { session, reason } if session == self.id => {
                self.accuse(now, from, &format!("it refused: {reason}"), out);
            }
            ControlReply::Fault { session, epoch, fault } if session == self.id => {
                self.on_fault(now, from, epoch, fault, out);
            }
            _ => {}
        }
    }

    /// Finds whom a fault blames (rule 3).
    fn on_fault(&mut self, now: Duration, from: NodeId, epoch: u32, fault: Fault, out: &mut Vec<Effect>) {
        let Some(at) = self.place_of(from) else {
            self.standby_declined(from, out);
            return;
        };
        let node_at = |at: usize| self.route.get(at).map(|stage| stage.peer.node);
        match fault {
            Fault::NextLost { node } if node_at(at + 1) == Some(node) => {
                self.accuse(now, node, "the stage before could not reach it", out);
            }
            Fault::NextLost { node } if at + 1 == self.route.len() && node == self.config.gateway.node => {
                self.accuse(now, from, "it could not reach the gateway", out);
            }
            Fault::NextLost { node } => _ = self.standby_declined(node, out),
            _ if epoch < self.epoch => {}
            Fault::BadFrame { node, reason } if at > 0 && node_at(at - 1) == Some(node) => {
                self.accuse(now, node, &format!("the stage after refused its frame: {reason}"), out);
            }
            Fault::BadFrame { reason, .. } => self.accuse(now, from, &format!("it refused a frame: {reason}"), out),
            Fault::Gap { expected, got } => {
                self.accuse(now, from, &format!("it has {expected} rows and was sent row {got}"), out);
            }
            Fault::Compute { reason } => self.accuse(now, from, &format!("its arithmetic failed: {reason}"), out),
        }
    }

    pub(super) fn place_of(&self, node: NodeId) -> Option<usize> {
        self.route.iter().position(|stage| stage.peer.node == node)
    }

    /// Opens the stages of the chain that have not been opened.
    pub(super) fn open(&mut self, now: Duration, rung: Rung, out: &mut Vec<Effect>) {
        for at in (0..self.route.len()).filter(|at| !self.links[*at].opened) {
            let stage = &self.route[at];
            let message = self.open_message(stage.blocks, self.next_of(at));
            self.members.insert(stage.peer.node, stage.peer.clone());
            out.push(Effect::Control { to: stage.peer.clone(), message });
        }
        self.lasts.extend(self.route.last().map(|stage| stage.peer.node));
        let deadline = now + self.patience(self.config.limits.open_timeout);
        self.phase = Phase::Opening { rung, deadline };
        out.push(Effect::WakeAt(deadline));
    }

    /// The `Open` of a stage of now.
    pub(super) fn open_message(&self, blocks: BlockRange, next: Peer) -> Control {
        // Checked in `new`: the sum fits.
        let (output, max_positions) = match &self.config.task {
            Task::Generate(task) => {
                let candidates = if self.needed >= self.config.vocab { 0 } else { self.needed };
                (Output::Candidates(candidates), self.input_rows + task.max_new)
            }
            Task::Encode(_) => (Output::Vector, self.input_rows),
        };
        let (session, epoch, model) = (self.id, self.epoch, self.config.model);
        Control::Open { session, epoch, model, blocks, next, output, max_positions }
    }

    pub(super) fn next_of(&self, at: usize) -> Peer {
        self.route.get(at + 1).map_or_else(|| self.config.gateway.clone(), |stage| stage.peer.clone())
    }

    /// All stages are open: sends what the chain needs for the step in flight.
    fn run(&mut self, now: Duration, rung: Rung, out: &mut Vec<Effect>) {
        if rung == Rung::Prefill {
            // Nothing is below the first position, so every stage has run it.
            self.links.iter_mut().for_each(|link| link.settled = true);
            self.step_from = 0;
            self.settles_at = 0;
            self.send_tokens(0, 0, out);
        } else {
            for at in 1..self.route.len() {
                if self.links[at - 1].settled && !self.links[at].settled {
                    let message = Control::Redirect {
                        session: self.id,
                        epoch: self.epoch,
                        next: self.route[at].peer.clone(),
                        replay_from: 0,
                        forward_from: self.forward_from(at),
                    };
                    out.push(Effect::Control { to: self.route[at - 1].peer.clone(), message });
                }
            }
            // A stage that knows the new epoch ignores frames of the old one that are still on their way, so the step is always
            // sent again; stages that have its rows answer from their retention.
            let at_front = !self.links[0].settled;
            let (from, forward_from) =
                if at_front { (0, self.forward_from(0)) } else { (self.step_from, self.step_from) };
            self.settles_at = self.end();
            self.send_tokens(from, forward_from, out);
        }
        self.await_candidates(now, self.end(), out);
    }

    /// The first position that must leave a hole whose first replacement stands at `at`. A lone replacement passes on the step in
    /// flight only, as the stage after it has the rest. Of two or more, all but the last must pass on everything, and a frame says the
    /// same to each of them, so everything goes on; stages that have run it answer from their retention.
    fn forward_from(&self, at: usize) -> u32 {
        let alone = self.links.get(at + 1).is_none_or(|link| link.settled);
        if alone { self.step_from } else { 0 }
    }

    /// Sends the tokens from `from` to the end, in chunks; outputs below `forward_from` go no further than the first stage.
    pub(super) fn send_tokens(&self, from: u32, forward_from: u32, out: &mut Vec<Effect>) {
        if let Some(first) = self.route.first() {
            self.send_to(&first.peer, self.front_stream.unwrap_or(self.epoch), (from, forward_from), out);
        }
    }

    /// Sends the tokens from `from` to the end to a machine, on the stream whose hello has the epoch `stream`. Silent ones ask for
    /// nothing.
    pub(super) fn send_to(&self, to: &Peer, stream: u32, (from, forward_from): (u32, u32), out: &mut Vec<Effect>) {
        let chunk = match &self.config.task {
            // Whole, as it was checked to fit; `from` is 0 at every step of an encoding, for there is only one.
            Task::Encode(_) => self.end(),
            Task::Generate(task) => {
                let most = rows_per_frame(self.config.d_model, MAX_HOPS);
                if task.prefill_chunk == 0 { most } else { task.prefill_chunk.min(most) }
            }
        };
        let mut at = from;
        while at < self.end() {
            let end = at.saturating_add(chunk).min(self.end());
            let payload = match &self.config.task {
                Task::Encode(Encode { source: Source::Patches { values, .. }, .. }) => Payload::Rows(values.clone()),
                _ => Payload::Tokens(self.tokens[at as usize..end as usize].to_vec()),
            };
            let frame = Frame {
                epoch: self.epoch,
                pos: at,
                rows: end - at,
                forward_from,
                wants_candidates: end == self.end() && forward_from != SILENT,
                hops: Vec::new(),
                payload,
            };
            out.push(Effect::Send { to: to.clone(), session: self.id, epoch: stream, frame });
            at = end;
        }
    }

    /// Waits for the candidates of a step in which some stage may have to run `rows` rows.
    pub(super) fn await_candidates(&mut self, now: Duration, rows: u32, out: &mut Vec<Effect>) {
        let deadline = now + self.patience(self.config.limits.step_timeout * (1 + rows / ROWS_PER_TIMEOUT));
        self.phase = Phase::Running { deadline };
        out.push(Effect::WakeAt(deadline));
    }

    fn patience(&self, time: Duration) -> Duration {
        time * (1 << self.missed.min(MOST_DOUBLINGS))
    }

    pub(super) fn on_wake(&mut self, now: Duration, out: &mut Vec<Effect>) {
        match self.phase {
            Phase::Opening { deadline, .. } if now >= deadline => {
                self.missed += 1;
                let late = (0..self.route.len()).filter(|at| !self.links[*at].opened);
                let late: Vec<NodeId> = late.map(|at| self.route[at].peer.node).collect();
                self.accuse_all(now, &late, "it did not open in time", out);
            }
            Phase::Running { deadline } if now >= deadline => {
                self.missed += 1;
                let all: Vec<NodeId> = self.route.iter().map(|stage| stage.peer.node).collect();
                self.accuse_all(now, &all, "no candidates came in time", out);
            }
            Phase::Waiting { until, why, .. } if now >= until => self.fail(why.into(), out),
            Phase::Waiting { retry, .. } if now >= retry => self.prefill_anew(now, out),
            Phase::Opening { deadline, .. } | Phase::Running { deadline } => out.push(Effect::WakeAt(deadline)),
            Phase::Waiting { until, retry, .. } => out.push(Effect::WakeAt(until.min(retry))),
            Phase::New | Phase::Ended => {}
        }
    }

    /// Closes all members that `keep` does not hold.
    pub(super) fn close(&mut self, keep: impl Fn(NodeId) -> bool, out: &mut Vec<Effect>) {
        let gone: Vec<NodeId> = self.members.keys().copied().filter(|node| !keep(*node)).collect();
        for node in gone {
            if let Some(to) = self.members.remove(&node) {
                self.closed.insert(node);
                out.push(Effect::Control { to, message: Control::Close { session: self.id } });
            }
        }
    }

    /// Takes the next session id.
    pub(super) fn renew(&mut self) {
        self.attempt += 1;
        self.epoch = 0;
        let hash = self.derive(b"session", 0);
        let mut id = [0; 16];
        id.copy_from_slice(&hash[..16]);
        self.id = SessionId(id);
        self.closed.clear();
        self.lasts.clear();
        self.standbys.clear();
        self.front_stream = None;
    }

    pub(super) fn finish(&mut self, now: Duration, finish: Finish, out: &mut Vec<Effect>) {
        self.close(|_| false, out);
        self.phase = Phase::Ended;
        let report = self.ledger.report(now, finish, self.drawn(), &self.route);
        out.push(Effect::Done(Box::new(report)));
    }

    pub(super) fn fail(&mut self, error: SessionError, out: &mut Vec<Effect>) {
        self.close(|_| false, out);
        self.phase = Phase::Ended;
        out.push(Effect::Failed(error));
    }
}
