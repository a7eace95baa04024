//! Why a model cannot be brought to this machine, and what would help.

use skep_model::ModelError;
use skep_store::StoreError;
use skep_types::ModelId;
use std::path::PathBuf;
use thiserror::Error;

/// Why a model cannot be brought to this machine.
#[derive(Debug, Error)]
pub enum PullError {
    /// A text is not an address that is fetched from.
    #[error("{text} is not fetched: {reason}")]
    Url {
        /// The text.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A server refused.
    #[error("{url} answers {status}")]
    Http {
        /// The address.
        url: String,
        /// The status with its words.
        status: String,
        /// The status.
        code: u16,
    },
    /// A server cannot be reached, or breaks off.
    #[error("{url} cannot be fetched: {reason}")]
    Download {
        /// The address.
        url: String,
        /// What happened.
        reason: String,
    },
    /// Something else fetches the same file into the same folder.
    #[error("another `skep` is fetching {url}")]
    Twice {
        /// The address.
        url: String,
    },
    /// What came is another model.
    #[error("this is model {found}, not {expected}")]
    OtherFile {
        /// The model that was asked for.
        expected: ModelId,
        /// The one that came.
        found: ModelId,
    },
    /// What came is no model that this version can run.
    #[error("{}", model_text(path, source))]
    Model {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ModelError,
    },
    /// The disk is too small.
    #[error("{needed} bytes are still to come, and {free} are free on the disk of {}", folder.display())]
    DiskFull {
        /// Bytes that are missing.
        needed: u64,
        /// Bytes that are free.
        free: u64,
        /// The folder.
        folder: PathBuf,
    },
    /// The owner's limit is too small.
    #[error("{needed} bytes are still to come, and {left} are left of what the weights of models may take of the disk")]
    DiskCap {
        /// Bytes that are missing.
        needed: u64,
        /// Bytes that are left.
        left: u64,
    },
    /// A file of this machine was changed while it was being copied.
    #[error("{} was changed while it was being copied", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The system refused something.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It was told to stop; what has come is kept.
    #[error("it was stopped; what has come is kept")]
    Stopped,
}

impl PullError {
    /// What to do about it, as the end of a sentence that begins with "hint:".
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Url { .. } => {
                "`skep pull` takes hf:OWNER/REPOSITORY/FILE.gguf, an https address, a file or a link; with --id also http"
            }
            Self::Http { code: 401 | 403, .. } => {
                "the file may want an account: accept its terms on the hub, and set HF_TOKEN to a token of yours"
            }
            Self::Http { .. } => "check owner, repository, revision and file name in the address",
            Self::Download { .. } | Self::Stopped => {
                "what has come is kept: asked again, it goes on where this one ended"
            }
            Self::Twice { .. } => "wait for it, or end it",
            Self::OtherFile { .. } => "check the address and the id; nothing was kept",
            Self::Model { source: ModelError::Io { source, .. }, .. }
            | Self::System { source, .. }
            | Self::Store(StoreError::Io { source, .. }) => system_hint(source),
            Self::Model { .. } => {
                "`skep model inspect FILE` shows what a file holds; Skep runs GGUF files in F32, F16, BF16, Q8_0, Q6_K, Q5_K, Q4_K and Q4_0"
            }
            Self::DiskFull { .. } => "free some space, or choose another folder with SKEP_HOME",
            Self::DiskCap { .. } => "raise share.disk or lower share.disk_free_min, or remove a model",
            Self::Changed { .. } => "ask again when it is at rest",
            Self::Store(StoreError::InUse(_)) => "end the `skep up` that serves it first",
            Self::Store(StoreError::Absent(_)) => "`skep model list` shows what is here",
            Self::Store(StoreError::Locked(_)) => {
                "end the other `skep up` or `skep pull` of this user, or give this one another folder with SKEP_HOME"
            }
            Self::Store(_) => "SKEP_LOG=info shows more",
        }
    }
}

/// What helps against a refusal of the system.
pub fn system_hint(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::NotFound => "check the path",
        std::io::ErrorKind::PermissionDenied => "check the permissions, or choose another folder with SKEP_HOME",
        std::io::ErrorKind::StorageFull => "free some space, or choose another folder with SKEP_HOME",
        _ => "SKEP_LOG=info shows more",
    }
}

/// Names the file once; an error of the file system names it already.
fn model_text(path: &std::path::Path, source: &ModelError) -> String {
    match source {
        ModelError::Io { .. } => source.to_string(),
        _ => format!("{}: {source}", path.display()),
    }
}
