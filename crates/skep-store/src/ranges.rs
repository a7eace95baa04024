//! Sets of numbers that are mostly long runs.

use std::collections::BTreeMap;
use std::ops::Range;

/// A set of numbers as the half-open ranges that it is made of: in order, none empty, no two touching.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeSet {
    /// Start → end.
    ranges: BTreeMap<u64, u64>,
    count: u64,
}

impl RangeSet {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `range`; what is already there stays.
    pub fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let Range { mut start, mut end } = range;
        if let Some((before, its_end)) = self.ranges.range(..start).next_back()
            && *its_end >= start
        {
            start = *before;
        }
        while let Some((&next, &its_end)) = self.ranges.range(start..=end).next() {
            self.ranges.remove(&next);
            self.count -= its_end - next;
            end = end.max(its_end);
        }
        self.ranges.insert(start, end);
        self.count += end - start;
    }

    /// Takes `range` out; what is not there stays away.
    pub fn remove(&mut self, range: Range<u64>) {
        for cut in self.overlap(range).collect::<Vec<_>>() {
            // A cut lies in one range of the set, whose start is at or before it.
            let Some((&start, &end)) = self.ranges.range(..=cut.start).next_back() else { continue };
            self.ranges.remove(&start);
            self.count -= cut.end - cut.start;
            for (start, end) in [(start, cut.start), (cut.end, end)] {
                if start < end {
                    self.ranges.insert(start, end);
                }
            }
        }
    }

    /// Whether `number` is in the set.
    pub fn contains(&self, number: u64) -> bool {
        self.ranges.range(..=number).next_back().is_some_and(|(_, end)| number < *end)
    }

    /// Whether all of `range` is in the set.
    pub fn covers(&self, range: Range<u64>) -> bool {
        range.is_empty() || self.ranges.range(..=range.start).next_back().is_some_and(|(_, end)| range.end <= *end)
    }

    /// Whether nothing is in the set.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// How many numbers are in the set.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The ranges, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Range<u64>> + '_ {
        self.ranges.iter().map(|(start, end)| *start..*end)
    }

    /// How many ranges there are.
    pub fn runs(&self) -> usize {
        self.ranges.len()
    }

    /// The parts of `range` that are in the set, in order.
    pub fn overlap(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> + '_ {
        let first = self.ranges.range(..=range.start).next_back().map_or(range.start, |(start, _)| *start);
        let last = range.end.max(first);
        let clipped =
            self.ranges.range(first..last).map(move |(start, end)| (*start).max(range.start)..(*end).min(range.end));
        clipped.filter(|part| !part.is_empty())
    }

    /// The numbers in both sets.
    pub fn intersection(&self, other: &Self) -> Self {
        let (few, many) = if self.runs() <= other.runs() { (self, other) } else { (other, self) };
        few.iter().flat_map(|range| many.overlap(range)).collect()
    }

    /// The numbers of this set that are not in `other`.
    pub fn difference(&self, other: &Self) -> Self {
        let mut left = self.clone();
        other.iter().for_each(|range| left.remove(range));
        left
    }
}

impl FromIterator<Range<u64>> for RangeSet {
    fn from_iter<I: IntoIterator<Item = Range<u64>>>(ranges: I) -> Self {
        let mut set = Self::new();
        ranges.into_iter().for_each(|range| set.insert(range));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn any_range() -> impl Strategy<Value = Range<u64>> {
        (0u64..60, 0u64..12).prop_map(|(start, len)| start..start + len)
    }

    fn canonical(set: &RangeSet) -> bool {
        let ranges: Vec<_> = set.iter().collect();
        ranges.iter().all(|range| !range.is_empty()) && ranges.windows(2).all(|pair| pair[0].end < pair[1].start)
    }

    fn numbers(set: &RangeSet) -> BTreeSet<u64> {
        set.iter().flatten().collect()
    }

    proptest! {
        #[test]
        fn it_is_the_set_that_was_built(steps in prop::collection::vec((any::<bool>(), any_range()), 0..30), probe in any_range()) {
            let (mut set, mut naive) = (RangeSet::new(), BTreeSet::new());
            for (add, range) in steps {
                if add {
                    set.insert(range.clone());
                    naive.extend(range);
                } else {
                    set.remove(range.clone());
                    naive.retain(|n| !range.contains(n));
                }
                prop_assert!(canonical(&set));
                prop_assert_eq!(&numbers(&set), &naive);
                prop_assert_eq!(set.count(), naive.len() as u64);
            }
            prop_assert_eq!(set.covers(probe.clone()), probe.clone().all(|n| naive.contains(&n)));
            prop_assert_eq!(set.contains(probe.start), naive.contains(&probe.start));
            let overlap: Vec<u64> = set.overlap(probe.clone()).flatten().collect();
            prop_assert_eq!(overlap, naive.range(probe).copied().collect::<Vec<_>>());
        }

        #[test]
        fn two_sets_meet_and_part(a in prop::collection::vec(any_range(), 0..9), b in prop::collection::vec(any_range(), 0..9)) {
            let (a, b): (RangeSet, RangeSet) = (a.into_iter().collect(), b.into_iter().collect());
            let (both, rest) = (a.intersection(&b), a.difference(&b));
            prop_assert!(canonical(&both) && canonical(&rest));
            prop_assert_eq!(numbers(&both), &numbers(&a) & &numbers(&b));
            prop_assert_eq!(numbers(&rest), &numbers(&a) - &numbers(&b));
        }
    }
}
