//! What sessions that began alike have already computed, kept for those that begin so again. Without I/O.
//!
//! # Rules
//! 1. A stored page is [`PAGE`] positions of a session: their keys and values in every block of the session's range, and the rows that
//!    left the last of these blocks, which a stage must forward and retain as if it had run them.
//! 2. Its key is BLAKE3 over the key of the page before and the bits of the rows that entered the first block (token ids at block
//!    0); the key before the first page is BLAKE3 over the block range. Equal keys mean the same rows from position 0 on through the
//!    same blocks, and these give the same bits (RK-1), so a stored page is not an approximation.
//! 3. A page is stored as soon as its last row was run, and is found as soon as a frame brings its last row. Pages are only found one
//!    after the other, so a page is not stored without the one before it and is not dropped before those that continue it.
//! 4. Stored pages have the room that sessions leave. When that is too little, the least recently used page that nothing continues
//!    is dropped, until the rest fits.
//! 5. Keys and values that a session still holds are counted with the session, which is counted in full; so here they count only
//!    when the store alone holds them.
//! 6. Nothing is stored of models whose positions see those after them, nor of sessions for one vector.
//!
//! Whoever may open sessions can learn from the time of an answer whether a page's rows were run here lately.

use super::memory::PAGE_EXTRA_BYTES;
use skep_kernels::PAGE;
use skep_model::Page;
use skep_types::BlockRange;
use skep_types::wire::Payload;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Pages kept at most: what is done for each page when memory is short stays well below a millisecond.
const MOST_PAGES: usize = 8192;
/// What the tables of the store need for one entry, at most.
const ENTRY_BYTES: u64 = 512;
/// Makes the keys of the store differ from every other hash.
const ROOT: &[u8] = b"skep prefix reuse 1";

/// Names a stored page.
pub(super) type Key = [u8; 32];

/// Rows that enter a stage.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rows<'a> {
    Tokens(&'a [u32]),
    /// Row-major values and their number in a row, at least 1.
    Values(&'a [f32], usize),
}

impl<'a> Rows<'a> {
    /// The rows of a payload, if it has whole rows of `width` values or token ids.
    pub(super) fn of(payload: &'a Payload, width: usize) -> Option<Self> {
        match payload {
            Payload::Tokens(ids) => Some(Self::Tokens(ids)),
            Payload::Rows(values) if width > 0 && values.len().is_multiple_of(width) => {
                Some(Self::Values(values, width))
            }
            _ => None,
        }
    }

    pub(super) fn len(self) -> usize {
        match self {
            Self::Tokens(ids) => ids.len(),
            Self::Values(values, width) => values.len() / width,
        }
    }

    /// The first `n` rows, which there must be, and the others.
    fn split_at(self, n: usize) -> (Self, Self) {
        match self {
            Self::Tokens(ids) => {
                let (own, rest) = ids.split_at(n);
                (Self::Tokens(own), Self::Tokens(rest))
            }
            Self::Values(values, width) => {
                let (own, rest) = values.split_at(n * width);
                (Self::Values(own, width), Self::Values(rest, width))
            }
        }
    }

    fn bytes(self) -> Vec<u8> {
        match self {
            Self::Tokens(ids) => ids.iter().flat_map(|id| id.to_le_bytes()).collect(),
            Self::Values(values, _) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        }
    }
}

/// A full page of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Link {
    /// Its number, counted from 0.
    pub(super) page: usize,
    /// The key of the page before.
    parent: Key,
    pub(super) key: Key,
}

/// The rows of a session so far, as keys (rule 2).
#[derive(Debug, Clone)]
pub(super) struct Chain {
    page: usize,
    parent: Key,
    /// Over the rows of the page that is not full.
    hasher: blake3::Hasher,
    rows: usize,
}

impl Chain {
    pub(super) fn new(blocks: BlockRange) -> Self {
        let mut root = blake3::Hasher::new();
        root.update(ROOT).update(&blocks.start().to_le_bytes()).update(&blocks.end().to_le_bytes());
        Self::after(0, *root.finalize().as_bytes())
    }

    fn after(page: usize, parent: Key) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&parent);
        Self { page, parent, hasher, rows: 0 }
    }

    /// Rows of the page that is not full.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Takes rows to the end of the page; `None` when there are fewer, and all are taken.
    pub(super) fn next_page(&mut self, rows: &mut Rows<'_>) -> Option<Link> {
        let (own, rest) = rows.split_at(rows.len().min(PAGE - self.rows));
        self.hasher.update(&own.bytes());
        (self.rows, *rows) = (self.rows + own.len(), rest);
        if self.rows < PAGE {
            return None;
        }
        let link = Link { page: self.page, parent: self.parent, key: *self.hasher.finalize().as_bytes() };
        *self = Self::after(self.page + 1, link.key);
        Some(link)
    }

    /// Takes all rows and returns the pages that they fill.
    pub(super) fn push(&mut self, mut rows: Rows<'_>) -> Vec<Link> {
        std::iter::from_fn(|| self.next_page(&mut rows)).collect()
    }
}

/// What is kept of one page.
#[derive(Debug)]
pub(super) struct Entry {
    /// Keys and values, one page a block.
    pub(super) pages: Vec<Page>,
    /// The rows that left the last block, row-major.
    pub(super) rows: Vec<f32>,
    link: Link,
    /// Entries whose parent this is.
    children: u32,
    used: u64,
}

impl Entry {
    /// Bytes that only the store can hold.
    fn own_bytes(&self) -> u64 {
        4 * self.rows.len() as u64 + ENTRY_BYTES + PAGE_EXTRA_BYTES * self.pages.len() as u64
    }

    fn kv_bytes(&self) -> u64 {
        self.pages.iter().map(|page| page.len() as u64).sum()
    }

    /// Bytes that are free once this is dropped (rule 5).
    fn bytes(&self) -> u64 {
        let unshared = self.pages.iter().filter(|page| Arc::strong_count(page) == 1);
        self.own_bytes() + unshared.map(|page| page.len() as u64).sum::<u64>()
    }
}

/// The stored pages.
#[derive(Debug, Default)]
pub(super) struct Store {
    room: u64,
    /// What all entries would hold if no session shared them.
    most_bytes: u64,
    entries: HashMap<Key, Entry>,
    /// The entries that nothing continues, by the time of their last use.
    leaves: BTreeMap<u64, Key>,
    clock: u64,
}

impl Store {
    /// Bytes that the store holds and no session does.
    pub(super) fn bytes(&self) -> u64 {
        self.entries.values().map(Entry::bytes).sum()
    }

    /// How much it may hold from now on; what is too much is dropped.
    pub(super) fn set_room(&mut self, room: u64) {
        self.room = room;
        self.fit(0, None);
    }

    pub(super) fn holds(&self, key: &Key) -> bool {
        self.entries.contains_key(key)
    }

    /// A stored page, which counts as used now.
    pub(super) fn get(&mut self, key: &Key) -> Option<&Entry> {
        self.clock += 1;
        let entry = self.entries.get_mut(key)?;
        if entry.children == 0 {
            self.leaves.remove(&entry.used);
            self.leaves.insert(self.clock, *key);
        }
        entry.used = self.clock;
        Some(entry)
    }

    /// Keeps a page that a session holds, if there is room for it.
    pub(super) fn insert(&mut self, link: Link, pages: Vec<Page>, rows: &[f32]) {
        if self.get(&link.key).is_some() || (link.page > 0 && self.get(&link.parent).is_none()) {
            return;
        }
        let entry = Entry { pages, rows: rows.to_vec(), link, children: 0, used: self.clock + 1 };
        // The session holds the keys and values, and they are counted there.
        if !self.fit(entry.own_bytes(), Some(&link.parent)) {
            return;
        }
        self.clock += 1;
        if let Some(parent) = self.entries.get_mut(&link.parent) {
            parent.children += 1;
            self.leaves.remove(&parent.used);
        }
        self.most_bytes += entry.own_bytes() + entry.kv_bytes();
        self.leaves.insert(self.clock, link.key);
        self.entries.insert(link.key, entry);
    }

    /// Drops pages other than `kept` until `need` more bytes have room. Returns whether they have.
    fn fit(&mut self, need: u64, kept: Option<&Key>) -> bool {
        let coming = usize::from(need > 0);
        // Most of the time there is room enough whoever holds what, and nothing has to be added up.
        if self.most_bytes + need <= self.room && self.entries.len() + coming <= MOST_PAGES {
            return true;
        }
        let mut held = self.bytes();
        while held + need > self.room || self.entries.len() + coming > MOST_PAGES {
            let oldest = self.leaves.iter().find(|(_, key)| Some(*key) != kept);
            let Some((used, key)) = oldest.map(|(used, key)| (*used, *key)) else { return false };
            self.leaves.remove(&used);
            let Some(entry) = self.entries.remove(&key) else { continue };
            held -= entry.bytes();
            self.most_bytes -= entry.own_bytes() + entry.kv_bytes();
            if let Some(parent) = self.entries.get_mut(&entry.link.parent) {
                parent.children -= 1;
                if parent.children == 0 {
                    self.leaves.insert(parent.used, entry.link.parent);
                }
            }
        }
        true
    }
}

#[cfg(test)]
mod tests;
