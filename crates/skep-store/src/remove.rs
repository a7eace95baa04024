//! What leaves a store, and what keeps it there.
//!
//! A process that computes with a model holds a shared lock on the file `used` in the model's folder for as long; whoever removes the model
//! must have that lock alone. The system lets go of it when a process ends, however it ends.

use crate::partial::{self, folder};
use crate::reader::fault;
use crate::{StoreError, adopt, disk};
use skep_types::ModelId;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

/// A model that is in use for as long as this lives.
#[derive(Debug)]
pub struct InUse {
    _lock: File,
}

impl InUse {
    /// Marks the model of a store as used; none for a file that is in no store.
    ///
    /// # Errors
    /// [`StoreError::Absent`] when it is being removed; [`StoreError::Io`].
    pub fn mark(model: &Path) -> Result<Option<Self>, StoreError> {
        let Some(home) = model.parent().filter(|_| model.ends_with("model.gguf")) else { return Ok(None) };
        let id = home.file_name().and_then(|name| name.to_str()?.parse::<ModelId>().ok());
        let (Some(id), true) = (id, home.join("journal").exists()) else { return Ok(None) };
        let (file, path) = used(home)?;
        match file.try_lock_shared() {
            Ok(()) => Ok(Some(Self { _lock: file })),
            Err(TryLockError::WouldBlock) => Err(StoreError::Absent(id)),
            Err(TryLockError::Error(source)) => Err(fault("lock", &path)(source)),
        }
    }
}

fn used(home: &Path) -> Result<(File, std::path::PathBuf), StoreError> {
    let path = home.join("used");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(fault("open", &path))?;
    Ok((file, path))
}

/// Removes what `store` holds of a model, and returns how many bytes of its file that was.
///
/// # Errors
/// [`StoreError::Absent`]; [`StoreError::InUse`]; [`StoreError::Locked`] while it is being fetched; [`StoreError::Io`].
pub fn remove(store: &Path, id: ModelId) -> Result<u64, StoreError> {
    let stored = adopt::stored(store, id)?.ok_or(StoreError::Absent(id))?;
    let home = folder(store, id);
    let _fetching = partial::lock(&home, id)?;
    let (file, path) = used(&home)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(StoreError::InUse(id)),
        Err(TryLockError::Error(source)) => return Err(fault("lock", &path)(source)),
    }
    // Without its journal nothing that lies there counts, wherever this is cut off.
    let journal = home.join("journal");
    std::fs::remove_file(&journal).map_err(fault("remove", &journal))?;
    disk::sync_folder(&home).map_err(fault("sync", &home))?;
    std::fs::remove_dir_all(&home).map_err(fault("remove", &home))?;
    disk::sync_folder(store).map_err(fault("sync", store))?;
    Ok(stored.bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Partial, Shape};

    fn store() -> (tempfile::TempDir, std::path::PathBuf, ModelId) {
        let folder = tempfile::tempdir().unwrap();
        let (file, store) = (folder.path().join("download"), folder.path().join("store"));
        std::fs::write(&file, vec![7; 40_000]).unwrap();
        let id = adopt::adopt(&store, &file, None).unwrap().id();
        (folder, store, id)
    }

    #[test]
    fn what_nobody_uses_is_removed_without_a_trace() {
        let (_folder, store, id) = store();
        assert_eq!(remove(&store, id).unwrap(), 40_000);
        assert_eq!(std::fs::read_dir(&store).unwrap().count(), 0);
        assert!(matches!(remove(&store, id), Err(StoreError::Absent(found)) if found == id));
    }

    #[test]
    fn what_is_used_or_fetched_stays() {
        let (_folder, store, id) = store();
        let path = folder(&store, id).join("model.gguf");
        let [one, two] = [InUse::mark(&path).unwrap().unwrap(), InUse::mark(&path).unwrap().unwrap()];
        drop(one);
        assert!(matches!(remove(&store, id), Err(StoreError::InUse(found)) if found == id));
        drop(two);
        let fetching = Partial::open(&store, id, Shape::new(40_000).unwrap()).unwrap();
        assert!(matches!(remove(&store, id), Err(StoreError::Locked(found)) if found == id));
        drop(fetching);
        assert_eq!(adopt::stored(&store, id).unwrap().unwrap().bytes(), 40_000);
        remove(&store, id).unwrap();
    }

    #[test]
    fn a_file_of_ones_own_is_marked_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("model.gguf");
        std::fs::write(&file, "x").unwrap();
        assert!(InUse::mark(&file).unwrap().is_none());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
