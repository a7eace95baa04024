//! Agreeing on blocks: one engine for 1 to 100 validators, pure, and a light client that trusts none of them.
//!
//! Tendermint's algorithm, by the core of Malachite, behind an [`Engine`] without I/O: a lone validator is the same code among one.
//! A block is final when more than two thirds of the power have precommitted it; with less than a third of it in the wrong hands no two
//! machines ever take different blocks of one height for final.
//!
//! Each module states its norm: [`genesis`] how a ledger begins and what its name is, [`block`] what a block is and when it is valid,
//! [`vote`] what validators sign, [`certificate`] what proves, [`validators`] who agrees and whose turn it is, [`message`] what machines say to
//! each other, [`log`] what they keep through a crash, [`snapshot`] what makes a start short, [`mempool`] what waits, [`evidence`] what convicts, [`engine`] how it all moves, [`light`] what needs no node to be trusted.
//!
//! Signatures are ed25519 by the one rule of the house, ZIP-215; the arithmetic is handed in as
//! [`Keys`](skep_types::signed::Keys).

pub mod block;
pub mod certificate;
pub mod chain;
mod core;
mod effect;
pub mod engine;
pub mod evidence;
pub mod genesis;
mod hands;
pub mod light;
pub mod log;
pub mod mempool;
pub mod message;
pub mod snapshot;
mod sync;
pub mod validators;
pub mod vote;

pub use block::{Block, BlockError, BlockId, Decided, Header};
pub use certificate::{Certificate, CertificateError};
pub use chain::{Chain, Head};
pub use effect::{Committed, Effect, EngineError, Input, Now, Pace};
pub use engine::Engine;
pub use evidence::Evidence;
pub use genesis::Genesis;
pub use mempool::{Mempool, PoolRefusal};
pub use message::{Message, MessageError};
pub use snapshot::Snapshot;
pub use validators::{Validator, Validators};
