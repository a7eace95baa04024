//! Everything that can be wrong with a model, a prompt or a sampling option.

use std::path::PathBuf;
use thiserror::Error;

/// Why a model cannot be read or run, or an option cannot be honoured. Texts name the tensor, key or option at fault.
#[derive(Debug, Error)]
pub enum ModelError {
    /// The file cannot be opened, read or written.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The header, the metadata or the tensor table breaks the format.
    #[error("malformed gguf at byte {at}: {reason}")]
    Format {
        /// Offset in the file at which the fault was seen.
        at: u64,
        /// What is wrong.
        reason: String,
    },
    /// Only the front of the file was given, and what is asked for is not in it.
    #[error("byte {at} of the model is not in the {given} bytes of its front")]
    Front {
        /// Offset in the file that was asked for.
        at: u64,
        /// Bytes given.
        given: u64,
    },
    /// A tensor's entry or data is wrong.
    #[error("tensor {name}: {reason}")]
    Tensor {
        /// The tensor's name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A tensor is stored in a type that this version does not compute with.
    #[error("quantisation {kind} of tensor {name} is not supported yet")]
    Quantisation {
        /// The tensor's name.
        name: String,
        /// The type's name, such as `Q4_K`.
        kind: &'static str,
    },
    /// The model is of a family that this version does not compute.
    #[error("architecture {0} is not supported yet: this version runs {families}", families = crate::config::architectures())]
    Architecture(String),
    /// A metadata value is absent, of the wrong type or out of bounds.
    #[error("metadata {key}: {reason}")]
    Metadata {
        /// The key, such as `llama.block_count`.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// The tokenizer is of a kind that this version does not know.
    #[error("{what} {name} is not supported yet")]
    Tokenizer {
        /// `tokenizer` or `pre-tokenizer`.
        what: &'static str,
        /// The name found in the file.
        name: String,
    },
    /// The chat template does not parse, refuses the conversation or exceeds a bound.
    #[error("chat template: {0}")]
    Template(String),
    /// A sampling option is outside its range.
    #[error("option {option} is {value}, but {expected}")]
    Sampling {
        /// The option's name as the API spells it.
        option: &'static str,
        /// The value given.
        value: String,
        /// What would be accepted.
        expected: &'static str,
    },
    /// The system refuses a thread to compute with.
    #[error("cannot start a compute thread: {0}")]
    Threads(std::io::Error),
    /// The input to a computation does not fit the model or the cache.
    #[error("{0}")]
    Input(String),
    /// A computation gave an infinity or not-a-number, so its result means nothing.
    #[error("non-finite value in {0}")]
    NonFinite(String),
}

impl ModelError {
    /// A [`ModelError::Tensor`].
    pub(crate) fn tensor(name: &str, reason: impl Into<String>) -> Self {
        Self::Tensor { name: name.to_owned(), reason: reason.into() }
    }

    /// A [`ModelError::Metadata`].
    pub(crate) fn metadata(key: &str, reason: impl Into<String>) -> Self {
        Self::Metadata { key: key.to_owned(), reason: reason.into() }
    }
}
