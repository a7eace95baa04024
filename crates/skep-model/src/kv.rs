//! The keys and values that a session has left in the blocks of a span.

use crate::ModelError;
use skep_types::BlockRange;

/// Keys and values of one session, in f32, for a range of blocks: one list per block and key-value head, positions in
/// order. It grows with its positions up to a limit fixed when it was made.
#[derive(Debug, Clone)]
pub struct KvCache {
    blocks: BlockRange,
    max_positions: usize,
    len: usize,
    head_dim: usize,
    pub(crate) entries: Vec<BlockCache>,
}

/// One block's part: one list of positions × `head_dim` per key-value head.
#[derive(Debug, Clone, Default)]
pub(crate) struct BlockCache {
    pub(crate) keys: Vec<Vec<f32>>,
    pub(crate) values: Vec<Vec<f32>>,
}

impl KvCache {
    pub(crate) fn new(blocks: BlockRange, max_positions: usize, n_kv_heads: usize, head_dim: usize) -> Self {
        let entry = BlockCache { keys: vec![Vec::new(); n_kv_heads], values: vec![Vec::new(); n_kv_heads] };
        Self { blocks, max_positions, len: 0, head_dim, entries: vec![entry; blocks.len() as usize] }
    }

    /// Positions held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no position is held.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Most positions that it may hold.
    pub fn max_positions(&self) -> usize {
        self.max_positions
    }

    /// The blocks that [`crate::Span::forward`] runs with this cache.
    pub fn blocks(&self) -> BlockRange {
        self.blocks
    }

    /// Bytes of keys and values now allocated.
    pub fn resident_bytes(&self) -> u64 {
        let lists = self.entries.iter().flat_map(|entry| entry.keys.iter().chain(&entry.values));
        lists.map(|list| list.capacity() as u64 * 4).sum()
    }

    /// Forgets all positions from `len` on; nothing happens when fewer are held.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
        let elements = self.len * self.head_dim;
        for entry in &mut self.entries {
            entry.keys.iter_mut().chain(&mut entry.values).for_each(|list| list.truncate(elements));
        }
    }

    /// Makes room for `rows` more positions.
    pub(crate) fn reserve(&mut self, rows: usize) -> Result<(), ModelError> {
        let refusal = || {
            let (len, most) = (self.len, self.max_positions);
            ModelError::Input(format!("{rows} rows after {len} positions exceed the cache's limit of {most} positions"))
        };
        let after = self.len.checked_add(rows).filter(|after| *after <= self.max_positions).ok_or_else(refusal)?;
        let memory = |_| ModelError::Input(format!("no memory for the keys and values of {after} positions"));
        for entry in &mut self.entries {
            for list in entry.keys.iter_mut().chain(&mut entry.values) {
                list.try_reserve(rows * self.head_dim).map_err(memory)?;
            }
        }
        Ok(())
    }

    pub(crate) fn commit(&mut self, rows: usize) {
        self.len += rows;
    }
}
