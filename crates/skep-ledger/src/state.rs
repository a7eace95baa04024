//! The state, and the three ways to change it: a block begins, a transaction is applied, a ruling is carried out.

use crate::bond::Fraud;
use crate::rows::{Key, Rows, decoded};
use crate::tree::{Hash, Proof, Tree};
use crate::tx::{Action, Tx};
use crate::{Amount, ChainId, Event, Params, Refusal};
use borsh::{BorshDeserialize, BorshSerialize};
use skep_types::NodeId;
use skep_types::signed::{Keys, Signed};

/// Sums over the state, and where it stands in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Totals {
    /// Number of the last block.
    pub height: u64,
    /// Time of the last block, Unix seconds.
    pub time_s: u64,
    /// What was ever issued.
    pub issued: Amount,
    /// What was ever burned.
    pub burned: Amount,
    /// When the running epoch of emission ends, Unix seconds.
    pub epoch_ends_s: u64,
    /// Verified work of the running epoch.
    pub work: u64,
}

/// Something that every validator has recomputed itself, such as the verdict of a dispute. It is never taken from a peer's word.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Ruling {
    /// A provider's work was verified.
    Work {
        /// Who worked.
        provider: NodeId,
        /// Tokens times blocks.
        work: u64,
    },
    /// Governance changed the figures of the laws.
    Params(Params),
    /// A provider was convicted.
    Fraud(Fraud),
}

/// Where all money is. The sum is the supply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// On accounts.
    pub balances: Amount,
    /// In tabs.
    pub tabs: Amount,
    /// In orders, with the bonds of bids and leases.
    pub orders: Amount,
    /// In rounds and sales, with the deposits of sellers.
    pub rounds: Amount,
    /// In bonds.
    pub bonds: Amount,
}

impl Audit {
    /// All money that was found.
    ///
    /// # Errors
    /// [`Refusal::Overflow`].
    pub fn total(&self) -> Result<Amount, Refusal> {
        Amount::sum([self.balances, self.tabs, self.orders, self.rounds, self.bonds])
    }
}

fn all(mut amounts: impl Iterator<Item = Result<Amount, Refusal>>) -> Result<Amount, Refusal> {
    amounts.try_fold(Amount::ZERO, |sum, amount| sum.plus(amount?))
}

/// The ledger of one network.
#[derive(Clone, Debug)]
pub struct State {
    chain: ChainId,
    params: Params,
    pub(crate) totals: Totals,
    pub(crate) rows: Rows,
    events: Vec<Event>,
    /// Over the rows as they were when the root was asked for last.
    tree: Tree,
    /// Sums and figures at the mark.
    marked: Option<(Totals, Params)>,
}

impl State {
    /// A ledger in which nobody has anything, at the time of the first block.
    ///
    /// # Errors
    /// [`Refusal::Field`] for figures that no ledger may have.
    pub fn new(chain: ChainId, params: Params, time_s: u64) -> Result<Self, Refusal> {
        params.check()?;
        let totals = Totals { time_s, epoch_ends_s: time_s.saturating_add(params.epoch_s.into()), ..Totals::default() };
        Ok(Self {
            chain,
            params,
            totals,
            rows: Rows::default(),
            events: Vec::new(),
            tree: Tree::default(),
            marked: None,
        })
    }

    /// The network.
    pub fn chain(&self) -> ChainId {
        self.chain
    }

    /// The figures of the laws.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Sums and time.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// What exists: issued less burned.
    ///
    /// # Errors
    /// [`Refusal::Overflow`] in a state that broke its law.
    pub fn supply(&self) -> Result<Amount, Refusal> {
        self.totals.issued.minus(self.totals.burned)
    }

    /// Counts all money, in time that grows with the state.
    ///
    /// # Errors
    /// [`Refusal::Overflow`] in a state that broke its law.
    pub fn audit(&self) -> Result<Audit, Refusal> {
        let rows = &self.rows;
        let seals = rows.seals.iter().map(|(_, sealed)| Ok(sealed.deposit));
        let sales = rows.sales.iter().map(|(_, sale)| sale.total.plus(sale.bond));
        Ok(Audit {
            balances: all(rows.accounts.iter().map(|(_, account)| Ok(account.balance)))?,
            tabs: all(rows.tabs.iter().map(|(_, tab)| tab.held()))?,
            orders: all(rows.orders.iter().map(|(_, order)| order.held()))?,
            rounds: all(seals.chain(sales))?,
            bonds: all(rows.bonds.iter().map(|(_, bond)| bond.held()))?,
        })
    }

    /// The state root, which a block's header names. It costs time for what changed since it was asked for last.
    ///
    /// # Errors
    /// [`Refusal::Overflow`] if memory ends.
    pub fn root(&mut self) -> Result<Hash, Refusal> {
        let mut changes = self.rows.changes()?;
        changes.push(Key::Totals.change(&self.totals)?);
        changes.push(Key::Params.change(&self.params)?);
        self.tree.change(changes);
        Ok(self.tree.root())
    }

    /// Proves a row, or that there is none, under the [root](Self::root) as it is now.
    ///
    /// # Errors
    /// [`Refusal::Overflow`] if memory ends.
    pub fn prove(&mut self, key: &Key) -> Result<Proof, Refusal> {
        self.root()?;
        Ok(self.tree.prove(&key.name()?))
    }

    /// The encoding of a row.
    ///
    /// # Errors
    /// [`Refusal::Overflow`] if memory ends.
    pub fn row(&self, key: &Key) -> Result<Option<Vec<u8>>, Refusal> {
        match key {
            Key::Totals => borsh::to_vec(&self.totals).map(Some).map_err(|_| Refusal::Overflow),
            Key::Params => borsh::to_vec(&self.params).map(Some).map_err(|_| Refusal::Overflow),
            key => self.rows.row(key),
        }
    }

    /// The keys of all rows: with [`Self::row`] a snapshot of everything but the network's name.
    pub fn keys(&self) -> impl Iterator<Item = Key> {
        [Key::Totals, Key::Params].into_iter().chain(self.rows.keys())
    }

    /// Brings back a state from a snapshot. It is worth as much as its root: compare it with one that is trusted.
    ///
    /// # Errors
    /// [`Refusal::Field`] for a row that is not of its kind, and if totals or figures are missing or unsound.
    pub fn restore(chain: ChainId, rows: impl IntoIterator<Item = (Key, Vec<u8>)>) -> Result<Self, Refusal> {
        let mut state = Self::new(chain, Params::default(), 0)?;
        let (mut totals, mut params) = (None, None);
        for (key, bytes) in rows {
            match key {
                Key::Totals => totals = Some(decoded(&bytes)?),
                Key::Params => params = Some(decoded(&bytes)?),
                key => state.rows.put(&key, &bytes)?,
            }
        }
        state.rows.commit();
        state.totals = totals.ok_or(Refusal::Field("a snapshot without totals"))?;
        state.params = params.ok_or(Refusal::Field("a snapshot without figures"))?;
        state.params.check()?;
        Ok(state)
    }

    /// Marks this state: a block that is tried out from here can be taken back, in time that grows with what it changed.
    pub fn mark(&mut self) {
        self.marked = Some((self.totals, self.params));
        self.rows.mark();
    }

    /// Forgets the mark, and keeps what came after it.
    pub fn keep(&mut self) {
        self.marked = None;
        self.rows.keep();
    }

    /// Goes back to the mark, if there is one.
    pub fn rewind(&mut self) {
        if let Some((totals, params)) = self.marked.take() {
            (self.totals, self.params) = (totals, params);
            self.rows.rewind();
        }
    }

    /// Begins a block: time goes on, and what is due happens.
    ///
    /// # Errors
    /// [`Refusal::Block`] if it does not follow the last block.
    pub fn begin_block(&mut self, height: u64, time_s: u64) -> Result<Vec<Event>, Refusal> {
        let last = self.totals;
        if Some(height) != last.height.checked_add(1) || time_s < last.time_s {
            return Err(Refusal::Block { height: last.height, last_s: last.time_s, got: height, time_s });
        }
        self.whole(|state| {
            (state.totals.height, state.totals.time_s) = (height, time_s);
            state.carry_out_due()?;
            state.close_epoch()
        })
    }

    /// Applies a transaction, or refuses it and changes nothing. Signatures are verified last, for they cost most.
    ///
    /// # Errors
    /// Every [`Refusal`].
    pub fn apply(&mut self, tx: &Signed<Tx>, keys: &impl Keys) -> Result<Vec<Event>, Refusal> {
        self.admits(&tx.statement)?;
        tx.verify(self.totals.time_s, keys)?;
        self.whole(|state| state.act(&tx.statement, keys))
    }

    /// Carries out a ruling, or refuses it and changes nothing.
    ///
    /// # Errors
    /// Every [`Refusal`].
    pub fn rule(&mut self, ruling: &Ruling) -> Result<Vec<Event>, Refusal> {
        let before = self.params;
        let done = self.whole(|state| match ruling {
            Ruling::Work { provider, work } => state.note_work(*provider, *work),
            Ruling::Fraud(fraud) => state.slash(fraud),
            Ruling::Params(params) => {
                params.check()?;
                state.params = *params;
                Ok(())
            }
        });
        if done.is_err() {
            self.params = before;
        }
        done
    }

    fn act(&mut self, tx: &Tx, keys: &impl Keys) -> Result<(), Refusal> {
        self.charge(tx)?;
        match &tx.action {
            Action::Transfer { to, amount } => self.transfer(tx.payer, *to, *amount),
            Action::Post { model, ask } => self.post(tx.payer, *model, *ask),
            Action::Withdraw { model } => self.withdraw(tx.payer, *model),
            Action::OpenTab { hires, most, until_s } => self.open_tab(tx.id(), hires, *most, *until_s),
            Action::Claim { vouchers, last } => self.claim(tx.payer, vouchers, *last, keys),
            Action::LetGo { tab } => self.end_leg(tx.payer, tab, &tx.payer),
            Action::CloseTab { tab } => self.close_tab(tx.payer, tab),
            Action::Bond { amount } => self.lock(tx.payer, *amount),
            Action::Unbond { amount } => self.unlock(tx.payer, *amount),
            Action::PlaceOrder { wanted, deposit } => self.place_order(tx.id(), *wanted, *deposit),
            Action::Bid { order, bid } => self.bid(tx.payer, order, bid),
            Action::Fund { order, amount } => self.fund(tx.payer, order, *amount),
            Action::Reclaim { order } => self.reclaim(tx.payer, order),
            Action::Leave { order } => self.leave(tx.payer, order),
            Action::Dismiss { order, provider } => self.dismiss(tx.payer, order, *provider),
            Action::Seal { round, commitment, deposit } => self.seal(*round, tx.payer, *commitment, *deposit),
            Action::Reveal { round, side, price, salt } => self.reveal(*round, tx.payer, (*side, *price), salt),
            Action::EndSale { round, seller } => self.end_sale(tx.payer, *round, *seller),
            Action::Endorse { validator, power } => self.endorse(tx.payer, *validator, *power),
        }
    }

    /// Notes an event of the change that is going on.
    pub(crate) fn tell(&mut self, event: Event) {
        self.events.push(event);
    }

    /// All of a change or nothing of it.
    fn whole(&mut self, change: impl FnOnce(&mut Self) -> Result<(), Refusal>) -> Result<Vec<Event>, Refusal> {
        let before = self.totals;
        match change(self) {
            Ok(()) => {
                self.rows.commit();
                Ok(std::mem::take(&mut self.events))
            }
            Err(refusal) => {
                self.totals = before;
                self.rows.rollback();
                self.events.clear();
                Err(refusal)
            }
        }
    }
}
