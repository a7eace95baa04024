//! The volunteers that a directory knows.

use crate::COPIES;
use crate::message::Mark;
use crate::shard::{Shard, rank, volunteer_key};
use skep_types::NodeId;
use skep_types::offer::Volunteer;
use skep_types::signed::{Signed, StatementError};

/// Volunteers that a directory knows at most: enough for 2.8 million nodes; some 1 MB.
pub const ROLL_MAX: usize = 4096;

#[derive(Debug, Clone)]
struct Listed {
    key: u64,
    /// Grows with what is taken up, so that whoever asks again is told what is new only.
    number: u64,
    record: Signed<Volunteer>,
}

impl Listed {
    fn place(&self) -> (u64, &NodeId) {
        (self.key, &self.record.statement.node)
    }

    fn mark(&self) -> Mark {
        Mark { key: self.key, second: second(&self.record.statement) }
    }
}

/// Numbers of one millisecond: a directory that starts again goes on above those of its last run.
const NUMBERS_PER_MS: u64 = 1 << 10;

/// When a record was signed, as a mark has it.
fn second(volunteer: &Volunteer) -> u16 {
    (volunteer.seq / 1000 % (1 << 16)) as u16
}

/// Verified records in the order of their keys as volunteers.
#[derive(Debug, Clone, Default)]
pub struct Roll {
    listed: Vec<Listed>,
    /// The number of the record that was taken up last.
    latest: u64,
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

    /// All records, in the order of their keys as volunteers.
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

    /// Whether a record is worth asking for: the roll has none of this volunteer, or an older one, and it has room.
    pub(crate) fn lacks(&self, mark: &Mark) -> bool {
        let at = self.listed.partition_point(|listed| listed.key < mark.key);
        match self.listed.get(at) {
            // Seconds are told modulo 2¹⁶: records live three minutes, so the nearer way round is the right one.
            Some(listed) if listed.key == mark.key => {
                mark.second.wrapping_sub(second(&listed.record.statement)).cast_signed() > 0
            }
            _ => at < ROLL_MAX,
        }
    }

    /// What was taken up after a number, the oldest first, at most `count`; and the number to ask from next.
    pub(crate) fn since(&self, since: u64, count: usize) -> (u64, Vec<Mark>) {
        let mut news: Vec<&Listed> = self.listed.iter().filter(|listed| listed.number > since).collect();
        news.sort_unstable_by_key(|listed| listed.number);
        let more = news.len() > count;
        news.truncate(count);
        let until = news.last().filter(|_| more).map_or(self.latest, |last| last.number);
        (until, news.into_iter().map(Listed::mark).collect())
    }

    /// The records of volunteers with these keys.
    pub(crate) fn of(&self, keys: &[u64]) -> Vec<Signed<Volunteer>> {
        let known = |key: &u64| self.listed.binary_search_by_key(key, |listed| listed.key).ok();
        keys.iter().filter_map(known).map(|at| self.listed[at].record.clone()).collect()
    }

    /// Takes a verified record up. In a full roll the highest key goes, so that all rolls keep the same.
    pub(crate) fn insert(&mut self, now_ms: u64, record: Signed<Volunteer>) {
        self.latest = (self.latest + 1).max(now_ms.saturating_mul(NUMBERS_PER_MS));
        let number = self.latest;
        let key = volunteer_key(&record.statement.node);
        match self.position(&record.statement.node) {
            Ok(at) => self.listed[at] = Listed { key, number, record },
            Err(at) => {
                self.listed.insert(at, Listed { key, number, record });
                self.listed.truncate(ROLL_MAX);
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

    /// The nodes and their keys as volunteers, in the order of the keys.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = (u64, NodeId)> {
        self.listed.iter().map(|listed| (listed.key, listed.record.statement.node))
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
        let key = volunteer_key(node);
        self.listed.binary_search_by(|listed| listed.place().cmp(&(key, node)))
    }
}
