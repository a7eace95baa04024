//! What can go wrong, and what a peer can be caught at.

use skep_types::ModelId;
use std::ops::Range;
use std::path::PathBuf;
use thiserror::Error;

/// A part of a slice that does not hash to what the part above it says. Whoever sent it lied, or its disk did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Lie {
    /// A node is wrong.
    #[error("the node at split {0} does not match the hash above it")]
    Node(u64),
    /// A group is wrong.
    #[error("group {0} does not match the hash above it")]
    Group(u64),
}

/// Why weights cannot be kept, read or proven. Texts name the file, the size or the part at fault.
#[derive(Debug, Error)]
pub enum StoreError {
    /// A file cannot be opened, read, written or synced.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried, such as `write`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file of no bytes, or of too many.
    #[error("a file of {0} bytes cannot be shared: it has from 1 byte to 16 TiB")]
    Size(u64),
    /// The size is not that of the partial file that is there.
    #[error("the file of model {id} has {kept} bytes here, not {asked}")]
    OtherSize {
        /// The model.
        id: ModelId,
        /// Size of the partial file.
        kept: u64,
        /// Size asked for.
        asked: u64,
    },
    /// Another process works on the same partial file.
    #[error("another process is fetching model {0} into the same folder")]
    Locked(ModelId),
    /// A process computes with the model, or serves it.
    #[error("model {0} is in use")]
    InUse(ModelId),
    /// Nothing of the model is in the store.
    #[error("nothing of model {0} is in the store")]
    Absent(ModelId),
    /// The range is empty or reaches past the end.
    #[error("groups {}..{} are not groups of a file of {groups}", asked.start, asked.end)]
    Range {
        /// The groups asked for.
        asked: Range<u64>,
        /// Number of groups of the file.
        groups: u64,
    },
    /// Some of the groups asked for are not held.
    #[error("groups {}..{} are not all held", .0.start, .0.end)]
    NotHeld(Range<u64>),
    /// A part of a slice has another length than the reader said.
    #[error("a part of {found} bytes was given where {expected} were due")]
    Length {
        /// Bytes due, 0 after the end.
        expected: usize,
        /// Bytes given.
        found: usize,
    },
    /// Bytes were verified for one model and written to another's file.
    #[error("bytes of model {found} do not belong to the file of model {kept}")]
    OtherModel {
        /// The partial file's model.
        kept: ModelId,
        /// The model that the bytes were verified for.
        found: ModelId,
    },
    /// A part does not hash to what it should.
    #[error(transparent)]
    Lie(#[from] Lie),
}
