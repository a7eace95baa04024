//! The stages that this node serves: one compute thread, one KV cache per session, everything counted before it is promised.
//!
//! Streams are read by async tasks, which hand frames to the compute thread over one bounded queue; a slow session can fill the
//! queue only as fast as its own frames are computed. The compute thread never waits for the network: outputs go into the bounded
//! queue of the next hop, and a next hop that does not drain it is reported to the gateway as lost.
//!
//! A session lives as long as the control link that opened it: when the gateway vanishes, its KV caches go with it.

use crate::links::Links;
use skep_model::{KvCache, Span, top_candidates};
use skep_session::{Compute, Outgoing, Stage, StageConfig};
use skep_types::wire::{
    Control, ControlReply, Fault, Frame, HopReport, MAX_REASON_BYTES, Peer, SessionId, StreamHello,
};
use skep_types::{BlockRange, ModelId, NodeId};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tokio::sync::mpsc;

/// Jobs that may wait for the compute thread.
const JOB_QUEUE: usize = 1024;

/// What a stage host may use.
#[derive(Debug, Clone, Copy)]
pub struct StageLimits {
    /// Sessions served at once.
    pub sessions: usize,
    /// Bytes of KV caches and retained rows of all sessions together.
    pub session_bytes: u64,
}

impl Default for StageLimits {
    fn default() -> Self {
        Self { sessions: 64, session_bytes: 2 << 30 }
    }
}

/// Hands work to the compute thread. Cheap to clone.
#[derive(Clone)]
pub(crate) struct StageHost {
    jobs: mpsc::Sender<Job>,
    next_link: Arc<AtomicU64>,
}

enum Job {
    Control { link: u64, request: Control, replies: mpsc::Sender<ControlReply> },
    Frame { from: NodeId, session: SessionId, frame: Frame, arrived: Instant },
    BadStream { from: NodeId, session: SessionId, reason: String },
    LinkOver { link: u64 },
}

impl StageHost {
    /// Starts the compute thread over `span`.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub(crate) fn start(model: ModelId, span: Arc<Span>, limits: StageLimits, links: Links) -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::channel(JOB_QUEUE);
        let worker = Worker { model, span, limits, links, sessions: HashMap::new() };
        std::thread::Builder::new().name("skep-compute".into()).spawn(move || worker.run(queue))?;
        Ok(Self { jobs, next_link: Arc::default() })
    }

    /// Serves a control link until it ends.
    pub(crate) async fn serve_control(
        self,
        mut requests: mpsc::Receiver<Control>,
        replies: mpsc::Sender<ControlReply>,
    ) {
        let link = self.next_link.fetch_add(1, Ordering::Relaxed);
        while let Some(request) = requests.recv().await {
            if self.jobs.send(Job::Control { link, request, replies: replies.clone() }).await.is_err() {
                return;
            }
        }
        let _ = self.jobs.send(Job::LinkOver { link }).await;
    }

    /// Feeds a data stream, whose first item is already here, to its session.
    pub(crate) async fn serve_data(
        self,
        from: NodeId,
        hello: StreamHello,
        first: Result<Frame, String>,
        mut frames: mpsc::Receiver<Result<Frame, String>>,
    ) {
        let (session, mut item) = (hello.session, Some(first));
        while let Some(frame) = item {
            let job = match frame {
                Ok(frame) => Job::Frame { from, session, frame, arrived: Instant::now() },
                Err(reason) => Job::BadStream { from, session, reason },
            };
            if self.jobs.send(job).await.is_err() {
                return;
            }
            item = frames.recv().await;
        }
    }
}

/// One session on this node.
struct Served {
    link: u64,
    stage: Stage,
    compute: SpanCompute,
    bytes: u64,
    replies: mpsc::Sender<ControlReply>,
    out: Option<Out>,
}

/// The link to the next hop of a session.
struct Out {
    node: NodeId,
    epoch: u32,
    frames: mpsc::Sender<Frame>,
}

/// The compute thread's own state.
struct Worker {
    model: ModelId,
    span: Arc<Span>,
    limits: StageLimits,
    links: Links,
    sessions: HashMap<SessionId, Served>,
}

impl Worker {
    fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        if let Err(error) = skep_kernels::check_float_environment() {
            tracing::error!(%error, "this thread does not compute the same bits as others; it serves nothing");
            return;
        }
        while let Some(job) = queue.blocking_recv() {
            match job {
                Job::Control { link, request, replies } => self.control(link, request, replies),
                Job::Frame { from, session, frame, arrived } => self.frame(from, session, frame, arrived),
                Job::BadStream { from, session, reason } => {
                    self.fault(session, Fault::BadFrame { node: from, reason: cut(reason) });
                }
                Job::LinkOver { link } => self.sessions.retain(|_, served| served.link != link),
            }
        }
    }

    fn control(&mut self, link: u64, request: Control, replies: mpsc::Sender<ControlReply>) {
        match request {
            Control::Open { session, epoch, model, blocks, next, candidates, max_positions } => {
                let config = StageConfig {
                    session,
                    epoch,
                    blocks,
                    n_blocks: self.span.config().n_blocks,
                    d_model: self.span.config().d_model as u32,
                    candidates,
                    max_positions,
                    next,
                };
                let reply = match self.open(link, model, config, replies.clone()) {
                    Ok(()) => ControlReply::Opened { session, epoch },
                    Err(reason) => ControlReply::Refused { session, reason: cut(reason) },
                };
                let _ = replies.try_send(reply);
            }
            Control::Redirect { session, epoch, next, replay_from, forward_from } => {
                let Some(served) = self.sessions.get_mut(&session).filter(|served| served.link == link) else { return };
                let outgoing = served.stage.redirect(epoch, next, replay_from, forward_from);
                self.settle(session, Ok(outgoing), Instant::now());
            }
            Control::Close { session } => {
                if self.sessions.get(&session).is_some_and(|served| served.link == link) {
                    self.sessions.remove(&session);
                }
            }
        }
    }

    /// Makes a session, or says why not. Memory is counted before it is taken.
    fn open(
        &mut self,
        link: u64,
        model: ModelId,
        config: StageConfig,
        replies: mpsc::Sender<ControlReply>,
    ) -> Result<(), String> {
        if model != self.model {
            return Err(format!("this node holds blocks of model {}", self.model.short()));
        }
        if !self.span.blocks().covers(&config.blocks) {
            return Err(format!("this node holds blocks {}, not {}", self.span.blocks(), config.blocks));
        }
        // Whoever knows the session's id may begin it anew; what was computed before is forgotten.
        self.sessions.remove(&config.session);
        if self.sessions.len() >= self.limits.sessions {
            return Err(format!("{} sessions are open here, the most this node serves", self.limits.sessions));
        }
        let bytes = session_bytes(&self.span, config.blocks, config.max_positions);
        let used: u64 = self.sessions.values().map(|served| served.bytes).sum();
        if used.saturating_add(bytes) > self.limits.session_bytes {
            return Err(format!("the session needs {bytes} bytes and {} are free", self.limits.session_bytes - used));
        }
        let cache = self.span.new_cache(config.blocks, config.max_positions as usize).map_err(|e| e.to_string())?;
        let compute = SpanCompute { span: self.span.clone(), cache };
        let session = config.session;
        self.sessions.insert(session, Served { link, stage: Stage::new(config), compute, bytes, replies, out: None });
        Ok(())
    }

    fn frame(&mut self, from: NodeId, session: SessionId, frame: Frame, arrived: Instant) {
        let Some(served) = self.sessions.get_mut(&session) else { return };
        let result = served.stage.on_frame(from, frame, &mut served.compute);
        self.settle(session, result, arrived);
    }

    /// Sends what the stage put out, or tells the gateway why there is nothing.
    fn settle(&mut self, session: SessionId, result: Result<Vec<Outgoing>, Fault>, arrived: Instant) {
        let outgoing = match result {
            Ok(outgoing) => outgoing,
            Err(fault) => return self.fault(session, fault),
        };
        for Outgoing { next, epoch, mut frame } in outgoing {
            frame.hops.push(HopReport {
                hold_us: u32::try_from(arrived.elapsed().as_micros()).unwrap_or(u32::MAX),
                rtt_us: self.links.rtt_us(next.node),
            });
            let node = next.node;
            let Some(out) = self.out(session, next, epoch) else { return };
            if out.frames.try_send(frame).is_err() {
                return self.fault(session, Fault::NextLost { node });
            }
        }
    }

    /// The link to the next hop, opened when hop or epoch changed.
    fn out(&mut self, session: SessionId, next: Peer, epoch: u32) -> Option<&Out> {
        let served = self.sessions.get_mut(&session)?;
        let node = next.node;
        if served.out.as_ref().is_none_or(|out| (out.node, out.epoch) != (node, epoch)) {
            let replies = served.replies.clone();
            let lost = move || {
                let _ = replies.try_send(ControlReply::Fault { session, epoch, fault: Fault::NextLost { node } });
            };
            let frames = self.links.data(&next, StreamHello { session, epoch }, lost);
            served.out = Some(Out { node, epoch, frames });
        }
        served.out.as_ref()
    }

    fn fault(&mut self, session: SessionId, fault: Fault) {
        if let Some(served) = self.sessions.get(&session) {
            tracing::warn!(?session, ?fault, "a stage cannot go on");
            let _ = served.replies.try_send(ControlReply::Fault { session, epoch: served.stage.epoch(), fault });
        }
    }
}

/// Bytes that a session may come to hold: keys and values of its blocks, and its retained output rows.
fn session_bytes(span: &Span, blocks: BlockRange, max_positions: u32) -> u64 {
    let config = span.config();
    let kv = 2 * (config.n_kv_heads * config.head_dim) as u64 * u64::from(blocks.len());
    4u64.saturating_mul(kv + config.d_model as u64).saturating_mul(u64::from(max_positions))
}

fn cut(mut reason: String) -> String {
    let mut end = reason.len().min(MAX_REASON_BYTES);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason.truncate(end);
    reason
}

/// The arithmetic of one session: the span's weights and the session's own KV cache.
struct SpanCompute {
    span: Arc<Span>,
    cache: KvCache,
}

impl Compute for SpanCompute {
    fn embed(&mut self, tokens: &[u32]) -> Result<Vec<f32>, String> {
        self.span.embed(tokens).map_err(|error| error.to_string())
    }

    fn forward(&mut self, rows: &mut Vec<f32>) -> Result<(), String> {
        self.span.forward(&mut self.cache, rows).map_err(|error| error.to_string())
    }

    fn candidates(&mut self, row: &[f32], n: usize) -> Result<Vec<(u32, f32)>, String> {
        let logits = self.span.logits(row).map_err(|error| error.to_string())?;
        let best = top_candidates(&logits, n).map_err(|error| error.to_string())?;
        Ok(best.into_iter().map(|candidate| (candidate.id, candidate.logit)).collect())
    }
}
