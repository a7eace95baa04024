//! What a transaction, a block or a ruling did, for those who show it to people. Events are not state.

use crate::round::Round;
use crate::{Amount, TxId};
use skep_types::NodeId;

/// Something that happened to somebody's money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// One account gave to another.
    Transferred {
        /// Who gave.
        from: NodeId,
        /// Who received.
        to: NodeId,
        /// How much.
        amount: Amount,
    },
    /// An epoch's verified work was subsidised.
    Issued {
        /// Who worked.
        provider: NodeId,
        /// How much was made for it.
        amount: Amount,
    },
    /// A client opened a tab.
    TabOpened {
        /// Its name.
        tab: TxId,
        /// What it holds.
        deposit: Amount,
    },
    /// A provider was paid out of a tab.
    Claimed {
        /// Out of which.
        tab: TxId,
        /// Who.
        provider: NodeId,
        /// How much.
        amount: Amount,
    },
    /// A tab is gone.
    TabEnded {
        /// Which.
        tab: TxId,
        /// What its end gave back to the client.
        returned: Amount,
    },
    /// A provider was convicted.
    Slashed {
        /// Who.
        provider: NodeId,
        /// What was taken of its bond.
        amount: Amount,
        /// What the victim received of it.
        victim: Amount,
        /// What the reporter received of it.
        reporter: Amount,
    },
    /// An order was awarded.
    Awarded {
        /// Which.
        order: TxId,
        /// The winners.
        providers: Vec<NodeId>,
        /// What each is paid per second.
        rate: Amount,
    },
    /// A lease was paid until now.
    Leased {
        /// Of which order.
        order: TxId,
        /// Whom.
        provider: NodeId,
        /// How much.
        amount: Amount,
    },
    /// An order is gone.
    OrderEnded {
        /// Which.
        order: TxId,
        /// What went back to the owner.
        returned: Amount,
    },
    /// An hour of a machine was sold.
    Sold {
        /// In which round.
        round: Round,
        /// Who sold.
        seller: NodeId,
        /// Who bought.
        buyer: NodeId,
        /// What the seller gets for the whole hour.
        amount: Amount,
    },
    /// A key validates with another power than before.
    Seated {
        /// Whose key.
        validator: NodeId,
        /// Its power; 0 if it validates no longer.
        power: u64,
    },
    /// A sale is over.
    SaleEnded {
        /// Of which round.
        round: Round,
        /// Who sold.
        seller: NodeId,
        /// What the seller got.
        paid: Amount,
    },
}
