//! What is known of peers, what a request needs, and what a chain is expected to cost.
//!
//! # The expected time of a chain
//!
//! A chain of `k` stages answers a request of `P` prompt tokens and `N ≥ 1` new tokens over the gateway `g` in
//!
//! ```text
//! total = Σ stages i:  n_i · (P · prefill_i + (N − 1) · decode_i)  +  N · (wait_i + visit_i)
//!       + Σ hops u→v:  N · delay(u, v)  +  bytes(u, v) / goodput(u, v)
//! ```
//!
//! - `n_i` is the number of blocks that stage `i` runs, `prefill_i` and `decode_i` the warm time of one block over one token,
//!   `wait_i` the time that a frame waits there, and `visit_i` the fixed software cost of one visit.
//! - There are `k + 1` hops: gateway → stage 1 → … → stage k → gateway. The prefill is one lap and draws the first token, each
//!   further token is one more lap; so every delay and every visit counts `N` times. This is the law `lap = C + (k + 1)(r/2 + P)`
//!   that reproduces the published speeds of Petals and others (a chain with a return, in contrast to `2k` hops of a star).
//! - All hops but the last carry `P + N − 1` rows of `row_bytes`; the last carries `N` answers of `reply_bytes`. The goodput of a
//!   hop is the smaller one of its two ends, and nothing travels between the gateway and a stage on the gateway's own machine.
//! - The chunks of one long prompt are at work on several stages at once, and then the prefill takes less than the formula says.
//!   The planner does not count on it: how much is saved is set by the slowest stage of the chain and is not a sum over hops.
//! - A request that is handed over whole pays its two hops once, not once per token, and no rows travel.
//! - Where a hole in a chain is filled, the stages before and after it stand in the gateway's place, and all hops carry rows.
//!
//! Everything is a sum of integers: microseconds, rounded up once per stage and request. So the same facts give the same plan on
//! every machine.
//!
//! # What nobody measured
//!
//! A peer is never excluded because something is unknown of it. A figure that was not measured is taken as [`PESSIMISM`] times
//! the [`PESSIMISTIC_PERCENTILE`]th percentile (nearest rank) of that figure over the measured peers, or as a constant of this module
//! if nobody was measured. A time is never guessed to be longer than that constant: one peer that is slow, or that a gateway charges for
//! its failures, must not make all unknown ones look slower than itself. Unknown memory costs [`UNKNOWN_MEMORY`] once, as a refusal and a new plan may follow. The delay
//! between two peers that have not measured each other is what the way over the gateway or over the best common beacon takes, which
//! is never less than a direct way should take.

use crate::{Offer, Stage};
use skep_types::{BlockRange, NodeId};
use std::{collections::BTreeSet, time::Duration};

/// How much worse than the percentile an unmeasured figure is taken to be.
pub const PESSIMISM: u64 = 2;
/// The percentile of the measured figures from which an unmeasured one is guessed.
pub const PESSIMISTIC_PERCENTILE: usize = 90;
/// One block over one token on a machine of which nothing is known, in a network of which nothing is known: 80 such blocks are four
/// seconds per token, as slow as anything that was ever published for a split model.
pub const UNKNOWN_BLOCK: Duration = Duration::from_millis(50);
/// The software cost of one visit; what Petals charges.
pub const UNKNOWN_VISIT: Duration = Duration::from_millis(18);
/// The time that a frame waits before it is run: one more request ahead of it that takes as long as a slow visit.
pub const UNKNOWN_WAIT: Duration = Duration::from_millis(50);
/// One-way delay: half of the 150 ms of round trip that Petals charges.
pub const UNKNOWN_DELAY: Duration = Duration::from_millis(75);
/// Bytes per second: a home's uplink of 10 Mbit/s.
pub const UNKNOWN_GOODPUT: u64 = 1_250_000;
/// What is added once for a peer that does not say how much memory it will honour, where any is needed: a refusal and a new plan.
pub const UNKNOWN_MEMORY: Duration = Duration::from_secs(2);

/// The longest time that any one figure may say; longer ones count as this, so that no sum overflows.
pub const MAX_FIGURE: Duration = Duration::from_secs(60);
/// The most tokens of a request, read and written, that are priced; more count as this many.
pub const MAX_TOKENS: u64 = 1 << 20;
/// The dearest price that is compared; dearer ones count as this.
pub const MAX_PRICE: u64 = 1 << 32;

/// Who may see a request. The order is from the most to the fewest people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Label {
    /// Any machine of the network.
    #[default]
    Public,
    /// Machines of people whom the user trusts.
    Trusted,
    /// The user's own machines.
    MyDevices,
    /// This machine.
    Local,
}

/// What was measured of a peer; `None` where nobody measured.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Figures {
    /// Warm time of one block over the one token of a decode lap.
    pub decode_block: Option<Duration>,
    /// Warm time of one block over one token of a prefill.
    pub prefill_block: Option<Duration>,
    /// Fixed software cost of a visit: reading and writing frames, waking up.
    pub visit: Option<Duration>,
    /// How long a frame waits for those ahead of it.
    pub wait: Option<Duration>,
    /// One-way delay between the gateway and the peer.
    pub delay: Option<Duration>,
    /// Bytes per second that the peer sends and receives beside its other work.
    pub goodput: Option<u64>,
    /// Bytes for KV cache that the peer has said it will honour.
    pub memory: Option<u64>,
    /// One-way delay to each of the network's beacons, in the order that all peers use.
    pub beacons: Vec<Option<Duration>>,
}

/// A node that may take part, and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The node and its span.
    pub offer: Offer,
    /// What it asks, in the smallest unit of money, for one block over 1,000 tokens, read or written.
    pub price: u64,
    /// Who owns it, from the user's view.
    pub label: Label,
    /// What was measured.
    pub figures: Figures,
}

impl Candidate {
    /// A free public machine of which nothing is known.
    pub fn unknown(offer: Offer) -> Self {
        Self { offer, price: 0, label: Label::Public, figures: Figures::default() }
    }
}

/// Which of the three ways is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Prefer {
    /// Alone if the gateway's own machine can; else one machine takes the whole request, if one can and it may be handed over; else
    /// the fastest chain. Alone is free and shows nobody anything.
    #[default]
    FewestMachines,
    /// Whichever is expected to take the least time.
    LeastTime,
}

/// What one request needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The blocks to run.
    pub wanted: BlockRange,
    /// The stage whose rows enter the first of these blocks, where that is not the gateway. An unknown node counts as the gateway.
    pub before: Option<NodeId>,
    /// The stage that takes the rows of the last of these blocks, where that is not the gateway. An unknown node counts as the
    /// gateway.
    pub after: Option<NodeId>,
    /// Tokens to read.
    pub prompt_tokens: u64,
    /// Tokens that are expected to be written, at least 1.
    pub new_tokens: u64,
    /// Bytes of one token's activations on the wire.
    pub row_bytes: u64,
    /// Bytes of the last stage's answer to one lap.
    pub reply_bytes: u64,
    /// Bytes of KV cache that one token takes in one block.
    pub kv_bytes: u64,
    /// The most that the whole request may cost; `None` for any price.
    pub price_max: Option<u64>,
    /// No machine below this label takes part.
    pub label_min: Label,
    /// Nodes that take no part.
    pub avoid: BTreeSet<NodeId>,
    /// Whether the whole request may be handed to another machine.
    pub handoff: bool,
    /// Which way is taken if there are several.
    pub prefer: Prefer,
    /// How much slower than the fastest, in thousandths, a plan may be for the sake of spreading requests over machines; at most
    /// 1,000. Each node's own time is lengthened by a share of it that the salt draws.
    pub spread_permille: u64,
    /// Draws between equal plans; another for each request.
    pub salt: u64,
}

impl Request {
    /// A short request for these blocks without constraints: 100 tokens are read and 100 written.
    pub fn new(wanted: BlockRange) -> Self {
        Self {
            wanted,
            before: None,
            after: None,
            prompt_tokens: 100,
            new_tokens: 100,
            row_bytes: 8 << 10,
            reply_bytes: 1 << 10,
            kv_bytes: 0,
            price_max: None,
            label_min: Label::Public,
            avoid: BTreeSet::new(),
            handoff: false,
            prefer: Prefer::default(),
            spread_permille: 5,
            salt: 0,
        }
    }

    /// Tokens to read, and laps: the first comes with the prefill.
    pub(crate) fn shape(&self) -> Shape {
        Shape { prompt: self.prompt_tokens.min(MAX_TOKENS), laps: self.new_tokens.clamp(1, MAX_TOKENS) }
    }
}

/// The two sizes of a request, within their limits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub prompt: u64,
    pub laps: u64,
}

impl Shape {
    /// Tokens that every block runs over; the last one written is never fed back.
    pub fn rows(self) -> u64 {
        self.prompt + self.laps - 1
    }
}

/// How a request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Way {
    /// By the gateway's own machine.
    Solo,
    /// By one other machine, which takes the whole request.
    Handoff,
    /// By a chain of stages that the gateway drives.
    Chain,
}

/// What a plan is expected to take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cost {
    /// Until the first token.
    pub first_token: Duration,
    /// One further token.
    pub per_token: Duration,
    /// Until the last token.
    pub total: Duration,
    /// The price, in the smallest unit of money.
    pub price: u64,
    /// The parts of the total by stage, in the order of the chain.
    pub stages: Vec<StageCost>,
    /// The part of the total that the way back to the gateway takes.
    pub back: Duration,
}

/// One stage's part of the total.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageCost {
    /// The stage.
    pub stage: Stage,
    /// Travel to it: delay and transfer.
    pub hop: Duration,
    /// Waiting and fixed costs of the visits.
    pub visits: Duration,
    /// Its blocks.
    pub compute: Duration,
    /// Whether all its figures were measured.
    pub measured: bool,
}
