//! Spans for the nodes of a new network.

use skep_types::BlockRange;
use thiserror::Error;

/// The fewest nodes over which [`place`] lays two complete covers.
const NODES_FOR_TWO_COVERS: u32 = 4;

/// Why blocks cannot be placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PlanError {
    /// There is nothing to place, or nobody to place it on.
    #[error("{n_blocks} blocks cannot be placed on {n_nodes} nodes: there must be at least one of each")]
    Nothing {
        /// Blocks of the model.
        n_blocks: u32,
        /// Nodes of the network.
        n_nodes: u32,
    },
}

/// The span of each node, in the order of the nodes.
///
/// With four nodes or more there are two complete covers: the first `ceil(n_nodes / 2)` nodes split all blocks as evenly as
/// possible among themselves, and so do the others. Every block is then on two nodes at least, so any one node may vanish, and no
/// node holds a whole model of two blocks or more. With fewer nodes there is one cover, and a vanished node stops every answer: the
/// caller is to warn of that. Where a cover has more nodes than there are blocks, the nodes left over hold one block each, from the
/// first on.
///
/// # Errors
/// [`PlanError::Nothing`] when either number is zero.
pub fn place(n_blocks: u32, n_nodes: u32) -> Result<Vec<BlockRange>, PlanError> {
    if n_blocks == 0 || n_nodes == 0 {
        return Err(PlanError::Nothing { n_blocks, n_nodes });
    }
    let first = if n_nodes < NODES_FOR_TWO_COVERS { n_nodes } else { n_nodes.div_ceil(2) };
    let mut spans = cover(n_blocks, first);
    spans.extend(cover(n_blocks, n_nodes - first));
    Ok(spans)
}

/// One cover of all blocks by `nodes` spans; none for no nodes.
fn cover(n_blocks: u32, nodes: u32) -> Vec<BlockRange> {
    let parts = u64::from(nodes.min(n_blocks));
    // The cut fits u32 because it is at most n_blocks.
    let cut = |part: u64| (part * u64::from(n_blocks) / parts) as u32;
    let part = |node: u32| u64::from(node) % parts;
    // Consecutive cuts differ because there are no more parts than blocks, so no span is empty.
    (0..nodes).filter_map(|node| BlockRange::new(cut(part(node)), cut(part(node) + 1)).ok()).collect()
}
