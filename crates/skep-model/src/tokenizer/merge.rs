//! Byte-pair merging with a priority queue: n log n for a text of n symbols, whatever the text.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Merges neighbours until no pair can be joined, always the pair of the greatest priority, the leftmost among equals.
/// `join` gives a pair's priority and the symbol that replaces it.
pub(super) fn merge<S: Copy + PartialEq>(symbols: &[S], join: impl Fn(S, S) -> Option<(i64, S)>) -> Vec<S> {
    let mut chain = Chain::new(symbols);
    let mut queue = BinaryHeap::new();
    let mut candidates = Vec::new();
    let offer = |chain: &Chain<S>, candidates: &mut Vec<(S, S, S)>, queue: &mut BinaryHeap<_>, left: usize| {
        let right = chain.next[left];
        if right == NONE {
            return;
        }
        let (a, b) = (chain.symbol[left], chain.symbol[right]);
        if let Some((priority, joined)) = join(a, b) {
            queue.push((priority, Reverse(left), candidates.len()));
            candidates.push((a, b, joined));
        }
    };
    for left in 0..symbols.len() {
        offer(&chain, &mut candidates, &mut queue, left);
    }
    while let Some((_, Reverse(left), candidate)) = queue.pop() {
        let (a, b, joined) = candidates[candidate];
        // A pair that an earlier merge has changed is stale: either place is gone or holds another symbol.
        let right = chain.next[left];
        if !chain.alive[left] || right == NONE || chain.symbol[left] != a || chain.symbol[right] != b {
            continue;
        }
        chain.symbol[left] = joined;
        chain.remove_after(left);
        offer(&chain, &mut candidates, &mut queue, left);
        if chain.previous[left] != NONE {
            let before = chain.previous[left];
            offer(&chain, &mut candidates, &mut queue, before);
        }
    }
    (0..symbols.len()).filter(|i| chain.alive[*i]).map(|i| chain.symbol[i]).collect()
}

const NONE: usize = usize::MAX;

/// A doubly linked list over the places of the text.
struct Chain<S> {
    symbol: Vec<S>,
    alive: Vec<bool>,
    next: Vec<usize>,
    previous: Vec<usize>,
}

impl<S: Copy> Chain<S> {
    fn new(symbols: &[S]) -> Self {
        let n = symbols.len();
        Self {
            symbol: symbols.to_vec(),
            alive: vec![true; n],
            next: (1..=n).map(|i| if i == n { NONE } else { i }).collect(),
            previous: (0..n).map(|i| i.checked_sub(1).unwrap_or(NONE)).collect(),
        }
    }

    fn remove_after(&mut self, left: usize) {
        let gone = self.next[left];
        self.alive[gone] = false;
        let after = self.next[gone];
        self.next[left] = after;
        if after != NONE {
            self.previous[after] = left;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition: scan all pairs, merge the best, repeat.
    fn naive(mut symbols: Vec<u32>, join: impl Fn(u32, u32) -> Option<(i64, u32)>) -> Vec<u32> {
        loop {
            let pairs = symbols.windows(2).enumerate().filter_map(|(i, p)| Some((join(p[0], p[1])?, i)));
            let Some(((_, joined), i)) = pairs.max_by_key(|((priority, _), i)| (*priority, Reverse(*i))) else {
                return symbols;
            };
            symbols.splice(i..i + 2, [joined]);
        }
    }

    proptest! {
        #[test]
        fn the_queue_agrees_with_the_definition(
            symbols in proptest::collection::vec(0u32..4, 0..40),
            table in proptest::collection::vec(proptest::option::of(0i64..6), 144),
        ) {
            let join = |a: u32, b: u32| {
                let joined = 4 + (a * 7 + b * 3) % 8;
                table.get((a * 12 + b) as usize).copied().flatten().map(|priority| (priority, joined))
            };
            prop_assert_eq!(merge(&symbols, join), naive(symbols.clone(), join));
        }
    }

    #[test]
    fn a_long_text_of_equal_pairs_merges() {
        let symbols = vec![1u32; 1 << 18];
        let merged = merge(&symbols, |a, b| (a == b && a < 1 << 18).then_some((-i64::from(a), a + b)));
        assert_eq!(merged, [1 << 18]);
    }
}
