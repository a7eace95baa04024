//! The GGUF model file: versions 2 and 3, little-endian.
//!
//! Layout: `GGUF`, version (u32), number of tensors (u64), number of metadata entries (u64), the entries (key, type,
//! value), the tensor table (name, dimensions with the fastest first, element type, offset), padding to
//! `general.alignment` (32 if absent), then the data of the tensors, each at an aligned offset.
//!
//! A file is untrusted input. Opening reads only the front of it; counts, lengths and offsets are checked against
//! limits and against the bytes that are there before memory is taken for them; the data of tensors may not overlap.

mod dtype;
mod metadata;
mod parse;
mod source;
mod tensor;

pub use dtype::DType;
pub use metadata::{Array, Metadata, Value};
pub use tensor::Tensor;

use crate::ModelError;
use skep_types::ModelId;
use source::Source;
use std::collections::BTreeMap;
use std::path::Path;

/// One entry of the tensor table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Name, such as `blk.0.attn_q.weight`.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Dimensions as in the file: the fastest (the row length) first.
    pub dims: Vec<u64>,
    /// Absolute offset of the data in the file.
    pub offset: u64,
    /// Bytes of data in the file.
    pub bytes: u64,
}

impl TensorInfo {
    /// `[rows, cols]` of a matrix, `[1, len]` of a vector; several matrices of one shape are one with all their rows.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] for more than three dimensions, or sizes beyond this machine's address space.
    pub fn matrix_shape(&self) -> Result<[usize; 2], ModelError> {
        let (rows, cols) = match self.dims[..] {
            [cols] => (1, cols),
            [cols, rows] => (rows, cols),
            // The matrices of several experts, one below the other.
            [cols, rows, matrices] => match rows.checked_mul(matrices) {
                Some(rows) => (rows, cols),
                None => return Err(ModelError::tensor(&self.name, "is larger than this machine can address")),
            },
            _ => return Err(ModelError::tensor(&self.name, format!("has shape {:?}, not a matrix", self.dims))),
        };
        let fits = rows.checked_mul(cols).and_then(|elements| elements.checked_mul(4)).map(usize::try_from);
        match (usize::try_from(rows), usize::try_from(cols), fits) {
            (Ok(rows), Ok(cols), Some(Ok(_))) => Ok([rows, cols]),
            _ => Err(ModelError::tensor(&self.name, "is larger than this machine can address")),
        }
    }
}

/// An open model: its metadata and tensor table in memory, its data still in the file.
#[derive(Debug)]
pub struct Gguf {
    source: Source,
    version: u32,
    metadata: Metadata,
    tensors: Vec<TensorInfo>,
    header_bytes: u64,
    by_name: BTreeMap<String, usize>,
}

impl Gguf {
    /// Opens a file and reads its header, metadata and tensor table. The file stays open.
    ///
    /// # Errors
    /// [`ModelError::Io`] when it cannot be read; [`ModelError::Format`], [`ModelError::Metadata`] or
    /// [`ModelError::Tensor`] when its front is malformed or exceeds a limit.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        Self::new(Source::open(path, false)?)
    }

    /// Opens a file that the system reads from the disk again as it is used, so that it can hold it in large pages
    /// ([`skep_map::read_again`]): worth its time before long work.
    ///
    /// # Errors
    /// As [`Gguf::open`].
    pub fn open_again(path: &Path) -> Result<Self, ModelError> {
        Self::new(Source::open(path, true)?)
    }

    /// The same for a model held in memory.
    ///
    /// # Errors
    /// As [`Gguf::open`].
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, ModelError> {
        Self::new(Source::Bytes(std::sync::Arc::new(bytes)))
    }

    /// Reads the header, metadata and tensor table of a file of which only the first bytes are here; none when they do not hold all of
    /// it, and [`Gguf::next_front`] says how many to try next. The data of tensors cannot be read from what this returns.
    ///
    /// # Errors
    /// As [`Gguf::open`]; what is wrong in the bytes given is wrong whatever follows.
    pub fn from_front(front: Vec<u8>, file_bytes: u64) -> Result<Option<Self>, ModelError> {
        match Self::new(Source::Front { bytes: front, file: file_bytes }) {
            Ok(gguf) => Ok(Some(gguf)),
            Err(ModelError::Front { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// How much of the front of a file to try after `front` bytes of it were not enough: a quarter more, at least 32 KiB, and never
    /// more than the longest header, 256 MiB. So what is fetched in vain is at most a quarter of the header, or 32 KiB, and a header of
    /// 8 MiB takes 23 steps.
    pub fn next_front(front: u64, file_bytes: u64) -> u64 {
        (front + (front / 4).max(32 << 10)).min(file_bytes).min(parse::MAX_HEADER)
    }

    fn new(source: Source) -> Result<Self, ModelError> {
        let parse::Header { version, metadata, tensors, bytes: header_bytes } = parse::parse(&source)?;
        let by_name = tensors.iter().enumerate().map(|(i, tensor)| (tensor.name.clone(), i)).collect();
        Ok(Self { source, version, metadata, tensors, header_bytes, by_name })
    }

    /// The format's version, 2 or 3.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Size of the file in bytes.
    pub fn file_bytes(&self) -> u64 {
        self.source.len()
    }

    /// Bytes of the header, the metadata and the tensor table with the padding after them.
    pub fn header_bytes(&self) -> u64 {
        self.header_bytes
    }

    /// The model's id: the BLAKE3 root of all bytes of the file.
    ///
    /// # Errors
    /// [`ModelError::Io`] when the file cannot be read.
    pub fn id(&self) -> Result<ModelId, ModelError> {
        let mut hasher = blake3::Hasher::new();
        let mut chunk = vec![0; (1 << 20).min(self.source.len() as usize)];
        let mut at = 0;
        while at < self.source.len() {
            let n = (self.source.len() - at).min(chunk.len() as u64) as usize;
            self.source.read_at(at, &mut chunk[..n])?;
            hasher.update(&chunk[..n]);
            at += n as u64;
        }
        Ok(ModelId(*hasher.finalize().as_bytes()))
    }

    /// The metadata.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The tensor table in the order of the file.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// The table's entry for `name`.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.by_name.get(name).map(|i| &self.tensors[*i])
    }

    /// The data of one tensor where the file holds it; every byte is read once, to check it.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] when it is absent, not a matrix, or holds an element that is not finite;
    /// [`ModelError::Quantisation`] for a type this version does not compute with.
    pub fn read_tensor(&self, name: &str) -> Result<Tensor, ModelError> {
        let info = self.tensor(name).ok_or_else(|| ModelError::tensor(name, "is absent from the file"))?;
        Tensor::read(&self.source, info)
    }
}
