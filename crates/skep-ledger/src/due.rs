//! What happens by itself when its time comes: the end of a tab, of an ask, of an unbonding, the award of an
//! order, the clearing of a round.
//!
//! A block carries out what is due, the oldest first, at most [`DUE_MAX`] of it; the rest waits for the next block. No law waits for
//! it: whoever claims on a tab whose time is over is refused, whether or not the tab was ended yet. What was put off or is gone is
//! skipped.

use crate::round::Round;
use crate::state::State;
use crate::{Refusal, TxId};
use borsh::{BorshDeserialize, BorshSerialize};
use skep_types::{ModelId, NodeId};

/// What one block carries out at most: some milliseconds of work.
pub const DUE_MAX: usize = 4096;

/// Something that ends at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub enum Due {
    /// A tab.
    Tab(TxId),
    /// A provider's ask for a model.
    Ask(NodeId, ModelId),
    /// Part of a provider's bond leaves.
    Bond(NodeId),
    /// A case is forgotten.
    Case([u8; 32]),
    /// Bids for an order, or what it is paid with.
    Order(TxId),
    /// A round is cleared.
    Round(Round),
    /// The hour that a seller sold.
    Sale(Round, NodeId),
}

impl State {
    /// Has something looked at when its time comes.
    pub(crate) fn schedule(&mut self, at_s: u64, what: Due) {
        self.rows.due.put((at_s, what), ());
    }

    /// Carries out what is due.
    pub(crate) fn carry_out_due(&mut self) -> Result<(), Refusal> {
        let now_s = self.totals.time_s;
        let due: Vec<(u64, Due)> =
            self.rows.due.iter().map(|(at, ())| *at).take_while(|(at_s, _)| *at_s <= now_s).take(DUE_MAX).collect();
        for at in due {
            self.rows.due.take(&at);
            match at.1 {
                Due::Tab(tab) => self.end_tab(&tab)?,
                Due::Ask(provider, model) => self.end_ask(&provider, &model),
                Due::Bond(provider) => self.pay_out_bond(&provider)?,
                Due::Case(case) => self.end_case(&case),
                Due::Order(order) => self.order_due(&order)?,
                Due::Round(round) => self.clear_round(round)?,
                Due::Sale(round, seller) => self.sale_due(round, seller)?,
            }
        }
        Ok(())
    }
}
