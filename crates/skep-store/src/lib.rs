//! Weights by content: a model's file is fetched in verified parts, from several peers at once, and only as far as it is needed.
//!
//! # Tree
//! A model's id is the BLAKE3 root of its file, and BLAKE3 is a tree: it hashes chunks of 1 KiB and joins their hashes in pairs. Here
//! the leaves are **groups** of [`GROUP_BYTES`] = 16 chunks; group `i` holds bytes `[16384 i, 16384 (i + 1))` and the last group what is
//! left, at least one byte. A subtree over groups `[a, b)` with `b - a > 1` has its **split** at `a + p`, where `p` is the largest power
//! of two below `b - a`; its **node** is the 64 bytes left hash ‖ right hash. Every split from 1 to `groups - 1` belongs to exactly
//! one node, so a node is named by its split. A file of one group has no node, and its id is the hash of that group.
//!
//! Sixteen chunks are what the widest vector code of BLAKE3 hashes side by side, so larger groups are not verified any faster,
//! while smaller ones cost more nodes: the nodes are 64 bytes in 16 KiB, or 0.39 % of the file.
//!
//! # Slice
//! A slice proves groups `[a, b)` to somebody who knows the id and the size of the file. It is the tree in pre-order, cut to what
//! overlaps the range: a node's 64 bytes before those of its left and its right subtree, a group's bytes at its place. There is no
//! header and no framing: the reader knows before each part how many bytes it has, and holds no more than one part. These are
//! the bytes of Bao's combined encoding with groups of 2⁴ chunks, less its leading length. Whoever reads checks each part against the hash
//! that stood in the part above it, so the first wrong bit is seen in the part that holds it, and named.
//!
//! The size is not a part of the id, and the range tells only as much as its groups do: a node that hears of a size asks for the
//! slice of the **last** group first. The hash of its chunks covers their position and length, so this slice proves the size.
//! Whoever holds a part of a file therefore holds its last group.
//!
//! # Modules
//! [`slices`] reads and writes slices, [`partial`] keeps what was verified through a crash, [`adopt`] takes in whole files, [`reader`] serves them, [`remove`] takes out what nobody uses, and [`fetch`] decides
//! without any I/O what is asked of whom. This crate touches files; it knows no clock and no network.

pub mod adopt;
mod disk;
mod error;
pub mod fetch;
mod journal;
pub mod partial;
mod ranges;
pub mod reader;
pub mod remove;
pub mod slices;
mod tree;

pub use error::{Lie, StoreError};
pub use fetch::{Fetch, FetchConfig};
pub use partial::Partial;
pub use ranges::RangeSet;
pub use reader::Reader;
pub use slices::{Decoder, Encoder, Part, Source, Verified};
pub use tree::{GROUP_BYTES, MAX_FILE_BYTES, NODE_BYTES, Shape};
