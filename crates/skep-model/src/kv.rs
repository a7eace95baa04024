//! The keys and values that a session has left in the blocks of a span, in pages.
//!
//! A page holds [`PAGE`] positions of one block. Sessions that begin alike may share full pages ([`KvCache::share`]); a page that
//! is shared is copied before it is written.

use crate::ModelError;
use skep_kernels::{KvLayout, NonFinite, PAGE};
use skep_types::BlockRange;
use std::sync::Arc;

/// One block's keys and values of [`PAGE`] positions.
pub type Page = Arc<Vec<u8>>;

/// Keys and values of one session for a range of blocks. It grows page by page up to a limit fixed when it was made.
#[derive(Debug, Clone)]
pub struct KvCache {
    blocks: BlockRange,
    layout: KvLayout,
    max_positions: usize,
    len: usize,
    /// For each block its pages, positions in order.
    pages: Vec<Vec<Page>>,
}

impl KvCache {
    pub(crate) fn new(blocks: BlockRange, max_positions: usize, layout: KvLayout) -> Self {
        Self { blocks, layout, max_positions, len: 0, pages: vec![Vec::new(); blocks.len() as usize] }
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

    /// Format and shape of its pages.
    pub fn layout(&self) -> KvLayout {
        self.layout
    }

    /// Bytes of the pages now held, shared ones included.
    pub fn resident_bytes(&self) -> u64 {
        (self.pages.iter().map(Vec::len).sum::<usize>() * self.layout.page_bytes()) as u64
    }

    /// The pages of positions `i * PAGE..(i + 1) * PAGE`, one a block; `None` when they are not all held.
    pub fn page(&self, i: usize) -> Option<Vec<Page>> {
        ((i + 1) * PAGE <= self.len).then(|| self.pages.iter().filter_map(|pages| pages.get(i).cloned()).collect())
    }

    /// Takes over full pages, one a block, in the place of the page that is not full, or after the last; they were made by the same
    /// blocks from the same rows, those of this cache among them.
    ///
    /// # Errors
    /// [`ModelError::Input`] when the limit would be passed or the pages are of another shape.
    pub fn share(&mut self, pages: Vec<Page>) -> Result<(), ModelError> {
        let fits = pages.len() == self.pages.len() && pages.iter().all(|page| page.len() == self.layout.page_bytes());
        let start = self.len / PAGE * PAGE;
        if !fits || start + PAGE > self.max_positions {
            return Err(ModelError::Input("the pages do not continue this cache".to_owned()));
        }
        for (own, page) in self.pages.iter_mut().zip(pages) {
            own.truncate(start / PAGE);
            own.push(page);
        }
        self.len = start + PAGE;
        Ok(())
    }

    /// Forgets all positions from `len` on; nothing happens when fewer are held.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
        let pages = self.len.div_ceil(PAGE);
        self.pages.iter_mut().for_each(|own| own.truncate(pages));
    }

    /// Makes room for `rows` more positions.
    pub(crate) fn reserve(&mut self, rows: usize) -> Result<(), ModelError> {
        let refusal = || {
            let (len, most) = (self.len, self.max_positions);
            ModelError::Input(format!("{rows} rows after {len} positions exceed the cache's limit of {most} positions"))
        };
        let after = self.len.checked_add(rows).filter(|after| *after <= self.max_positions).ok_or_else(refusal)?;
        let bytes = self.layout.page_bytes();
        for pages in &mut self.pages {
            while pages.len() < after.div_ceil(PAGE) {
                let mut page = Vec::new();
                let memory = |_| ModelError::Input(format!("no memory for the keys and values of {after} positions"));
                page.try_reserve_exact(bytes).map_err(memory)?;
                page.resize(bytes, 0);
                pages.push(Arc::new(page));
            }
        }
        Ok(())
    }

    /// Writes one row's keys and values of a block, counted from the first of this cache, at `position`, which is reserved.
    pub(crate) fn store(
        &mut self,
        block: usize,
        position: usize,
        keys: &[f32],
        values: &[f32],
    ) -> Result<(), NonFinite> {
        let page = self.pages.get_mut(block).and_then(|pages| pages.get_mut(position / PAGE)).ok_or(NonFinite)?;
        self.layout.store(Arc::make_mut(page).as_mut_slice(), position % PAGE, keys, values)
    }

    /// The pages of one block, counted from the first of this cache.
    pub(crate) fn pages(&self, block: usize) -> Vec<&[u8]> {
        self.pages.get(block).into_iter().flatten().map(|page| page.as_slice()).collect()
    }

    pub(crate) fn commit(&mut self, rows: usize) {
        self.len += rows;
    }
}
