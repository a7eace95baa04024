//! Standing: how much verified work a provider has done lately. Governance's chamber of work votes by it, and it cannot be given away.
//!
//! At the end of an epoch with verified work `w`, `t` seconds after the last such epoch,
//!
//! ```text
//! score ← ⌊score · e^(−t/τ)⌋ + w        τ = 934,866 slots of 12 s: half of it is gone after 90 days
//! ```
//!
//! A conviction ends it. The exponential is in integers, so that it is the same everywhere: with `x = t/τ = k·ln 2 + r`, it is `2^−k`
//! times the series of `e^−r`, in steps of 2^−64.

use crate::emission::SLOT_S;
use crate::state::State;
use borsh::{BorshDeserialize, BorshSerialize};
use skep_types::NodeId;

/// τ: after this, seconds, a standing is 1/e of what it was.
pub const STANDING_TAU_S: u64 = 934_866 * SLOT_S;
/// ⌊ln 2 · 2^64⌋.
const LN_2: u128 = 12_786_308_645_202_655_659;
/// More terms than 2^−64 needs: 0.7^25/25! is below it.
const TERMS: u128 = 25;

/// What a provider has done, as it counted at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Standing {
    /// Verified work, faded.
    pub score: u64,
    /// At the end of which epoch, Unix seconds.
    pub at_s: u64,
}

/// `⌊e^(−n/d) · 2^64⌋`, a few units in the last place too low or too high; 0 if `d` is.
pub fn exp_neg(n: u64, d: u64) -> u128 {
    let Some(x) = (u128::from(n) << 64).checked_div(d.into()) else { return 0 };
    let (halvings, r) = (x / LN_2, x % LN_2);
    let (mut term, mut plus, mut minus) = (1u128 << 64, 1u128 << 64, 0);
    for i in 1..=TERMS {
        term = ((term * r) >> 64) / i;
        if i % 2 == 0 { plus += term } else { minus += term }
    }
    u32::try_from(halvings).ok().and_then(|halvings| (plus - minus).checked_shr(halvings)).unwrap_or(0)
}

impl Standing {
    /// What is left of it at a later time.
    pub fn faded(&self, now_s: u64) -> u64 {
        let left = exp_neg(now_s.saturating_sub(self.at_s), STANDING_TAU_S);
        // At most 2^64 times a number below it: the product fits, and so does the result.
        u64::try_from((u128::from(self.score) * left) >> 64).unwrap_or(self.score)
    }
}

impl State {
    /// A provider's standing now.
    pub fn standing(&self, provider: &NodeId) -> u64 {
        self.rows.standings.get(provider).map_or(0, |standing| standing.faded(self.totals.time_s))
    }

    /// Counts the work of an epoch that ended.
    pub(crate) fn raise_standing(&mut self, provider: &NodeId, work: u64) {
        let now_s = self.totals.time_s;
        let standing = self.rows.standings.edit_or_default(provider);
        *standing = Standing { score: standing.faded(now_s).saturating_add(work), at_s: now_s };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// From an independent computation with 60 digits.
    #[test]
    fn the_exponential_is_exact_to_a_few_units() {
        let vectors = [
            (0, 1, 1 << 64),
            (1, 1, 6_786_177_901_268_885_274),
            (1, 1000, 18_428_306_549_934_190_034),
            (7, 2, 557_043_403_687_188_861),
            (30, 1, 1_726_176),
            (43, 1, 3),
        ];
        for (n, d, expect) in vectors {
            assert!(exp_neg(n, d).abs_diff(expect) <= 16, "e^-({n}/{d}): {} {expect}", exp_neg(n, d));
        }
        assert_eq!((exp_neg(u64::MAX, 1), exp_neg(1, 0)), (0, 0));
    }

    /// 90 days in slots of 12 s: a lock of 1,000,000,000, what has gone of it, and what has gone weighed by time.
    #[test]
    fn a_lock_fades_as_the_vectors_say() {
        let left = exp_neg(648_000, 934_866);
        let nearest = |part: u128| (1_000_000_000 * part + (1 << 63)) >> 64;
        assert_eq!(nearest(left), 499_999_857);
        assert_eq!(nearest((1 << 64) - left), 500_000_143);
        let x = (648_000u128 << 64) / 934_866;
        assert_eq!(nearest(((x >> 4) * (left >> 4)) >> 56), 346_573_634);
    }

    #[test]
    fn half_is_gone_after_ninety_days() {
        let standing = Standing { score: 1_000_000, at_s: 5 };
        assert_eq!(standing.faded(5), 1_000_000);
        assert_eq!(standing.faded(5 + 90 * 86_400), 499_999);
        assert_eq!(standing.faded(4), 1_000_000);
        assert_eq!(standing.faded(u64::MAX), 0);
        assert_eq!(Standing { score: u64::MAX, at_s: 0 }.faded(0), u64::MAX);
    }

    proptest! {
        #[test]
        fn nothing_fades_to_more(score: u64, early in 0u64..1 << 40, late in 0u64..1 << 40) {
            let standing = Standing { score, at_s: 0 };
            let (early, late) = (early.min(late), early.max(late));
            // The last few units in the last place of 2^64 are rounding.
            prop_assert!(standing.faded(late) <= standing.faded(early).saturating_add(16));
            prop_assert!(standing.faded(late) <= score);
        }
    }
}
