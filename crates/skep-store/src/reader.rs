//! What a node serves to others: a whole model file, or the part of one that it holds.
//!
//! The nodes of a whole file's tree are kept beside it, in a file of `64 × (groups - 1)` bytes with the node of split `s` at
//! `64 (s - 1)`. They need not be trusted: an [`Encoder`](crate::Encoder) checks each part against the one above it, up to the id.

use crate::slices::{Part, Source};
use crate::tree::{Hash, group_hash, node_hash, split};
use crate::{GROUP_BYTES, NODE_BYTES, RangeSet, Shape, StoreError, disk};
use skep_types::ModelId;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a node of the tree stands in the file of nodes.
pub(crate) fn node_offset(split: u64) -> u64 {
    (split - 1) * NODE_BYTES as u64
}

/// An open file with its path, which errors name.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) file: File,
    pub(crate) path: PathBuf,
}

impl Named {
    pub(crate) fn fault(&self, what: &'static str) -> impl FnOnce(std::io::Error) -> StoreError + '_ {
        fault(what, &self.path)
    }

    pub(crate) fn read(&self, buffer: &mut [u8], offset: u64) -> Result<(), StoreError> {
        disk::read_exact_at(&self.file, buffer, offset).map_err(self.fault("read"))
    }

    pub(crate) fn write(&self, bytes: &[u8], offset: u64) -> Result<(), StoreError> {
        disk::write_all_at(&self.file, bytes, offset).map_err(self.fault("write"))
    }

    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        self.file.sync_data().map_err(self.fault("sync"))
    }
}

pub(crate) fn fault<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(std::io::Error) -> StoreError + 'a {
    move |source| StoreError::Io { what, path: path.to_owned(), source }
}

/// What can be served of one model's file. Cheap to clone; several threads may read at once.
#[derive(Clone, Debug)]
pub struct Reader {
    id: ModelId,
    shape: Shape,
    model: Arc<Named>,
    tree: Arc<Named>,
    held: Arc<RangeSet>,
}

impl Reader {
    pub(crate) fn new(id: ModelId, shape: Shape, model: Arc<Named>, tree: Arc<Named>, held: RangeSet) -> Self {
        Self { id, shape, model, tree, held: Arc::new(held) }
    }

    /// Hashes a whole model file and writes the nodes of its tree to `tree`, which takes that name only when it is whole.
    ///
    /// # Errors
    /// [`StoreError::Io`]; [`StoreError::Size`].
    pub fn build(model: &Path, tree: &Path) -> Result<Self, StoreError> {
        let mut unfinished = tree.as_os_str().to_owned();
        unfinished.push(".new");
        let unfinished = PathBuf::from(unfinished);
        let nodes = Named { file: File::create(&unfinished).map_err(fault("create", &unfinished))?, path: unfinished };
        let source = Named { file: File::open(model).map_err(fault("open", model))?, path: model.to_owned() };
        let bytes = source.file.metadata().map_err(source.fault("read"))?.len();
        let shape = Shape::new(bytes)?;
        let id = build_tree(&source, shape, &nodes)?;
        nodes.sync()?;
        std::fs::rename(&nodes.path, tree).map_err(fault("rename", &nodes.path))?;
        Self::open(id, model, tree)
    }

    /// The same for a file whose tree was built before. Nothing is hashed: a tree of another file would only be of no use.
    ///
    /// # Errors
    /// [`StoreError::Io`]; [`StoreError::Size`].
    pub fn open(id: ModelId, model: &Path, tree: &Path) -> Result<Self, StoreError> {
        let open = |path: &Path| {
            let file = File::open(path).map_err(fault("open", path))?;
            Ok::<_, StoreError>(Arc::new(Named { file, path: path.to_owned() }))
        };
        let (model, tree) = (open(model)?, open(tree)?);
        let shape = Shape::new(model.file.metadata().map_err(model.fault("read"))?.len())?;
        let held = std::iter::once(0..shape.groups()).collect();
        Ok(Self::new(id, shape, model, tree, held))
    }

    /// The model.
    pub fn id(&self) -> ModelId {
        self.id
    }

    /// The size of its file.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The groups that can be served.
    pub fn held(&self) -> &RangeSet {
        &self.held
    }
}

impl Source for Reader {
    fn holds(&self, groups: Range<u64>) -> bool {
        self.held.covers(groups)
    }

    fn read(&self, part: Part, buffer: &mut [u8]) -> Result<(), StoreError> {
        match part {
            Part::Node(split) => self.tree.read(buffer, node_offset(split)),
            Part::Group(group) => self.model.read(buffer, group * GROUP_BYTES),
        }
    }
}

/// A step of the walk over a tree, from the leaves up.
enum Walk {
    Enter(Range<u64>),
    Join { split: u64, root: bool },
}

/// Hashes the file in one pass and writes each node of its tree. Memory: one group, and a stack as deep as the tree.
fn build_tree(model: &Named, shape: Shape, tree: &Named) -> Result<ModelId, StoreError> {
    let groups = shape.groups();
    let mut buffer = vec![0; GROUP_BYTES as usize];
    let mut hashes: Vec<Hash> = Vec::new();
    let mut walk = vec![Walk::Enter(0..groups)];
    while let Some(step) = walk.pop() {
        match step {
            Walk::Enter(range) if range.end - range.start > 1 => {
                let at = split(&range);
                walk.push(Walk::Join { split: at, root: range.end - range.start == groups });
                walk.push(Walk::Enter(at..range.end));
                walk.push(Walk::Enter(range.start..at));
            }
            Walk::Enter(range) => {
                let bytes = &mut buffer[..shape.group_bytes(range.start)];
                model.read(bytes, range.start * GROUP_BYTES)?;
                hashes.push(group_hash(range.start, bytes, groups == 1));
            }
            Walk::Join { split, root } => {
                let mut node = [0; NODE_BYTES];
                let (left, right) = node.split_at_mut(32);
                // The left subtree was walked first.
                right.copy_from_slice(&hashes.pop().unwrap_or_default());
                left.copy_from_slice(&hashes.pop().unwrap_or_default());
                tree.write(&node, node_offset(split))?;
                hashes.push(node_hash(&node, root));
            }
        }
    }
    Ok(ModelId(hashes.pop().unwrap_or_default()))
}
