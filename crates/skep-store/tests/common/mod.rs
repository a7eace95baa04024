//! A model's file on disk, and slices of it.
#![allow(dead_code, reason = "each test takes what it needs")]
#![allow(clippy::unwrap_used, reason = "a helper of tests")]

use skep_store::{Decoder, Encoder, Part, Reader, Shape, Source, StoreError};
use skep_types::ModelId;
use std::ops::Range;
use std::path::PathBuf;

/// Bytes that look random and are always the same.
pub fn bytes(len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    blake3::Hasher::new().update(b"a file").finalize_xof().fill(&mut out);
    out
}

/// A file with its tree, in a folder of its own.
pub struct Served {
    pub folder: tempfile::TempDir,
    pub bytes: Vec<u8>,
    pub reader: Reader,
}

impl Served {
    pub fn new(len: usize) -> Self {
        Self::of(bytes(len))
    }

    pub fn of(bytes: Vec<u8>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), &bytes).unwrap();
        let reader = Reader::build(&folder.path().join("file"), &folder.path().join("file.tree")).unwrap();
        Self { folder, bytes, reader }
    }

    pub fn file(&self) -> PathBuf {
        self.folder.path().join("file")
    }

    pub fn id(&self) -> ModelId {
        self.reader.id()
    }

    pub fn shape(&self) -> Shape {
        self.reader.shape()
    }

    /// The slice of `groups`, part by part.
    pub fn parts(&self, groups: Range<u64>) -> Parts {
        encode(self.id(), self.shape(), groups, &self.reader).unwrap()
    }

    pub fn slice(&self, groups: Range<u64>) -> Vec<u8> {
        self.parts(groups).into_iter().flat_map(|(_, bytes)| bytes).collect()
    }
}

/// The parts of a slice with their bytes.
pub type Parts = Vec<(Part, Vec<u8>)>;

pub fn encode(id: ModelId, shape: Shape, groups: Range<u64>, source: &impl Source) -> Result<Parts, StoreError> {
    let mut encoder = Encoder::new(id, shape, groups)?;
    let mut parts = Vec::new();
    while let Some(verified) = encoder.next(source)? {
        parts.push((verified.part(), verified.bytes().to_vec()));
    }
    Ok(parts)
}

/// What a reader of `slice` takes as verified, and how it ended. Bytes that are missing end it like a broken stream.
pub fn decode(id: ModelId, shape: Shape, groups: Range<u64>, mut slice: &[u8]) -> (Parts, Result<(), StoreError>) {
    let mut decoder = match Decoder::new(id, shape, groups) {
        Ok(decoder) => decoder,
        Err(error) => return (Vec::new(), Err(error)),
    };
    let mut parts = Vec::new();
    while let Some((part, length)) = decoder.next_part() {
        let (bytes, rest) = slice.split_at(length.min(slice.len()));
        match decoder.push(bytes) {
            Ok(verified) => {
                assert_eq!((verified.part(), verified.bytes()), (part, bytes));
                parts.push((part, bytes.to_vec()));
            }
            Err(error) => return (parts, Err(error)),
        }
        slice = rest;
    }
    (parts, Ok(()))
}
