//! A file of which only some groups are here, on a disk that may stop at any moment.
//!
//! In a folder named by the model's id: `model.gguf`, as long as the whole file, with holes where nothing was fetched; `tree`, the
//! nodes that were verified, as in [`reader`](crate::reader); `journal`, which groups are held; `lock`.
//!
//! **Order of writes.** A node is written before what stands below it, and a group before the journal's record of it. From time to
//! time both files are synced, and then the journal says so. So when a folder is opened again:
//! - groups in records up to the last such mark are on the disk, and are taken as verified;
//! - groups in later records may or may not have reached the disk: each is verified again, from the id down;
//! - a group that is in no record is fetched again.
//!
//! A record stands for up to 64 groups, and at most 1/256 of the file or one group. A sync comes for each 1/64 of it, from 256 KiB up to
//! 16 MiB. A killed process thus loses at most 1/256 of the file, or a group, and what was on its way; a failing machine loses what came
//! since the last sync, too. What the file system returns later for bytes that were once synced is checked whenever they are served, and
//! not otherwise.

use crate::journal::{self, Record, Writer};
use crate::reader::{Named, Reader, fault, node_offset};
use crate::slices::{Part, Verified};
use crate::{Encoder, GROUP_BYTES, RangeSet, Shape, StoreError, disk};
use skep_types::ModelId;
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The most groups that wait for a record: 1 MiB.
const MAX_PENDING: u64 = 64;
/// The groups that wait for a sync at least: 256 KiB. A sync may take as long as fetching them.
const MIN_UNSYNCED: u64 = 16;
/// The most groups that wait for a sync: 16 MiB.
const MAX_UNSYNCED: u64 = 1024;

/// An open partial file. One process at a time may have it.
#[derive(Debug)]
pub struct Partial {
    id: ModelId,
    shape: Shape,
    model: Arc<Named>,
    tree: Arc<Named>,
    journal: Named,
    writer: Writer,
    /// Verified and written.
    held: RangeSet,
    /// Held, but not in the journal yet.
    pending: RangeSet,
    /// Groups in the journal that are not marked as durable.
    unsynced: u64,
    /// Held by this process for as long as it works here.
    _lock: File,
}

/// The folder of model `id` in `store`.
pub fn folder(store: &Path, id: ModelId) -> PathBuf {
    store.join(id.to_string())
}

impl Partial {
    /// Opens the partial file of model `id` in `store`, or begins one. `shape` must have been proven, see the crate's text.
    ///
    /// # Errors
    /// [`StoreError::Locked`]; [`StoreError::OtherSize`]; [`StoreError::Io`].
    pub fn open(store: &Path, id: ModelId, shape: Shape) -> Result<Self, StoreError> {
        let folder = folder(store, id);
        std::fs::create_dir_all(&folder).map_err(fault("create", &folder))?;
        let lock = lock(&folder, id)?;
        let kept = match read_journal(&folder)? {
            Some(kept) => kept,
            // Without a sound journal nothing that may lie here counts.
            None => journal::Kept { id, shape, durable: RangeSet::new(), doubtful: RangeSet::new() },
        };
        journal::same(&kept, id, shape)?;
        let model = open_sized(folder.join("model.gguf"), shape.bytes())?;
        let tree = open_sized(folder.join("tree"), (shape.groups() - 1) * crate::NODE_BYTES as u64)?;
        let held = recheck(Reader::new(id, shape, model.clone(), tree.clone(), kept.doubtful), kept.durable)?;
        model.sync()?;
        tree.sync()?;
        let (writer, bytes) = journal::fresh(id, shape, &held);
        let journal = replace(&folder, &bytes)?;
        disk::sync_folder(store).map_err(fault("sync", store))?;
        Ok(Self { id, shape, model, tree, journal, writer, held, pending: RangeSet::new(), unsynced: 0, _lock: lock })
    }

    /// Opens the partial file of model `id` in `store` if there is one; its size is known from the first time.
    ///
    /// # Errors
    /// As [`Partial::open`].
    pub fn resume(store: &Path, id: ModelId) -> Result<Option<Self>, StoreError> {
        match read_journal(&folder(store, id))? {
            Some(kept) => Self::open(store, id, kept.shape).map(Some),
            None => Ok(None),
        }
    }

    /// The model.
    pub fn id(&self) -> ModelId {
        self.id
    }

    /// The size of its whole file.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The groups that are here and verified.
    pub fn held(&self) -> &RangeSet {
        &self.held
    }

    /// Whether every byte of `bytes` is here.
    pub fn covers(&self, bytes: Range<u64>) -> bool {
        self.held.covers(self.shape.groups_of(bytes))
    }

    /// The model's file, with holes where nothing was fetched: whoever reads it keeps to what [`Partial::covers`].
    pub fn path(&self) -> &Path {
        &self.model.path
    }

    /// What can be served now; what is written later is not in it.
    pub fn reader(&self) -> Reader {
        Reader::new(self.id, self.shape, self.model.clone(), self.tree.clone(), self.held.clone())
    }

    /// Keeps a part. What is held already is not written again.
    ///
    /// # Errors
    /// [`StoreError::OtherModel`]; [`StoreError::OtherSize`]; [`StoreError::Io`], after which the part does not count as held.
    pub fn write(&mut self, verified: &Verified) -> Result<(), StoreError> {
        if verified.id() != self.id {
            return Err(StoreError::OtherModel { kept: self.id, found: verified.id() });
        }
        if verified.shape() != self.shape {
            let (kept, asked) = (self.shape.bytes(), verified.shape().bytes());
            return Err(StoreError::OtherSize { id: self.id, kept, asked });
        }
        match verified.part() {
            Part::Node(split) => self.tree.write(verified.bytes(), node_offset(split)),
            Part::Group(group) if self.held.contains(group) => Ok(()),
            Part::Group(group) => {
                self.model.write(verified.bytes(), group * GROUP_BYTES)?;
                self.held.insert(group..group + 1);
                self.pending.insert(group..group + 1);
                self.keep_up()
            }
        }
    }

    /// Makes all that is held durable. A fetch ends with this.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn sync(&mut self) -> Result<(), StoreError> {
        self.flush()?;
        self.model.sync()?;
        self.tree.sync()?;
        self.append(&Record::Durable)?;
        self.journal.sync()?;
        self.unsynced = 0;
        Ok(())
    }

    /// Drops groups that the disk does not give back as they were written; they are to be fetched again.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn forget(&mut self, groups: Range<u64>) -> Result<(), StoreError> {
        self.flush()?;
        self.held.remove(groups.clone());
        self.append(&Record::Dropped(groups))?;
        self.journal.sync()
    }

    /// Journals and syncs when enough has gathered.
    fn keep_up(&mut self) -> Result<(), StoreError> {
        let groups = self.shape.groups();
        if self.pending.count() >= (groups / 256).clamp(1, MAX_PENDING) {
            self.flush()?;
        }
        if self.unsynced >= (groups / 64).clamp(MIN_UNSYNCED, MAX_UNSYNCED) {
            self.sync()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        let pending = std::mem::take(&mut self.pending);
        self.unsynced += pending.count();
        pending.iter().try_for_each(|range| self.append(&Record::Written(range)))
    }

    fn append(&mut self, record: &Record) -> Result<(), StoreError> {
        let at = self.writer.end();
        let bytes = self.writer.record(record);
        self.journal.write(&bytes, at)
    }
}

/// The groups that count when a folder is opened again: the durable ones, and of the doubtful ones those that hash as they should.
fn recheck(doubtful: Reader, durable: RangeSet) -> Result<RangeSet, StoreError> {
    let mut held = durable;
    for group in doubtful.held().iter().flatten().collect::<Vec<_>>() {
        let mut encoder = Encoder::new(doubtful.id(), doubtful.shape(), group..group + 1)?;
        let verdict = loop {
            match encoder.next(&doubtful) {
                Ok(Some(_)) => {}
                Ok(None) => break Ok(true),
                Err(StoreError::Lie(_)) => break Ok(false),
                Err(other) => break Err(other),
            }
        };
        if verdict? {
            held.insert(group..group + 1);
        }
    }
    Ok(held)
}

pub(crate) fn lock(folder: &Path, id: ModelId) -> Result<File, StoreError> {
    let path = folder.join("lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(fault("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(StoreError::Locked(id)),
        Err(std::fs::TryLockError::Error(source)) => Err(StoreError::Io { what: "lock", path, source }),
    }
}

pub(crate) fn read_journal(folder: &Path) -> Result<Option<journal::Kept>, StoreError> {
    let path = folder.join("journal");
    match std::fs::read(&path) {
        Ok(bytes) => Ok(journal::read(&bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(fault("read", &path)(error)),
    }
}

fn open_sized(path: PathBuf, bytes: u64) -> Result<Arc<Named>, StoreError> {
    let open = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path);
    let named = Named { file: open.map_err(fault("open", &path))?, path };
    // Shorter after a crash just after it was made; the rest is a hole, which takes no space.
    named.file.set_len(bytes).map_err(named.fault("resize"))?;
    Ok(Arc::new(named))
}

/// Puts a new journal in the place of the old one, whole or not at all.
pub(crate) fn replace(folder: &Path, bytes: &[u8]) -> Result<Named, StoreError> {
    let (path, unfinished) = (folder.join("journal"), folder.join("journal.new"));
    let file = OpenOptions::new().create(true).truncate(true).write(true).open(&unfinished);
    let named = Named { file: file.map_err(fault("create", &unfinished))?, path: path.clone() };
    named.write(bytes, 0)?;
    named.sync()?;
    std::fs::rename(&unfinished, &path).map_err(fault("rename", &unfinished))?;
    disk::sync_folder(folder).map_err(fault("sync", folder))?;
    Ok(named)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Decoder, NODE_BYTES, Source, tree};
    use proptest::prelude::*;

    const GROUPS: u64 = 70;

    /// The splits of the nodes above any of `groups`.
    fn nodes_above(groups: &RangeSet) -> RangeSet {
        let all = 0..GROUPS;
        let (mut splits, mut stack) = (RangeSet::new(), vec![all]);
        while let Some(range) = stack.pop() {
            if range.end - range.start > 1 && groups.overlap(range.clone()).next().is_some() {
                let at = tree::split(&range);
                splits.insert(at..at + 1);
                stack.extend([range.start..at, at..range.end]);
            }
        }
        splits
    }

    fn write_file(path: &Path, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().update(b"a file").finalize_xof().fill(&mut bytes);
        std::fs::write(path, &bytes).unwrap();
        bytes
    }

    fn fetch(whole: &Reader, partial: &mut Partial, groups: Range<u64>) {
        let mut encoder = Encoder::new(whole.id(), whole.shape(), groups.clone()).unwrap();
        let mut decoder = Decoder::new(whole.id(), whole.shape(), groups).unwrap();
        while let Some(part) = encoder.next(whole).unwrap() {
            partial.write(&decoder.push(part.bytes()).unwrap()).unwrap();
        }
    }

    fn served_back(partial: &Partial, group: u64) -> Result<Vec<u8>, StoreError> {
        let reader = partial.reader();
        let mut encoder = Encoder::new(partial.id(), partial.shape(), group..group + 1)?;
        let mut last = Vec::new();
        while let Some(part) = encoder.next(&reader)? {
            last = part.bytes().to_vec();
        }
        Ok(last)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// The machine stops: the journal ends at any byte, and of what was never synced any part is lost or torn.
        #[test]
        fn a_crash_at_any_byte_never_makes_anything_verified(
            fetches in prop::collection::vec((0..GROUPS, 1u64..9, any::<bool>()), 1..9),
            cut: prop::sample::Index,
            lost in any::<u128>(),
            filler in any::<u8>(),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let (file, tree) = (folder.path().join("file"), folder.path().join("file.tree"));
            let bytes = write_file(&file, (GROUPS * GROUP_BYTES - 5) as usize);
            let whole = Reader::build(&file, &tree).unwrap();
            let mut partial = Partial::open(folder.path(), whole.id(), whole.shape()).unwrap();
            for (start, n, sync) in fetches {
                fetch(&whole, &mut partial, start..(start + n).min(GROUPS));
                if sync {
                    partial.sync().unwrap();
                }
            }
            let home = super::folder(folder.path(), whole.id());
            drop(partial);
            let journal = std::fs::read(home.join("journal")).unwrap();
            let journal = &journal[..journal::HEADER_BYTES + cut.index(journal.len() - journal::HEADER_BYTES + 1)];
            std::fs::write(home.join("journal"), journal).unwrap();
            let kept = journal::read(journal).unwrap();
            let (model, nodes) = (
                open_sized(home.join("model.gguf"), whole.shape().bytes()).unwrap(),
                open_sized(home.join("tree"), (GROUPS - 1) * NODE_BYTES as u64).unwrap(),
            );
            let safe_nodes = nodes_above(&kept.durable);
            for i in (0..GROUPS).filter(|i| lost >> i & 1 == 1) {
                if !kept.durable.contains(i) {
                    let torn = vec![filler; (whole.shape().group_bytes(i) / 2).max(1)];
                    model.write(&torn, i * GROUP_BYTES).unwrap();
                }
                if i > 0 && lost >> (i / 2) & 2 == 2 && !safe_nodes.contains(i) {
                    nodes.write(&[filler; 40], node_offset(i)).unwrap();
                }
            }
            let partial = Partial::open(folder.path(), whole.id(), whole.shape()).unwrap();
            prop_assert!(kept.durable.difference(partial.held()).is_empty());
            let claimed = kept.durable.iter().chain(kept.doubtful.iter()).collect::<RangeSet>();
            prop_assert!(partial.held().difference(&claimed).is_empty());
            for group in partial.held().iter().flatten() {
                let at = whole.shape().bytes_of(group..group + 1);
                prop_assert_eq!(served_back(&partial, group).unwrap(), &bytes[at.start as usize..at.end as usize]);
            }
            prop_assert!(partial.reader().holds(0..GROUPS) == (partial.held().count() == GROUPS));
        }
    }

    #[test]
    fn what_a_killed_process_wrote_is_kept_without_a_sync() {
        let folder = tempfile::tempdir().unwrap();
        let (file, tree) = (folder.path().join("file"), folder.path().join("file.tree"));
        write_file(&file, (GROUPS * GROUP_BYTES) as usize);
        let whole = Reader::build(&file, &tree).unwrap();
        let mut partial = Partial::open(folder.path(), whole.id(), whole.shape()).unwrap();
        fetch(&whole, &mut partial, 0..35);
        drop(partial);
        // With 70 groups a record is due for each.
        let partial = Partial::resume(folder.path(), whole.id()).unwrap().unwrap();
        assert!(partial.held().covers(0..35) && partial.held().count() == 35);
    }
}
