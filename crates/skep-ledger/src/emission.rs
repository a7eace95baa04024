//! Emission: how money comes into being. Only as a subsidy of verified work; there is no premine and no owner's cut.
//!
//! Time is cut into epochs of `epoch_s` seconds. With `T` the supply at the end of an epoch (what was issued less what was burned), a
//! slot of [`SLOT_S`] seconds emits
//!
//! ```text
//! e(T) = E0 >> ⌊log2(1 / (1 − T/M))⌋,  0 if T ≥ M        M = SUPPLY_MAX, E0 = SLOT_EMISSION
//! ```
//!
//! which in integers is `E0 >> k`, with `k` the number of `j ≥ 1` for which `T ≥ M − ⌊M/2^j⌋`. Burning lowers `T`, and so postpones
//! the halvings. The budget of an epoch is `⌊e(T) · epoch_s / SLOT_S⌋`, always below `M − T`, since no epoch is longer than
//! [`EPOCH_S_MAX`]. A provider with verified work `w` of the epoch's
//! total `W` is given
//!
//! ```text
//! min(⌊budget · w / W⌋, w · subsidy_max)
//! ```
//!
//! What the cap or rounding leaves is not issued, and an epoch without verified work issues nothing, ever: idle time does not add up.
//! Whoever is convicted loses the work of the running epoch. Work also raises a provider's [standing](crate::standing).
//!
//! Work is what the proofs of work say ([`Ruling::Work`](crate::Ruling::Work)), never what a transaction says. Its unit is one token
//! through one block of a model.

use crate::state::State;
use crate::{Amount, Event, Refusal};
use skep_types::NodeId;

/// M: no more than this ever exists.
pub const SUPPLY_MAX: u64 = 21_000_000_000_000_000;
/// E0: what a slot emits at first.
pub const SLOT_EMISSION: u64 = 1_000_000_000;
/// Length of a slot of emission, seconds.
pub const SLOT_S: u64 = 12;
/// The longest epoch, seconds: 30 days.
pub const EPOCH_S_MAX: u32 = 30 * 86_400;

/// e(T): what a slot emits when `supply` exists.
pub fn slot_emission(supply: Amount) -> Amount {
    if supply.0 >= SUPPLY_MAX {
        return Amount::ZERO;
    }
    let halvings = (1..u64::BITS).take_while(|j| supply.0 >= SUPPLY_MAX - (SUPPLY_MAX >> j)).count();
    Amount(SLOT_EMISSION.checked_shr(halvings as u32).unwrap_or(0))
}

impl State {
    /// Notes verified work of the running epoch.
    pub(crate) fn note_work(&mut self, provider: NodeId, work: u64) -> Result<(), Refusal> {
        let noted = self.rows.work.edit_or_default(&provider);
        *noted = noted.checked_add(work).ok_or(Refusal::Overflow)?;
        self.totals.work = self.totals.work.checked_add(work).ok_or(Refusal::Overflow)?;
        Ok(())
    }

    /// Forgets the work of the running epoch, and what stands of older epochs.
    pub(crate) fn forfeit_work(&mut self, provider: &NodeId) {
        self.rows.standings.take(provider);
        let lost = self.rows.work.take(provider).unwrap_or(0);
        self.totals.work = self.totals.work.saturating_sub(lost);
    }

    /// Subsidises the work of the epoch that ended, if one did.
    pub(crate) fn close_epoch(&mut self) -> Result<(), Refusal> {
        let (params, now_s) = (*self.params(), self.totals.time_s);
        if now_s < self.totals.epoch_ends_s {
            return Ok(());
        }
        let epoch_s = u64::from(params.epoch_s);
        self.totals.epoch_ends_s = (now_s / epoch_s + 1).checked_mul(epoch_s).ok_or(Refusal::Overflow)?;
        let supply = self.supply()?;
        let budget = slot_emission(supply).share(epoch_s, SLOT_S)?;
        let total = std::mem::take(&mut self.totals.work);
        let workers: Vec<(NodeId, u64)> = self.rows.work.iter().map(|(id, work)| (*id, *work)).collect();
        for (provider, work) in workers {
            self.rows.work.take(&provider);
            self.raise_standing(&provider, work);
            let cap = u128::from(params.subsidy_max.0) * u128::from(work);
            let amount = budget.share(work, total.max(1))?.min(Amount(u64::try_from(cap).unwrap_or(u64::MAX)));
            self.totals.issued = self.totals.issued.plus(amount)?;
            self.credit(&provider, amount)?;
            self.tell(Event::Issued { provider, amount });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halvings_are_where_the_schedule_says() {
        let vectors = [
            (0, 1_000_000_000),
            (10_500_000_000_000_000 - 1, 1_000_000_000),
            (10_500_000_000_000_000, 500_000_000),
            (15_750_000_000_000_000, 250_000_000),
            (18_375_000_000_000_000, 125_000_000),
            (SUPPLY_MAX - 1, 0),
            (SUPPLY_MAX, 0),
            (u64::MAX, 0),
        ];
        for (supply, emission) in vectors {
            assert_eq!(slot_emission(Amount(supply)), Amount(emission), "{supply}");
        }
    }

    #[test]
    fn no_epoch_emits_what_may_not_exist() {
        for halvings in 0..64 {
            let left = SUPPLY_MAX >> halvings;
            for supply in [SUPPLY_MAX - left, SUPPLY_MAX - left / 2 - left % 2 - 1] {
                let budget = slot_emission(Amount(supply)).share(EPOCH_S_MAX.into(), SLOT_S).unwrap();
                assert!(budget.0 == 0 || budget.0 < SUPPLY_MAX - supply, "{supply}");
            }
        }
    }

    #[test]
    fn emission_never_rises_with_the_supply() {
        let step = SUPPLY_MAX / 10_007;
        let emissions: Vec<Amount> = (0..10_010).map(|i| slot_emission(Amount(i * step))).collect();
        assert!(emissions.is_sorted_by(|a, b| a >= b));
    }
}
