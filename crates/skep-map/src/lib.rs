//! Files mapped into memory: weights are used where the system's page cache holds them, so a model takes its file's size once,
//! several processes on one machine share it, and memory that the owner needs is given back by dropping pages.
//!
//! Whoever may write to a mapped file can change what a computation reads, and cutting the file short ends the process with
//! a signal when the missing part is touched. A model's file therefore must not be changed in place while it is used; to
//! replace one, write a new file and rename it.
//!
//! # Large pages
//! Weights are walked from end to end for every token. With pages of 4 KiB the processor looks up an address every 4 KiB, and
//! decoding reads a tenth to a quarter fewer bytes a second than with pages of 2 MiB. Linux keeps a file in large pages where
//! its file system can (ext4, XFS, Btrfs of recent kernels) and where the file comes into memory through a mapping that asked
//! for them, as ours do. What was in memory before, because it was just written or copied, stays in small ones:
//! [`read_again`] has it read anew.

#![allow(unsafe_code, reason = "mapping a file; the module's text says what that relies on")]

use std::fs::File;
use std::io;
use std::ops::{Deref, DerefMut};

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

/// Lets the system forget what it holds of `file` in memory, so that the next [`Mapped`] brings it in again, in large pages where
/// the system has them. Parts that another process has mapped stay as they are. The file's bytes do not change.
///
/// # Errors
/// When what was written to the file cannot be brought to the disk first.
pub fn read_again(file: &File) -> io::Result<()> {
    file.sync_data()?;
    // A system that keeps the file costs time only.
    #[cfg(target_os = "linux")]
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
    Ok(())
}

/// Zeroed memory of `bytes` bytes in large pages where the system has them.
///
/// # Errors
/// When the system refuses.
pub fn memory(bytes: usize) -> io::Result<impl DerefMut<Target = [u8]>> {
    let map = memmap2::MmapMut::map_anon(bytes)?;
    #[cfg(target_os = "linux")]
    let _ = map.advise(memmap2::Advice::HugePage);
    Ok(map)
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
    fn a_file_that_is_read_again_has_the_same_bytes() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[9; 5 << 20]).unwrap();
        let before = Mapped::open(&file).unwrap();
        read_again(&file).unwrap();
        let after = Mapped::open(&file).unwrap();
        assert!(before[..] == after[..] && after.iter().all(|byte| *byte == 9));
    }

    #[test]
    fn memory_begins_with_zeros_and_keeps_what_is_written() {
        let mut memory = memory(3 << 20).unwrap();
        assert!(memory.iter().all(|byte| *byte == 0));
        memory[1 << 20] = 7;
        assert_eq!((memory.len(), memory[1 << 20]), (3 << 20, 7));
    }

    #[test]
    fn an_empty_file_maps_to_nothing() {
        assert!(Mapped::open(&tempfile::tempfile().unwrap()).unwrap().is_empty());
    }
}
