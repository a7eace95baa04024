//! Whole files in a store, and what a store holds.

use crate::partial::{self, folder};
use crate::reader::{Named, fault};
use crate::{RangeSet, Reader, Shape, StoreError, disk, journal};
use skep_types::ModelId;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Moves a whole file into `store`, as if all of it had been fetched. The file must be on the same file system and is not there any more
/// afterwards. It is read once, to hash it; `expected` says what its id must be, if that is known, and another file is left alone.
///
/// # Errors
/// [`StoreError::OtherModel`] for another file than expected; [`StoreError::Locked`]; [`StoreError::Io`]; [`StoreError::Size`].
pub fn adopt(store: &Path, file: &Path, expected: Option<ModelId>) -> Result<Reader, StoreError> {
    std::fs::create_dir_all(store).map_err(fault("create", store))?;
    let beside = |ending: &str| {
        let mut path = file.as_os_str().to_owned();
        path.push(ending);
        PathBuf::from(path)
    };
    let tree = beside(".tree");
    let placed = Reader::build(file, &tree).and_then(|whole| {
        let id = whole.id();
        match expected {
            Some(expected) if expected != id => Err(StoreError::OtherModel { kept: expected, found: id }),
            _ => place(store, file, &tree, &whole),
        }
    });
    if placed.is_err() {
        let _ = std::fs::remove_file(&tree);
        let _ = std::fs::remove_file(beside(".tree.new"));
    }
    placed
}

fn place(store: &Path, file: &Path, tree: &Path, whole: &Reader) -> Result<Reader, StoreError> {
    let (id, shape) = (whole.id(), whole.shape());
    let home = folder(store, id);
    std::fs::create_dir_all(&home).map_err(fault("create", &home))?;
    let _lock = partial::lock(&home, id)?;
    let source = Named { file: File::open(file).map_err(fault("open", file))?, path: file.to_owned() };
    source.sync()?;
    let (model, nodes) = (home.join("model.gguf"), home.join("tree"));
    std::fs::rename(tree, &nodes).map_err(fault("rename", tree))?;
    std::fs::rename(file, &model).map_err(fault("rename", file))?;
    disk::sync_folder(&home).map_err(fault("sync", &home))?;
    let held = std::iter::once(0..shape.groups()).collect();
    let (_, journal) = journal::fresh(id, shape, &held);
    // Only now does anything count.
    partial::replace(&home, &journal)?;
    disk::sync_folder(store).map_err(fault("sync", store))?;
    Reader::open(id, &model, &nodes)
}

/// A model of which a store holds some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The model.
    pub id: ModelId,
    /// The size of its whole file.
    pub shape: Shape,
    /// The groups that are there; what a process that was killed wrote last is counted too.
    pub held: RangeSet,
    /// Its file, with holes where nothing was fetched.
    pub path: PathBuf,
}

impl Stored {
    /// Whether all of the file is there.
    pub fn is_whole(&self) -> bool {
        self.held.covers(0..self.shape.groups())
    }

    /// Bytes that are there.
    pub fn bytes(&self) -> u64 {
        self.held.iter().map(|run| self.shape.bytes_of(run)).map(|bytes| bytes.end - bytes.start).sum()
    }

    /// Serves a whole file. Nothing is hashed, see [`Reader::open`].
    ///
    /// # Errors
    /// [`StoreError::NotHeld`] when the file is not whole; [`StoreError::Io`].
    pub fn reader(&self) -> Result<Reader, StoreError> {
        if !self.is_whole() {
            return Err(StoreError::NotHeld(0..self.shape.groups()));
        }
        Reader::open(self.id, &self.path, &self.path.with_file_name("tree"))
    }
}

/// What a store holds of a model, without disturbing a process that works there.
///
/// # Errors
/// [`StoreError::Io`].
pub fn stored(store: &Path, id: ModelId) -> Result<Option<Stored>, StoreError> {
    let home = folder(store, id);
    let kept = partial::read_journal(&home)?.filter(|kept| kept.id == id);
    Ok(kept.map(|kept| Stored {
        id,
        shape: kept.shape,
        held: kept.durable.iter().chain(kept.doubtful.iter()).collect(),
        path: home.join("model.gguf"),
    }))
}

/// All models of which a store holds some, by id; none if there is no such folder.
///
/// # Errors
/// [`StoreError::Io`].
pub fn list(store: &Path) -> Result<Vec<Stored>, StoreError> {
    let entries = match std::fs::read_dir(store) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(fault("read", store)(error)),
    };
    let mut all = Vec::new();
    for entry in entries {
        let entry = entry.map_err(fault("read", store))?;
        // Other files may lie here, too.
        let Some(Ok(id)) = entry.file_name().to_str().map(str::parse) else { continue };
        all.extend(stored(store, id)?);
    }
    all.sort_by_key(|stored| stored.id);
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{GROUP_BYTES, Partial, Source};

    fn file(folder: &Path, fill: u8) -> (PathBuf, Vec<u8>) {
        let (path, bytes) = (folder.join("download"), vec![fill; 3 * GROUP_BYTES as usize + 5]);
        std::fs::write(&path, &bytes).unwrap();
        (path, bytes)
    }

    #[test]
    fn an_adopted_file_is_whole_and_in_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store");
        let (path, bytes) = file(folder.path(), 7);
        let reader = adopt(&store, &path, Some(ModelId::of(&bytes))).unwrap();
        assert!(reader.holds(0..4) && !path.exists());
        let stored = stored(&store, reader.id()).unwrap().unwrap();
        assert!(stored.is_whole() && stored.bytes() == bytes.len() as u64);
        assert_eq!(std::fs::read(&stored.path).unwrap(), bytes);
        assert_eq!(list(&store).unwrap().first(), Some(&stored));
        assert_eq!(stored.reader().unwrap().id(), ModelId::of(&bytes));
        // It is also a partial file of which nothing is missing.
        assert_eq!(Partial::resume(&store, reader.id()).unwrap().unwrap().held().count(), 4);
        // Once more, over what is there.
        let (path, _) = file(folder.path(), 7);
        adopt(&store, &path, None).unwrap();
        assert_eq!(list(&store).unwrap().len(), 1);
    }

    #[test]
    fn another_file_than_expected_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store");
        let (path, bytes) = file(folder.path(), 7);
        let expected = ModelId([1; 32]);
        match adopt(&store, &path, Some(expected)) {
            Err(StoreError::OtherModel { kept, found }) => assert_eq!((kept, found), (expected, ModelId::of(&bytes))),
            other => panic!("{other:?}"),
        }
        assert!(path.exists());
        assert_eq!(std::fs::read_dir(&store).unwrap().count(), 0);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left behind");
        assert_eq!(list(&folder.path().join("none")).unwrap(), []);
    }
}
