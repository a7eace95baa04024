//! The volunteers that a directory knows.

use crate::COPIES;
use crate::shard::{Shard, rank, volunteer_key};
use skep_types::NodeId;
use skep_types::offer::Volunteer;
use skep_types::signed::{Signed, StatementError};

/// Volunteers that a directory knows at most: enough for 2.8 million nodes; some 1 MB.
pub const ROLL_MAX: usize = 4096;

#[derive(Debug, Clone)]
struct Listed {
    key: u64,
    record: Signed<Volunteer>,
}

/// Verified records in the order of their nodes.
#[derive(Debug, Clone, Default)]
pub struct Roll {
    listed: Vec<Listed>,
}

impl Roll {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.listed.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }

    /// All records, in the order of their nodes.
    pub fn records(&self) -> impl Iterator<Item = &Signed<Volunteer>> {
        self.listed.iter().map(|listed| &listed.record)
    }

    /// The record of a node.
    pub fn get(&self, node: &NodeId) -> Option<&Signed<Volunteer>> {
        self.position(node).ok().map(|at| &self.listed[at].record)
    }

    /// Whether a record would be taken, before its signature is looked at.
    pub(crate) fn is_news(&self, record: &Signed<Volunteer>) -> Result<(), StatementError> {
        self.get(&record.statement.node).map_or(Ok(()), |known| record.replaces(known))
    }

    /// Takes a verified record up. In a full roll the highest key goes, so that all rolls keep the same.
    pub(crate) fn insert(&mut self, record: Signed<Volunteer>) {
        let key = volunteer_key(&record.statement.node);
        match self.position(&record.statement.node) {
            Ok(at) => self.listed[at].record = record,
            Err(at) => {
                self.listed.insert(at, Listed { key, record });
                if self.listed.len() > ROLL_MAX {
                    let highest = (0..self.listed.len()).max_by_key(|at| self.listed[*at].key);
                    highest.map(|at| self.listed.remove(at));
                }
            }
        }
    }

    pub(crate) fn remove(&mut self, node: &NodeId) {
        if let Ok(at) = self.position(node) {
            self.listed.remove(at);
        }
    }

    pub(crate) fn drop_expired(&mut self, now_s: u64) {
        self.listed.retain(|listed| listed.record.statement.expires > now_s);
    }

    /// The `count` volunteers that rank highest in a shard.
    pub fn highest(&self, shard: &Shard, count: usize) -> Vec<&Signed<Volunteer>> {
        self.highest_of(shard, count, |_| true)
    }

    /// The `count` volunteers that rank highest in a shard among those that `counts` chooses.
    pub(crate) fn highest_of(
        &self,
        shard: &Shard,
        count: usize,
        counts: impl Fn(&Volunteer) -> bool,
    ) -> Vec<&Signed<Volunteer>> {
        let key = shard.key();
        let mut best: Vec<(u64, usize)> = Vec::with_capacity(count + 1);
        for (at, listed) in self.listed.iter().enumerate() {
            let rank = rank(key, listed.key);
            let low = best.len() == count && best.last().is_some_and(|last| *last >= (rank, at));
            if low || !counts(&listed.record.statement) {
                continue;
            }
            let place = best.partition_point(|better| *better > (rank, at));
            best.insert(place, (rank, at));
            best.truncate(count);
        }
        best.into_iter().map(|(_, at)| &self.listed[at].record).collect()
    }

    /// The records that come after a node, at most `count`.
    pub fn page(&self, after: &NodeId, count: usize) -> Vec<Signed<Volunteer>> {
        let from = self.listed.partition_point(|listed| listed.record.statement.node <= *after);
        self.listed[from..].iter().take(count).map(|listed| listed.record.clone()).collect()
    }

    /// How many offers the network has: what all say they hold, none counted for more than four times the median, by copies.
    pub fn size(&self) -> u32 {
        let mut held: Vec<u64> =
            self.records().map(|record| u64::from(record.statement.held)).filter(|held| *held > 0).collect();
        held.sort_unstable();
        let Some(median) = held.get(held.len() / 2).copied() else { return 0 };
        let sum: u64 = held.iter().map(|held| (*held).min(median.saturating_mul(4))).sum();
        let copies = self.len().clamp(1, COPIES) as u64;
        u32::try_from(sum.div_ceil(copies)).unwrap_or(u32::MAX)
    }

    fn position(&self, node: &NodeId) -> Result<usize, usize> {
        self.listed.binary_search_by(|listed| listed.record.statement.node.cmp(node))
    }
}
