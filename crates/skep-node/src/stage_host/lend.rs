//! What the compute thread does for its owner: ends what others run, unmaps weights that nobody needs, and promises no more than is lent.

use super::worker::Worker;
use crate::steward::Lending;
use skep_model::Span;
use skep_types::BlockRange;
use skep_types::wire::{ControlReply, SessionId};
use std::sync::Arc;

impl Worker {
    /// Keeps to the owner's limits from now on.
    pub(super) fn lend(&mut self, lending: Lending) {
        if let (true, Some(refusal)) = (lending.ends, lending.refusal) {
            self.end_foreign(refusal);
        }
        self.throttle.set(lending.cpu_percent);
        if lending.drops_weights && self.clients.is_empty() {
            self.pool.unload();
        }
        self.lending = Some(lending);
        self.share();
    }

    /// Ends the sessions of others, each with a refusal, from which its gateway goes on elsewhere.
    fn end_foreign(&mut self, refusal: &str) {
        let own = self.links.own();
        let foreign = self.clients.iter().filter(|(_, client)| client.from != own);
        for session in foreign.map(|(session, _)| *session).collect::<Vec<SessionId>>() {
            if let Some(client) = self.clients.get(&session) {
                let _ = client.replies.try_send(ControlReply::Refused { session, reason: refusal.to_owned() });
            }
            self.close(session);
        }
    }

    /// Why others may begin nothing now.
    pub(super) fn refusal(&self) -> Option<&'static str> {
        self.lending.as_ref().and_then(|lending| lending.refusal)
    }

    /// Divides the memory anew, after sessions or spans have changed, and tells what is promised.
    pub(super) fn share(&mut self) {
        let loaded = self.pool.spans().loaded();
        if let Some(lending) = &self.lending {
            self.memory.lend(lending.memory_bytes.saturating_sub(loaded.1));
        }
        // What is stored is of use while sessions come.
        let stores = self.pool.spans().served().is_some();
        self.pool.set_store_room(if stores { self.memory.free() } else { 0 });
        self.meter.loads(loaded);
        self.count();
    }

    /// Tells what is promised.
    pub(super) fn count(&self) {
        let own = self.links.own();
        self.meter.holds(self.clients.len(), self.memory.free());
        self.meter.holds_foreign(self.clients.values().filter(|client| client.from != own).count());
    }

    /// The span on which a new session of these blocks runs; one that was unloaded is mapped again.
    pub(super) fn span_of(&mut self, blocks: BlockRange) -> Result<Arc<Span>, String> {
        if let Some(span) = self.pool.spans().of(blocks) {
            return Ok(span.clone());
        }
        let served = self.pool.spans().blocks();
        if self.pool.spans().served().is_some() || !served.covers(&blocks) {
            return Err(format!("this node holds blocks {served}, not {blocks}"));
        }
        let span = Arc::new(self.loader.load(served).map_err(|fault| fault.to_string())?);
        self.pool.adopt(span.clone());
        self.share();
        Ok(span)
    }
}
