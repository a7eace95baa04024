//! Spans in a living network: where a joiner goes, and who moves when the load has become uneven.
//!
//! The *supply* of a block is how many tokens per second all its holders together can run through it: a node that serves `n` blocks
//! at `t` each gives every one of them `1 / (n · t)`. The whole network is as fast as its slowest block, so that one counts.
//!
//! A joiner takes the span that most raises the slowest block. Its length is the longest that it can serve, because every further
//! stage costs each user two more trips per token, while supply can be had from replicas.
//!
//! A move makes before it breaks: the node loads the blocks that it lacks while it serves those that it has, then takes new requests
//! for the new span only, and drops the old blocks when the last session on them has ended. The steps of a plan are carried out one
//! after the other. After each of them,
//!
//! 1. no block has fewer holders than it had before the plan, or than [`HOLDERS_KEPT`] if it had more than that;
//! 2. the slowest block is no slower than before the step, and so are ever fewer blocks.
//!
//! A plan is made only if the slowest block gains a third at least ([`GAIN`]; Petals asks for the same), and only of nodes that have
//! settled. So it does not flap: each plan multiplies the supply of the slowest block, and no plan lowers it.

use crate::{cost::MAX_FIGURE, place::PlanError};
use skep_types::{BlockRange, NodeId};
use std::{cmp::Reverse, time::Duration};

/// A block that has more holders than this may lose one to a move: any one of those that are left may still vanish.
pub const HOLDERS_KEPT: usize = 2;
/// A plan is worth its downloads if the supply of the slowest block grows by this ratio.
pub const GAIN: (u64, u64) = (4, 3);
/// The most moves of one plan. Carrying them out takes long, and the next plan sees what has changed meanwhile.
pub const MOVES_MAX: usize = 16;

/// Tokens per million seconds.
pub(crate) type Supply = u64;
/// Nanoseconds in a million seconds.
const MILLION_SECONDS: u64 = 1_000_000_000_000_000;

/// A node and the span it serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holding {
    /// The node.
    pub node: NodeId,
    /// The blocks it serves.
    pub blocks: BlockRange,
    /// Warm time of one block over one token.
    pub block_time: Duration,
    /// The most blocks that it can hold at once, while it moves. With less room than for the union of the old and the new span, it
    /// does not move there.
    pub room: u32,
    /// Whether it may move: it has served its span for a while. The caller decides how long; a few times what a move takes.
    pub settled: bool,
}

/// A node that is about to join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Joiner {
    /// The most blocks that it can serve, at least 1.
    pub blocks_max: u32,
    /// Warm time of one block over one token.
    pub block_time: Duration,
}

/// One node's way from its span to another one of the same length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    /// The node.
    pub node: NodeId,
    /// What it serves until it has loaded the rest.
    pub from: BlockRange,
    /// What it serves from then on.
    pub to: BlockRange,
}

impl Move {
    /// What it has to load, while it serves `from`.
    pub fn load(&self) -> Option<BlockRange> {
        beyond(self.to, self.from)
    }

    /// What it drops, when no session uses it any more.
    pub fn unload(&self) -> Option<BlockRange> {
        beyond(self.from, self.to)
    }
}

/// The part of a span that another one of the same length lacks.
pub(crate) fn beyond(span: BlockRange, other: BlockRange) -> Option<BlockRange> {
    if span.start() < other.start() {
        BlockRange::new(span.start(), span.end().min(other.start())).ok()
    } else {
        BlockRange::new(span.start().max(other.end()), span.end()).ok()
    }
}

/// What a node gives each block of a span of `len` blocks.
pub(crate) fn share(block_time: Duration, len: u32) -> Supply {
    // It fits because the limit on a figure does. Nothing is faster than a microsecond, so that a million nodes can be added up.
    let nanos = block_time.clamp(Duration::from_micros(1), MAX_FIGURE).as_nanos() as u64;
    MILLION_SECONDS / nanos.saturating_mul(u64::from(len.max(1)))
}

/// How many tokens per million seconds the holders of each of the `n_blocks` blocks can run together.
pub fn supply(n_blocks: u32, holdings: &[Holding]) -> Vec<u64> {
    let mut supply = vec![0; n_blocks as usize];
    for holding in holdings {
        let share = share(holding.block_time, holding.blocks.len());
        for block in supply.iter_mut().take(holding.blocks.end() as usize).skip(holding.blocks.start() as usize) {
            *block += share;
        }
    }
    supply
}

/// The span for a joiner: of all spans of the longest length that it can serve, the one after which the slowest block is fastest, then
/// the next slowest, and so on; the lowest of equal ones.
///
/// # Errors
/// [`PlanError::Nothing`] if there is no block, or if the joiner can serve none.
pub fn join(n_blocks: u32, holdings: &[Holding], joiner: &Joiner) -> Result<BlockRange, PlanError> {
    let nothing = PlanError::Nothing { n_blocks, n_nodes: 1 };
    let len = joiner.blocks_max.min(n_blocks);
    let before = supply(n_blocks, holdings);
    let gain = share(joiner.block_time, len);
    let after = |start: u32| {
        let mut after = before.clone();
        after.iter_mut().skip(start as usize).take(len as usize).for_each(|block| *block += gain);
        after.sort_unstable();
        after
    };
    let start = (0..=n_blocks - len).max_by_key(|start| (after(*start), Reverse(*start))).ok_or(nothing)?;
    BlockRange::new(start, start + len).map_err(|_| nothing)
}

/// The moves, in order, that make the slowest block faster by a third at least; none if no such plan is found.
///
/// Moves are chosen one by one: the one after which the slowest block is fastest, then the one after which the fewest blocks are as slow,
/// then the one that loads least, then the lowest node and span. The order of `holdings` does not matter. A node moves at most
/// once, and one that is listed more than once does not move.
pub fn rebalance(n_blocks: u32, holdings: &[Holding]) -> Vec<Move> {
    let mut state = State::new(n_blocks, holdings);
    let start = state.slowest();
    let mut moves: Vec<Move> = Vec::new();
    let mut worth = 0;
    let mut best = start;
    while moves.len() < MOVES_MAX {
        let Some((at, to)) = state.best_move() else { break };
        let holding = state.holdings[at];
        moves.push(Move { node: holding.node, from: holding.blocks, to });
        state.shift(at, to);
        let slowest = state.slowest();
        if slowest > best && gains(start, slowest) {
            (best, worth) = (slowest, moves.len());
        }
    }
    moves.truncate(worth);
    moves
}

/// How slow the slowest block is, and how many blocks are as slow; greater is better.
pub(crate) type Slowest = (Supply, Reverse<usize>);

pub(crate) fn slowest(supply: impl Iterator<Item = Supply>) -> Slowest {
    let (mut least, mut count) = (Supply::MAX, 0);
    for block in supply {
        match block.cmp(&least) {
            std::cmp::Ordering::Less => (least, count) = (block, 1),
            std::cmp::Ordering::Equal => count += 1,
            std::cmp::Ordering::Greater => {}
        }
    }
    (least, Reverse(count))
}

/// Whether a change is worth a plan. While there are blocks that nobody holds, holding one more of them is.
fn gains(before: Slowest, after: Slowest) -> bool {
    if before.0 == 0 {
        return after > before;
    }
    u128::from(after.0) * u128::from(GAIN.1) >= u128::from(before.0) * u128::from(GAIN.0)
}

struct State {
    holdings: Vec<Holding>,
    supply: Vec<Supply>,
    holders: Vec<usize>,
    /// The holders that each block keeps.
    kept: Vec<usize>,
}

impl State {
    fn new(n_blocks: u32, holdings: &[Holding]) -> Self {
        let mut holdings: Vec<Holding> = holdings.iter().filter(|h| h.blocks.end() <= n_blocks).copied().collect();
        holdings.sort_unstable_by_key(|h| (h.node, h.blocks.start(), h.blocks.end(), h.block_time, h.room, h.settled));
        for at in 1..holdings.len() {
            if holdings[at].node == holdings[at - 1].node {
                holdings[at].settled = false;
                holdings[at - 1].settled = false;
            }
        }
        let held = |block: u32| holdings.iter().filter(|holding| holding.blocks.contains(block)).count();
        let holders: Vec<usize> = (0..n_blocks).map(held).collect();
        let kept = holders.iter().map(|holders| (*holders).min(HOLDERS_KEPT)).collect();
        Self { supply: supply(n_blocks, &holdings), holders, kept, holdings }
    }

    fn slowest(&self) -> Slowest {
        slowest(self.supply.iter().copied())
    }

    /// The best move that keeps the rules, if one makes the slowest block faster or fewer blocks as slow.
    fn best_move(&self) -> Option<(usize, BlockRange)> {
        let now = self.slowest();
        let mut best: Option<(Slowest, Reverse<u32>, usize, BlockRange)> = None;
        for (at, holding) in self.holdings.iter().enumerate().filter(|(_, holding)| holding.settled) {
            let len = holding.blocks.len();
            for start in 0..=(self.supply.len() as u32).saturating_sub(len) {
                let Ok(to) = BlockRange::new(start, start + len) else { continue };
                let loads = beyond(to, holding.blocks).map_or(0, |load| load.len());
                if loads == 0 || len + loads > holding.room || !self.may_leave(holding.blocks, to) {
                    continue;
                }
                let after = self.slowest_after(holding, to);
                let better = |(kept, kept_loads, ..): &(Slowest, Reverse<u32>, usize, BlockRange)| {
                    (after, Reverse(loads)) > (*kept, *kept_loads)
                };
                if after > now && best.as_ref().is_none_or(better) {
                    best = Some((after, Reverse(loads), at, to));
                }
            }
        }
        best.map(|(.., at, to)| (at, to))
    }

    fn may_leave(&self, from: BlockRange, to: BlockRange) -> bool {
        let left = beyond(from, to).map_or(0..0, |left| left.start() as usize..left.end() as usize);
        left.into_iter().all(|block| self.holders[block] > self.kept[block])
    }

    fn slowest_after(&self, holding: &Holding, to: BlockRange) -> Slowest {
        let share = share(holding.block_time, to.len());
        slowest(self.supply.iter().zip(0..).map(|(supply, block)| {
            let without = if holding.blocks.contains(block) { supply - share } else { *supply };
            if to.contains(block) { without + share } else { without }
        }))
    }

    fn shift(&mut self, at: usize, to: BlockRange) {
        let share = share(self.holdings[at].block_time, to.len());
        for block in self.holdings[at].blocks.start()..self.holdings[at].blocks.end() {
            self.supply[block as usize] -= share;
            self.holders[block as usize] -= 1;
        }
        for block in to.start()..to.end() {
            self.supply[block as usize] += share;
            self.holders[block as usize] += 1;
        }
        self.holdings[at].blocks = to;
        self.holdings[at].settled = false;
    }
}
