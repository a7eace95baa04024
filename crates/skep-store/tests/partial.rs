//! A partial file in use: what is kept, what is refused, what others get of it.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::{Served, decode, encode};
use skep_store::{Decoder, GROUP_BYTES, Partial, Shape, StoreError};
use skep_types::ModelId;
use std::ops::Range;

/// Fetches `groups` of `served` into `partial`.
fn fetch(served: &Served, partial: &mut Partial, groups: Range<u64>) {
    let mut decoder = Decoder::new(served.id(), served.shape(), groups.clone()).unwrap();
    for (_, bytes) in served.parts(groups) {
        partial.write(&decoder.push(&bytes).unwrap()).unwrap();
    }
}

#[test]
fn what_was_fetched_is_there_and_the_rest_is_a_hole() {
    let (served, store) = (Served::new(40 * GROUP_BYTES as usize + 7), tempfile::tempdir().unwrap());
    let mut partial = Partial::open(store.path(), served.id(), served.shape()).unwrap();
    fetch(&served, &mut partial, 3..9);
    fetch(&served, &mut partial, 40..41);
    assert_eq!(partial.held().iter().collect::<Vec<_>>(), [3..9, 40..41]);
    assert!(partial.covers(3 * GROUP_BYTES + 1..9 * GROUP_BYTES) && !partial.covers(0..3 * GROUP_BYTES + 1));
    assert_eq!(partial.path(), store.path().join(served.id().to_string()).join("model.gguf"));
    let file = std::fs::read(partial.path()).unwrap();
    let (from, to) = (3 * GROUP_BYTES as usize, 9 * GROUP_BYTES as usize);
    assert_eq!(file.len(), served.bytes.len());
    assert_eq!(file[from..to], served.bytes[from..to]);
    assert!(file[..from].iter().all(|byte| *byte == 0));
}

#[test]
fn it_serves_what_it_holds_and_no_more() {
    let (served, store) = (Served::new(40 * GROUP_BYTES as usize), tempfile::tempdir().unwrap());
    let mut partial = Partial::open(store.path(), served.id(), served.shape()).unwrap();
    fetch(&served, &mut partial, 3..9);
    let reader = partial.reader();
    for range in [3..9, 4..5, 8..9] {
        let passed_on = encode(served.id(), served.shape(), range.clone(), &reader).unwrap();
        assert_eq!(passed_on, served.parts(range));
    }
    for range in [2..4, 8..10, 20..21] {
        let error = encode(served.id(), served.shape(), range, &reader).unwrap_err();
        assert!(matches!(error, StoreError::NotHeld(_) | StoreError::Lie(_)), "{error}");
    }
}

#[test]
fn it_goes_on_where_it_was_also_without_knowing_the_size() {
    let (served, store) = (Served::new(40 * GROUP_BYTES as usize), tempfile::tempdir().unwrap());
    assert!(Partial::resume(store.path(), served.id()).unwrap().is_none());
    let mut partial = Partial::open(store.path(), served.id(), served.shape()).unwrap();
    fetch(&served, &mut partial, 0..11);
    partial.sync().unwrap();
    drop(partial);
    let mut partial = Partial::resume(store.path(), served.id()).unwrap().unwrap();
    assert_eq!((partial.shape(), partial.held().count()), (served.shape(), 11));
    fetch(&served, &mut partial, 0..40);
    assert_eq!(std::fs::read(partial.path()).unwrap(), served.bytes);
    assert_eq!(decode(served.id(), served.shape(), 0..40, &served.slice(0..40)).0.len(), 79);
}

#[test]
fn one_process_at_a_time() {
    let (served, store) = (Served::new(100), tempfile::tempdir().unwrap());
    let first = Partial::open(store.path(), served.id(), served.shape()).unwrap();
    assert!(matches!(Partial::open(store.path(), served.id(), served.shape()), Err(StoreError::Locked(_))));
    drop(first);
    Partial::open(store.path(), served.id(), served.shape()).unwrap();
}

#[test]
fn another_size_or_another_models_bytes_are_refused() {
    let (served, other, store) = (Served::new(100), Served::new(200), tempfile::tempdir().unwrap());
    let mut partial = Partial::open(store.path(), served.id(), served.shape()).unwrap();
    let mut decoder = Decoder::new(other.id(), other.shape(), 0..1).unwrap();
    let error = partial.write(&decoder.push(&other.bytes).unwrap()).unwrap_err();
    assert!(matches!(error, StoreError::OtherModel { .. }), "{error}");
    assert!(partial.held().is_empty());
    // The top node also fits under a wrong size, but at another place.
    let (three, store3) = (Served::new(3 * GROUP_BYTES as usize), tempfile::tempdir().unwrap());
    let mut kept = Partial::open(store3.path(), three.id(), three.shape()).unwrap();
    let mut decoder = Decoder::new(three.id(), Shape::new(5 * GROUP_BYTES).unwrap(), 0..1).unwrap();
    let error = kept.write(&decoder.push(&three.slice(0..1)[..64]).unwrap()).unwrap_err();
    assert!(matches!(error, StoreError::OtherSize { .. }), "{error}");
    drop(partial);
    let error = Partial::open(store.path(), served.id(), Shape::new(101).unwrap()).unwrap_err();
    assert!(matches!(error, StoreError::OtherSize { kept: 100, asked: 101, .. }), "{error}");
}

#[test]
fn what_was_dropped_stays_dropped() {
    let (served, store) = (Served::new(40 * GROUP_BYTES as usize), tempfile::tempdir().unwrap());
    let mut partial = Partial::open(store.path(), served.id(), served.shape()).unwrap();
    fetch(&served, &mut partial, 0..40);
    partial.sync().unwrap();
    partial.forget(7..9).unwrap();
    drop(partial);
    let mut partial = Partial::resume(store.path(), served.id()).unwrap().unwrap();
    assert_eq!(partial.held().iter().collect::<Vec<_>>(), [0..7, 9..40]);
    fetch(&served, &mut partial, 7..9);
    assert_eq!(partial.held().count(), 40);
}

#[test]
fn a_lost_journal_means_starting_again() {
    let (served, store) = (Served::new(40 * GROUP_BYTES as usize), tempfile::tempdir().unwrap());
    let mut partial = Partial::open(store.path(), served.id(), served.shape()).unwrap();
    fetch(&served, &mut partial, 0..40);
    partial.sync().unwrap();
    let journal = partial.path().with_file_name("journal");
    drop(partial);
    for content in [&b""[..], b"skeppart", &[0xff; 300]] {
        std::fs::write(&journal, content).unwrap();
        assert!(Partial::resume(store.path(), served.id()).unwrap().is_none());
    }
    assert!(Partial::open(store.path(), served.id(), served.shape()).unwrap().held().is_empty());
}

#[test]
fn a_folder_that_is_not_one_is_an_error_with_its_name() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = Partial::open(file.path(), ModelId([1; 32]), Shape::new(1).unwrap()).unwrap_err();
    assert!(error.to_string().contains(&file.path().display().to_string()), "{error}");
}
