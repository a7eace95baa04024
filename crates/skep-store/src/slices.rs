//! Slices: reading one that a stranger sends, and writing one for somebody else. The format stands in the crate's text.
//!
//! Both sides hold one part at a time, at most [`GROUP_BYTES`] of it, and a stack of at most 31 hashes, whatever the other side says.
//! The writing side checks its own disk as it goes, with the same code as the reading side, so an honest node with a rotten disk
//! stops instead of being taken for a liar.

use crate::tree::{Hash, group_hash, halves, node_hash, split};
use crate::{GROUP_BYTES, Lie, NODE_BYTES, Shape, StoreError};
use skep_types::ModelId;
use std::ops::Range;

/// A part of a slice: its place in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The node at this split, [`NODE_BYTES`] long.
    Node(u64),
    /// This group.
    Group(u64),
}

/// Bytes that hash to what the model's id says. Only a [`Decoder`] makes them, so whoever holds them need not check again.
#[derive(Debug)]
pub struct Verified<'a> {
    id: ModelId,
    shape: Shape,
    part: Part,
    bytes: &'a [u8],
}

impl Verified<'_> {
    /// The model that they were verified for.
    pub fn id(&self) -> ModelId {
        self.id
    }

    /// The shape that they were verified for.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Where they belong.
    pub fn part(&self) -> Part {
        self.part
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        self.bytes
    }
}

/// A subtree that is still to be read.
#[derive(Debug)]
struct Subtree {
    groups: Range<u64>,
    hash: Hash,
}

/// Reads one slice, part by part.
#[derive(Debug)]
pub struct Decoder {
    id: ModelId,
    shape: Shape,
    wanted: Range<u64>,
    /// What is to come, the next part last. Only subtrees that overlap `wanted` are here.
    stack: Vec<Subtree>,
}

impl Decoder {
    /// Of groups `wanted` of the file of model `id`.
    ///
    /// # Errors
    /// [`StoreError::Range`] when `wanted` is empty or reaches past the end.
    pub fn new(id: ModelId, shape: Shape, wanted: Range<u64>) -> Result<Self, StoreError> {
        let groups = shape.groups();
        if wanted.is_empty() || wanted.end > groups {
            return Err(StoreError::Range { asked: wanted, groups });
        }
        Ok(Self { id, shape, wanted, stack: vec![Subtree { groups: 0..groups, hash: id.0 }] })
    }

    /// The part that comes next, and its length in bytes; none after the last.
    pub fn next_part(&self) -> Option<(Part, usize)> {
        let Subtree { groups, .. } = self.stack.last()?;
        Some(match groups.end - groups.start {
            1 => (Part::Group(groups.start), self.shape.group_bytes(groups.start)),
            _ => (Part::Node(split(groups)), NODE_BYTES),
        })
    }

    /// Takes the next part, of exactly the length that [`Decoder::next_part`] says. After an error the slice is of no use.
    ///
    /// # Errors
    /// [`StoreError::Lie`] when it is not what the id says; [`StoreError::Length`].
    pub fn push<'a>(&mut self, bytes: &'a [u8]) -> Result<Verified<'a>, StoreError> {
        let (part, expected) = self.next_part().map_or((None, 0), |(part, length)| (Some(part), length));
        let (Some(part), true) = (part, bytes.len() == expected) else {
            return Err(StoreError::Length { expected, found: bytes.len() });
        };
        let Some(Subtree { groups, hash }) = self.stack.pop() else {
            return Err(StoreError::Length { expected: 0, found: bytes.len() });
        };
        let root = groups.end - groups.start == self.shape.groups();
        match (part, bytes.first_chunk::<NODE_BYTES>()) {
            (Part::Node(at), Some(node)) => {
                if node_hash(node, root) != hash {
                    return Err(self.caught(Lie::Node(at)));
                }
                let [left, right] = halves(node);
                let children =
                    [Subtree { groups: at..groups.end, hash: right }, Subtree { groups: groups.start..at, hash: left }];
                let overlaps =
                    |child: &Subtree| child.groups.start < self.wanted.end && self.wanted.start < child.groups.end;
                self.stack.extend(children.into_iter().filter(overlaps));
            }
            _ => {
                if group_hash(groups.start, bytes, root) != hash {
                    return Err(self.caught(Lie::Group(groups.start)));
                }
            }
        }
        Ok(Verified { id: self.id, shape: self.shape, part, bytes })
    }

    /// Forgets what was to come: nothing below a lie can be checked.
    fn caught(&mut self, lie: Lie) -> StoreError {
        self.stack.clear();
        lie.into()
    }
}

/// Who can say what a part of the tree is.
pub trait Source {
    /// Whether all of `groups` are held.
    fn holds(&self, groups: Range<u64>) -> bool;

    /// Fills `buffer`, which is as long as the part.
    ///
    /// # Errors
    /// When the disk refuses.
    fn read(&self, part: Part, buffer: &mut [u8]) -> Result<(), StoreError>;
}

/// Writes one slice, part by part.
#[derive(Debug)]
pub struct Encoder {
    decoder: Decoder,
    buffer: Vec<u8>,
}

impl Encoder {
    /// Of groups `wanted` of the file of model `id`.
    ///
    /// # Errors
    /// As [`Decoder::new`].
    pub fn new(id: ModelId, shape: Shape, wanted: Range<u64>) -> Result<Self, StoreError> {
        Ok(Self { decoder: Decoder::new(id, shape, wanted)?, buffer: vec![0; GROUP_BYTES as usize] })
    }

    /// The bytes that come next, from `source` and verified; none after the last.
    ///
    /// # Errors
    /// [`StoreError::NotHeld`]; [`StoreError::Lie`] when the disk gives other bytes than were written; [`StoreError::Io`].
    pub fn next<'a>(&'a mut self, source: &impl Source) -> Result<Option<Verified<'a>>, StoreError> {
        let Some((part, length)) = self.decoder.next_part() else { return Ok(None) };
        if let Part::Group(group) = part
            && !source.holds(group..group + 1)
        {
            return Err(StoreError::NotHeld(group..group + 1));
        }
        source.read(part, &mut self.buffer[..length])?;
        self.decoder.push(&self.buffer[..length]).map(Some)
    }
}

/// Bytes of the slice of `groups`: what the reading side will be sent.
///
/// # Errors
/// As [`Decoder::new`].
pub fn slice_bytes(shape: Shape, groups: Range<u64>) -> Result<u64, StoreError> {
    if groups.is_empty() || groups.end > shape.groups() {
        return Err(StoreError::Range { asked: groups, groups: shape.groups() });
    }
    let inside = shape.bytes_of(groups.clone());
    let all = 0..shape.groups();
    let (mut nodes, mut stack) = (0, vec![all]);
    while let Some(subtree) = stack.pop() {
        let (n, whole) = (subtree.end - subtree.start, groups.start <= subtree.start && subtree.end <= groups.end);
        if whole || n == 1 {
            // A subtree has one node less than it has groups.
            nodes += n - 1;
        } else {
            nodes += 1;
            let at = split(&subtree);
            let children = [subtree.start..at, at..subtree.end].into_iter();
            stack.extend(children.filter(|child| child.start < groups.end && groups.start < child.end));
        }
    }
    Ok(inside.end - inside.start + nodes * NODE_BYTES as u64)
}
