//! Why a transaction is not taken. Whatever is refused leaves the state as it was.

use crate::{Amount, TxId};
use skep_types::NodeId;
use skep_types::signed::StatementError;
use thiserror::Error;

/// Why a transaction, a block or a ruling is not taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// It is malformed, oversized, expired, signed for too long or wrongly signed.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// It is for another network.
    #[error("it is for another network")]
    Chain,
    /// It was applied before, or one before it is missing.
    #[error("its number is {got}, and the next one of {payer} is {expected}")]
    Nonce {
        /// Whose number.
        payer: NodeId,
        /// The next number of the payer.
        expected: u64,
        /// The number of the transaction.
        got: u64,
    },
    /// It offers too small a fee.
    #[error("it pays a fee of {offered}, and one of its length costs {least}")]
    Fee {
        /// What it pays.
        offered: Amount,
        /// What its length costs.
        least: Amount,
    },
    /// An account has too little.
    #[error("{account} has {has} and needs {needs}")]
    Underfunded {
        /// Whose account.
        account: NodeId,
        /// Its balance.
        has: Amount,
        /// What is taken from it.
        needs: Amount,
    },
    /// A sum is beyond what money can be.
    #[error("a sum is more than there can be")]
    Overflow,
    /// A field has a value that no law allows.
    #[error("{0}")]
    Field(&'static str),
    /// A block does not follow the last one.
    #[error("the block is number {got} at {time_s}, and the last one is number {height} at {last_s}")]
    Block {
        /// The number of the last block.
        height: u64,
        /// The time of the last block, Unix seconds.
        last_s: u64,
        /// The number of this block.
        got: u64,
        /// The time of this block, Unix seconds.
        time_s: u64,
    },
    /// Nothing of that name is open.
    #[error("there is no {what} {id}")]
    Unknown {
        /// A kind of thing.
        what: &'static str,
        /// Its name.
        id: TxId,
    },
}
