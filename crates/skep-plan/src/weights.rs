//! A network and a request as the numbers of a shortest-path problem.
//!
//! Times are microseconds of the whole request, so they add up over a chain. The price of a chain is counted per 1,000 tokens, as it
//! is posted, and adds up over blocks; the limit on it is divided by the tokens once.

use crate::{
    cost::{Label, MAX_PRICE, MAX_TOKENS, Request, Shape, UNKNOWN_MEMORY},
    network::{Network, micros},
    route::mix,
};
use skep_types::{BlockRange, NodeId};
use std::ops::Range;

/// The most bytes of a row or an answer that are priced.
const MAX_BYTES: u64 = 1 << 26;
/// The longest transfer in microseconds, some three years; it keeps the sum over a chain of 4,096 hops within 64 bits.
const MAX_TRANSFER: u64 = 100_000_000_000_000;

/// One node, as a request sees it.
#[derive(Debug, Clone)]
pub(crate) struct Weight {
    pub node: NodeId,
    /// The blocks that it holds, counted from the first wanted one; empty if it takes no part.
    pub span: Range<usize>,
    /// The most blocks it may run in one stage, by its memory.
    pub stage_max: usize,
    /// One block.
    pub block: u64,
    /// All visits.
    pub visits: u64,
    /// All rows through its own link.
    pub transfer: u64,
    /// The hop from the gateway.
    pub enter: u64,
    /// The hop to the gateway.
    pub leave: u64,
    /// One block over 1,000 tokens.
    pub price: u64,
}

/// The hop between two nodes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hops<'a> {
    /// Trips of a request over every hop.
    pub laps: u64,
    /// Delay at `from * n + to`; nothing where all hops are free.
    pub between: &'a [u32],
    /// No delay is less than `outward` of its first end and `inward` of its second.
    pub inward: &'a [u32],
    pub outward: &'a [u32],
}

/// A shortest-path problem.
#[derive(Debug, Clone)]
pub(crate) struct Weights<'a> {
    pub nodes: Vec<Weight>,
    /// Number of wanted blocks.
    pub blocks: usize,
    /// The first wanted block.
    pub first: u32,
    pub hops: Hops<'a>,
    pub salt: u64,
    /// The dearest price per 1,000 tokens.
    pub price_max: Option<u64>,
}

impl<'a> Weights<'a> {
    pub fn new(network: &'a Network, request: &Request, spread_permille: u64) -> Self {
        let shape = request.shape();
        let nodes = (0..network.known.len()).map(|at| weight(network, at, request, spread_permille)).collect();
        // Rounding down is exact: the price of a chain times the tokens is a whole number.
        let per_thousand =
            |most: u64| (u128::from(most) * 1000 / u128::from(shape.rows().max(1))).min(u64::MAX.into()) as u64;
        Self {
            nodes,
            blocks: request.wanted.len() as usize,
            first: request.wanted.start(),
            hops: Hops {
                laps: shape.laps,
                between: &network.between,
                inward: &network.inward,
                outward: &network.outward,
            },
            salt: request.salt,
            price_max: request.price_max.map(per_thousand),
        }
    }

    /// The hop from one node to another.
    pub fn hop(&self, from: usize, to: usize) -> u64 {
        let delay = self.hops.between.get(from * self.nodes.len() + to).copied().map_or(0, u64::from);
        self.hops.laps * delay + self.nodes[from].transfer.max(self.nodes[to].transfer)
    }

    /// Every hop to this node takes at least this beyond [`Self::least_from`] of where it comes from.
    pub fn least_to(&self, to: usize) -> u64 {
        self.hops.laps * self.hops.inward.get(to).copied().map_or(0, u64::from) + self.nodes[to].transfer
    }

    /// The part of every hop from this node that does not depend on where it goes.
    pub fn least_from(&self, from: usize) -> u64 {
        self.hops.laps * self.hops.outward.get(from).copied().map_or(0, u64::from)
    }

    /// What the salt says of a node at a block: a number that differs for every salt.
    pub fn lot(&self, at: usize, node: usize) -> (u64, NodeId) {
        // It fits because blocks are counted in 32 bits.
        (mix(self.salt, self.first + at as u32, &self.nodes[node].node), self.nodes[node].node)
    }
}

/// Why a node takes no part in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Barred {
    Avoided,
    Label,
    Memory,
}

/// The most blocks that a node may run of a request, or why it runs none.
pub(crate) fn admitted(network: &Network, at: usize, request: &Request) -> Result<usize, Barred> {
    let candidate = &network.candidates[at];
    let label = if network.known[at].own { Label::Local } else { candidate.label };
    if request.avoid.contains(&candidate.offer.peer.node) {
        return Err(Barred::Avoided);
    }
    if label < request.label_min {
        return Err(Barred::Label);
    }
    let shape = request.shape();
    let per_block = request.kv_bytes.saturating_mul(shape.rows());
    let fits = candidate.figures.memory.and_then(|memory| memory.checked_div(per_block)).unwrap_or(u64::MAX);
    if fits == 0 { Err(Barred::Memory) } else { Ok(usize::try_from(fits).unwrap_or(usize::MAX)) }
}

/// The blocks of `wanted` that a span holds, counted from the first wanted one.
pub(crate) fn clipped(span: BlockRange, wanted: BlockRange) -> Range<usize> {
    let start = span.start().max(wanted.start());
    let end = span.end().min(wanted.end());
    if start < end { (start - wanted.start()) as usize..(end - wanted.start()) as usize } else { 0..0 }
}

/// Microseconds that so many bytes take.
fn transfer(bytes: u128, goodput: u64) -> u64 {
    (bytes * 1_000_000).div_ceil(u128::from(goodput)).min(MAX_TRANSFER.into()) as u64
}

fn weight(network: &Network, at: usize, request: &Request, spread_permille: u64) -> Weight {
    let (candidate, known, shape) = (&network.candidates[at], network.known[at], request.shape());
    let Shape { prompt, laps } = shape;
    let node = candidate.offer.peer.node;
    let stage_max = admitted(network, at, request);
    let span = if stage_max.is_ok() { clipped(candidate.offer.blocks, request.wanted) } else { 0..0 };
    let rows = u128::from(shape.rows()) * u128::from(request.row_bytes.min(MAX_BYTES));
    let replies = u128::from(laps) * u128::from(request.reply_bytes.min(MAX_BYTES));
    let unsure = if candidate.figures.memory.is_none() && request.kv_bytes > 0 { micros(UNKNOWN_MEMORY) } else { 0 };
    // Between 0 and `spread_permille` thousandths, in 1,024 steps.
    let share = mix(request.salt, u32::MAX, &node) % 1024 * spread_permille.min(1000);
    let spread = |time: u64| time + (u128::from(time) * u128::from(share) / 1_024_000) as u64;
    let goodput = known.goodput.min(network.gateway_goodput);
    let hop = |bytes: u128| if known.own { 0 } else { laps * known.delay + transfer(bytes, goodput) };
    let own_transfer = transfer(rows, known.goodput);
    let between = |neighbour: Option<NodeId>, leaving: bool| {
        let other = neighbour.and_then(|node| network.place(node)).filter(|other| *other != at)?;
        let (from, to) = if leaving { (at, other) } else { (other, at) };
        let delay = network.between.get(from * network.known.len() + to).copied().map_or(0, u64::from);
        Some(laps * delay + own_transfer.max(transfer(rows, network.known[other].goodput)))
    };
    Weight {
        node,
        span,
        stage_max: stage_max.unwrap_or(0),
        block: spread((prompt * known.prefill_ns + (laps - 1) * known.decode_ns).div_ceil(1000)),
        visits: spread(laps * (known.wait + known.visit) + unsure),
        transfer: own_transfer,
        enter: between(request.before, false).unwrap_or_else(|| hop(rows)),
        leave: between(request.after, true).unwrap_or_else(|| hop(replies)),
        price: candidate.price.min(MAX_PRICE),
    }
}

/// The price of so many thousand-token blocks, rounded up.
pub(crate) fn price(per_thousand: u64, shape: Shape) -> u64 {
    debug_assert!(shape.rows() <= 2 * MAX_TOKENS);
    (u128::from(per_thousand) * u128::from(shape.rows())).div_ceil(1000).min(u64::MAX.into()) as u64
}
