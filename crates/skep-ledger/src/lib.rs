//! The ledger: whose money is where, and by which laws it moves. Pure and integer-only.
//!
//! [`State`] changes in three ways, each all-or-nothing: [`State::begin_block`] lets time go on, [`State::apply`] carries out a signed
//! transaction, [`State::rule`] what every validator has recomputed. Given the same inputs in the same order, every machine has the same
//! state. Whatever is refused is refused with a [`Refusal`] that says why, and leaves the state as it was.
//!
//! Verifying a signature costs many times what applying a transfer does. [`Keys`](skep_types::signed::Keys) is whose arithmetic is used: a
//! node that verifies ahead, in batches or on other cores, hands in keys that remember.
//!
//! # Laws that hold for all of it
//! - *Conservation.* Balances, escrow and bonds add up to the supply, which is what was issued less what was burned. [`State::audit`]
//!   counts.
//! - *Rounding* favours whoever pays; what is left over stays with the payer or is never issued.
//! - *Nothing self-reported is paid for*: a payment needs the payer's signature, a subsidy verified work, a slash a verdict.
//! - *Time* is that of the last block, Unix seconds. Blocks are made on demand, so heights measure nothing.
//!
//! Each module states its law: [`account`] transfers and fees, [`emission`] new money, [`standing`] what work is worth beside money, [`ask`] what providers ask for, [`tab`] and [`voucher`]
//! how they are paid, [`meter`] how both sides of a tab keep their risk to one window, [`bond`] what a cheat loses, [`order`] reservations, [`round`] batch
//! capacity, [`auction`] and [`stream`] their arithmetic, [`due`] what happens by itself, [`validator`] who agrees on blocks, [`tree`] the state root and its proofs, [`tx`] the bytes.

pub mod account;
mod amount;
pub mod ask;
pub mod auction;
pub mod bond;
pub mod due;
pub mod emission;
mod event;
mod id;
pub mod meter;
pub mod order;
mod params;
mod refusal;
pub mod round;
mod rows;
pub mod standing;
mod state;
pub mod stream;
pub mod tab;
mod table;
pub mod tree;
pub mod tx;
pub mod validator;
pub mod voucher;

pub use account::Account;
pub use amount::{Amount, PRICE_UNITS, Price, Units};
pub use ask::Ask;
pub use bond::{Bond, Fraud, Until, exposure_limit};
pub use emission::SUPPLY_MAX;
pub use event::Event;
pub use id::{ChainId, TxId};
pub use order::{Bid, Lease, Machine, Order, Wanted};
pub use params::Params;
pub use refusal::Refusal;
pub use round::{Round, Sale, Sealed, Side};
pub use rows::Key;
pub use standing::Standing;
pub use state::{Audit, Ruling, State, Totals};
pub use tab::{Hire, Leg, Tab};
pub use tree::{Hash, Proof, Tree};
pub use tx::{Action, Tx};
pub use validator::{Endorsement, POWER_MAX, VALIDATORS_MAX};
pub use voucher::{SignedVoucher, Voucher};
