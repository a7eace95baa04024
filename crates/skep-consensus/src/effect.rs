//! What goes into an engine and what comes out of it.

use crate::block::{BlockError, Decided};
use crate::evidence::Evidence;
use crate::message::Message;
use skep_ledger::Event;
use skep_types::NodeId;
use thiserror::Error;

/// The time of a step by two clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds by a clock that never goes back; only differences count.
    pub ms: u64,
    /// Unix seconds, for the time of blocks.
    pub unix_s: u64,
}

/// How long an engine waits. None of it matters for what is final, only for when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// For a proposal, milliseconds: a second's worth of block on a slow uplink would take longer, and then later rounds wait longer.
    pub propose_ms: u64,
    /// For the votes that are missing, once a quorum voted for different things.
    pub vote_ms: u64,
    /// What each round waits longer than the one before.
    pub round_ms: u64,
    /// The longest that anything is waited for.
    pub wait_ms_max: u64,
    /// Until votes are said again, in case they were lost.
    pub repeat_ms: u64,
    /// Between two statements of how far this machine is.
    pub status_ms: u64,
    /// Until a machine that is one block behind asks for it: most often the votes are on their way.
    pub patience_ms: u64,
    /// How long an answer with blocks may take before another machine is asked.
    pub answer_ms: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            propose_ms: 600,
            vote_ms: 300,
            round_ms: 200,
            wait_ms_max: 10_000,
            repeat_ms: 500,
            status_ms: 1000,
            patience_ms: 250,
            answer_ms: 1000,
        }
    }
}

/// What happened to an engine.
#[derive(Clone, Debug)]
pub enum Input {
    /// A machine said something; the connection proves which.
    Message {
        /// Who.
        from: NodeId,
        /// What.
        message: Message,
    },
    /// Time went on.
    Tick,
}

/// What an engine wants done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Cut the log to this many bytes.
    Cut(usize),
    /// Append this to the log. It need not be on disk yet.
    Append(Vec<u8>),
    /// Have the log on disk before anything that follows.
    Sync,
    /// Say this to all machines of the network.
    Broadcast(Message),
    /// Say this to one.
    Send(NodeId, Message),
    /// Send final blocks from the store to a machine, as many as fit into one [`Message::Blocks`].
    Serve {
        /// To whom.
        to: NodeId,
        /// The number of the first.
        from: u64,
    },
    /// A block is final: have it on disk before anything that follows, and only then answer who waits for it.
    Commit(Box<Committed>),
    /// A validator said two things where it may say one.
    Evidence(Box<Evidence>),
    /// Something that should not happen, and that the engine lives with.
    Trouble(String),
}

/// A final block, and what it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The block and what proves it.
    pub decided: Decided,
    /// What its transactions did.
    pub events: Vec<Event>,
}

/// Why an engine cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EngineError {
    /// It would have to say the opposite of what it said.
    #[error("in round {round} it said something else before; its key may be in use elsewhere")]
    Contradiction {
        /// In which round.
        round: u32,
    },
    /// More than two thirds of the power agreed on a block that is not valid here.
    #[error("a block is final that is not valid: {0}")]
    Final(#[from] BlockError),
    /// The log leads to something else than it says.
    #[error("the log cannot be replayed: {0}")]
    Replay(String),
    /// A block is final that is not here.
    #[error("a block is final that is not here")]
    Missing,
}
