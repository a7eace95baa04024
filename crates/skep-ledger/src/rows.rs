//! Everything that is kept by key, and its names under the state root.

use crate::account::Account;
use crate::ask::Ask;
use crate::bond::Bond;
use crate::due::Due;
use crate::order::Order;
use crate::round::{Round, Sale, Sealed};
use crate::standing::Standing;
use crate::tab::Tab;
use crate::table::Table;
use crate::tree::{Hash, Proof};
use crate::validator::Endorsement;
use crate::{Refusal, TxId};
use borsh::{BorshDeserialize, BorshSerialize};
use skep_types::{ModelId, NodeId};

/// New hashes of rows by their names; none where a row is gone.
type Changes = Vec<(Hash, Option<Hash>)>;

fn encoded(value: &impl BorshSerialize) -> Result<Vec<u8>, Refusal> {
    borsh::to_vec(value).map_err(|_| Refusal::Overflow)
}

fn hash(bytes: &[u8]) -> Hash {
    *blake3::hash(bytes).as_bytes()
}

macro_rules! tables {
    ($($(#[$doc:meta])* $name:ident: $variant:ident($key:ty) => $row:ty,)*) => {
        /// Names a row under the state root. The first byte of the encoding is the position in this list; new kinds are appended.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
        pub enum Key {
            /// [`crate::Totals`].
            Totals,
            /// [`crate::Params`].
            Params,
            $($(#[$doc])* $variant($key),)*
        }

        #[derive(Clone, Debug, Default)]
        pub(crate) struct Rows {
            $(pub $name: Table<$key, $row>,)*
        }

        impl Rows {
            pub fn commit(&mut self) {
                $(self.$name.commit();)*
            }

            pub fn rollback(&mut self) {
                $(self.$name.rollback();)*
            }

            pub fn mark(&mut self) {
                $(self.$name.mark();)*
            }

            pub fn keep(&mut self) {
                $(self.$name.keep();)*
            }

            pub fn rewind(&mut self) {
                $(self.$name.rewind();)*
            }

            /// What changed since this was asked last.
            pub fn changes(&mut self) -> Result<Changes, Refusal> {
                let mut changes = Vec::new();
                $(for key in self.$name.take_changed() {
                    let value = self.$name.get(&key).map(encoded).transpose()?;
                    changes.push((Key::$variant(key).name()?, value.map(|bytes| hash(&bytes))));
                })*
                Ok(changes)
            }

            /// The encoding of a row.
            pub fn row(&self, key: &Key) -> Result<Option<Vec<u8>>, Refusal> {
                match key {
                    Key::Totals | Key::Params => Ok(None),
                    $(Key::$variant(key) => self.$name.get(key).map(encoded).transpose(),)*
                }
            }

            /// The keys of all rows.
            pub fn keys(&self) -> impl Iterator<Item = Key> {
                std::iter::empty()$(.chain(self.$name.iter().map(|(key, _)| Key::$variant(*key))))*
            }

            /// Puts an encoded row in its place.
            pub fn put(&mut self, key: &Key, bytes: &[u8]) -> Result<(), Refusal> {
                match key {
                    Key::Totals | Key::Params => {}
                    $(Key::$variant(key) => self.$name.put(*key, decoded(bytes)?),)*
                }
                Ok(())
            }
        }
    };
}

tables! {
    /// [`Account`], of a machine.
    accounts: Account(NodeId) => Account,
    /// Verified work of the running epoch, `u64`.
    work: Work(NodeId) => u64,
    /// [`Ask`].
    asks: Ask((NodeId, ModelId)) => Ask,
    /// [`Tab`].
    tabs: Tab(TxId) => Tab,
    /// [`Bond`], of a provider.
    bonds: Bond(NodeId) => Bond,
    /// Until when a judged case is remembered, `u64`, by the hash of its evidence.
    cases: Case([u8; 32]) => u64,
    /// [`Order`].
    orders: Order(TxId) => Order,
    /// How many seals a round has, `u32`.
    rounds: Round(Round) => u32,
    /// [`Sealed`], of a trader.
    seals: Sealed((Round, NodeId)) => Sealed,
    /// [`Sale`], of a seller.
    sales: Sale((Round, NodeId)) => Sale,
    /// What is looked at when, `()`: what is due decides what a block does, so it is state too.
    due: Due((u64, Due)) => (),
    /// [`Standing`], of a provider.
    standings: Standing(NodeId) => Standing,
    /// Power of a validator, `u64`.
    validators: Validator(NodeId) => u64,
    /// [`Endorsement`], of the validator who gave it.
    endorsements: Endorsement(NodeId) => Endorsement,
}

pub(crate) fn decoded<T: BorshDeserialize>(bytes: &[u8]) -> Result<T, Refusal> {
    borsh::from_slice(bytes).map_err(|_| Refusal::Field("a row is not of its kind"))
}

impl Key {
    /// Its name in the tree.
    ///
    /// # Errors
    /// [`Refusal::Overflow`] if memory ends.
    pub fn name(&self) -> Result<Hash, Refusal> {
        Ok(hash(&encoded(self)?))
    }

    /// What changes when the row of this key becomes `row`.
    pub(crate) fn change(&self, row: &impl BorshSerialize) -> Result<(Hash, Option<Hash>), Refusal> {
        Ok((self.name()?, Some(hash(&encoded(row)?))))
    }
}

impl Proof {
    /// Whether the row of `key` under `root` has the encoding `row`, or there is no such row.
    ///
    /// # Errors
    /// [`Refusal::Proof`] if this proof does not show it.
    pub fn shows(&self, root: &Hash, key: &Key, row: Option<&[u8]>) -> Result<(), Refusal> {
        let shown = self.value(root, &key.name()?)?;
        if shown == row.map(hash) { Ok(()) } else { Err(Refusal::Proof("the row is another one")) }
    }
}
