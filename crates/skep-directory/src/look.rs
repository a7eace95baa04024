//! A look at the whole shard that a node publishes in, to see whether some blocks are short.

use crate::Effect;
use crate::message::{Message, Span};
use crate::shard::Shard;
use skep_types::NodeId;

/// How long the answers are waited for.
const LOOK_MS: u64 = 2_000;

/// A question for what all nodes of a shard serve.
#[derive(Debug)]
pub(crate) struct Look {
    shard: Shard,
    asked: Vec<NodeId>,
    answers: Vec<Vec<Span>>,
    end_ms: u64,
}

impl Look {
    /// Asks these directories of a shard.
    pub fn new(now_ms: u64, shard: Shard, asked: Vec<NodeId>, effects: &mut Vec<Effect>) -> Self {
        effects.extend(asked.iter().map(|to| Effect::Send { to: *to, message: Message::Look { shard } }));
        Self { shard, asked, answers: Vec::new(), end_ms: now_ms + LOOK_MS }
    }

    pub fn wake_ms(&self) -> u64 {
        self.end_ms
    }

    /// An answer; each directory has one.
    pub fn seen(&mut self, from: NodeId, shard: &Shard, mut spans: Vec<Span>) {
        if let Some(at) = self.asked.iter().position(|node| *node == from).filter(|_| *shard == self.shard) {
            self.asked.remove(at);
            spans.sort_unstable();
            self.answers.push(spans);
        }
    }

    pub fn is_over(&self, now_ms: u64) -> bool {
        self.asked.is_empty() || now_ms >= self.end_ms
    }

    /// What all who answered agree on: a directory may omit a node, and none can add one that another does not know.
    pub fn finish(self) -> Vec<Span> {
        let mut answers = self.answers.into_iter();
        let first = answers.next().unwrap_or_default();
        answers.fold(first, |both, other| both.into_iter().filter(|span| other.binary_search(span).is_ok()).collect())
    }
}
