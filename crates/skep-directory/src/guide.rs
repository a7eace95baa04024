//! What a node that keeps no directory says to those who ask it for one.

use crate::message::{Message, THERE_MAX};
use crate::pace::Pace;
use crate::shard::{Shard, rank, volunteer_key};
use skep_types::NodeId;
use skep_types::offer::Volunteer;
use skep_types::signed::Signed;
use std::cmp::Reverse;

/// Records that are remembered: what two answers name.
const RECORDS_MAX: usize = 2 * THERE_MAX;

/// Verified records of volunteers, the latest first.
#[derive(Debug, Default)]
pub(crate) struct Guide {
    records: Vec<Signed<Volunteer>>,
    pace: Pace,
}

impl Guide {
    /// Remembers a verified record, unless a newer one of the same volunteer is there.
    pub fn learn(&mut self, record: Signed<Volunteer>) {
        let node = record.statement.node;
        let known = self.records.iter().position(|known| known.statement.node == node);
        let record = match known.map(|at| self.records.remove(at)) {
            Some(known) if record.replaces(&known).is_err() => known,
            _ => record,
        };
        self.records.insert(0, record);
        self.records.truncate(RECORDS_MAX);
    }

    /// Forgets what is over.
    pub fn tidy(&mut self, now_ms: u64) {
        self.records.retain(|record| record.statement.expires > now_ms / 1000);
        self.pace.tidy(now_ms);
    }

    /// Names the volunteers that rank highest in a shard among those known; nothing if none is, or if the node asks too fast.
    pub fn there(&mut self, now_ms: u64, from: NodeId, shard: Shard, size: u32) -> Option<Message> {
        if !self.pace.allows(from, now_ms) {
            return None;
        }
        let lives = |record: &&Signed<Volunteer>| record.statement.expires > now_ms / 1000;
        let mut volunteers: Vec<Signed<Volunteer>> = self.records.iter().filter(lives).cloned().collect();
        let key = shard.key();
        volunteers.sort_by_key(|record| Reverse(rank(key, volunteer_key(&record.statement.node))));
        volunteers.truncate(THERE_MAX);
        (!volunteers.is_empty()).then_some(Message::There { shard, volunteers, size })
    }
}
