//! Transactions: what an account signs to change the state, and the canonical bytes of it.
//!
//! A transaction is a [signed statement](skep_types::signed) with the context `skep tx 1\0`: the `borsh` encoding of [`Tx`], followed by
//! 64 bytes of ed25519 over context and encoding. There is one encoding of each transaction; [`Signed::decode`] refuses every other.
//!
//! [`Signed::decode`]: skep_types::signed::Signed::decode

use crate::ask::Ask;
use crate::order::{Bid, Wanted};
use crate::round::{Round, Side};
use crate::tab::{Hire, LEGS_MAX, VOUCHERS_MAX};
use crate::voucher::SignedVoucher;
use crate::{Amount, ChainId, TxId, Units};
use borsh::{BorshDeserialize, BorshSerialize};
use skep_types::signed::{Statement, StatementError};
use skep_types::{ModelId, NodeId};

/// The longest signed transaction in bytes: one claim of many vouchers.
pub const TX_BYTES_MAX: usize = 8192;
/// How long a transaction may wait for a block, seconds.
pub const TX_LIFETIME_S: u64 = 3600;

/// What one account asks of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Tx {
    /// The network that it is for.
    pub chain: ChainId,
    /// Who signs, and pays the fee.
    pub payer: NodeId,
    /// How many transactions of the payer came before. Applied in this order without gaps, so none is applied twice.
    pub nonce: u64,
    /// Until when it may be applied, Unix seconds, at most [`TX_LIFETIME_S`] ahead.
    pub expires: u64,
    /// What it pays to be applied; all of it is burned.
    pub fee: Amount,
    /// What it does.
    pub action: Action,
}

impl Tx {
    /// Its name, and that of what it opens.
    pub fn id(&self) -> TxId {
        TxId { payer: self.payer, nonce: self.nonce }
    }
}

/// What a transaction does. The first byte of the encoding is the position in this list; new actions are appended.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Action {
    /// Gives money to another account.
    Transfer {
        /// To whom.
        to: NodeId,
        /// How much.
        amount: Amount,
    },
    /// Says what the payer asks for serving a model, until it is replaced, withdrawn or over.
    Post {
        /// The model.
        model: ModelId,
        /// The terms.
        ask: Ask,
    },
    /// Takes the payer's ask back; open tabs go on.
    Withdraw {
        /// For which model.
        model: ModelId,
    },
    /// Opens a tab of the payer's.
    OpenTab {
        /// The providers, at most [`LEGS_MAX`].
        hires: Vec<Hire>,
        /// The most units of each.
        most: Units,
        /// When it ends, Unix seconds.
        until_s: u64,
    },
    /// Has providers paid for what vouchers say.
    Claim {
        /// At most [`VOUCHERS_MAX`], of any tabs.
        vouchers: Vec<SignedVoucher>,
        /// Ends the part of the provider in each of these tabs; it must be the payer.
        last: bool,
    },
    /// Ends the payer's part as a provider in a tab, and claims nothing.
    LetGo {
        /// Which tab.
        tab: TxId,
    },
    /// Closes the payer's own tab: its providers have a while for their last claims.
    CloseTab {
        /// Which tab.
        tab: TxId,
    },
    /// Adds to the payer's bond.
    Bond {
        /// How much.
        amount: Amount,
    },
    /// Begins to take out a part of the payer's bond.
    Unbond {
        /// How much.
        amount: Amount,
    },
    /// Places an order of the payer's for machines.
    PlaceOrder {
        /// What is asked for.
        wanted: Wanted,
        /// What is to be paid with.
        deposit: Amount,
    },
    /// Bids for an order.
    Bid {
        /// Which order.
        order: TxId,
        /// The terms.
        bid: Bid,
    },
    /// Adds to what an order is paid with.
    Fund {
        /// Which order.
        order: TxId,
        /// How much.
        amount: Amount,
    },
    /// Gives notice of the payer's lease.
    Reclaim {
        /// Of which order.
        order: TxId,
    },
    /// Takes back the payer's bid, or leaves its lease.
    Leave {
        /// Of which order.
        order: TxId,
    },
    /// Ends one lease of the payer's order, or the order.
    Dismiss {
        /// Which order.
        order: TxId,
        /// Whose lease, or all.
        provider: Option<NodeId>,
    },
    /// Seals a price in a round.
    Seal {
        /// Which round.
        round: Round,
        /// To side and price.
        commitment: [u8; 32],
        /// What is held for it.
        deposit: Amount,
    },
    /// Reveals what was sealed.
    Reveal {
        /// Which round.
        round: Round,
        /// Which side.
        side: Side,
        /// At which price.
        price: Amount,
        /// The random number that kept it secret.
        salt: [u8; 32],
    },
    /// Ends a sale in which the payer sells or buys.
    EndSale {
        /// Of which round.
        round: Round,
        /// Who sells.
        seller: NodeId,
    },
    /// Endorses, as a validator, that a key validates with this power.
    Endorse {
        /// Whose key.
        validator: NodeId,
        /// Its power; 0 unseats it.
        power: u64,
    },
}

impl Statement for Tx {
    const CONTEXT: &'static [u8] = b"skep tx 1\0";
    const BYTES_MAX: usize = TX_BYTES_MAX;
    const LIFETIME_S_MAX: u64 = TX_LIFETIME_S;

    fn signer(&self) -> NodeId {
        self.payer
    }

    fn expires(&self) -> u64 {
        self.expires
    }

    fn seq(&self) -> u64 {
        self.nonce
    }

    fn check(&self) -> Result<(), StatementError> {
        match &self.action {
            Action::OpenTab { hires, .. } if hires.len() > LEGS_MAX => {
                Err(StatementError::Field("a tab has too many providers"))
            }
            Action::Claim { vouchers, .. } if vouchers.len() > VOUCHERS_MAX => {
                Err(StatementError::Field("a claim has too many vouchers"))
            }
            _ => Ok(()),
        }
    }
}
