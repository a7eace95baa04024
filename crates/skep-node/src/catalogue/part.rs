//! A file on its way to this machine, whose fetching may be ended at any moment and goes on in a later process.
//!
//! In the folder of what is on its way lie, named by a hash of where the file comes from: `KEY.part`, what has come; `KEY.tag`, which version
//! of the file that is; and `KEY.pull`, what was asked for, of a pull that a node is to remember.

use super::fault::PullError;
use super::pulls::Asked;
use crate::files;
use skep_types::ModelId;
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Hears how many bytes are here and how many there will be, may take its time, and may end the work.
pub type Tell<'a> = &'a mut dyn FnMut(u64, Option<u64>) -> ControlFlow<()>;

/// Digits of a key: nobody chooses sources so that their keys collide, since they are this machine's own.
const KEY_DIGITS: usize = 32;

/// Names what comes from `source`.
pub(crate) fn key(source: &str) -> String {
    let mut key = ModelId::of(source.as_bytes()).to_string();
    key.truncate(KEY_DIGITS);
    key
}

/// What has come of a file, held by one process at a time.
pub(crate) struct Part {
    file: File,
    path: PathBuf,
    tag: PathBuf,
}

impl Part {
    /// Opens what has come from `url`, which `key` is made of.
    ///
    /// # Errors
    /// [`PullError::Twice`]; [`PullError::System`].
    pub(crate) fn open(folder: &Path, key: &str, url: &str) -> Result<Self, PullError> {
        std::fs::create_dir_all(folder)
            .map_err(|source| PullError::System { what: format!("creating {}", folder.display()), source })?;
        let (path, tag) = (folder.join(format!("{key}.part")), folder.join(format!("{key}.tag")));
        let opened = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path);
        let file = opened.map_err(|source| disk(&path, source))?;
        if file.try_lock().is_err() {
            return Err(PullError::Twice { url: url.to_owned() });
        }
        Ok(Self { file, path, tag })
    }

    /// Bytes that have come.
    pub(crate) fn len(&self) -> Result<u64, PullError> {
        Ok(self.file.metadata().map_err(|source| disk(&self.path, source))?.len())
    }

    /// The version that has come, if it is known.
    pub(crate) fn tag(&self) -> Option<String> {
        std::fs::read_to_string(&self.tag).ok()
    }

    /// Drops what has come; what comes now is the version `tag`.
    pub(crate) fn begin_anew(&mut self, tag: Option<&str>) -> Result<(), PullError> {
        let _ = std::fs::remove_file(&self.tag);
        self.file.set_len(0).map_err(|source| disk(&self.path, source))?;
        match tag {
            Some(tag) => std::fs::write(&self.tag, tag).map_err(|source| disk(&self.tag, source)),
            None => Ok(()),
        }
    }

    /// Goes to the end, and says how many bytes that is after.
    pub(crate) fn seek_end(&mut self) -> Result<u64, PullError> {
        self.file.seek(SeekFrom::End(0)).map_err(|source| disk(&self.path, source))
    }

    /// Appends a portion.
    pub(crate) fn append(&mut self, portion: &[u8]) -> Result<(), PullError> {
        self.file.write_all(portion).map_err(|source| disk(&self.path, source))
    }

    /// Refuses before hours are spent what the disk has no room for.
    pub(crate) fn check_room(&self, needed: u64) -> Result<(), PullError> {
        let folder = self.path.parent().unwrap_or(&self.path);
        match free_bytes(folder) {
            Some(free) if free < needed => Err(PullError::DiskFull { needed, free, folder: folder.to_owned() }),
            _ => Ok(()),
        }
    }

    /// All of it has come: where it is. The next file of the same name is another one.
    pub(crate) fn done(self) -> Result<PathBuf, PullError> {
        let _ = std::fs::remove_file(&self.tag);
        Ok(self.path)
    }
}

fn disk(path: &Path, source: std::io::Error) -> PullError {
    let folder = path.parent().unwrap_or(path);
    PullError::System { what: format!("writing into {}", folder.display()), source }
}

/// Bytes that are free for this user on the disk of a folder; none where the system does not say.
pub(crate) fn free_bytes(folder: &Path) -> Option<u64> {
    #[cfg(unix)]
    {
        let disk = rustix::fs::statvfs(folder).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }
    #[cfg(not(unix))]
    {
        let _ = folder;
        None
    }
}

/// Removes what has come.
pub(crate) fn discard(folder: &Path, key: &str) {
    for ending in ["part", "tag", "part.tree", "part.tree.new"] {
        let _ = std::fs::remove_file(folder.join(format!("{key}.{ending}")));
    }
}

/// Remembers what was asked for, for the next start: four lines, of which the last three may be empty.
pub(crate) fn keep(folder: &Path, asked: &Asked) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let (id, total) = (asked.id.map(|id| id.to_string()), asked.total.map(|total| total.to_string()));
    let lines = [&asked.source, &asked.name, &id.unwrap_or_default(), &total.unwrap_or_default()];
    files::replace(&folder.join(format!("{}.pull", asked.key)), lines.map(String::as_str).join("\n").as_bytes())
}

/// Forgets it.
pub(crate) fn forget(folder: &Path, key: &str) {
    let _ = std::fs::remove_file(folder.join(format!("{key}.pull")));
}

/// What earlier processes were asked for and did not end, with the bytes of the file that are here, by their keys.
pub(crate) fn kept(folder: &Path) -> Vec<(Asked, u64)> {
    let read = |entry: std::fs::DirEntry| {
        let path = entry.path();
        let key = path.file_stem()?.to_str().filter(|_| path.extension().is_some_and(|ending| ending == "pull"))?;
        let text = std::fs::read_to_string(&path).ok()?;
        let mut lines = text.split('\n').map(str::to_owned);
        let (source, name) = (lines.next()?, lines.next()?);
        let (id, total) = (lines.next()?.parse().ok(), lines.next()?.parse().ok());
        let here = std::fs::metadata(path.with_extension("part")).map_or(0, |part| part.len());
        Some((Asked { key: key.to_owned(), source, name, id, total }, here))
    };
    let mut all: Vec<_> = std::fs::read_dir(folder).into_iter().flatten().flatten().filter_map(read).collect();
    all.sort_by(|(a, _), (b, _)| a.key.cmp(&b.key));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_outlasts_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("incoming");
        assert_eq!(kept(&folder), []);
        let (source, name) = ("hf:a/b/c d.gguf".to_owned(), "c-d".to_owned());
        let one = Asked { key: key(&source), source, name, id: Some(ModelId([3; 32])), total: Some(9) };
        let two = Asked { key: "0".repeat(32), source: "x".into(), name: String::new(), id: None, total: None };
        keep(&folder, &one).unwrap();
        keep(&folder, &two).unwrap();
        std::fs::write(folder.join(format!("{}.part", one.key)), "12345").unwrap();
        std::fs::write(folder.join("torn.pull"), "no more than a line").unwrap();
        assert_eq!(kept(&folder), [(two.clone(), 0), (one.clone(), 5)]);
        discard(&folder, &one.key);
        forget(&folder, &two.key);
        assert_eq!(kept(&folder), [(one, 0)]);
    }

    #[test]
    fn two_may_not_fetch_one_file_and_a_full_disk_is_told_before() {
        let folder = tempfile::tempdir().unwrap();
        let mut part = Part::open(folder.path(), "k", "the url").unwrap();
        assert!(matches!(Part::open(folder.path(), "k", "the url"), Err(PullError::Twice { url }) if url == "the url"));
        part.begin_anew(Some("v1")).unwrap();
        part.append(b"abc").unwrap();
        assert_eq!((part.len().unwrap(), part.tag()), (3, Some("v1".into())));
        part.check_room(1).unwrap();
        if cfg!(unix) {
            assert!(matches!(part.check_room(u64::MAX), Err(PullError::DiskFull { .. })));
        }
        assert!(!part.done().unwrap().with_extension("tag").exists());
    }
}
