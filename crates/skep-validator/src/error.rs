//! What can go wrong with a validator.

use skep_consensus::light::LightError;
use skep_consensus::{BlockError, EngineError};
use skep_ledger::Refusal;
use skep_net::NetError;
use std::path::PathBuf;
use thiserror::Error;

/// Why a validator does not start, or stops.
#[derive(Debug, Error)]
pub enum ValidatorError {
    /// A file cannot be read or written.
    #[error("cannot use {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The blocks on disk cannot be read or written.
    #[error("cannot use the blocks in {}: {reason}", path.display())]
    Store {
        /// The file.
        path: PathBuf,
        /// What the store says.
        reason: String,
    },
    /// The folder holds another ledger.
    #[error("{} holds another ledger", path.display())]
    OtherLedger {
        /// The folder.
        path: PathBuf,
    },
    /// Bytes are not how a ledger begins.
    #[error("{} is not how a ledger begins: {reason}", path.display())]
    Genesis {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A ledger may not begin so, or its state cannot be read.
    #[error(transparent)]
    Ledger(#[from] Refusal),
    /// What is kept does not lead to what it says.
    #[error("the blocks here do not follow from each other: {0}")]
    Blocks(#[from] BlockError),
    /// The engine cannot go on.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The network cannot be used, or whoever was asked does not answer.
    #[error(transparent)]
    Net(#[from] NetError),
    /// A validator answers something that is no answer.
    #[error("the validator's answer is not one: {0}")]
    Answer(String),
    /// What a validator answers is not proved.
    #[error(transparent)]
    Light(#[from] LightError),
    /// A thread cannot be started, or ended by itself.
    #[error("a worker thread is missing: {0}")]
    Thread(String),
}
