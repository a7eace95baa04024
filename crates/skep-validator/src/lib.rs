//! A validator as a process: what the pure [engine](skep_consensus::engine) needs of the world.
//!
//! [`wire`] states what validators say to each other and to those who ask. On disk, in one folder:
//!
//! | file | what |
//! |---|---|
//! | `genesis` | how the ledger began: `borsh` of [`Genesis`](skep_consensus::Genesis), which its name is the hash of |
//! | `blocks.redb` | the final blocks and a snapshot of the state |
//! | `log` | the [write-ahead log](skep_consensus::log) of the height that is not final yet |
//!
//! One thread owns engine, log and blocks, takes in events one by one and carries out what the engine wants, in its order: what must be on
//! disk is there before anything that follows is said, and whoever handed in a transaction hears that it is final when its block is on
//! this machine's disk. Signatures of transactions are verified on other threads, each once, in batches, before the engine sees them. Every queue
//! is bounded; what validators say is dropped from the oldest on when one does not read, who hands in too much waits.

mod checks;
mod client;
mod engine;
mod error;
mod inbound;
mod keys;
mod log;
mod peers;
mod store;
mod validator;
mod waiters;
pub mod wire;

pub use client::{Asker, Client, Listener, Proved};
pub use error::ValidatorError;
pub use keys::Keyring;
pub use validator::{Config, Validator, load_genesis, save_genesis};
