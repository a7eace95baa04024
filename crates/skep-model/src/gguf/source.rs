//! Where the bytes come from: a file read at offsets, or memory. Nothing here moves a shared cursor, so many readers may
//! read tensors of one open model at once.

use crate::ModelError;
use std::fs::File;
use std::path::{Path, PathBuf};

/// The bytes of a model.
#[derive(Debug)]
pub(super) enum Source {
    File { file: File, path: PathBuf, len: u64 },
    Bytes(Vec<u8>),
}

impl Source {
    pub(super) fn open(path: &Path) -> Result<Self, ModelError> {
        let io = |source| ModelError::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(io)?;
        let metadata = file.metadata().map_err(io)?;
        if !metadata.is_file() {
            return Err(io(std::io::Error::new(std::io::ErrorKind::InvalidInput, "not a regular file")));
        }
        Ok(Self::File { file, path: path.to_owned(), len: metadata.len() })
    }

    pub(super) fn len(&self) -> u64 {
        match self {
            Self::File { len, .. } => *len,
            Self::Bytes(bytes) => bytes.len() as u64,
        }
    }

    /// Fills `buffer` from the bytes at `offset`; the caller has checked the range against [`Source::len`].
    pub(super) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), ModelError> {
        match self {
            Self::File { file, path, .. } => {
                read_exact_at(file, buffer, offset).map_err(|source| ModelError::Io { path: path.clone(), source })
            }
            Self::Bytes(bytes) => {
                let range =
                    usize::try_from(offset).ok().and_then(|start| Some(start..start.checked_add(buffer.len())?));
                let part = range.and_then(|range| bytes.get(range));
                let end = || ModelError::Format { at: offset, reason: "the file ends early".into() };
                buffer.copy_from_slice(part.ok_or_else(end)?);
                Ok(())
            }
        }
    }
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
