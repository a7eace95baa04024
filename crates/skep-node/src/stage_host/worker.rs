//! The compute thread: takes what gateways and hops send, lets the pool compute, and sends on what comes of it.

use super::limits::Gate;
use super::memory::Ledger;
use super::meter::Meter;
use super::pool::{Pool, Settled};
use super::{Job, StageLimits};
use crate::links::Links;
use crate::steward::Lending;
use skep_model::Purpose;
use skep_session::{Outgoing, StageConfig};
use skep_types::wire::{
    Control, ControlReply, Fault, Frame, HopReport, Output, Peer, SessionId, StreamHello, cut_reason,
};
use skep_types::{ModelId, NodeId};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc;

/// Who opened a session, and where its outputs go.
struct Client {
    from: NodeId,
    /// When it was opened, or a frame came for it last.
    active: Instant,
    link: u64,
    bytes: u64,
    replies: mpsc::Sender<ControlReply>,
    out: Option<Out>,
    /// The stream to the standby of the next hop.
    mirror: Option<Out>,
}

/// The link to the next hop of a session.
struct Out {
    node: NodeId,
    epoch: u32,
    frames: mpsc::Sender<Frame>,
}

/// The compute thread's own state.
pub(super) struct Worker {
    model: ModelId,
    purpose: Purpose,
    most_sessions: usize,
    memory: Ledger,
    gate: Gate,
    links: Links,
    pool: Pool,
    meter: Arc<Meter>,
    /// What its owner allows others.
    lending: Lending,
    /// One for each seat of the pool.
    clients: HashMap<SessionId, Client>,
}

impl Worker {
    pub(super) fn new(model: ModelId, mut pool: Pool, limits: StageLimits, links: Links, meter: Arc<Meter>) -> Self {
        let span = pool.spans().served();
        let (purpose, memory) = (Purpose::of(span.config()), Ledger::new(span, limits));
        meter.loads(pool.spans().loaded());
        meter.serves(span.blocks());
        pool.set_store_room(memory.free());
        meter.holds(0, memory.free());
        let (most_sessions, clients) = (limits.sessions, HashMap::new());
        let gate = Gate::new(links.own(), limits.peer);
        let lending = Lending::unlimited();
        Self { model, purpose, most_sessions, memory, gate, links, pool, meter, lending, clients }
    }

    /// Works until the node is gone.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        if let Err(error) = skep_kernels::check_float_environment() {
            tracing::error!(%error, "this thread does not compute the same bits as others; it serves nothing");
            return;
        }
        self.meter.measure(self.pool.spans().served());
        loop {
            if self.pool.is_idle() {
                let Some(job) = queue.blocking_recv() else { return };
                self.take(job);
            }
            // Whatever has come meanwhile shares the next pass.
            while let Ok(job) = queue.try_recv() {
                self.take(job);
            }
            for Settled { session, arrived, result, spent } in self.pool.pass() {
                self.settle(session, result, arrived);
                if let Some(spent) = spent {
                    self.meter.visited(arrived.elapsed(), spent);
                }
            }
        }
    }

    fn take(&mut self, job: Job) {
        match job {
            Job::Control { from, link, request, replies } => self.control(from, link, request, replies),
            Job::Arrived { session, arrival } => {
                if let Some(client) = self.clients.get_mut(&session) {
                    client.active = arrival.at;
                }
                if let Err(fault) = self.pool.arrive(session, arrival) {
                    self.fault(session, fault);
                }
            }
            Job::LinkOver { link } => {
                let over = self.clients.iter().filter(|(_, client)| client.link == link);
                for session in over.map(|(session, _)| *session).collect::<Vec<_>>() {
                    self.close(session);
                }
            }
            Job::Tidy { idle } => {
                let idle = self.clients.iter().filter(|(_, client)| client.active.elapsed() > idle);
                for session in idle.map(|(session, _)| *session).collect::<Vec<_>>() {
                    let reason = "no frame came for this session for too long".to_owned();
                    self.fault(session, Fault::Compute { reason });
                    self.close(session);
                }
            }
            Job::Adopt { span, done } => {
                let adopted = self.memory.adopt(&span).map(|()| self.pool.adopt(span));
                self.pool.set_store_room(self.memory.free());
                self.meter.loads(self.pool.spans().loaded());
                self.meter.serves(self.pool.spans().served().blocks());
                // Whoever does not wait for the answer learns it from what is loaded.
                let _ = done.send(adopted);
            }
            Job::Retire => {
                self.pool.retire();
                self.meter.loads(self.pool.spans().loaded());
            }
            Job::Lend { lending, done } => {
                self.lend(lending);
                let _ = done.send(());
            }
        }
    }

    fn control(&mut self, from: NodeId, link: u64, request: Control, replies: mpsc::Sender<ControlReply>) {
        match request {
            Control::Open { session, epoch, model, blocks, next, output, max_positions } => {
                let shape = self.pool.spans().served().config();
                let config = StageConfig {
                    session,
                    epoch,
                    blocks,
                    n_blocks: shape.n_blocks,
                    d_model: shape.d_model as u32,
                    d_patch: self.purpose.d_patch() as u32,
                    output,
                    max_positions,
                    next,
                };
                let reply = match self.open((from, link), model, config, replies.clone()) {
                    Ok(()) => ControlReply::Opened { session, epoch },
                    Err(reason) => ControlReply::Refused { session, reason: cut_reason(reason) },
                };
                let _ = replies.try_send(reply);
            }
            Control::Redirect { session, epoch, next, replay_from, forward_from } => {
                if let Some(client) = self.clients.get_mut(&session).filter(|client| client.link == link) {
                    // What the mirror has got so far and what it gets as the next hop come in order.
                    if let Some(mirror) = client.mirror.take().filter(|mirror| mirror.node == next.node) {
                        client.out = Some(Out { epoch, ..mirror });
                    }
                    let outgoing = self.pool.redirect(session, epoch, next, replay_from, forward_from);
                    self.settle(session, Ok(outgoing), Instant::now());
                }
            }
            Control::Mirror { session, to } => {
                if let Some(client) = self.clients.get_mut(&session).filter(|client| client.link == link) {
                    client.mirror = None;
                    let outgoing = self.pool.set_mirror(session, to);
                    self.settle(session, Ok(outgoing), Instant::now());
                }
            }
            Control::Close { session } => {
                if self.clients.get(&session).is_some_and(|client| client.link == link) {
                    self.close(session);
                }
            }
        }
    }

    /// Keeps to the owner's limits from now on.
    fn lend(&mut self, lending: Lending) {
        if let (true, Some(refusal)) = (lending.ends, lending.refusal) {
            let own = self.links.own();
            let foreign = self.clients.iter().filter(|(_, client)| client.from != own);
            for session in foreign.map(|(session, _)| *session).collect::<Vec<_>>() {
                if let Some(client) = self.clients.get(&session) {
                    let reason = refusal.to_owned();
                    let _ = client.replies.try_send(ControlReply::Refused { session, reason });
                }
                self.close(session);
            }
        }
        self.lending = lending;
    }

    /// Tells what is promised.
    fn count(&self) {
        let own = self.links.own();
        self.meter.holds(self.clients.len(), self.memory.free());
        self.meter.holds_foreign(self.clients.values().filter(|client| client.from != own).count());
    }

    fn close(&mut self, session: SessionId) {
        self.pool.close(session);
        if let Some(client) = self.clients.remove(&session) {
            self.memory.close(client.bytes);
            self.gate.close(Instant::now(), client.from);
            self.pool.set_store_room(self.memory.free());
            self.count();
            self.meter.loads(self.pool.spans().loaded());
        }
    }

    /// Makes a session, or says why not. Memory is counted before it is taken.
    fn open(
        &mut self,
        (from, link): (NodeId, u64),
        model: ModelId,
        config: StageConfig,
        replies: mpsc::Sender<ControlReply>,
    ) -> Result<(), String> {
        if model != self.model {
            return Err(format!("this node holds blocks of model {}", self.model.short()));
        }
        let Some(span) = self.pool.spans().of(config.blocks).cloned() else {
            let served = self.pool.spans().served().blocks();
            return Err(format!("this node holds blocks {served}, not {}", config.blocks));
        };
        match (config.output, self.purpose.vector_width()) {
            (Output::Vector, None) => return Err("this model continues texts and makes no vectors".to_owned()),
            (Output::Candidates(_), Some(_)) => return Err("this model makes vectors and draws no tokens".to_owned()),
            _ => {}
        }
        if let Some(refusal) = self.lending.refusal.filter(|_| from != self.links.own()) {
            return Err(refusal.to_owned());
        }
        // Whoever knows the session's id may begin it anew; what was computed before is forgotten.
        self.close(config.session);
        if self.clients.len() >= self.most_sessions {
            return Err(format!("{} sessions are open here, the most this node serves", self.most_sessions));
        }
        let session = config.session;
        self.gate.open(Instant::now(), from, config.max_positions)?;
        let bytes = match self.memory.open(&span, &config) {
            Ok(bytes) => bytes,
            Err(reason) => {
                self.gate.close(Instant::now(), from);
                return Err(reason);
            }
        };
        // Stored pages make way before the session takes anything.
        self.pool.set_store_room(self.memory.free());
        let opened = self.pool.open(config);
        match &opened {
            Ok(()) => drop(self.clients.insert(
                session,
                Client { from, active: Instant::now(), link, bytes, replies, out: None, mirror: None },
            )),
            Err(_) => {
                self.memory.close(bytes);
                self.gate.close(Instant::now(), from);
            }
        }
        self.count();
        opened
    }

    /// Sends what the stage put out, or tells the gateway why there is nothing.
    fn settle(&mut self, session: SessionId, result: Result<Vec<Outgoing>, Fault>, arrived: Instant) {
        let outgoing = match result {
            Ok(outgoing) => outgoing,
            Err(fault) => return self.fault(session, fault),
        };
        for Outgoing { next, mirror, epoch, mut frame } in outgoing {
            let node = next.node;
            if !mirror {
                frame.hops.push(HopReport {
                    hold_us: u32::try_from(arrived.elapsed().as_micros()).unwrap_or(u32::MAX),
                    rtt_us: self.links.rtt_us(node),
                });
            }
            let Some(out) = self.out(session, next, epoch, mirror) else { return };
            if out.frames.try_send(frame).is_err() {
                return self.fault(session, Fault::NextLost { node });
            }
        }
    }

    /// The link to the next hop, opened when hop or epoch changed; or the one to its mirror, whatever the epoch.
    fn out(&mut self, session: SessionId, next: Peer, epoch: u32, mirror: bool) -> Option<&Out> {
        let client = self.clients.get_mut(&session)?;
        let node = next.node;
        let link = if mirror { &mut client.mirror } else { &mut client.out };
        if link.as_ref().is_none_or(|out| out.node != node || (!mirror && out.epoch != epoch)) {
            let replies = client.replies.clone();
            let lost = move || {
                let _ = replies.try_send(ControlReply::Fault { session, epoch, fault: Fault::NextLost { node } });
            };
            let frames = self.links.data(&next, StreamHello { session, epoch }, lost);
            *link = Some(Out { node, epoch, frames });
        }
        link.as_ref()
    }

    fn fault(&mut self, session: SessionId, fault: Fault) {
        let (Some(client), Some(epoch)) = (self.clients.get(&session), self.pool.epoch(session)) else { return };
        tracing::warn!(?session, ?fault, "a stage cannot go on");
        let _ = client.replies.try_send(ControlReply::Fault { session, epoch, fault });
    }
}
