//! Why a transaction is not taken. Whatever is refused leaves the state as it was.

use crate::round::Round;
use crate::{Amount, Price, TxId, Units};
use skep_types::signed::StatementError;
use skep_types::{ModelId, NodeId};
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
    /// Its time is over.
    #[error("the {what} {id} closed at {closed_s}")]
    Closed {
        /// A kind of thing.
        what: &'static str,
        /// Its name.
        id: TxId,
        /// When, Unix seconds.
        closed_s: u64,
    },
    /// Only its owner may do this.
    #[error("only {owner} may do this")]
    NotYours {
        /// Who may.
        owner: NodeId,
    },
    /// A provider asks for nothing of the kind.
    #[error("{provider} has no open ask for {model:?}")]
    NoAsk {
        /// Who was named.
        provider: NodeId,
        /// For which model.
        model: ModelId,
    },
    /// A provider asks for more than the client allows.
    #[error("{provider} asks for {asks:?}, and the client pays at most {most:?}")]
    TooDear {
        /// Who asks.
        provider: NodeId,
        /// What it asks for.
        asks: Price,
        /// The client's limit.
        most: Price,
    },
    /// A provider has no part in a tab, or has ended it.
    #[error("{provider} has no open part in the tab {tab}")]
    NotInTab {
        /// The tab.
        tab: TxId,
        /// Who was named.
        provider: NodeId,
    },
    /// A voucher is not newer than the last one.
    #[error("voucher {seq} is not above {known}, the last one")]
    VoucherOrder {
        /// Its number.
        seq: u32,
        /// The number of the last one.
        known: u32,
    },
    /// A voucher takes back what an older one gave.
    #[error("a voucher for {units:?} comes after one for {known:?}")]
    VoucherFell {
        /// What it is for.
        units: Units,
        /// What the last one was for.
        known: Units,
    },
    /// More than the tab is good for.
    #[error("{units:?} are more than the {most:?} that the tab is good for")]
    OverDeposit {
        /// What was served or signed for.
        units: Units,
        /// The tab's limit.
        most: Units,
    },
    /// The client did not sign a voucher.
    #[error("the signature is not that of the client {client}")]
    VoucherForged {
        /// Whose signature it should be.
        client: NodeId,
    },
    /// A provider must wait for a voucher first.
    #[error("{units} units are more than the {allowance} that may be ahead of vouchers")]
    AheadOfVouchers {
        /// What it was about to serve.
        units: u64,
        /// What it may serve.
        allowance: u64,
    },
    /// More than a provider's bond can stand for.
    #[error("{at_stake} would be at stake with {provider}, and its bond stands for {limit}")]
    Exposure {
        /// Whose bond.
        provider: NodeId,
        /// What would be at stake.
        at_stake: Amount,
        /// What may be.
        limit: Amount,
    },
    /// Less is bonded than was asked for, or nothing was asked for.
    #[error("{provider} has bonded {active} and asks for {asked} of it")]
    Bond {
        /// Whose bond.
        provider: NodeId,
        /// What it has bonded.
        active: Amount,
        /// What it asks for.
        asked: Amount,
    },
    /// There was a verdict on this evidence already.
    #[error("{provider} was judged on this evidence before")]
    Judged {
        /// Who was judged.
        provider: NodeId,
    },
    /// Too little is deposited.
    #[error("it deposits {offered}, and {least} is the least")]
    Deposit {
        /// What is deposited.
        offered: Amount,
        /// The least.
        least: Amount,
    },
    /// A bid is above what the order pays, or for nothing.
    #[error("a rate of {rate} is not between 1 and {most}")]
    Rate {
        /// The bid.
        rate: Amount,
        /// What the order pays at most.
        most: Amount,
    },
    /// A notice is too short or too long.
    #[error("a notice of {asked} s is not between {least} and {most} s")]
    Notice {
        /// The shortest, seconds.
        least: u32,
        /// The notice, seconds.
        asked: u32,
        /// The longest, seconds.
        most: u32,
    },
    /// A provider has no part in an order, or no lease.
    #[error("{provider} has no such part in the order {order}")]
    NotInOrder {
        /// The order.
        order: TxId,
        /// Who was named.
        provider: NodeId,
    },
    /// A round takes this at another time.
    #[error("the round {round:?} does not take this at {now_s}")]
    RoundTime {
        /// Which round.
        round: Round,
        /// The time, Unix seconds.
        now_s: u64,
    },
    /// A trader has sealed nothing like this, has revealed it before, or sells nothing.
    #[error("{trader} has nothing like this open in the round {round:?}")]
    NotSealed {
        /// Who was named.
        trader: NodeId,
        /// Which round.
        round: Round,
    },
    /// Only validators may do this.
    #[error("{who} is not a validator")]
    NotValidator {
        /// Who tried to.
        who: NodeId,
    },
    /// A proof does not show what it is for.
    #[error("not a proof: {0}")]
    Proof(&'static str),
}
