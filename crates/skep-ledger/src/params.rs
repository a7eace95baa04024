//! The figures of the laws that governance may change.

use crate::emission::EPOCH_S_MAX;
use crate::{Amount, Refusal};
use borsh::{BorshDeserialize, BorshSerialize};

/// Figures of the laws. Supply and its schedule are not among them: nobody can change those.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Params {
    /// What any transaction costs.
    pub fee_base: Amount,
    /// What each byte of a signed transaction costs in addition.
    pub fee_byte: Amount,
    /// Length of an epoch of emission, seconds.
    pub epoch_s: u32,
    /// The most that one unit of verified work is subsidised with.
    pub subsidy_max: Amount,
    /// How long providers may still claim on a tab that its client closed, seconds.
    pub dispute_s: u32,
    /// The longest life of a tab, seconds.
    pub tab_s_max: u32,
    /// How much of the work is audited, parts per million.
    pub audit_ppm: u32,
    /// How long what was paid may still turn out to be fraud before a bond is free of it, seconds.
    pub audit_window_s: u32,
    /// The most of a slash that its reporter receives, parts per million.
    pub reporter_ppm: u32,
    /// How long a bond that is taken out can still be slashed, seconds.
    pub unbonding_s: u32,
    /// The least bond of a bid for an order.
    pub bid_bond_min: Amount,
    /// The longest notice of a lease, seconds.
    pub reclaim_s_max: u32,
    /// The least deposit of a seal, which is lost if it is not revealed.
    pub seal_deposit_min: Amount,
    /// How long before its hour a round takes reveals, seconds.
    pub reveal_s: u32,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            fee_base: Amount(1000),
            fee_byte: Amount(10),
            epoch_s: 3600,
            subsidy_max: Amount(1000),
            dispute_s: 3600,
            tab_s_max: 7 * 86_400,
            audit_ppm: 50_000,
            audit_window_s: 3600,
            reporter_ppm: 50_000,
            unbonding_s: 14 * 86_400,
            bid_bond_min: Amount(100_000),
            reclaim_s_max: 7 * 86_400,
            seal_deposit_min: Amount(100_000),
            reveal_s: 600,
        }
    }
}

impl Params {
    /// Checks that no law divides by zero or waits for ever with these figures.
    ///
    /// # Errors
    /// [`Refusal::Field`].
    pub fn check(&self) -> Result<(), Refusal> {
        let sound = [
            (self.fee_base.0 <= 1 << 40 && self.fee_byte.0 <= 1 << 30, "a fee is too high to be paid by anyone"),
            ((60..=EPOCH_S_MAX).contains(&self.epoch_s), "an epoch lasts from a minute to 30 days"),
            ((60..=7 * 86_400).contains(&self.dispute_s), "a dispute lasts from a minute to a week"),
            ((60..=366 * 86_400).contains(&self.tab_s_max), "a tab lasts from a minute to a year"),
            ((1..1_000_000).contains(&self.audit_ppm), "some of the work is audited, and not all of it"),
            (
                (60..=self.unbonding_s).contains(&self.audit_window_s),
                "an audit takes a minute at least, and no longer than unbonding",
            ),
            (self.unbonding_s <= 366 * 86_400, "unbonding takes at most a year"),
            (self.reporter_ppm <= 500_000, "half of a slash is burned"),
            (self.reclaim_s_max <= 366 * 86_400, "a notice is a year at most"),
            ((60..=3600).contains(&self.reveal_s), "revealing takes a minute to an hour"),
        ];
        sound.into_iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, why)| Err(Refusal::Field(why)))
    }
}
