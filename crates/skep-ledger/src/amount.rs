//! Money: whole numbers of the smallest unit, with checked arithmetic only.
//!
//! No amount exceeds the supply, and the supply never exceeds [`crate::SUPPLY_MAX`], far below 2^64. So a sum that overflows is
//! never real money: it comes from a transaction that names more than there is, and is refused with [`Refusal::Overflow`].

use crate::Refusal;
use borsh::{BorshDeserialize, BorshSerialize};
use std::fmt;

/// Units of service that a [`Price`] is for.
pub const PRICE_UNITS: u64 = 1000;

/// An amount of money in its smallest unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct Amount(pub u64);

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// The sum.
    ///
    /// # Errors
    /// [`Refusal::Overflow`].
    pub fn plus(self, other: Self) -> Result<Self, Refusal> {
        self.0.checked_add(other.0).map(Self).ok_or(Refusal::Overflow)
    }

    /// What is left.
    ///
    /// # Errors
    /// [`Refusal::Overflow`] if `other` is more.
    pub fn minus(self, other: Self) -> Result<Self, Refusal> {
        self.0.checked_sub(other.0).map(Self).ok_or(Refusal::Overflow)
    }

    /// The sum of many.
    ///
    /// # Errors
    /// [`Refusal::Overflow`].
    pub fn sum(amounts: impl IntoIterator<Item = Self>) -> Result<Self, Refusal> {
        amounts.into_iter().try_fold(Self::ZERO, Self::plus)
    }

    /// `⌊amount · part / whole⌋`.
    ///
    /// # Errors
    /// [`Refusal::Overflow`] if `whole` is 0 or the result does not fit.
    pub fn share(self, part: u64, whole: u64) -> Result<Self, Refusal> {
        let product = u128::from(self.0) * u128::from(part);
        let share = product.checked_div(u128::from(whole)).ok_or(Refusal::Overflow)?;
        u64::try_from(share).map(Self).map_err(|_| Refusal::Overflow)
    }

    /// `⌊amount · ppm / 1,000,000⌋`.
    ///
    /// # Errors
    /// [`Refusal::Overflow`] if the result does not fit.
    pub fn ppm(self, ppm: u32) -> Result<Self, Refusal> {
        self.share(u64::from(ppm), 1_000_000)
    }
}

/// What one provider asks for [`PRICE_UNITS`] tokens of its whole span, in the smallest unit of money.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct Price {
    /// For 1,000 tokens that went in: the prompt.
    pub input: u64,
    /// For 1,000 tokens that came out.
    pub output: u64,
}

/// Cumulative units of service: tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, BorshSerialize, BorshDeserialize)]
pub struct Units {
    /// Tokens of the prompt.
    pub input: u64,
    /// Tokens that were generated.
    pub output: u64,
}

impl Units {
    /// Whether neither count is above the other's.
    pub fn within(&self, most: &Self) -> bool {
        self.input <= most.input && self.output <= most.output
    }
}

impl Price {
    /// What `units` cost: `⌊(input·units_in + output·units_out) / 1000⌋`. The count is cumulative, so what rounding keeps from the
    /// provider is below one smallest unit for the whole session, whatever the number of claims.
    ///
    /// # Errors
    /// [`Refusal::Overflow`].
    pub fn of(&self, units: Units) -> Result<Amount, Refusal> {
        let part = |price: u64, units: u64| u128::from(price) * u128::from(units);
        let total = part(self.input, units.input).checked_add(part(self.output, units.output));
        let amount = total.ok_or(Refusal::Overflow)? / u128::from(PRICE_UNITS);
        u64::try_from(amount).map(Amount).map_err(|_| Refusal::Overflow)
    }

    /// Whether neither price is above the other's.
    pub fn within(&self, most: &Self) -> bool {
        self.input <= most.input && self.output <= most.output
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_beyond_its_range_is_refused() {
        assert_eq!(Amount(u64::MAX).plus(Amount(1)), Err(Refusal::Overflow));
        assert_eq!(Amount(1).minus(Amount(2)), Err(Refusal::Overflow));
        assert_eq!(Amount(u64::MAX).share(3, 2), Err(Refusal::Overflow));
        assert_eq!(Amount(1).share(1, 0), Err(Refusal::Overflow));
        assert_eq!(Amount(u64::MAX).share(u64::MAX, u64::MAX), Ok(Amount(u64::MAX)));
        let most = Units { input: u64::MAX, output: u64::MAX };
        assert_eq!(Price { input: u64::MAX, output: u64::MAX }.of(most), Err(Refusal::Overflow));
    }

    #[test]
    fn the_price_is_rounded_once_for_the_whole_session() {
        let price = Price { input: 1, output: 3 };
        assert_eq!(price.of(Units { input: 999, output: 0 }), Ok(Amount(0)));
        assert_eq!(price.of(Units { input: 999, output: 334 }), Ok(Amount(2)));
        assert_eq!(price.of(Units { input: 1000, output: 1000 }), Ok(Amount(4)));
    }
}
