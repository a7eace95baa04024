//! Who is ahead, and whom to ask for the blocks that are missing here. An answer is verified block by block, so nobody is trusted.

use crate::effect::Pace;
use skep_types::NodeId;
use std::collections::BTreeMap;

/// The most machines whose height is remembered.
const PEERS_MAX: usize = 256;

#[derive(Clone, Debug, Default)]
pub(crate) struct Sync {
    /// The last final block of others, as they say.
    claims: BTreeMap<NodeId, u64>,
    /// Who was asked, and when that is in vain.
    asked: Option<(NodeId, u64)>,
    /// Since when somebody is ahead, milliseconds.
    behind_ms: Option<u64>,
}

impl Sync {
    /// A machine's last final block is this one.
    pub fn heard(&mut self, from: NodeId, height: u64) {
        if self.claims.len() < PEERS_MAX || self.claims.contains_key(&from) {
            self.claims.insert(from, height);
        }
    }

    /// A block became final here.
    pub fn progress(&mut self) {
        self.behind_ms = None;
    }

    /// Whether this machine was asked. Then the next one may be.
    pub fn answered(&mut self, from: &NodeId) -> bool {
        let was = self.asked.is_some_and(|(peer, _)| peer == *from);
        if was {
            self.asked = None;
        }
        was
    }

    /// What a machine said of its height is worth nothing.
    pub fn failed(&mut self, from: &NodeId) {
        self.claims.remove(from);
    }

    /// Whom to ask now for the block after `height`.
    pub fn ask(&mut self, now_ms: u64, height: u64, pace: &Pace) -> Option<NodeId> {
        if let Some((peer, until_ms)) = self.asked {
            if now_ms < until_ms {
                return None;
            }
            self.failed(&peer);
            self.asked = None;
        }
        let (peer, best) = self.best(height)?;
        let since = *self.behind_ms.get_or_insert(now_ms);
        if best == height + 1 && now_ms < since + pace.patience_ms {
            return None;
        }
        self.asked = Some((peer, now_ms + pace.answer_ms));
        Some(peer)
    }

    fn best(&self, height: u64) -> Option<(NodeId, u64)> {
        let best = self.claims.iter().max_by_key(|(_, claim)| **claim).map(|(peer, claim)| (*peer, *claim));
        best.filter(|(_, claim)| *claim > height)
    }

    /// When to look again.
    pub fn wake_at(&self, height: u64, pace: &Pace) -> Option<u64> {
        match self.asked {
            Some((_, until_ms)) => Some(until_ms),
            None => self.best(height).map(|_| self.behind_ms.map_or(0, |since| since + pace.patience_ms)),
        }
    }
}
