//! Rows of state whose changes can be taken back.
//!
//! Each change keeps what stood there before. A transaction that fails is undone row by row, so applying is all-or-nothing and
//! costs what it touches, not what there is. The rows that changed are remembered for the state root.

use std::collections::BTreeMap;
use std::ops::RangeBounds;

/// Rows by key, in the order of the keys: whatever is computed over a table is the same on every machine.
#[derive(Clone, Debug)]
pub(crate) struct Table<K, V> {
    rows: BTreeMap<K, V>,
    /// What stood at a key before each change since the last [`Self::commit`], oldest first.
    undo: Vec<(K, Option<V>)>,
    /// Keys that changed since they were last taken, in no order, perhaps twice.
    changed: Vec<K>,
    /// What stood at a key before each commit since [`Self::mark`], oldest first.
    marked: Option<Vec<(K, Option<V>)>>,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), undo: Vec::new(), changed: Vec::new(), marked: None }
    }
}

impl<K: Ord + Copy, V: Clone> Table<K, V> {
    pub fn get(&self, key: &K) -> Option<&V> {
        self.rows.get(key)
    }

    /// A row that is about to change.
    pub fn edit(&mut self, key: &K) -> Option<&mut V> {
        let row = self.rows.get_mut(key)?;
        self.undo.push((*key, Some(row.clone())));
        Some(row)
    }

    /// A row that is about to change, made if it is missing.
    pub fn edit_or_default(&mut self, key: &K) -> &mut V
    where
        V: Default,
    {
        self.undo.push((*key, self.rows.get(key).cloned()));
        self.rows.entry(*key).or_default()
    }

    pub fn put(&mut self, key: K, row: V) {
        let before = self.rows.insert(key, row);
        self.undo.push((key, before));
    }

    pub fn take(&mut self, key: &K) -> Option<V> {
        let row = self.rows.remove(key)?;
        self.undo.push((*key, Some(row.clone())));
        Some(row)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.rows.iter()
    }

    pub fn range(&self, range: impl RangeBounds<K>) -> impl Iterator<Item = (&K, &V)> {
        self.rows.range(range)
    }

    /// The keys that changed since this was asked last, in order, each once.
    pub fn take_changed(&mut self) -> Vec<K> {
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort_unstable();
        changed.dedup();
        changed
    }

    /// Keeps what was changed.
    pub fn commit(&mut self) {
        self.changed.extend(self.undo.iter().map(|(key, _)| *key));
        match &mut self.marked {
            Some(marked) => marked.append(&mut self.undo),
            None => self.undo.clear(),
        }
    }

    /// From here on, even what was committed can be taken back.
    pub fn mark(&mut self) {
        self.marked = Some(Vec::new());
    }

    /// Forgets the mark, and keeps what came after it.
    pub fn keep(&mut self) {
        self.marked = None;
    }

    /// Takes back what was committed since the mark.
    pub fn rewind(&mut self) {
        for (key, before) in self.marked.take().unwrap_or_default().into_iter().rev() {
            match before {
                Some(row) => self.rows.insert(key, row),
                None => self.rows.remove(&key),
            };
            self.changed.push(key);
        }
    }

    /// Takes back what was changed since the last commit.
    pub fn rollback(&mut self) {
        while let Some((key, before)) = self.undo.pop() {
            match before {
                Some(row) => self.rows.insert(key, row),
                None => self.rows.remove(&key),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_rollback_brings_back_every_row(
            before: BTreeMap<u8, u32>, changes in prop::collection::vec((0u8..4, any::<u8>(), any::<u32>()), 0..60)
        ) {
            let mut table = Table { rows: before.clone(), ..Table::default() };
            for (kind, key, value) in changes {
                match kind {
                    0 => table.put(key, value),
                    1 => drop(table.take(&key)),
                    2 => *table.edit_or_default(&key) = value,
                    _ => if let Some(row) = table.edit(&key) { *row = value },
                }
            }
            table.rollback();
            prop_assert_eq!(table.rows, before);
            prop_assert!(table.undo.is_empty() && table.changed.is_empty());
        }
    }
}
