//! Moves without anybody who leads: each node finds out for itself whether it is to move, from what it knows of the others.
//!
//! [`moves`] is the plan that all who hold the same list make in the same turn, and [`decide_move`] is one node's part in it. A turn is
//! a number that is the same for all, such as the time by [`TURN_S`]. In each turn the nodes stand in another order, by a draw from the
//! turn and the node's key: one after the other takes the move that makes the slowest block fastest, until no block is short. The order
//! stays for the whole turn, so a node that still loads is the one that a second look names again, and nobody else moves in its
//! place. A node that is named and cannot move says so: it tells that it has no room, and the next look names another one.
//!
//! A plan is made only if the slowest block is below [`SHORT`] of the average block and becomes faster by a seventh at least ([`WORTH`]).
//! The average is what all blocks would have in the best case, because a move takes from one block what it gives to another.
//!
//! A plan has a *line*, the highest under which it helps most: every move loads a block that is below it, and no block that is left falls
//! below it, even if all others that hold it and may leave it do and nobody comes. So the moves of a turn may be carried out in any
//! order, all at once, or some of them only:
//!
//! 1. no block has fewer holders than before, or than [`HOLDERS_KEPT`] if it had more than that;
//! 2. no block that is below the line becomes slower, and no other one falls below it;
//! 3. whoever moves and whoever does not, nothing ever goes to and fro: sorted from the slowest block on, the supplies of all blocks are
//!    greater after each move than before it, as words in a dictionary are.
//!
//! These hold where the lists agree. They differ by what has changed of late; so a node looks twice, some time apart, moves if it is named
//! both times, and asks [`may_drop`] again before it drops what it has left.

use crate::balance::{HOLDERS_KEPT, Holding, Move, Slowest, beyond, share, slowest, supply};
use crate::route::mix;
use skep_types::{BlockRange, NodeId};
use std::cmp::Reverse;

/// How long a turn lasts: longer than most moves take.
pub const TURN_S: u64 = 600;
/// A block with less than this ratio of the average supply is short.
pub const SHORT: (u64, u64) = (3, 4);
/// What the slowest block must gain at least.
pub const WORTH: (u64, u64) = (8, 7);
/// The lines that are tried first, in eighths of the average, the highest first: above [`SHORT`], so that the next moves are not needed
/// soon. Below the last one each line is half of the one before.
const LINES: [u128; 4] = [7, 6, 5, 4];

/// Whether the node `own` is to move in this turn, and where to. `others` are all other nodes of the model that it knows of; what
/// they say of `own` does not count. Of others it is not known whether they are settled or have room: say that they are and do, or
/// whatever of that is known.
pub fn decide_move(n_blocks: u32, own: &Holding, others: &[Holding], turn: u64) -> Option<Move> {
    let mut holdings: Vec<Holding> = others.iter().filter(|other| other.node != own.node).copied().collect();
    holdings.push(*own);
    // It is cheaper to see that nothing is short than to plan.
    if !own.settled || !is_short(&supply(n_blocks, &holdings)) {
        return None;
    }
    moves(n_blocks, &holdings, turn).into_iter().find(|step| step.node == own.node)
}

/// Whether a node that has loaded what a move brings may drop the rest: every block that it leaves still has [`HOLDERS_KEPT`] other
/// holders. If not, it serves on as before.
pub fn may_drop(step: &Move, others: &[Holding]) -> bool {
    let left = step.unload().map_or(0..0, |left| left.start()..left.end());
    let holders = |block| others.iter().filter(|other| other.node != step.node && other.blocks.contains(block)).count();
    left.into_iter().all(|block| holders(block) >= HOLDERS_KEPT)
}

/// Whether a block is so slow that nodes should move: the supply of each block is given.
pub fn is_short(supply: &[u64]) -> bool {
    let (num, den) = SHORT;
    let sum: u128 = supply.iter().map(|block| u128::from(*block)).sum();
    let least = supply.iter().min().map_or(0, |least| u128::from(*least));
    sum > 0 && least * u128::from(den) * supply.len() as u128 <= sum * u128::from(num)
}

/// The moves of one turn; none if no block is short, or if moving would not help enough. The order of `holdings` does not matter; a node
/// that is listed more than once does not move.
pub fn moves(n_blocks: u32, holdings: &[Holding], turn: u64) -> Vec<Move> {
    let state = State::new(n_blocks, holdings, turn);
    if !is_short(&state.supply) {
        return Vec::new();
    }
    let start = state.slowest();
    let (mut best, mut plan) = (start, Vec::new());
    for line in lines(&state.supply) {
        if line <= best.0 {
            break;
        }
        let (moves, after) = state.clone().plan(line);
        if after > best && is_worth(start, after) {
            (best, plan) = (after, moves);
        }
    }
    plan
}

/// The lines that are tried, the highest first.
fn lines(supply: &[u64]) -> impl Iterator<Item = u64> {
    let average = supply.iter().map(|block| u128::from(*block)).sum::<u128>() / supply.len().max(1) as u128;
    // An average of 64-bit numbers fits.
    let eighths = LINES.map(|eighths| (average * eighths).div_ceil(8) as u64);
    let halves = std::iter::successors(Some(eighths[3] / 2), |line| (*line > 1).then_some(line / 2));
    eighths.into_iter().chain(halves)
}

/// While there are blocks that nobody holds, holding one more of them is worth a plan.
fn is_worth(before: Slowest, after: Slowest) -> bool {
    let (num, den) = WORTH;
    before.0 == 0 && after > before || u128::from(after.0) * u128::from(den) >= u128::from(before.0) * u128::from(num)
}

/// The network while its moves are chosen.
#[derive(Clone)]
struct State {
    /// In the order of the turn.
    holdings: Vec<Holding>,
    /// With all moves so far.
    supply: Vec<u64>,
    /// With what all moves so far leave, without what they bring.
    low: Vec<u64>,
    /// Holders of each block without those that leave it, and how many it keeps.
    holders: Vec<usize>,
    kept: Vec<usize>,
    line: u64,
}

impl State {
    fn new(n_blocks: u32, holdings: &[Holding], turn: u64) -> Self {
        let mut holdings: Vec<Holding> = holdings.iter().filter(|h| h.blocks.end() <= n_blocks).copied().collect();
        holdings.sort_unstable_by_key(|holding| (draw(&holding.node, turn), holding.node));
        for at in 1..holdings.len() {
            if holdings[at].node == holdings[at - 1].node {
                holdings[at].settled = false;
                holdings[at - 1].settled = false;
            }
        }
        let mut holders = vec![0; n_blocks as usize];
        for holding in &holdings {
            places(holding.blocks).for_each(|block| holders[block] += 1);
        }
        let supply = supply(n_blocks, &holdings);
        let kept = holders.iter().map(|holders: &usize| (*holders).min(HOLDERS_KEPT)).collect();
        Self { low: supply.clone(), supply, holders, kept, holdings, line: 0 }
    }

    /// The moves that bring all blocks to the line, or as near as they can, and how slow the slowest block is then. The nodes have their
    /// turns until nobody has a move.
    fn plan(mut self, line: u64) -> (Vec<Move>, Slowest) {
        self.line = line;
        let mut moves = Vec::new();
        loop {
            let before = moves.len();
            for at in 0..self.holdings.len() {
                if self.slowest().0 >= line {
                    break;
                }
                let holding = self.holdings[at];
                if let Some(to) = self.best_move(&holding) {
                    moves.push(Move { node: holding.node, from: holding.blocks, to });
                    self.shift(at, to);
                }
            }
            if moves.len() == before {
                return (moves, self.slowest());
            }
        }
    }

    fn slowest(&self) -> Slowest {
        slowest(self.supply.iter().copied())
    }

    /// The move of one node that makes the slowest block fastest, then loads least, then goes lowest; none that breaks a rule.
    fn best_move(&self, holding: &Holding) -> Option<BlockRange> {
        let len = holding.blocks.len();
        if !holding.settled || holding.room <= len {
            return None;
        }
        let now = self.slowest();
        let share = share(holding.block_time, len);
        let mut best: Option<(Slowest, Reverse<u32>, BlockRange)> = None;
        for start in 0..=(self.supply.len() as u32).saturating_sub(len) {
            let Ok(to) = BlockRange::new(start, start + len) else { continue };
            let (Some(load), Some(left)) = (beyond(to, holding.blocks), beyond(holding.blocks, to)) else { continue };
            let helps = places(load).any(|block| self.supply[block] == now.0);
            if !helps || len + load.len() > holding.room || !self.may_leave(left, share) {
                continue;
            }
            let (after, loads) = (self.slowest_after(holding, to), Reverse(load.len()));
            if after > now && best.as_ref().is_none_or(|(kept, kept_loads, _)| (after, loads) > (*kept, *kept_loads)) {
                best = Some((after, loads, to));
            }
        }
        best.map(|(.., to)| to)
    }

    /// Whether a node may go from `left`, by the rules of the module.
    fn may_leave(&self, left: BlockRange, share: u64) -> bool {
        let stays = |block: usize| self.holders[block] > self.kept[block] && self.low[block] - share >= self.line;
        places(left).all(stays)
    }

    fn slowest_after(&self, holding: &Holding, to: BlockRange) -> Slowest {
        let share = share(holding.block_time, to.len());
        slowest(self.supply.iter().zip(0..).map(|(supply, block)| {
            let without = if holding.blocks.contains(block) { supply - share } else { *supply };
            if to.contains(block) { without + share } else { without }
        }))
    }

    fn shift(&mut self, at: usize, to: BlockRange) {
        let holding = self.holdings[at];
        let share = share(holding.block_time, to.len());
        for block in beyond(holding.blocks, to).into_iter().flat_map(places) {
            self.supply[block] -= share;
            self.low[block] -= share;
            self.holders[block] -= 1;
        }
        for block in beyond(to, holding.blocks).into_iter().flat_map(places) {
            self.supply[block] += share;
        }
        self.holdings[at].settled = false;
    }
}

fn places(blocks: BlockRange) -> std::ops::Range<usize> {
    blocks.start() as usize..blocks.end() as usize
}

/// Where a node stands in a turn.
fn draw(node: &NodeId, turn: u64) -> u64 {
    mix(turn, 0, node)
}
