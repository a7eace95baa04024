//! Files mapped into memory: weights are used where the system's page cache holds them, so a model takes its file's size once,
//! several processes on one machine share it, and memory that the owner needs is given back by dropping pages.
//!
//! Whoever may write to a mapped file can change what a computation reads, and cutting the file short ends the process with
//! a signal when the missing part is touched. A model's file therefore must not be changed in place while it is used; to
//! replace one, write a new file and rename it.

#![allow(unsafe_code, reason = "mapping a file; the module's text says what that relies on")]

use std::fs::File;
use std::io;
use std::ops::Deref;

/// The bytes of a file, read-only. The file may be closed; its bytes stay.
#[derive(Debug)]
pub struct Mapped {
    map: memmap2::Mmap,
}

impl Mapped {
    /// Maps the whole file.
    ///
    /// # Errors
    /// When the system refuses, or the file is larger than the address space.
    pub fn open(file: &File) -> io::Result<Self> {
        // SAFETY: the bytes are only read, and as plain bytes of any value; the module's text names what remains.
        let map = unsafe { memmap2::Mmap::map(file)? };
        // Weights are walked from end to end again and again: large pages spare the processor its look-ups. A system that
        // has none for files says no, which changes nothing.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        Ok(Self { map })
    }
}

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_mapped_file_is_its_bytes_also_when_closed_and_unlinked() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; 10_000]).unwrap();
        let mapped = Mapped::open(&file).unwrap();
        drop(file);
        assert_eq!(&mapped[..], &[7; 10_000]);
    }

    #[test]
    fn an_empty_file_maps_to_nothing() {
        assert!(Mapped::open(&tempfile::tempfile().unwrap()).unwrap().is_empty());
    }
}
