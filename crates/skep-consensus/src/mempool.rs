//! Transactions that wait for a block: bounded, in the order in which they came, each account's by their numbers without gaps.
//!
//! What is full refuses; nothing that waits is pushed out by what comes later. A transaction leaves when it stands in a block, and when
//! a block that is made finds that it cannot apply any more.

use skep_ledger::{Amount, Refusal, State, Tx};
use skep_types::NodeId;
use skep_types::signed::{Keys, Signed, StatementError};
use std::collections::{BTreeMap, VecDeque};
use thiserror::Error;

/// The most transactions that wait: some seconds of full blocks.
pub const POOL_TXS_MAX: usize = 50_000;
/// The most bytes of them.
pub const POOL_BYTES_MAX: usize = 16 << 20;
/// The most of one account, so that one cannot fill the pool with what costs it nothing until it applies.
pub const POOL_ACCOUNT_MAX: usize = 64;

/// Why a transaction does not wait here.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PoolRefusal {
    /// Too much waits already.
    #[error("{txs} transactions of {bytes} bytes wait already; try again later")]
    Full {
        /// How many.
        txs: usize,
        /// Their bytes.
        bytes: usize,
    },
    /// Too many of this account wait already.
    #[error("{POOL_ACCOUNT_MAX} transactions of {0} wait already")]
    AccountFull(NodeId),
    /// It cannot apply.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl From<StatementError> for PoolRefusal {
    fn from(error: StatementError) -> Self {
        Self::Refused(error.into())
    }
}

#[derive(Clone, Debug)]
struct Waiting {
    tx: Signed<Tx>,
    bytes: usize,
}

/// What waits for a block.
#[derive(Clone, Debug, Default)]
pub struct Mempool {
    /// By arrival.
    waiting: BTreeMap<u64, Waiting>,
    /// Arrivals of each account's, by their numbers.
    of: BTreeMap<NodeId, VecDeque<u64>>,
    bytes: usize,
    arrivals: u64,
}

impl Mempool {
    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The number that the account's next transaction must have.
    pub fn next_nonce(&self, payer: &NodeId, state: &State) -> u64 {
        let last = self.of.get(payer).and_then(VecDeque::back).and_then(|arrival| self.waiting.get(arrival));
        let after = last.map_or(0, |last| last.tx.statement.nonce.saturating_add(1));
        after.max(state.account(payer).nonce)
    }

    /// Takes in a transaction that could apply after those which wait. The signature, which costs most, is checked last.
    ///
    /// # Errors
    /// [`PoolRefusal`].
    pub fn add(&mut self, tx: Signed<Tx>, state: &State, now_s: u64, keys: &impl Keys) -> Result<(), PoolRefusal> {
        let (said, payer) = (&tx.statement, tx.statement.payer);
        let bytes = tx.encode()?.len();
        if self.waiting.len() >= POOL_TXS_MAX || self.bytes + bytes > POOL_BYTES_MAX {
            return Err(PoolRefusal::Full { txs: self.waiting.len(), bytes: self.bytes });
        }
        if self.of.get(&payer).is_some_and(|own| own.len() >= POOL_ACCOUNT_MAX) {
            return Err(PoolRefusal::AccountFull(payer));
        }
        if said.chain != state.chain() {
            return Err(Refusal::Chain.into());
        }
        let expected = self.next_nonce(&payer, state);
        if said.nonce != expected {
            return Err(Refusal::Nonce { payer, expected, got: said.nonce }.into());
        }
        let least = state.fee_of(said)?;
        if said.fee < least {
            return Err(Refusal::Fee { offered: said.fee, least }.into());
        }
        let own = self.of.get(&payer).into_iter().flatten().filter_map(|arrival| self.waiting.get(arrival));
        let needs = Amount::sum(own.map(|waiting| waiting.tx.statement.fee))?.plus(said.fee)?;
        let has = state.account(&payer).balance;
        if needs > has {
            return Err(Refusal::Underfunded { account: payer, has, needs }.into());
        }
        tx.verify(now_s, keys)?;
        self.arrivals += 1;
        self.bytes += bytes;
        self.of.entry(payer).or_default().push_back(self.arrivals);
        self.waiting.insert(self.arrivals, Waiting { tx, bytes });
        Ok(())
    }

    /// Offers all that waits to a block, in order, until the block says `Err(None)`: it is full. What is refused leaves, and with it
    /// what came after it from the same account: otherwise blocks would be made for ever of what can never apply.
    pub(crate) fn take(&mut self, mut offer: impl FnMut(&Signed<Tx>, usize) -> Result<(), Option<Refusal>>) {
        let mut gone = Vec::new();
        for (arrival, waiting) in &self.waiting {
            match offer(&waiting.tx, waiting.bytes) {
                Ok(()) => {}
                Err(None) => break,
                Err(Some(_)) => gone.push(*arrival),
            }
        }
        gone.into_iter().for_each(|arrival| self.remove(arrival));
    }

    fn remove(&mut self, arrival: u64) {
        let Some(waiting) = self.waiting.remove(&arrival) else { return };
        self.bytes -= waiting.bytes;
        let payer = waiting.tx.statement.payer;
        if let Some(own) = self.of.get_mut(&payer) {
            own.retain(|other| *other != arrival);
            if own.is_empty() {
                self.of.remove(&payer);
            }
        }
    }

    /// Lets go what a final block has done: each payer's up to the number that its account has now.
    pub fn settle(&mut self, block: &[Signed<Tx>], state: &State) {
        for tx in block {
            let next = state.account(&tx.statement.payer).nonce;
            let own = self.of.get(&tx.statement.payer).into_iter().flatten();
            let done = own.filter(|arrival| self.waiting.get(arrival).is_none_or(|it| it.tx.statement.nonce < next));
            done.copied().collect::<Vec<_>>().into_iter().for_each(|arrival| self.remove(arrival));
        }
    }
}
