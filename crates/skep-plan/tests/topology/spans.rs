//! Who holds which blocks, for tests of joining and moving.

use super::node;
use skep_plan::{Holding, Move, supply};
use skep_types::BlockRange;
use std::time::Duration;

pub fn range(start: u32, end: u32) -> BlockRange {
    BlockRange::new(start, end).unwrap()
}

pub fn holding(id: usize, start: u32, end: u32, block_us: u64) -> Holding {
    let block_time = Duration::from_micros(block_us);
    Holding { node: node(id), blocks: range(start, end), block_time, room: 2 * (end - start), settled: true }
}

pub fn slowest(n_blocks: u32, holdings: &[Holding]) -> u64 {
    supply(n_blocks, holdings).into_iter().min().unwrap()
}

pub fn holders(holdings: &[Holding], block: u32) -> usize {
    holdings.iter().filter(|holding| holding.blocks.contains(block)).count()
}

/// The network after some moves.
pub fn moved<'a>(holdings: &[Holding], steps: impl IntoIterator<Item = &'a Move>) -> Vec<Holding> {
    let mut after = holdings.to_vec();
    for step in steps {
        let mover = after.iter_mut().find(|holding| holding.node == step.node).unwrap();
        assert_eq!(mover.blocks, step.from);
        mover.blocks = step.to;
    }
    after
}
