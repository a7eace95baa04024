//! The file of the engine's [write-ahead log](skep_consensus::log): bytes that are appended, synced and cut.
//!
//! It is a file of its own beside the blocks: a record of a vote is a hundred bytes, which a transaction of the store would make several pages
//! of, and the log's format says by itself where it is torn.

use crate::ValidatorError;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

pub(crate) struct LogFile {
    file: File,
    path: PathBuf,
}

impl LogFile {
    /// Opens or makes it, and reads what it holds.
    pub fn open(path: &Path) -> Result<(Self, Vec<u8>), ValidatorError> {
        let fault = |source| ValidatorError::File { path: path.to_owned(), source };
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(fault)?;
        let mut log = Self { file, path: path.to_owned() };
        let mut bytes = Vec::new();
        log.file.read_to_end(&mut bytes).map_err(fault)?;
        Ok((log, bytes))
    }

    pub fn cut(&mut self, bytes: usize) -> Result<(), ValidatorError> {
        self.file.set_len(bytes as u64).map_err(|source| self.fault(source))
    }

    pub fn append(&mut self, frame: &[u8]) -> Result<(), ValidatorError> {
        let done = self.file.seek(SeekFrom::End(0)).and_then(|_| self.file.write_all(frame));
        done.map_err(|source| self.fault(source))
    }

    pub fn sync(&mut self) -> Result<(), ValidatorError> {
        self.file.sync_data().map_err(|source| self.fault(source))
    }

    fn fault(&self, source: std::io::Error) -> ValidatorError {
        ValidatorError::File { path: self.path.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_appended_is_read_again_up_to_the_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let (mut log, nothing) = LogFile::open(&path).unwrap();
        assert!(nothing.is_empty());
        log.append(b"one").unwrap();
        log.append(b"two").unwrap();
        log.sync().unwrap();
        log.cut(4).unwrap();
        log.append(b"!").unwrap();
        assert_eq!(LogFile::open(&path).unwrap().1, b"onet!");
    }
}
