//! The compute thread: takes what gateways and hops send, lets the pool compute, and sends on what comes of it.

use super::limits::Gate;
use super::loader::Loader;
use super::memory::Ledger;
use super::meter::Meter;
use super::pool::{Pool, Settled, Turn};
use super::throttle::{PASS_MOST, Throttle};
use super::{Job, StageLimits};
use crate::links::Links;
use crate::steward::{Lending, usage};
use skep_kernels::PAGE;
use skep_model::{PASS_ROWS, Purpose, Span};
use skep_session::{Outgoing, StageConfig};
use skep_types::wire::{
    Control, ControlReply, Fault, Frame, HopReport, Output, Peer, SessionId, StreamHello, cut_reason,
};
use skep_types::{ModelId, NodeId};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Who opened a session, and where its outputs go.
pub(super) struct Client {
    pub(super) from: NodeId,
    /// When it was opened, or a frame came for it last.
    active: Instant,
    link: u64,
    bytes: u64,
    pub(super) replies: mpsc::Sender<ControlReply>,
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
    /// Blocks of the model, and values of a row.
    shape: (u32, u32),
    most_sessions: usize,
    pub(super) memory: Ledger,
    gate: Gate,
    pub(super) links: Links,
    pub(super) pool: Pool,
    pub(super) meter: Arc<Meter>,
    pub(super) loader: Loader,
    /// What its owner allows others; none where the owner sets no limits.
    pub(super) lending: Option<Lending>,
    pub(super) throttle: Throttle,
    began: Instant,
    /// One for each seat of the pool.
    pub(super) clients: HashMap<SessionId, Client>,
}

impl Worker {
    pub(super) fn new(
        model: ModelId,
        span: &Arc<Span>,
        limits: StageLimits,
        links: Links,
        (loader, meter): (Loader, Arc<Meter>),
    ) -> Self {
        let mut pool = Pool::new(span.clone(), meter.clone());
        let (purpose, memory) = (Purpose::of(span.config()), Ledger::new(span, limits));
        let shape = (span.config().n_blocks, span.config().d_model as u32);
        meter.loads(pool.spans().loaded());
        meter.serves(span.blocks());
        pool.set_store_room(memory.free());
        meter.holds(0, memory.free());
        let (most_sessions, clients) = (limits.sessions, HashMap::new());
        let gate = Gate::new(links.own(), limits.peer);
        let throttle = Throttle::new(usage::processors(), limits.threads);
        let began = Instant::now();
        Self {
            model,
            purpose,
            shape,
            most_sessions,
            memory,
            gate,
            links,
            pool,
            meter,
            loader,
            lending: None,
            throttle,
            began,
            clients,
        }
    }

    /// Works until the node is gone.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        if let Err(error) = skep_kernels::check_float_environment() {
            tracing::error!(%error, "this thread does not compute the same bits as others; it serves nothing");
            return;
        }
        if let Some(span) = self.pool.spans().served() {
            self.meter.measure(span);
        }
        while let Some(turn) = self.wait(&mut queue) {
            for Settled { session, arrived, result, spent } in self.pass(turn) {
                self.settle(session, result, arrived);
                if let Some(spent) = spent {
                    self.meter.visited(arrived.elapsed(), spent);
                }
            }
        }
    }

    /// Takes what comes until there is a pass to run, and says whose; none when the node is gone.
    fn wait(&mut self, queue: &mut mpsc::Receiver<Job>) -> Option<Turn> {
        loop {
            if self.pool.is_idle() {
                let job = queue.blocking_recv()?;
                self.take(job);
            }
            // Whatever has come meanwhile shares the next pass.
            while let Ok(job) = queue.try_recv() {
                self.take(job);
            }
            match self.turn() {
                _ if self.pool.is_idle() => {}
                Ok(turn) => return Some(turn),
                Err(rest) => match self.links.wait(rest, queue.recv()) {
                    Some(None) => return None,
                    Some(Some(job)) => self.take(job),
                    None => {}
                },
            }
        }
    }

    /// Whose rows run now, or how long others rest before theirs may.
    fn turn(&self) -> Result<Turn, Duration> {
        if !self.throttle.is_on() {
            return Ok(Turn::All);
        }
        if self.pool.waits(Turn::Own) {
            return Ok(Turn::Own);
        }
        let rest = self.throttle.rest(self.began.elapsed());
        if rest.is_zero() { Ok(Turn::Others) } else { Err(rest) }
    }

    fn pass(&mut self, turn: Turn) -> Vec<Settled> {
        let threads = if turn == Turn::Others { self.throttle.threads() } else { usize::MAX };
        self.loader.options().cpu.workers().limit(threads);
        let begun = self.began.elapsed();
        if turn == Turn::Others {
            self.throttle.begins(begun, usage::processor_time());
        }
        let settled = self.pool.pass_of(turn, self.most_rows(turn));
        let now = self.began.elapsed();
        match turn {
            Turn::Others => self.throttle.ran(now, now.saturating_sub(begun), usage::processor_time()),
            Turn::Own => self.throttle.ran_own(now, usage::processor_time()),
            Turn::All => {}
        }
        settled
    }

    /// Rows of prompts in a pass. A pause waits for the pass under way, so where there may be one, passes are short.
    fn most_rows(&self, turn: Turn) -> u32 {
        let (all, page) = (PASS_ROWS as u32, PAGE as u32);
        let row = self.meter.read().prefill_block.map(|block| block * self.pool.spans().blocks().len());
        match row.filter(|row| self.lending.is_some() && turn != Turn::Own && !row.is_zero()) {
            Some(row) => {
                let rows = u32::try_from(PASS_MOST.as_nanos() / row.as_nanos()).unwrap_or(all);
                rows.clamp(page, all) / page * page
            }
            None => all,
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
                self.meter.serves(self.pool.spans().blocks());
                self.share();
                // Whoever does not wait for the answer learns it from what is loaded.
                let _ = done.send(adopted);
            }
            Job::Retire => {
                self.pool.retire();
                self.meter.loads(self.pool.spans().loaded());
            }
            Job::Load { span, done } => {
                let wanted = !self.lending.as_ref().is_some_and(|lending| lending.drops_weights);
                if wanted && self.pool.spans().served().is_none() && span.blocks() == self.pool.spans().blocks() {
                    self.pool.adopt(span);
                    self.share();
                }
                let _ = done.send(());
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
                let (n_blocks, d_model) = self.shape;
                let config = StageConfig {
                    session,
                    epoch,
                    blocks,
                    n_blocks,
                    d_model,
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

    pub(super) fn close(&mut self, session: SessionId) {
        self.pool.close(session);
        if let Some(client) = self.clients.remove(&session) {
            self.memory.close(client.bytes);
            self.gate.close(Instant::now(), client.from);
            self.share();
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
        match (config.output, self.purpose.vector_width()) {
            (Output::Vector, None) => return Err("this model continues texts and makes no vectors".to_owned()),
            (Output::Candidates(_), Some(_)) => return Err("this model makes vectors and draws no tokens".to_owned()),
            _ => {}
        }
        let own = from == self.links.own();
        if let Some(refusal) = self.refusal().filter(|_| !own) {
            return Err(refusal.to_owned());
        }
        let span = self.span_of(config.blocks)?;
        // Whoever knows the session's id may begin it anew; what was computed before is forgotten.
        self.close(config.session);
        if self.clients.len() >= self.most_sessions {
            return Err(format!("{} sessions are open here, the most this node serves", self.most_sessions));
        }
        let session = config.session;
        self.gate.open(Instant::now(), from, config.max_positions)?;
        let bytes = match self.memory.open(&span, &config, own) {
            Ok(bytes) => bytes,
            Err(reason) => {
                self.gate.close(Instant::now(), from);
                return Err(reason);
            }
        };
        // Stored pages make way before the session takes anything.
        self.pool.set_store_room(self.memory.free());
        let opened = self.pool.open(config);
        if own {
            self.pool.set_own(session);
        }
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
