//! Slices of a file: what an honest one proves, and what no other one does.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::{Served, bytes, decode, encode};
use proptest::prelude::*;
use skep_store::slices::slice_bytes;
use skep_store::{GROUP_BYTES, Lie, Part, Reader, Shape, StoreError};
use std::ops::Range;

/// A size of up to 40 groups, often at an edge, with a range of its groups.
fn any_slice() -> impl Strategy<Value = (usize, Range<u64>)> {
    let edge = prop_oneof![Just(0usize), Just(1), Just(1024), 1usize..GROUP_BYTES as usize];
    let size = (0usize..40, edge).prop_map(|(groups, more)| (groups * GROUP_BYTES as usize + more).max(1));
    (size, any::<prop::sample::Index>(), any::<prop::sample::Index>()).prop_map(|(size, start, n)| {
        let groups = Shape::new(size as u64).unwrap().groups();
        let start = start.index(groups as usize) as u64;
        (size, start..start + 1 + n.index((groups - start) as usize) as u64)
    })
}

/// Which part of a slice holds byte `at`.
fn part_at(parts: &[(Part, Vec<u8>)], at: usize) -> Part {
    let mut end = 0;
    let holds = |(_, bytes): &&(Part, Vec<u8>)| {
        end += bytes.len();
        at < end
    };
    parts.iter().find(holds).unwrap().0
}

fn caught_at(error: &StoreError) -> Part {
    match error {
        StoreError::Lie(Lie::Node(split)) => Part::Node(*split),
        StoreError::Lie(Lie::Group(group)) => Part::Group(*group),
        other => panic!("not a lie: {other}"),
    }
}

/// These hashes are of slices that bao-tree 0.17 wrote, with its chunk groups of 2⁴ chunks.
#[test]
fn golden_encodings() {
    let cases = [
        (5 * 16384 + 100, 1..2, 16576, "62c84ae3d8df399e9087378fec61a4f1e14fb9e2fff079f4f96f70964c391049"),
        (5 * 16384 + 100, 0..6, 82340, "3d89fce34faf687709239e8631291ff4b6b02a295fa85c69b87d904a6da53c08"),
        (5 * 16384 + 100, 5..6, 228, "fc03ba6c877ce8aece09db480a5d07412ce060abd1411e6bb02b49bb39020f3b"),
        (100, 0..1, 100, "12e8b1640e1caac2a0037cf7d46ec72bacd2000db2c2ea7d4cf459a756a31e9b"),
        (1 << 20, 10..30, 329152, "1fd1e9584ff4cc59bbe5803c1dc437bce175f4eaa06a117a5edb2c88b074465c"),
    ];
    for (size, groups, length, hash) in cases {
        let slice = Served::new(size).slice(groups);
        assert_eq!((slice.len(), blake3::hash(&slice).to_hex().as_str()), (length, hash));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_range_is_proven((size, groups) in any_slice()) {
        let served = Served::new(size);
        prop_assert_eq!(served.id().0, *blake3::hash(&served.bytes).as_bytes());
        let slice = served.slice(groups.clone());
        prop_assert_eq!(slice_bytes(served.shape(), groups.clone()).unwrap(), slice.len() as u64);
        let (parts, end) = decode(served.id(), served.shape(), groups.clone(), &slice);
        prop_assert!(end.is_ok());
        let inside = served.shape().bytes_of(groups);
        let got = parts.into_iter().filter(|(part, _)| matches!(part, Part::Group(_))).flat_map(|(_, bytes)| bytes);
        prop_assert_eq!(got.collect::<Vec<_>>(), &served.bytes[inside.start as usize..inside.end as usize]);
    }

    #[test]
    fn any_wrong_byte_is_caught_in_its_part((size, groups) in any_slice(), at: prop::sample::Index, xor in 1u8..) {
        let served = Served::new(size);
        let honest = served.parts(groups.clone());
        let mut slice = served.slice(groups.clone());
        let at = at.index(slice.len());
        slice[at] ^= xor;
        let (parts, end) = decode(served.id(), served.shape(), groups, &slice);
        prop_assert_eq!(caught_at(&end.unwrap_err()), part_at(&honest, at));
        prop_assert_eq!(&parts[..], &honest[..parts.len()]);
    }

    /// Bytes moved, repeated, cut out or put in: the reader takes the honest beginning and nothing else.
    #[test]
    fn any_mutation_yields_only_true_parts(
        (size, groups) in any_slice(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0usize..200, 0u8..4, any::<u8>()), 1..4),
    ) {
        let served = Served::new(size);
        let honest = served.parts(groups.clone());
        let mut slice = served.slice(groups.clone());
        for (at, n, kind, byte) in edits {
            let at = at.index(slice.len() + 1);
            let part = at..(at + n).min(slice.len());
            match kind {
                0 => drop(slice.drain(part)),
                1 => drop(slice.splice(at..at, vec![byte; n])),
                2 => slice[part].fill(byte),
                _ => {
                    let copy = slice[part].to_vec();
                    slice.splice(0..0, copy);
                }
            }
        }
        let (parts, end) = decode(served.id(), served.shape(), groups, &slice);
        prop_assert_eq!(&parts[..], &honest[..parts.len()]);
        prop_assert!(end.is_err() || parts.len() == honest.len());
    }

    #[test]
    fn a_wrong_size_is_never_proven((size, _) in any_slice(), claimed in 1usize..700_000, filler in any::<u8>()) {
        prop_assume!(size != claimed);
        let served = Served::new(size);
        let claim = Shape::new(claimed as u64).unwrap();
        // What a liar can send best: the honest slice of the last group; or anything else.
        let honest = served.slice(served.shape().last_group());
        let longer = [&honest[..], &vec![filler; 20_000]].concat();
        let last = claim.last_group();
        for slice in [honest, longer, served.bytes.clone(), vec![filler; 20_000]] {
            prop_assert!(decode(served.id(), claim, last.clone(), &slice).1.is_err());
        }
    }
}

#[test]
fn a_range_that_is_not_there_is_refused() {
    let served = Served::new(3 * GROUP_BYTES as usize);
    for range in [0..0, 2..2, 2..4, 3..4, 0..u64::MAX] {
        let error = decode(served.id(), served.shape(), range.clone(), &[]).1.unwrap_err();
        assert!(matches!(error, StoreError::Range { .. }), "{error}");
        assert!(slice_bytes(served.shape(), range.clone()).is_err());
        assert!(encode(served.id(), served.shape(), range, &served.reader).is_err());
    }
}

#[test]
fn the_largest_file_needs_a_stack_of_its_depth() {
    // Only nodes on the way to one group are read, and their hashes are wrong: the first is already caught.
    let shape = Shape::new(skep_store::MAX_FILE_BYTES).unwrap();
    let last = shape.last_group();
    assert_eq!(slice_bytes(shape, last.clone()).unwrap(), GROUP_BYTES + 30 * 64);
    let (parts, end) = decode(skep_types::ModelId([1; 32]), shape, last, &[0; 64]);
    assert!(parts.is_empty());
    assert_eq!(caught_at(&end.unwrap_err()), Part::Node(shape.groups() / 2));
}

#[test]
fn a_rotten_disk_stops_the_one_who_serves_it() {
    let served = Served::new(20 * GROUP_BYTES as usize);
    let mut rotten = bytes(20 * GROUP_BYTES as usize);
    rotten[7 * GROUP_BYTES as usize + 5] ^= 1;
    std::fs::write(served.file(), rotten).unwrap();
    let tree = served.folder.path().join("file.tree");
    let reader = Reader::open(served.id(), &served.file(), &tree).unwrap();
    let error = encode(served.id(), served.shape(), 5..9, &reader).unwrap_err();
    assert_eq!(caught_at(&error), Part::Group(7));
    assert!(encode(served.id(), served.shape(), 8..20, &reader).is_ok());
}

#[test]
fn a_tree_of_another_file_serves_nothing() {
    let (one, other) = (Served::new(20 * GROUP_BYTES as usize), Served::of(vec![3; 20 * GROUP_BYTES as usize]));
    let reader = Reader::open(one.id(), &one.file(), &other.folder.path().join("file.tree")).unwrap();
    assert!(matches!(caught_at(&encode(one.id(), one.shape(), 0..20, &reader).unwrap_err()), Part::Node(16)));
}
