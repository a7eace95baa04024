//! A model's id.

use crate::ModelError;
use skep_types::ModelId;
use std::path::Path;

/// The id of a model file: the BLAKE3 root of its bytes, computed without holding the file in memory.
///
/// # Errors
/// [`ModelError::Io`] when the file cannot be read.
pub fn model_id(path: &Path) -> Result<ModelId, ModelError> {
    let io = |source| ModelError::Io { path: path.to_owned(), source };
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(std::fs::File::open(path).map_err(io)?).map_err(io)?;
    Ok(ModelId(*hasher.finalize().as_bytes()))
}
