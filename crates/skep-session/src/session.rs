//! The coordinator of one request, at the gateway.
//!
//! # Rules
//! The gateway owns the tokens. A token is drawn from the candidates after the last position with the request's seed and that
//! position, so it does not matter which machines gave the candidates, nor how often.
//!
//! 1. **Open.** The chain comes from [`Network::plan`]. All stages are opened at once, each with its next hop, the last with the gateway.
//!    When all have answered, the tokens so far are sent in chunks; only the last chunk asks for candidates. Then one token per lap.
//! 2. **Exactly once.** The candidates of the awaited position are taken once, from any machine that is or was the last of this
//!    session's chain and is not known for bad ones, in any epoch. All others are ignored. A *step* is the positions sent for one
//!    draw: the whole prefill, or one token. Everything below the first position of the step in flight has passed every settled stage.
//! 3. **Suspects.** A machine is a suspect from its first loss, refusal, fault, missed deadline or list of bad candidates. A loss that
//!    is reported for a machine outside the chain only makes it a suspect. Faults of older epochs are ignored, except for lost next
//!    hops, and those count only if reporter and lost machine are neighbours in the chain of now.
//! 4. **Rung a, standby.** In an answer of some length each stage gets a standby where a machine without a part in the session holds its
//!    blocks: the stage before it (the gateway, for the first) sends it a copy of the inputs, to run and keep. When a stage is lost whose
//!    standby is open, and the rest of the chain is settled, the epoch grows by one and the standby takes its place: it and the stage before
//!    it are redirected from the first position of the step on, and the gateway sends the step again. A standby of which anything is
//!    reported is closed, and nothing else happens; one that refuses is not a suspect. Rungs b and c close all standbys first.
//! 5. **Rung b, replay.** Stages that are suspects or not yet settled are holes. For each hole the planner looks for other machines, and
//!    prices the ways from and to the stages beside it; the epoch grows by one; when all replacements are open, each settled stage before a hole is redirected to its new next hop with
//!    `replay_from` 0 and `forward_from` = first position of the step (0 if the hole got two replacements or more, since all but the
//!    last must pass on every row), and the gateway sends the tokens of the step again (all tokens
//!    if the hole is at the front). A replacement is settled by the first candidates of its epoch for a position that was sent after
//!    its repair, since they passed the whole chain in order.
//! 6. **Rung c, prefill.** If no stage is settled, or the holes cannot be filled: everything is closed, and a new session with a new
//!    id prefills all tokens so far over a new chain.
//! 7. **Suspects are machines too.** They are avoided while any other machine holds the block, and used again when none does and the newest
//!    network still lists them, those with the fewest offences first, and only after a pause that doubles with every offence: a false
//!    alarm must not fail a request, and a dead machine must not be asked in a tight loop.
//! 8. **Nobody holds a block.** The session waits for another network, at most [`Limits::route_wait`].
//! 9. **A vector** is a session of one step and no token: the whole input is sent in one frame, and what comes back is the output. Each
//!    stage keeps the rows that it put out, so the ladder is the same, and the same bits come out of whatever chain ends it.
//! 10. **Every end closes** every stage that was ever opened and not yet closed: the end of the answer, a cancel, a stop, a failure.
//!
//! # The shell
//! The machine around a session carries out effects in order, keeps control messages to one node in order, keeps the frames of one hop in
//! order, reports [`Input::Lost`] when a node, a control stream or the stream to the first stage fails, and sends [`Input::Network`]
//! whenever the list of living members changes. Only the newest [`Effect::WakeAt`] counts; a [`Input::Wake`] too many does no harm.

mod candidates;
mod config;
mod drive;
mod plan;
mod recover;
mod report;
mod standby;

use crate::sampler::Sampler;
use plan::{Health, Link};
use skep_plan::{Network, NoPlan, Request};
use skep_types::{
    BlockRange, ModelId, NodeId,
    wire::{Control, ControlReply, Frame, Peer, SessionId},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use thiserror::Error;

pub use report::{Finish, HopTotals, RecoveryReport, Report, Rung};

/// How long a session waits, and how often it tries again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long all stages together may take to open.
    pub open_timeout: Duration,
    /// How long one lap of one token may take. A step of `n` rows may take this long once more for every 256 rows. Both this and the
    /// time to open double with every deadline missed in a row, up to eightfold: where everything is slow, beginning anew each time
    /// would never end.
    pub step_timeout: Duration,
    /// How long to wait for a node that holds a block which nobody holds now.
    pub route_wait: Duration,
    /// Changes of route in one answer before it is given up.
    pub max_recoveries: u32,
    /// Whether stages get standbys.
    pub standby: bool,
}

impl Default for Limits {
    /// 2 s to open, 5 s a step, 3 s for a node to return, 16 changes of route, standbys.
    fn default() -> Self {
        Self {
            open_timeout: Duration::from_secs(2),
            step_timeout: Duration::from_secs(5),
            route_wait: Duration::from_secs(3),
            max_recoveries: 16,
            standby: true,
        }
    }
}

/// One request.
#[derive(Debug)]
pub struct SessionConfig {
    /// The model.
    pub model: ModelId,
    /// Its number of blocks.
    pub n_blocks: u32,
    /// Size of its vocabulary.
    pub vocab: u32,
    /// Values per hidden row.
    pub d_model: u32,
    /// Bytes of keys and values that one token takes in one block.
    pub kv_bytes: u64,
    /// The machine that runs the session; the last stage sends to it.
    pub gateway: Peer,
    /// What is asked of the chain.
    pub task: Task,
    /// Secret random bytes from which session ids are derived.
    pub id_seed: [u8; 32],
    /// Deadlines and bounds.
    pub limits: Limits,
}

/// What is asked of a chain.
#[derive(Debug)]
pub enum Task {
    /// Tokens that continue a text.
    Generate(Generate),
    /// A vector for a whole text or image.
    Encode(Encode),
}

/// A text to be continued.
#[derive(Debug)]
pub struct Generate {
    /// The tokens to continue, at least one.
    pub prompt: Vec<u32>,
    /// Most tokens to draw, at least one. Prompt and drawn tokens must fit the model's context; the caller sees to that.
    pub max_new: u32,
    /// Tokens that end the answer; they are not part of it.
    pub end_tokens: Vec<u32>,
    /// How tokens are drawn.
    pub sampler: Box<dyn Sampler>,
    /// Most rows per prefill frame; 0 means as many as a frame can carry.
    pub prefill_chunk: u32,
}

/// A text or image that becomes a vector.
#[derive(Debug)]
pub struct Encode {
    /// What is read, all of it in one frame. It must fit the model's context; the caller sees to that.
    pub source: Source,
    /// Values of the vector.
    pub width: u32,
}

/// What an encoder reads.
#[derive(Debug)]
pub enum Source {
    /// Tokens, at least one.
    Tokens(Vec<u32>),
    /// An image's patches, row-major, one row for each position.
    Patches {
        /// Positions, at least one.
        rows: u32,
        /// `rows` × the values of a patch.
        values: Vec<f32>,
    },
}

/// What happens to a session.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// Begin, with the living members of now.
    Start {
        /// Who holds what, and what is known of them.
        network: Arc<Network>,
    },
    /// The living members of now.
    Network(Arc<Network>),
    /// A stage answered on its control stream.
    Reply {
        /// The stage's node.
        from: NodeId,
        /// What it said.
        reply: ControlReply,
    },
    /// A frame came to the gateway.
    Candidates {
        /// The sender.
        from: NodeId,
        /// The session of its stream.
        session: SessionId,
        /// The frame.
        frame: Frame,
    },
    /// A node is down, or its control stream or the data stream to it failed.
    Lost {
        /// The node.
        node: NodeId,
    },
    /// The time of the newest [`Effect::WakeAt`] has come.
    Wake,
    /// Nobody waits for the answer any more.
    Cancel,
    /// The text contains a stop text: the answer is complete.
    Stop,
}

/// What the shell is to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Send a control message; the first to a node opens its control stream.
    Control {
        /// To whom.
        to: Peer,
        /// What.
        message: Control,
    },
    /// Send a frame to the first stage.
    Send {
        /// To whom.
        to: Peer,
        /// The session, for the hello of a new stream.
        session: SessionId,
        /// The epoch, for the hello of a new stream.
        epoch: u32,
        /// The frame.
        frame: Frame,
    },
    /// A token of the answer.
    Token {
        /// Its index in the answer, from 0, without gaps.
        index: u32,
        /// The token.
        id: u32,
    },
    /// The vector that was asked for.
    Vector(Vec<f32>),
    /// The answer goes on after a change of route.
    Recovered(RecoveryReport),
    /// The answer is complete; nothing follows.
    Done(Box<Report>),
    /// The answer cannot be continued; nothing follows.
    Failed(SessionError),
    /// Give [`Input::Wake`] at this time.
    WakeAt(Duration),
}

/// Why a request cannot be answered.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SessionError {
    /// The configuration means nothing.
    #[error("a session cannot begin: {0}")]
    Config(&'static str),
    /// A prompt token is outside the vocabulary.
    #[error("prompt token {id} is outside the vocabulary of {vocab}")]
    PromptToken {
        /// The token.
        id: u32,
        /// Size of the vocabulary.
        vocab: u32,
    },
    /// Nobody holds a block.
    #[error("no live node holds block {block}")]
    NoRoute {
        /// The first such block.
        block: u32,
    },
    /// Every block is held, and yet there is no chain.
    #[error(transparent)]
    NoPlan(NoPlan),
    /// The chain was changed as often as it may be.
    #[error("gave up after {recoveries} changes of route: {cause}")]
    TooManyRecoveries {
        /// How often.
        recoveries: u32,
        /// The last cause, one sentence.
        cause: String,
    },
    /// No token could be drawn.
    #[error("no token could be drawn: {0}")]
    Sampling(String),
}

/// What a session is busy with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Not started.
    New,
    /// Stages of `rung` are being opened.
    Opening { rung: Rung, deadline: Duration },
    /// Candidates are awaited.
    Running { deadline: Duration },
    /// No chain: wait for another network, or for a suspect's pause to end at `retry`.
    Waiting { until: Duration, retry: Duration, why: NoPlan },
    /// Over.
    Ended,
}

/// The coordinator of one request; the rules stand in the module text.
#[derive(Debug)]
pub struct Session {
    config: SessionConfig,
    /// All blocks of the model.
    blocks: BlockRange,
    phase: Phase,
    /// Prompt and drawn tokens; none while an image is read.
    tokens: Vec<u32>,
    /// Rows before the first draw.
    input_rows: u32,
    /// The living members, as last told.
    network: Arc<Network>,
    /// Offences so far.
    suspects: BTreeMap<NodeId, Health>,
    /// Number of session ids used.
    attempt: u32,
    id: SessionId,
    epoch: u32,
    /// The chain, and what is known of each stage; parallel.
    route: Vec<skep_plan::Stage>,
    links: Vec<Link>,
    /// Nodes that were sent an `Open` of this session id and no `Close` yet.
    members: BTreeMap<NodeId, Peer>,
    /// Nodes that were sent a `Close` of this session id and are not to have a part in it again.
    closed: BTreeSet<NodeId>,
    /// Nodes that are or were the last of this session's chain and never sent bad candidates.
    lasts: BTreeSet<NodeId>,
    /// Standbys by the place of the stage that they follow.
    standbys: BTreeMap<usize, standby::Standby>,
    /// Whether a stage may lack a standby that it could have.
    standbys_due: bool,
    /// The epoch in the hello of the stream to the first stage, where that is not the epoch of now.
    front_stream: Option<u32>,
    /// Deadlines missed since the last draw.
    missed: u32,
    /// First position of the step in flight.
    step_from: u32,
    /// Candidates of the current epoch from this position on settle all stages.
    settles_at: u32,
    /// Candidates that a draw needs, at most the vocabulary; 0 where none is drawn.
    needed: u32,
    ledger: report::Ledger,
}

impl Session {
    /// A session that has not started.
    ///
    /// # Errors
    /// [`SessionError::Config`] or [`SessionError::PromptToken`].
    pub fn new(config: SessionConfig) -> Result<Self, SessionError> {
        let (tokens, input_rows) = config.check()?;
        let blocks = BlockRange::new(0, config.n_blocks);
        let blocks = blocks.map_err(|_| SessionError::Config("the model has no blocks"))?;
        let needed = match &config.task {
            Task::Generate(task) => task.sampler.candidates_needed(config.vocab).clamp(1, config.vocab),
            Task::Encode(_) => 0,
        };
        Ok(Self {
            phase: Phase::New,
            blocks,
            tokens,
            input_rows,
            network: Arc::default(),
            suspects: BTreeMap::new(),
            attempt: 0,
            id: SessionId([0; 16]),
            epoch: 0,
            route: Vec::new(),
            links: Vec::new(),
            members: BTreeMap::new(),
            closed: BTreeSet::new(),
            lasts: BTreeSet::new(),
            standbys: BTreeMap::new(),
            standbys_due: true,
            front_stream: None,
            missed: 0,
            step_from: 0,
            settles_at: 0,
            needed,
            ledger: report::Ledger::default(),
            config,
        })
    }

    /// The chain of now; empty before the start and while none is known.
    pub fn route(&self) -> &[skep_plan::Stage] {
        &self.route
    }

    /// What the planner is asked for a whole chain now.
    pub fn request(&self) -> Request {
        self.request_for(self.blocks, self.suspects.keys().copied().collect())
    }

    /// The session id of now, which changes with every fresh prefill.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Whether the session is over: it has no more effects.
    pub fn is_ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    /// What follows from `input` at time `now`, which never goes back.
    pub fn step(&mut self, now: Duration, input: Input) -> Vec<Effect> {
        let mut out = Vec::new();
        if self.phase == Phase::Ended || (self.phase == Phase::New && matches!(input, Input::Wake)) {
            return out;
        }
        match input {
            Input::Start { network } => {
                self.network = network;
                if self.phase == Phase::New {
                    self.ledger.start(now);
                    self.prefill_anew(now, &mut out);
                }
            }
            Input::Network(network) => {
                self.network = network;
                self.standbys_due = true;
                if matches!(self.phase, Phase::Waiting { .. }) {
                    self.prefill_anew(now, &mut out);
                }
            }
            Input::Reply { from, reply } => self.on_reply(now, from, reply, &mut out),
            Input::Candidates { from, session, frame } => self.on_candidates(now, from, session, frame, &mut out),
            Input::Lost { node } => self.accuse(now, node, "it was lost", &mut out),
            Input::Wake => self.on_wake(now, &mut out),
            Input::Cancel => self.finish(now, Finish::Cancelled, &mut out),
            Input::Stop => self.finish(now, Finish::Stop, &mut out),
        }
        out
    }
}
