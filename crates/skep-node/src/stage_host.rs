//! The stages that this node serves: one compute thread for all sessions, one KV cache per session, everything counted before it
//! is promised.
//!
//! Streams are read by async tasks, which hand frames to the compute thread over one bounded queue. A stream may have a few frames
//! there; the others wait in the transport, so a session can neither fill the queue nor the memory. The compute thread runs waiting
//! rows of all sessions together ([`pool`]) and never waits for the network: outputs go into the bounded queue of the next hop, and
//! a next hop that does not drain it is reported to the gateway as lost ([`worker`]).
//!
//! What was computed for one session serves others that begin alike ([`reuse`]).
//!
//! The span may be changed while sessions run ([`spans`]).
//!
//! A session lives as long as the control link that opened it: when the gateway vanishes, its KV caches go with it.

mod lend;
mod limits;
mod loader;
mod memory;
mod meter;
mod pool;
mod reuse;
mod spans;
mod throttle;
mod worker;

use crate::links::Links;
use crate::steward::Lending;
pub use limits::PeerLimits;
pub(crate) use loader::{Loader, span_options};
pub(crate) use meter::Measured;
use skep_model::{Span, SpanOptions};
use skep_types::wire::{Control, ControlReply, Frame, SessionId, StreamHello};
use skep_types::{BlockRange, ModelId, NodeId};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

/// Jobs that may wait for the compute thread.
const JOB_QUEUE: usize = 1024;
/// Frames of one stream that may be with the compute thread: enough that the next one is there when a pass ends.
const FRAMES_AHEAD: usize = 4;

/// What a stage host may use.
#[derive(Debug, Clone, Copy)]
pub struct StageLimits {
    /// Threads that compute, at least 1.
    pub threads: usize,
    /// Sessions served at once.
    pub sessions: usize,
    /// Bytes for everything but the weights, which are mapped: sessions, the work on them, and stored pages in what these leave.
    pub memory_bytes: u64,
    /// Whether the model file is read from the disk again at the start, so that Linux can hold it in large pages.
    pub large_pages: bool,
    /// What one gateway may ask.
    pub peer: PeerLimits,
    /// Whether the threads that compute step back before all other programs of the machine, where the system can say so for threads.
    pub background: bool,
}

impl Default for StageLimits {
    fn default() -> Self {
        Self {
            threads: 1,
            sessions: 64,
            memory_bytes: 2 << 30,
            large_pages: false,
            peer: PeerLimits::default(),
            background: false,
        }
    }
}

/// Hands work to the compute thread. Cheap to clone.
#[derive(Clone)]
pub(crate) struct StageHost {
    jobs: mpsc::Sender<Job>,
    next_link: Arc<AtomicU64>,
    meter: Arc<meter::Meter>,
    loader: Loader,
    room: Arc<AtomicU32>,
    lends: Arc<Lends>,
}

/// Whether others may begin something.
#[derive(Default)]
struct Lends {
    /// It is said to others.
    told: AtomicBool,
    /// It is to be said once the weights are there.
    wanted: AtomicBool,
    /// The weights are being brought into memory.
    loading: AtomicBool,
}

/// What the compute thread is told.
enum Job {
    Control {
        from: NodeId,
        link: u64,
        request: Control,
        replies: mpsc::Sender<ControlReply>,
    },
    Arrived {
        session: SessionId,
        arrival: Arrival,
    },
    LinkOver {
        link: u64,
    },
    /// End sessions to which no frame has come for so long.
    Tidy {
        idle: Duration,
    },
    /// Serve this span from now on, beside the earlier ones.
    Adopt {
        span: Arc<Span>,
        done: oneshot::Sender<Result<(), String>>,
    },
    /// Let the earlier spans take no more sessions.
    Retire,
    /// Serve the span that was unloaded again.
    Load {
        span: Arc<Span>,
        done: oneshot::Sender<()>,
    },
    /// Keep to the owner's limits from now on.
    Lend {
        lending: Lending,
        done: oneshot::Sender<()>,
    },
}

/// Lets idle sessions be looked for as long as the compute thread lives.
async fn tidy(jobs: mpsc::WeakSender<Job>, idle: Duration) {
    loop {
        tokio::time::sleep(idle / 4).await;
        let Some(jobs) = jobs.upgrade() else { return };
        if jobs.send(Job::Tidy { idle }).await.is_err() {
            return;
        }
    }
}

/// What came over a data stream.
struct Arrival {
    from: NodeId,
    /// A frame, or why the stream ended.
    frame: Result<Frame, String>,
    at: Instant,
    /// Held until the frame is answered, so that its stream may bring another one.
    ticket: Option<OwnedSemaphorePermit>,
}

impl StageHost {
    /// Bytes without which this span cannot serve any session.
    pub(crate) fn least_bytes(span: &Span) -> u64 {
        memory::pass_bytes(span, 0)
    }

    /// Starts the compute thread over `span`, which is of `file`.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub(crate) fn start(
        model: ModelId,
        span: &Arc<Span>,
        file: PathBuf,
        limits: StageLimits,
        links: Links,
    ) -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::channel(JOB_QUEUE);
        let meter = Arc::new(meter::Meter::default());
        let loader = Loader::new(file, span.options());
        links.spawn(tidy(jobs.downgrade(), limits.peer.idle));
        let worker = worker::Worker::new(model, span, limits, links, (loader.clone(), meter.clone()));
        let compute = move || {
            if limits.background {
                loader::step_back();
            }
            worker.run(queue);
        };
        std::thread::Builder::new().name("skep-compute".into()).spawn(compute)?;
        let lends = Arc::new(Lends { told: true.into(), ..Lends::default() });
        Ok(Self { jobs, next_link: Arc::default(), meter, loader, room: Arc::default(), lends })
    }

    /// How its spans compute; another one that it is to serve must be loaded so.
    pub(crate) fn options(&self) -> SpanOptions {
        self.loader.options().clone()
    }

    /// Serves another span of the model from now on, beside the earlier ones until [`StageHost::retire`].
    ///
    /// # Errors
    /// One sentence, when there is no memory for passes over it; nothing has changed then.
    pub(crate) async fn adopt(&self, span: Arc<Span>) -> Result<(), String> {
        let (done, adopted) = oneshot::channel();
        let ended = "the compute thread has ended";
        self.jobs.send(Job::Adopt { span, done }).await.map_err(|_| ended)?;
        adopted.await.map_err(|_| ended)?
    }

    /// Lets the earlier spans take no more sessions. They are unmapped when the last session on them has ended.
    pub(crate) async fn retire(&self) {
        let _ = self.jobs.send(Job::Retire).await;
    }

    /// Keeps to the owner's limits from now on. Returns when sessions that are to end have ended; not for async code.
    pub(crate) fn lend(&self, lending: &Lending) {
        let lends = lending.refusal.is_none();
        self.lends.wanted.store(lends, Ordering::SeqCst);
        if !lends {
            self.lends.told.store(false, Ordering::SeqCst);
        }
        let (done, kept) = oneshot::channel();
        // It fails when the node is ending.
        if self.jobs.blocking_send(Job::Lend { lending: lending.clone(), done }).is_ok() {
            let _ = kept.blocking_recv();
        }
        if lending.drops_weights || self.loaded().0 > 0 {
            self.lends.told.store(lends && !self.lends.loading.load(Ordering::SeqCst), Ordering::SeqCst);
        } else if !self.lends.loading.swap(true, Ordering::SeqCst) {
            let host = self.clone();
            let loading = std::thread::Builder::new().name("skep-load".into()).spawn(move || host.load_again());
            if let Err(fault) = loading {
                tracing::warn!(%fault, "the weights are mapped again when somebody asks");
            }
        }
    }

    /// Brings the weights into memory again, and then says to others what they may.
    fn load_again(&self) {
        let loaded = self.blocks().map(|blocks| self.loader.load_warm(blocks));
        match loaded {
            Some(Ok(span)) => {
                let (done, kept) = oneshot::channel();
                if self.jobs.blocking_send(Job::Load { span: Arc::new(span), done }).is_ok() {
                    let _ = kept.blocking_recv();
                }
            }
            Some(Err(fault)) => tracing::warn!(%fault, "the weights cannot be brought into memory again"),
            None => {}
        }
        self.lends.loading.store(false, Ordering::SeqCst);
        self.lends.told.store(self.lends.wanted.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    /// Whether others may begin something here.
    pub(crate) fn lends(&self) -> bool {
        self.lends.told.load(Ordering::SeqCst)
    }

    /// Sessions of other machines' gateways under way.
    pub(crate) fn foreign(&self) -> u32 {
        self.meter.foreign()
    }

    /// The blocks that it serves, whether they are loaded now or not.
    pub(crate) fn blocks(&self) -> Option<BlockRange> {
        self.meter.blocks()
    }

    /// Spans that are loaded, and bytes of all their weights.
    pub(crate) fn loaded(&self) -> (usize, u64) {
        self.meter.loaded()
    }

    /// The most blocks that it can hold at once while it moves; zero if it stays.
    pub(crate) fn room(&self) -> u32 {
        self.room.load(Ordering::Relaxed)
    }

    /// Says that it may move, with room for so many blocks.
    pub(crate) fn set_room(&self, blocks: u32) {
        self.room.store(blocks, Ordering::Relaxed);
    }

    /// Positions of all sessions so far whose rows were stored and did not have to be run.
    pub(crate) fn reused_positions(&self) -> u64 {
        self.meter.reused()
    }

    /// What was measured of this node's work so far, and what it will honour.
    pub(crate) fn measured(&self) -> Measured {
        self.meter.read()
    }

    /// Serves a control link of a gateway until it ends.
    pub(crate) async fn serve_control(
        self,
        from: NodeId,
        mut requests: mpsc::Receiver<Control>,
        replies: mpsc::Sender<ControlReply>,
    ) {
        let link = self.next_link.fetch_add(1, Ordering::Relaxed);
        while let Some(request) = requests.recv().await {
            if self.jobs.send(Job::Control { from, link, request, replies: replies.clone() }).await.is_err() {
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
        let ahead = Arc::new(Semaphore::new(FRAMES_AHEAD));
        let mut item = Some(first);
        while let Some(frame) = item {
            let at = Instant::now();
            let ticket = ahead.clone().acquire_owned().await.ok();
            let job = Job::Arrived { session: hello.session, arrival: Arrival { from, frame, at, ticket } };
            if self.jobs.send(job).await.is_err() {
                return;
            }
            item = frames.recv().await;
        }
    }
}
