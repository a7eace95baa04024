#![allow(clippy::unwrap_used, reason = "a test")]

use super::super::pool::tests::{config, model, range};
use super::*;
use skep_model::Span;

fn limits(memory_bytes: u64) -> StageLimits {
    StageLimits { memory_bytes, ..StageLimits::default() }
}

fn with_positions(max_positions: u32, blocks: (u32, u32)) -> StageConfig {
    StageConfig { max_positions, ..config(0, range(blocks)) }
}

#[test]
fn a_session_is_counted_with_all_that_it_can_come_to_hold() {
    let span = Span::load(&model(), range((0, 4))).unwrap();
    for blocks in [(0, 1), (1, 3), (2, 4)] {
        for positions in [1, 32, 33, 400] {
            let config = with_positions(positions, blocks);
            let mut cache = span.new_cache(config.blocks, positions as usize).unwrap();
            let mut rows = vec![0.25; positions as usize * span.config().d_model];
            span.forward(&mut cache, &mut rows).unwrap();
            let rows_bytes = 4 * rows.len() as u64;
            let held = cache.resident_bytes() + rows_bytes;
            // Kept, in a pass and in the frames made of it at the least.
            assert!(session_bytes(&span, &config) >= held + rows_bytes.min(4 * 256 * 32), "{blocks:?}, {positions}");
            assert!(session_bytes(&span, &config) <= cache.resident_bytes() + 8 * rows_bytes + 8192);
        }
    }
}

#[test]
fn a_refusal_names_what_is_needed_and_free_and_changes_nothing() {
    let span = Span::load(&model(), range((0, 2))).unwrap();
    let small = with_positions(32, (0, 2));
    let bytes = session_bytes(&span, &small);
    let limit = pass_bytes(&span, 32) + 2 * bytes + 7;
    let mut ledger = Ledger::new(&span, limits(limit));
    assert_eq!(ledger.open(&span, &small, false), Ok(bytes));
    assert_eq!(ledger.free(), bytes + 7);
    let large = with_positions(400, (0, 2));
    let needed = session_bytes(&span, &large) + pass_bytes(&span, 400) - pass_bytes(&span, 32);
    let sentence = format!("the session needs {needed} bytes and {} of {limit} are free", bytes + 7);
    assert_eq!(ledger.open(&span, &large, false), Err(sentence));
    assert_eq!(ledger.free(), bytes + 7, "a session that was refused holds nothing");
    assert_eq!(ledger.open(&span, &small, false), Ok(bytes));
    assert!(ledger.open(&span, &small, false).is_err());
    ledger.close(bytes);
    ledger.close(bytes);
    assert_eq!(ledger.free(), 2 * bytes + 7);
}

#[test]
fn the_longest_session_so_far_counts_for_the_passes_of_all() {
    let span = Span::load(&model(), range((0, 2))).unwrap();
    let mut ledger = Ledger::new(&span, limits(u64::MAX));
    let before = ledger.free();
    let large = ledger.open(&span, &with_positions(400, (0, 2)), false).unwrap();
    ledger.close(large);
    assert_eq!(before - ledger.free(), pass_bytes(&span, 400) - pass_bytes(&span, 0));
    assert!(ledger.free() < before);
    let small = ledger.open(&span, &with_positions(32, (0, 2)), false).unwrap();
    ledger.close(small);
    assert_eq!(before - ledger.free(), pass_bytes(&span, 400) - pass_bytes(&span, 0));
}

#[test]
fn a_further_span_is_counted_with_what_passes_over_it_need() {
    let model = model();
    let (first, last) = (Span::load(&model, range((0, 2))).unwrap(), Span::load(&model, range((2, 4))).unwrap());
    let (without, with) = (pass_bytes(&first, 0), pass_bytes(&last, 0));
    assert!(without < with, "the last blocks also make logits");
    let mut small = Ledger::new(&first, limits(with - 1));
    let free = with - 1 - without;
    assert_eq!(
        small.adopt(&last).unwrap_err(),
        format!("passes over blocks 2..4 need {} bytes more and {free} of {} are free", with - without, with - 1)
    );
    assert_eq!(small.free(), free);
    let mut enough = Ledger::new(&first, limits(with));
    assert_eq!((enough.adopt(&last), enough.free()), (Ok(()), 0));
    // Threads keep what they had.
    assert_eq!((enough.adopt(&first), enough.free()), (Ok(()), 0));
}

#[test]
fn others_get_what_is_lent_and_this_machine_all_of_it() {
    let span = Span::load(&model(), range((0, 2))).unwrap();
    let small = with_positions(32, (0, 2));
    let (bytes, pass) = (session_bytes(&span, &small), pass_bytes(&span, 32));
    let mut ledger = Ledger::new(&span, limits(pass + 3 * bytes));
    ledger.lend(pass + bytes);
    assert_eq!(ledger.open(&span, &small, false), Ok(bytes));
    assert!(ledger.open(&span, &small, false).is_err() && ledger.free() == 0);
    assert_eq!(ledger.open(&span, &small, true), Ok(bytes), "the owner's own session knows only the machine's limit");
    ledger.lend(0);
    assert_eq!((ledger.free(), ledger.open(&span, &small, true)), (0, Ok(bytes)));
    for _ in 0..3 {
        ledger.close(bytes);
    }
    ledger.lend(u64::MAX);
    assert_eq!(ledger.free(), 3 * bytes, "more than this machine has is not lent");
}
