//! Accounts: balances, the order of an account's transactions, transfers and fees.
//!
//! An account is a key. It has a balance and the number of its next transaction; one that nobody used has neither, and needs no opening.
//! A transaction is applied if its number is the account's next one, so it is applied once and in order.
//!
//! A transaction of `n` bytes, signature included, costs at least `fee_base + n · fee_byte`. The fee that it names is taken whole and
//! burned: it goes to nobody, so nobody gains by filling blocks with transactions of their own.
//!
//! A ledger may begin with *grants*, which count as issued. They are for trying a ledger out: a network that begins with some has a name
//! that says so to whoever looks at how it began, and one for everybody begins with none.

use crate::emission::SUPPLY_MAX;
use crate::state::State;
use crate::tx::Tx;
use crate::{Amount, Event, Refusal};
use borsh::{BorshDeserialize, BorshSerialize};
use skep_types::NodeId;

/// Bytes of a signature.
const SIGNATURE_BYTES: u64 = 64;

/// What an account has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Account {
    /// What it may spend.
    pub balance: Amount,
    /// The number of its next transaction.
    pub nonce: u64,
}

impl State {
    /// An account as it is; an unused one is empty.
    pub fn account(&self, id: &NodeId) -> Account {
        self.rows.accounts.get(id).copied().unwrap_or_default()
    }

    /// The least fee of a transaction: `fee_base + n · fee_byte`, with `n` the bytes of its signed encoding.
    ///
    /// # Errors
    /// [`Refusal::Overflow`].
    pub fn fee_of(&self, tx: &Tx) -> Result<Amount, Refusal> {
        let bytes = borsh::object_length(tx).map_err(|_| Refusal::Overflow)? as u64 + SIGNATURE_BYTES;
        self.params().fee_base.plus(self.params().fee_byte.share(bytes, 1)?)
    }

    /// The checks that need no signature: a transaction that fails them costs nobody the time to verify one.
    ///
    /// # Errors
    /// [`Refusal::Chain`], [`Refusal::Nonce`], [`Refusal::Fee`], [`Refusal::Underfunded`].
    pub fn admits(&self, tx: &Tx) -> Result<(), Refusal> {
        if tx.chain != self.chain() {
            return Err(Refusal::Chain);
        }
        let account = self.account(&tx.payer);
        if tx.nonce != account.nonce {
            return Err(Refusal::Nonce { payer: tx.payer, expected: account.nonce, got: tx.nonce });
        }
        let least = self.fee_of(tx)?;
        if tx.fee < least {
            return Err(Refusal::Fee { offered: tx.fee, least });
        }
        if tx.fee > account.balance {
            return Err(Refusal::Underfunded { account: tx.payer, has: account.balance, needs: tx.fee });
        }
        Ok(())
    }

    /// Takes the fee and the number of an admitted transaction.
    pub(crate) fn charge(&mut self, tx: &Tx) -> Result<(), Refusal> {
        let account = self.rows.accounts.edit_or_default(&tx.payer);
        account.balance = account.balance.minus(tx.fee)?;
        account.nonce = account.nonce.checked_add(1).ok_or(Refusal::Overflow)?;
        self.burn(tx.fee)
    }

    pub(crate) fn transfer(&mut self, from: NodeId, to: NodeId, amount: Amount) -> Result<(), Refusal> {
        if amount == Amount::ZERO {
            return Err(Refusal::Field("a transfer of nothing"));
        }
        self.debit(&from, amount)?;
        self.credit(&to, amount)?;
        self.tell(Event::Transferred { from, to, amount });
        Ok(())
    }

    /// Gives accounts what a ledger for trying out begins with.
    ///
    /// # Errors
    /// [`Refusal::Field`] for a ledger that has blocks, for a grant of nothing or twice to one account, and for more than may ever exist.
    pub fn grant_first(&mut self, grants: &[(NodeId, Amount)]) -> Result<(), Refusal> {
        if self.totals.height > 0 || self.totals.issued > Amount::ZERO {
            return Err(Refusal::Field("the first grants were made before"));
        }
        let sum = Amount::sum(grants.iter().map(|(_, amount)| *amount))?;
        if sum.0 > SUPPLY_MAX {
            return Err(Refusal::Field("more is granted than may ever exist"));
        }
        for (who, amount) in grants {
            if *amount == Amount::ZERO || self.account(who).balance > Amount::ZERO {
                self.rows.rollback();
                return Err(Refusal::Field("each account is granted something once"));
            }
            self.credit(who, *amount)?;
        }
        self.totals.issued = sum;
        self.rows.commit();
        Ok(())
    }

    /// Takes from an account.
    pub(crate) fn debit(&mut self, who: &NodeId, amount: Amount) -> Result<(), Refusal> {
        let has = self.account(who).balance;
        if amount > has {
            return Err(Refusal::Underfunded { account: *who, has, needs: amount });
        }
        self.rows.accounts.edit_or_default(who).balance = has.minus(amount)?;
        Ok(())
    }

    /// Gives to an account. Nothing leaves no trace.
    pub(crate) fn credit(&mut self, who: &NodeId, amount: Amount) -> Result<(), Refusal> {
        if amount > Amount::ZERO {
            let account = self.rows.accounts.edit_or_default(who);
            account.balance = account.balance.plus(amount)?;
        }
        Ok(())
    }

    /// Ends money that was taken from somewhere.
    pub(crate) fn burn(&mut self, amount: Amount) -> Result<(), Refusal> {
        self.totals.burned = self.totals.burned.plus(amount)?;
        Ok(())
    }
}
