//! The shape of a file's tree, and its hashes.

use crate::StoreError;
use blake3::Hasher;
use blake3::hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};
use std::ops::Range;

/// Bytes of a group, the leaf of the tree: 16 chunks of BLAKE3.
pub const GROUP_BYTES: u64 = 16 << 10;
/// Bytes of a node: the hashes of its left and its right subtree.
pub const NODE_BYTES: usize = 64;
/// The largest file, in bytes: 16 TiB, eight times the largest model there is. It bounds the depth of the tree by 30.
pub const MAX_FILE_BYTES: u64 = 1 << 44;

/// The hash of a subtree.
pub(crate) type Hash = [u8; 32];

/// The shape of a file's tree, which its size decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    bytes: u64,
}

impl Shape {
    /// Of a file of `bytes` bytes.
    ///
    /// # Errors
    /// [`StoreError::Size`] when there are none, or more than [`MAX_FILE_BYTES`].
    pub fn new(bytes: u64) -> Result<Self, StoreError> {
        if (1..=MAX_FILE_BYTES).contains(&bytes) { Ok(Self { bytes }) } else { Err(StoreError::Size(bytes)) }
    }

    /// Size of the file.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Number of groups, at least 1.
    pub fn groups(&self) -> u64 {
        self.bytes.div_ceil(GROUP_BYTES)
    }

    /// The last group, whose slice proves the size.
    pub fn last_group(&self) -> Range<u64> {
        self.groups() - 1..self.groups()
    }

    /// The bytes that `groups` hold; groups past the end hold none.
    pub fn bytes_of(&self, groups: Range<u64>) -> Range<u64> {
        let at = |group: u64| group.saturating_mul(GROUP_BYTES).min(self.bytes);
        at(groups.start)..at(groups.end)
    }

    /// The groups that hold `bytes`; bytes past the end are in none.
    pub fn groups_of(&self, bytes: Range<u64>) -> Range<u64> {
        let end = bytes.end.min(self.bytes);
        if bytes.start >= end {
            return 0..0;
        }
        bytes.start / GROUP_BYTES..end.div_ceil(GROUP_BYTES)
    }

    /// Bytes of `group`, at most [`GROUP_BYTES`].
    pub(crate) fn group_bytes(&self, group: u64) -> usize {
        let range = self.bytes_of(group..group + 1);
        (range.end - range.start) as usize
    }
}

/// Where the subtree over `groups`, at least two, is split.
pub(crate) fn split(groups: &Range<u64>) -> u64 {
    let n = groups.end - groups.start;
    groups.start + (1 << (n - 1).ilog2())
}

/// The hash of a group; of the file when it is the only one.
pub(crate) fn group_hash(group: u64, bytes: &[u8], root: bool) -> Hash {
    if root {
        return *blake3::hash(bytes).as_bytes();
    }
    let mut hasher = Hasher::new();
    hasher.set_input_offset(group * GROUP_BYTES).update(bytes);
    hasher.finalize_non_root()
}

/// The hash of the subtree whose node this is.
pub(crate) fn node_hash(node: &[u8; NODE_BYTES], root: bool) -> Hash {
    let (left, right) = node.split_at(32);
    let (left, right) = (copy(left), copy(right));
    if root {
        return *merge_subtrees_root(&left, &right, Mode::Hash).as_bytes();
    }
    merge_subtrees_non_root(&left, &right, Mode::Hash)
}

/// Both halves of a node.
pub(crate) fn halves(node: &[u8; NODE_BYTES]) -> [Hash; 2] {
    let (left, right) = node.split_at(32);
    [copy(left), copy(right)]
}

fn copy(half: &[u8]) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(half);
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_split_names_one_node() {
        for groups in 1..200u64 {
            let mut seen = vec![false; groups as usize];
            let all = 0..groups;
            let mut stack = vec![all];
            while let Some(range) = stack.pop() {
                if range.end - range.start > 1 {
                    let at = split(&range);
                    assert!(at > range.start && at < range.end && !seen[at as usize]);
                    seen[at as usize] = true;
                    stack.extend([range.start..at, at..range.end]);
                }
            }
            assert_eq!(seen.iter().filter(|seen| **seen).count() as u64, groups - 1);
        }
    }

    #[test]
    fn bytes_and_groups_agree_at_the_edges() {
        let shape = Shape::new(3 * GROUP_BYTES + 1).unwrap();
        assert_eq!(shape.groups(), 4);
        assert_eq!(shape.groups_of(0..1), 0..1);
        assert_eq!(shape.groups_of(GROUP_BYTES - 1..GROUP_BYTES + 1), 0..2);
        assert_eq!(shape.groups_of(5..5), 0..0);
        assert_eq!(shape.groups_of(0..u64::MAX), 0..4);
        assert_eq!(shape.bytes_of(3..9), 3 * GROUP_BYTES..3 * GROUP_BYTES + 1);
        assert_eq!(shape.group_bytes(3), 1);
        assert!(Shape::new(0).is_err() && Shape::new(MAX_FILE_BYTES + 1).is_err());
    }
}
