//! What a request for text is, and what comes back: the types between a gateway and whoever asks it (the API, the command line).

use crate::answers::AnswerId;
use crate::explain::Why;
use serde::Serialize;
use skep_model::{Purpose, SamplingParams};
use skep_types::{BlockRange, ModelId, NodeId};
use std::fmt;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

/// One message of a chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChatMessage {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// The text.
    pub content: String,
}

/// What the model continues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prompt {
    /// A chat, rendered by the model's own template.
    Chat(Vec<ChatMessage>),
    /// A text, continued as it stands.
    Text(String),
    /// Token ids, continued as they stand.
    Tokens(Vec<u32>),
}

/// One request for text.
#[derive(Debug, Clone)]
pub struct GenerateRequest {
    /// The model's id or its name; `None` takes the only one.
    pub model: Option<String>,
    /// What is continued.
    pub prompt: Prompt,
    /// Upper bound of new tokens; `None` goes on to the end of the context.
    pub max_tokens: Option<u32>,
    /// Texts that end the answer; they are not part of it.
    pub stop: Vec<String>,
    /// How tokens are drawn, with the seed.
    pub sampling: SamplingParams,
    /// The most tokens per second that the reader wants, above 0; `None` for as fast as the network can. For people who watch.
    pub pace: Option<f32>,
}

/// An answer under way. Dropping it cancels the request: the stages free its KV caches.
#[derive(Debug)]
pub struct Generation {
    /// Names the answer, for [`Gateway::resume`](crate::Gateway::resume).
    pub id: AnswerId,
    /// The model that answers.
    pub model: ModelId,
    /// The chain chosen at the start.
    pub route: Vec<Hop>,
    /// Number of tokens in the rendered prompt.
    pub prompt_tokens: u32,
    /// Pieces of text in order, then exactly one [`Event::Done`], or an error that ends the stream. Bounded.
    pub events: mpsc::Receiver<Result<Event, GenerateError>>,
    /// Held for its drop: tells the gateway that nobody reads any more.
    pub cancel: Option<oneshot::Sender<()>>,
}

/// An answer that goes on after the process of the gateway had ended.
#[derive(Debug)]
pub struct Resumed {
    /// What is left of it; the first event is all of the text so far.
    pub generation: Generation,
    /// When it was asked, seconds since 1970.
    pub created: u64,
    /// The seed of its draws.
    pub seed: u64,
}

/// A piece of an answer.
#[derive(Debug, Clone)]
pub enum Event {
    /// Text that follows what came before; whole characters, never part of a stop text. May be empty while a token ends inside a character.
    Text {
        /// The text.
        text: String,
        /// Index from 0 of the newest token that this piece accounts for.
        token_index: u32,
    },
    /// The answer is complete.
    Done(Box<Summary>),
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model ended it, or a stop text appeared.
    Stop,
    /// `max_tokens` or the end of the context was reached.
    Length,
}

/// One stage of a route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hop {
    /// The node that runs the stage.
    pub node: NodeId,
    /// The blocks it runs.
    pub blocks: BlockRange,
}

/// Time spent in one stage, as that stage measured it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HopTiming {
    /// The node that ran the stage.
    pub node: NodeId,
    /// The blocks it ran.
    pub blocks: BlockRange,
    /// Frames it handled for this answer.
    pub frames: u32,
    /// Milliseconds from a frame's arrival to its departure, summed over the answer.
    pub hold_ms: f64,
    /// Round-trip time in milliseconds from this stage to the next, as last measured by the transport; `None` if unknown.
    pub rtt_ms: Option<f64>,
}

/// One change of route in the middle of an answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Recovery {
    /// Index of the token that was awaited.
    pub at_token: u32,
    /// The nodes that were lost.
    pub lost: Vec<NodeId>,
    /// `standby`, `replay` or `prefill`.
    pub rung: &'static str,
    /// Milliseconds from the last token before to the first token after.
    pub stall_ms: f64,
}

/// What an answer cost and how it came about.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Why it ended.
    pub finish: FinishReason,
    /// Tokens of the rendered prompt.
    pub prompt_tokens: u32,
    /// Tokens drawn, the end-of-text token not counted.
    pub completion_tokens: u32,
    /// The chain that ended the answer, with the time spent in each stage.
    pub hops: Vec<HopTiming>,
    /// Changes of route on the way.
    pub recoveries: Vec<Recovery>,
    /// Milliseconds from the request to the first token.
    pub first_token_ms: f64,
    /// Milliseconds from the request to the end.
    pub total_ms: f64,
    /// Mean milliseconds per token after the first, waits for a reader's pace left out: one lap of the chain.
    pub lap_ms: Option<f64>,
    /// Why its first route was chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<Box<Why>>,
}

/// Why a request cannot be answered.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GenerateError {
    /// No such model here.
    #[error("the model `{asked}` is not served here")]
    UnknownModel {
        /// What was asked for.
        asked: String,
    },
    /// The prompt does not leave room for one new token.
    #[error("the prompt has {prompt} tokens and the context of this model holds {context}")]
    PromptTooLong {
        /// Tokens of the rendered prompt.
        prompt: usize,
        /// Tokens that the context holds.
        context: usize,
    },
    /// The model does something else.
    #[error("the model `{name}` does not {what}: it {does}")]
    WrongModel {
        /// The model's name.
        name: String,
        /// What it does.
        does: Task,
        /// What was asked of it.
        what: &'static str,
    },
    /// An option has a value that means nothing.
    #[error("`{option}` {reason}")]
    BadOption {
        /// The option's name in the API.
        option: &'static str,
        /// What is wrong, as the end of a sentence.
        reason: String,
    },
    /// Some block is held by no live node.
    #[error("no live node holds block {block}")]
    NoRoute {
        /// The first block that nobody holds.
        block: u32,
    },
    /// No answer of this id broke off here.
    #[error("no answer {id} broke off here")]
    NoAnswer {
        /// The id.
        id: AnswerId,
    },
    /// The gateway serves as many answers as it may.
    #[error("{limit} answers are under way, the most that this node serves at once")]
    Busy {
        /// The limit.
        limit: usize,
    },
    /// Every way to go on was tried.
    #[error("the answer could not be continued: {reason}")]
    Failed {
        /// The last cause.
        reason: String,
    },
}

/// What a model does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// It continues texts.
    Generate,
    /// It turns texts into vectors.
    Embed,
    /// It scores the classes of pictures.
    Classify,
}

impl From<&Purpose> for Task {
    fn from(purpose: &Purpose) -> Self {
        match purpose {
            Purpose::Generate => Self::Generate,
            Purpose::Embed { .. } => Self::Embed,
            Purpose::Classify(_) => Self::Classify,
        }
    }
}

impl fmt::Display for Task {
    /// The end of a sentence about a model: "it writes text".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Generate => "writes text",
            Self::Embed => "makes embeddings",
            Self::Classify => "classifies images",
        })
    }
}

/// A model that the gateway can answer with.
#[derive(Debug, Clone, Serialize)]
pub struct ModelCard {
    /// BLAKE3 root of its file.
    pub id: ModelId,
    /// Name from the file.
    pub name: String,
    /// Number of blocks.
    pub blocks: u32,
    /// Tokens that its context holds.
    pub context: u32,
    /// Size of the vocabulary.
    pub vocab: u32,
    /// Bytes of the file.
    pub bytes: u64,
    /// What it does.
    pub task: Task,
    /// Values of the vectors that it makes, if it makes any.
    pub dimensions: Option<u32>,
    /// Whether every block is held by some live node now.
    pub available: bool,
}

/// One node as the gateway sees it.
#[derive(Debug, Clone, Serialize)]
pub struct NodeView {
    /// Its key.
    pub id: NodeId,
    /// Process id, where this gateway started the process.
    pub pid: Option<u32>,
    /// The blocks it holds, if it holds any.
    pub blocks: Option<BlockRange>,
    /// Whether it answered within the last second.
    pub alive: bool,
    /// Round-trip time in milliseconds.
    pub rtt_ms: Option<f64>,
    /// Whether what is said to it passes through the relay, for want of a direct path.
    pub relayed: bool,
    /// Frames handled for this gateway since it joined.
    pub frames: u64,
    /// Who may see a request on it, from the user's view: `local`, `my devices`, `trusted`, `public`.
    pub label: &'static str,
    /// What the planner takes it to be.
    pub figures: FiguresView,
}

/// A node's figures as the planner takes them: the node's own, corrected by what was seen. `None` where nobody measured.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct FiguresView {
    /// Milliseconds for one block over the one token of a decode lap.
    pub decode_block_ms: Option<f64>,
    /// Milliseconds for one block over one token of a prompt.
    pub prefill_block_ms: Option<f64>,
    /// Milliseconds of fixed cost of a visit.
    pub visit_ms: Option<f64>,
    /// Milliseconds that a frame waits there.
    pub wait_ms: Option<f64>,
    /// One-way delay in milliseconds: half of the round trip.
    pub delay_ms: Option<f64>,
    /// What the gateway adds to a visit by what it saw; less than zero where the node is faster than it says.
    pub correction_ms: f64,
    /// Bytes per second that came over its links in large frames.
    pub goodput: Option<u64>,
    /// Bytes that it will honour for sessions.
    pub memory: Option<u64>,
    /// Sessions under way there, of all gateways.
    pub sessions: Option<u32>,
    /// What it asks for one block over 1,000 tokens.
    pub price: u64,
}

/// The routes of the last answer and of the next.
#[derive(Debug, Clone, Serialize)]
pub struct RouteView {
    /// How the last complete answer came about, and why so.
    pub last: Option<Summary>,
    /// What would be chosen now for a request of 100 tokens to read and 100 to write.
    pub next: Option<Why>,
    /// Why nothing could be chosen now.
    pub refused: Option<String>,
}

/// The network as the gateway sees it.
#[derive(Debug, Clone, Serialize)]
pub struct NetworkView {
    /// The gateway's own key.
    pub gateway: NodeId,
    /// The model served.
    pub model: ModelCard,
    /// Nodes that ever joined, the living first.
    pub nodes: Vec<NodeView>,
    /// How the last complete answer came about.
    pub last_answer: Option<Summary>,
    /// Answers under way.
    pub active: u32,
    /// Whether this gateway can end one of its nodes' processes (only the demo can).
    pub can_unplug: bool,
}
