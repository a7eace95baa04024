//! Where the bytes come from: a mapped file, memory, or the front of a file whose rest is elsewhere. Nothing here moves a shared cursor, so many readers may read tensors
//! of one open model at once.

use crate::ModelError;
use skep_map::Mapped;
use std::fs::File;
use std::ops::{Deref, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The bytes of a model.
#[derive(Debug)]
pub(super) enum Source {
    File {
        file: File,
        path: PathBuf,
        map: Arc<Mapped>,
    },
    Bytes(Arc<Vec<u8>>),
    /// The first bytes of a file that has `file` bytes.
    Front {
        bytes: Vec<u8>,
        file: u64,
    },
}

/// A part of a source, which stays as long as any part of it does.
#[derive(Clone)]
pub(super) struct Bytes {
    whole: Whole,
    range: Range<usize>,
}

#[derive(Clone)]
enum Whole {
    Mapped(Arc<Mapped>),
    Memory(Arc<Vec<u8>>),
}

impl Bytes {
    /// The bytes `range` of these.
    pub(super) fn part(&self, range: Range<usize>) -> Self {
        Self { whole: self.whole.clone(), range: self.range.start + range.start..self.range.start + range.end }
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let whole: &[u8] = match &self.whole {
            Whole::Mapped(map) => map,
            Whole::Memory(bytes) => bytes,
        };
        whole.get(self.range.clone()).unwrap_or(&[])
    }
}

impl PartialEq for Bytes {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self { range: 0..bytes.len(), whole: Whole::Memory(Arc::new(bytes)) }
    }
}

impl Source {
    /// Opens a file, and has it `read_again` if asked.
    pub(super) fn open(path: &Path, read_again: bool) -> Result<Self, ModelError> {
        let io = |source| ModelError::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(io)?;
        if !file.metadata().map_err(io)?.is_file() {
            return Err(io(std::io::Error::new(std::io::ErrorKind::InvalidInput, "not a regular file")));
        }
        if read_again {
            skep_map::read_again(&file).map_err(io)?;
        }
        let map = Arc::new(Mapped::open(&file).map_err(io)?);
        Ok(Self::File { file, path: path.to_owned(), map })
    }

    /// The bytes `offset..offset + len`, without copying them.
    pub(super) fn bytes(&self, offset: u64, len: u64) -> Result<Bytes, ModelError> {
        let start = usize::try_from(offset).ok();
        let end = offset.checked_add(len).filter(|end| *end <= self.len()).and_then(|end| usize::try_from(end).ok());
        let (Some(start), Some(end)) = (start, end) else {
            return Err(ModelError::Format { at: offset, reason: "the file ends early".into() });
        };
        let whole = match self {
            Self::File { map, .. } => Whole::Mapped(map.clone()),
            Self::Bytes(bytes) => Whole::Memory(bytes.clone()),
            Self::Front { bytes, .. } => return Err(ModelError::Front { at: offset, given: bytes.len() as u64 }),
        };
        Ok(Bytes { whole, range: start..end })
    }

    pub(super) fn len(&self) -> u64 {
        match self {
            Self::File { map, .. } => map.len() as u64,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Front { file, .. } => *file,
        }
    }

    /// How many of the bytes from `offset` on can be read.
    pub(super) fn readable(&self, offset: u64) -> Result<u64, ModelError> {
        let given = match self {
            Self::Front { bytes, .. } => bytes.len() as u64,
            _ => return Ok(self.len().saturating_sub(offset)),
        };
        match given.saturating_sub(offset) {
            0 => Err(ModelError::Front { at: offset, given }),
            n => Ok(n),
        }
    }

    /// Fills `buffer` from the bytes at `offset`; the caller has checked the range against [`Source::len`].
    pub(super) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), ModelError> {
        match self {
            Self::File { file, path, .. } => {
                read_exact_at(file, buffer, offset).map_err(|source| ModelError::Io { path: path.clone(), source })
            }
            Self::Bytes(bytes) => copy_at(bytes, buffer, offset),
            Self::Front { bytes, .. } => copy_at(bytes, buffer, offset),
        }
    }
}

fn copy_at(bytes: &[u8], buffer: &mut [u8], offset: u64) -> Result<(), ModelError> {
    let range = usize::try_from(offset).ok().and_then(|start| Some(start..start.checked_add(buffer.len())?));
    let part = range.and_then(|range| bytes.get(range));
    let end = || ModelError::Format { at: offset, reason: "the file ends early".into() };
    buffer.copy_from_slice(part.ok_or_else(end)?);
    Ok(())
}

#[cfg(unix)]
fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut buffer: &mut [u8], mut offset: u64) -> std::io::Result<()> {
    while !buffer.is_empty() {
        let n = std::os::windows::fs::FileExt::seek_read(file, buffer, offset)?;
        if n == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        buffer = &mut buffer[n..];
        offset += n as u64;
    }
    Ok(())
}
