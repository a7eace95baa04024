//! Payment by the second out of one escrow, settled when somebody looks.
//!
//! With balance `B` and rates `r_i` per second, the escrow lasts `h* = ⌊B / Σr⌋` whole seconds. After `t` seconds
//!
//! ```text
//! t ≤ h*:  paid_i = r_i·t
//! t > h*:  paid_i = r_i·h* + ⌊(B − h*·Σr)·r_i / Σr⌋      the shortage is shared in proportion to what is due
//! ```
//!
//! and everything ends at `h*`: nobody runs up a debt, and the order of the list favours nobody. What rounding leaves is the payer's.

use crate::{Amount, Refusal};

/// What some time has cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// To each, in the order of the rates.
    pub paid: Vec<Amount>,
    /// What is left.
    pub rest: Amount,
    /// The escrow cannot pay for another second.
    pub exhausted: bool,
}

/// How long `balance` lasts at these rates, whole seconds.
///
/// # Errors
/// [`Refusal::Overflow`] if all rates are 0 or their sum is no amount.
pub fn lasts_s(balance: Amount, rates: &[Amount]) -> Result<u64, Refusal> {
    balance.0.checked_div(Amount::sum(rates.iter().copied())?.0).ok_or(Refusal::Overflow)
}

/// Pays for `elapsed_s` seconds.
///
/// # Errors
/// [`Refusal::Overflow`] if all rates are 0 or their sum is no amount.
pub fn settle(balance: Amount, rates: &[Amount], elapsed_s: u64) -> Result<Settled, Refusal> {
    let whole_s = lasts_s(balance, rates)?;
    let paid_s = elapsed_s.min(whole_s);
    let sum = Amount::sum(rates.iter().copied())?;
    let short = if elapsed_s > whole_s { balance.minus(sum.share(whole_s, 1)?)? } else { Amount::ZERO };
    let one = |rate: &Amount| rate.share(paid_s, 1)?.plus(short.share(rate.0, sum.0)?);
    let paid = rates.iter().map(one).collect::<Result<Vec<_>, _>>()?;
    let rest = balance.minus(Amount::sum(paid.iter().copied())?)?;
    Ok(Settled { paid, rest, exhausted: elapsed_s >= whole_s })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn amounts(values: &[u64]) -> Vec<Amount> {
        values.iter().copied().map(Amount).collect()
    }

    /// Seconds, balance and rates; the rest and what was paid. Where the source of the vectors runs up a debt of 20, the same sum is paid,
    /// but in proportion, and it ends.
    #[test]
    fn payments_are_those_of_the_vectors() {
        let vectors = [
            (5, 100, [1, 2], 85, [5, 10], 0),
            (5, 100, [10, 10], 0, [50, 50], 0),
            (6, 100, [10, 10], 0, [50, 50], 20),
            (6, 200, [10, 10], 80, [60, 60], 0),
            (10, 200, [10, 10], 0, [100, 100], 0),
            (11, 200, [10, 10], 0, [100, 100], 20),
        ];
        for (elapsed, balance, rates, rest, paid, debt) in vectors {
            let got = settle(Amount(balance), &amounts(&rates), elapsed).unwrap();
            assert_eq!((got.rest, &got.paid), (Amount(rest), &amounts(&paid)));
            assert_eq!(elapsed * rates.iter().sum::<u64>() - paid.iter().sum::<u64>(), debt);
            assert_eq!(got.exhausted, rest == 0);
        }
    }

    #[test]
    fn a_shortage_is_shared_in_proportion() {
        let got = settle(Amount(150), &amounts(&[30, 20, 10]), 3).unwrap();
        assert_eq!(got, Settled { paid: amounts(&[75, 50, 25]), rest: Amount(0), exhausted: true });
        let got = settle(Amount(100), &amounts(&[30, 3]), 4).unwrap();
        assert_eq!(got, Settled { paid: amounts(&[90, 9]), rest: Amount(1), exhausted: true });
        assert_eq!(settle(Amount(1), &amounts(&[0, 0]), 4), Err(Refusal::Overflow));
        assert_eq!(settle(Amount(1), &amounts(&[u64::MAX, 1]), 4), Err(Refusal::Overflow));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_order_does_not_matter(
            balance in 0..=u64::MAX, mut rates in prop::collection::vec(1u64..1 << 40, 1..6), elapsed in 0..=u64::MAX
        ) {
            let forth = settle(Amount(balance), &amounts(&rates), elapsed).unwrap();
            prop_assert_eq!(Amount::sum(forth.paid.iter().copied()).unwrap().plus(forth.rest).unwrap(), Amount(balance));
            rates.reverse();
            let mut back = settle(Amount(balance), &amounts(&rates), elapsed).unwrap();
            back.paid.reverse();
            prop_assert_eq!(forth, back);
        }

        #[test]
        fn looking_in_between_changes_nothing_before_the_end(
            balance in 0u64..1 << 50, rates in prop::collection::vec(1u64..1 << 20, 1..6), early in 0u64..1 << 20, late in 0u64..1 << 20
        ) {
            let rates = amounts(&rates);
            let first = settle(Amount(balance), &rates, early).unwrap();
            prop_assume!(!first.exhausted);
            let second = settle(first.rest, &rates, late).unwrap();
            let once = settle(Amount(balance), &rates, early + late).unwrap();
            prop_assert_eq!(second.rest, once.rest);
        }
    }
}
