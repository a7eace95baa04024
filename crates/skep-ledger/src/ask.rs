//! Posted asks: what a provider asks for serving a span of a model.
//!
//! A provider has at most one ask for a model; a new one replaces it, for tabs that are opened from then on. An ask is the provider's
//! consent: a tab can name a provider only where an ask of it is open, at that ask's price. Without a premine the first asks are for
//! nothing, and what such tabs prove is subsidised.

use crate::due::Due;
use crate::state::State;
use crate::{Price, Refusal};
use borsh::{BorshDeserialize, BorshSerialize};
use skep_types::{BlockRange, ModelId, NodeId};

/// The longest life of an ask, seconds: 30 days.
pub const ASK_LIFETIME_S: u64 = 30 * 86_400;

/// What a provider asks for one model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Ask {
    /// The span that it serves.
    pub blocks: BlockRange,
    /// For 1,000 tokens through the whole span.
    pub price: Price,
    /// Until when tabs may be opened on it, Unix seconds.
    pub until_s: u64,
}

impl State {
    /// The ask of a provider for a model, if one is open.
    pub fn ask(&self, provider: &NodeId, model: &ModelId) -> Option<&Ask> {
        self.rows.asks.get(&(*provider, *model)).filter(|ask| ask.until_s > self.totals.time_s)
    }

    pub(crate) fn post(&mut self, provider: NodeId, model: ModelId, ask: Ask) -> Result<(), Refusal> {
        let now_s = self.totals.time_s;
        if ask.until_s <= now_s || ask.until_s - now_s > ASK_LIFETIME_S {
            return Err(Refusal::Field("an ask ends within 30 days"));
        }
        self.rows.asks.put((provider, model), ask);
        self.schedule(ask.until_s, Due::Ask(provider, model));
        Ok(())
    }

    pub(crate) fn withdraw(&mut self, provider: NodeId, model: ModelId) -> Result<(), Refusal> {
        let gone = self.rows.asks.take(&(provider, model));
        gone.map(|_| ()).ok_or(Refusal::NoAsk { provider, model })
    }

    /// Forgets an ask whose time is over.
    pub(crate) fn end_ask(&mut self, provider: &NodeId, model: &ModelId) {
        let key = (*provider, *model);
        if self.rows.asks.get(&key).is_some_and(|ask| ask.until_s <= self.totals.time_s) {
            self.rows.asks.take(&key);
        }
    }
}
