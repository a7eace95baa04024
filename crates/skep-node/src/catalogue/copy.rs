//! A file of this machine, copied so that it may be ended at any moment and goes on where it was.

use super::fault::PullError;
use super::part::{Part, Tell, key};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// Read and written at once.
const PORTION_BYTES: usize = 1 << 20;

/// Copies a file into `folder` and says where it is now; `tell` as of a download. One that has changed since an earlier try begins anew.
///
/// # Errors
/// [`PullError`]; what has come is kept.
pub(crate) fn copy(from: &Path, folder: &Path, tell: Tell<'_>) -> Result<PathBuf, PullError> {
    let fault = |source| PullError::System { what: format!("reading {}", from.display()), source };
    let mut file = File::open(from).map_err(fault)?;
    let (total, version) = version(&file).map_err(fault)?;
    let mut part = Part::open(folder, &key(&format!("file:{}", from.display())), &from.display().to_string())?;
    if part.tag().as_ref() != Some(&version) || part.len()? > total {
        part.begin_anew(Some(&version))?;
    }
    let mut here = part.seek_end()?;
    part.check_room(total - here)?;
    file.seek(SeekFrom::Start(here)).map_err(fault)?;
    let mut portion = vec![0; PORTION_BYTES];
    loop {
        if tell(here, Some(total)).is_break() {
            return Err(PullError::Stopped);
        }
        match file.read(&mut portion).map_err(fault)? {
            0 => break,
            n => part.append(&portion[..n])?,
        }
        here = part.len()?;
    }
    if here != total || self::version(&file).map_err(fault)?.1 != version {
        part.begin_anew(None)?;
        return Err(PullError::Changed { path: from.to_owned() });
    }
    part.done()
}

/// The size of a file, and what changes when it is written to.
fn version(file: &File) -> std::io::Result<(u64, String)> {
    let metadata = file.metadata()?;
    let changed = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok((metadata.len(), format!("{} {}", metadata.len(), changed.as_nanos())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ops::ControlFlow;

    #[test]
    fn a_copy_that_was_ended_goes_on_where_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let (from, incoming) = (folder.path().join("x.gguf"), folder.path().join("incoming"));
        let bytes: Vec<u8> = (0..3 * PORTION_BYTES + 7).map(|i| (i / 1000) as u8).collect();
        std::fs::write(&from, &bytes).unwrap();
        let mut told = Vec::new();
        let mut end_at = |most: u64| {
            let mut tell = |here: u64, total: Option<u64>| {
                assert_eq!(total, Some(bytes.len() as u64));
                told.push(here);
                if here >= most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            copy(&from, &incoming, &mut tell)
        };
        assert!(matches!(end_at(1 << 21), Err(PullError::Stopped)));
        let path = end_at(u64::MAX).unwrap();
        assert!(std::fs::read(path).unwrap() == bytes);
        assert_eq!(told, [0, 1 << 20, 2 << 20, 2 << 20, 3 << 20, (3 << 20) + 7]);
    }

    #[test]
    fn a_file_that_is_not_the_same_any_more_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (from, incoming) = (folder.path().join("x.gguf"), folder.path().join("incoming"));
        std::fs::write(&from, vec![1; 2 * PORTION_BYTES]).unwrap();
        let mut calls = 0;
        let mut second = |_: u64, _: Option<u64>| {
            calls += 1;
            if calls > 1 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        assert!(matches!(copy(&from, &incoming, &mut second), Err(PullError::Stopped)));
        std::fs::write(&from, vec![2; PORTION_BYTES + 5]).unwrap();
        let path = copy(&from, &incoming, &mut |_, _| ControlFlow::Continue(())).unwrap();
        assert!(std::fs::read(path).unwrap() == vec![2; PORTION_BYTES + 5]);
        // One that grows while it is copied is refused, and nothing of it is kept.
        let mut grow = |here: u64, _: Option<u64>| {
            if here == 0 {
                std::fs::write(&from, vec![3; PORTION_BYTES * 2]).unwrap();
            }
            ControlFlow::Continue(())
        };
        assert!(matches!(copy(&from, &incoming, &mut grow), Err(PullError::Changed { .. })));
    }
}
