//! Placement, checked against its definition.
#![allow(clippy::unwrap_used, reason = "a test")]

use proptest::prelude::*;
use skep_plan::{PlanError, place};
use skep_types::BlockRange;

fn range(start: u32, end: u32) -> BlockRange {
    BlockRange::new(start, end).unwrap()
}

#[test]
fn four_nodes_hold_two_covers() {
    let spans = place(6, 4).unwrap();
    assert_eq!(spans, [range(0, 3), range(3, 6), range(0, 3), range(3, 6)]);
}

#[test]
fn five_nodes_split_three_and_two() {
    let spans = place(6, 5).unwrap();
    assert_eq!(spans, [range(0, 2), range(2, 4), range(4, 6), range(0, 3), range(3, 6)]);
}

#[test]
fn three_nodes_hold_one_cover() {
    assert_eq!(place(7, 3).unwrap(), [range(0, 2), range(2, 4), range(4, 7)]);
    assert_eq!(place(7, 1).unwrap(), [range(0, 7)]);
}

#[test]
fn nodes_left_over_repeat_blocks() {
    let spans = place(2, 6).unwrap();
    assert_eq!(spans, [range(0, 1), range(1, 2), range(0, 1), range(0, 1), range(1, 2), range(0, 1)]);
}

#[test]
fn nothing_is_refused() {
    assert_eq!(place(0, 4), Err(PlanError::Nothing { n_blocks: 0, n_nodes: 4 }));
    assert_eq!(place(4, 0), Err(PlanError::Nothing { n_blocks: 4, n_nodes: 0 }));
}

proptest! {
    #[test]
    fn covers_are_complete_and_even(n_blocks in 1u32..100, n_nodes in 1u32..40) {
        let spans = place(n_blocks, n_nodes).unwrap();
        prop_assert_eq!(spans.len(), n_nodes as usize);
        let holders = |block| spans.iter().filter(|span| span.contains(block)).count();
        let wanted = if n_nodes >= 4 { 2 } else { 1 };
        for block in 0..n_blocks {
            prop_assert!(holders(block) >= wanted, "block {} in {:?}", block, spans);
        }
        for span in &spans {
            prop_assert!(span.end() <= n_blocks);
            prop_assert!(n_nodes < 2 || n_blocks < 2 || span.len() < n_blocks, "{} holds all", span);
        }
        let (first, second) = spans.split_at(if n_nodes < 4 { spans.len() } else { spans.len().div_ceil(2) });
        for cover in [first, second] {
            let longest = cover.iter().map(BlockRange::len).max().unwrap_or(0);
            prop_assert!(cover.iter().all(|span| span.len() + 1 >= longest), "{:?}", cover);
        }
    }
}
