//! The spans that a stage host has loaded: the one that it serves, and earlier ones that answers still need.
//!
//! # Rules
//! 1. A new span is served beside the earlier ones until these are *retired*: whoever planned by an older picture of the network still
//!    finds the blocks. A retired span takes no new session.
//! 2. A session runs on the newest span that has its blocks. One that is under way goes over to a new span that has them, with its keys
//!    and values: the bits are the same (RK-1). So sessions of the same blocks always run on the same span, and together.
//! 3. A retired span is unmapped when the last session on it has ended.
//! 4. Where nobody needs it, the served span may be *unloaded* as well. Its blocks are still what this node serves, and whoever may have a
//!    session loads them again.

use skep_model::Span;
use skep_types::BlockRange;
use std::sync::{Arc, Weak};

/// The spans of one node.
#[derive(Debug)]
pub(super) struct Spans {
    /// None while it is unloaded.
    served: Option<Arc<Span>>,
    /// The blocks of the newest one, loaded or not.
    blocks: BlockRange,
    /// Earlier ones that still take sessions, the newest last.
    earlier: Vec<Arc<Span>>,
    /// Held by the sessions that run on them.
    retired: Vec<Weak<Span>>,
}

impl Spans {
    pub(super) fn new(span: Arc<Span>) -> Self {
        let blocks = span.blocks();
        Self { served: Some(span), blocks, earlier: Vec::new(), retired: Vec::new() }
    }

    /// The newest one; none while it is unloaded.
    pub(super) fn served(&self) -> Option<&Arc<Span>> {
        self.served.as_ref()
    }

    /// The blocks of the newest one, loaded or not.
    pub(super) fn blocks(&self) -> BlockRange {
        self.blocks
    }

    /// Unloads the newest one and lets go of the earlier ones. Sessions that run on one of them keep it until they end.
    pub(super) fn unload(&mut self) {
        self.retire();
        self.retired.extend(self.served.take().map(|span| Arc::downgrade(&span)));
        self.retired.retain(|span| span.strong_count() > 0);
    }

    /// The one on which a new session of these blocks runs.
    pub(super) fn of(&self, blocks: BlockRange) -> Option<&Arc<Span>> {
        self.served.iter().chain(self.earlier.iter().rev()).find(|span| span.blocks().covers(&blocks))
    }

    /// Serves another span from now on.
    pub(super) fn adopt(&mut self, span: Arc<Span>) {
        self.blocks = span.blocks();
        self.earlier.extend(self.served.replace(span));
    }

    /// Lets the earlier spans take no more sessions.
    pub(super) fn retire(&mut self) {
        self.retired.extend(self.earlier.drain(..).map(|span| Arc::downgrade(&span)));
        self.retired.retain(|span| span.strong_count() > 0);
    }

    /// How many are loaded, and bytes of all their weights; what several of them have counts once, as it is mapped from one file.
    pub(super) fn loaded(&self) -> (usize, u64) {
        let retired = self.retired.iter().filter_map(Weak::upgrade);
        let others: Vec<Arc<Span>> = self.earlier.iter().cloned().chain(retired).collect();
        let Some(served) = &self.served else {
            return (others.len(), others.iter().map(|span| span.weight_bytes()).sum());
        };
        let beyond = others.iter().map(|span| span.weight_bytes_beyond(served.blocks()));
        (1 + others.len(), served.weight_bytes() + beyond.sum::<u64>())
    }
}
