//! Bonds: what a provider loses if it is convicted, and how much may be trusted to it at once.
//!
//! # Exposure
//! If work is audited with probability `q` and a cheat that goes undetected gains `g`, cheating loses on average iff the loss on conviction
//! is at least `g·(1−q)/q`. A convicted provider that reports itself gets the reporter's share `r` back, so what it surely loses of a bond
//! `B` is `B·(1−r)`. So at most
//!
//! ```text
//! limit = ⌊ ⌊B·(1−r)⌋ · q / (1−q) ⌋
//! ```
//!
//! may be at stake with one provider at a time: `q` is `audit_ppm`, `r` is `reporter_ppm`. At stake are what the open tabs hold for it, and
//! what it was paid in the last `audit_window_s` seconds, for a verdict takes time. What was paid is counted in steps of an eighth of
//! that window, so each payment stays at stake for the whole window at least and nine eighths of it at most. A tab that would pass the
//! limit is not opened; a bond cannot be taken out below it. A provider that asks for nothing needs no bond.
//!
//! # Taking it out
//! What is unbonded goes back to the account after `unbonding_s`, and can be slashed until then. Evidence must be younger than that.
//!
//! # Slashing
//! Only a verdict that every validator has recomputed slashes ([`Ruling::Fraud`](crate::Ruling::Fraud)); each case once. A share of the bond, of what is being
//! taken out too, is taken. At most half of it goes to others: first to the victim, up to the harm; then to the reporter, up to `r` of what is
//! taken. The rest is burned. Vanishing is never slashed.

use crate::due::Due;
use crate::state::State;
use crate::{Amount, Event, Refusal};
use borsh::{BorshDeserialize, BorshSerialize};
use skep_types::NodeId;

/// Parts of a bond that may be on their way out at once.
pub const LEAVING_MAX: usize = 8;
/// Steps of the audit window.
const STEPS: u64 = 8;
const PPM: u32 = 1_000_000;

/// An amount that ends at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Until {
    /// How much.
    pub amount: Amount,
    /// Until when, Unix seconds.
    pub at_s: u64,
}

/// A provider's bond.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Bond {
    /// What stands behind its work.
    pub active: Amount,
    /// What is on its way out, and when it will be out; at most [`LEAVING_MAX`].
    pub leaving: Vec<Until>,
    /// What open tabs hold for it.
    pub open: Amount,
    /// What it was paid lately, and until when that is at stake.
    pub recent: Vec<Until>,
}

/// A conviction that every validator has recomputed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Fraud {
    /// The hash of the evidence.
    pub case: [u8; 32],
    /// Who cheated.
    pub provider: NodeId,
    /// How much of the bond is taken, parts per million.
    pub share_ppm: u32,
    /// Who was cheated.
    pub victim: NodeId,
    /// Of how much.
    pub harm: Amount,
    /// Who showed it.
    pub reporter: NodeId,
}

/// What may be at stake with a bond, if `audit_ppm` of the work is audited and `reporter_ppm` of a slash comes back to a cheat. Where
/// all work is audited there is no limit.
pub fn exposure_limit(bond: Amount, audit_ppm: u32, reporter_ppm: u32) -> Amount {
    let lost = u128::from(bond.0) * u128::from(PPM.saturating_sub(reporter_ppm)) / u128::from(PPM);
    let limit = (lost * u128::from(audit_ppm)).checked_div(PPM.saturating_sub(audit_ppm).into());
    Amount(limit.and_then(|limit| u64::try_from(limit).ok()).unwrap_or(u64::MAX))
}

impl Bond {
    /// What is at stake.
    ///
    /// # Errors
    /// [`Refusal::Overflow`] in a state that broke its law.
    pub fn exposure(&self, now_s: u64) -> Result<Amount, Refusal> {
        let recent = self.recent.iter().filter(|paid| paid.at_s > now_s).map(|paid| paid.amount);
        Amount::sum(recent)?.plus(self.open)
    }

    /// All money of the bond.
    ///
    /// # Errors
    /// [`Refusal::Overflow`] in a state that broke its law.
    pub fn held(&self) -> Result<Amount, Refusal> {
        Amount::sum(self.leaving.iter().map(|part| part.amount))?.plus(self.active)
    }

    /// Takes `amount` out of what is active, then out of what leaves soonest.
    fn cut(&mut self, amount: Amount) -> Result<(), Refusal> {
        let mut rest = amount;
        let parts = self.leaving.iter_mut().map(|part| &mut part.amount);
        for part in std::iter::once(&mut self.active).chain(parts) {
            let taken = rest.min(*part);
            *part = part.minus(taken)?;
            rest = rest.minus(taken)?;
        }
        self.leaving.retain(|part| part.amount > Amount::ZERO);
        if rest == Amount::ZERO { Ok(()) } else { Err(Refusal::Overflow) }
    }
}

impl State {
    /// A provider's bond, if it has one.
    pub fn bond(&self, provider: &NodeId) -> Option<&Bond> {
        self.rows.bonds.get(provider)
    }

    fn limit(&self, active: Amount) -> Amount {
        exposure_limit(active, self.params().audit_ppm, self.params().reporter_ppm)
    }

    pub(crate) fn lock(&mut self, provider: NodeId, amount: Amount) -> Result<(), Refusal> {
        if amount == Amount::ZERO {
            return Err(Refusal::Field("a bond of nothing"));
        }
        self.debit(&provider, amount)?;
        let bond = self.rows.bonds.edit_or_default(&provider);
        bond.active = bond.active.plus(amount)?;
        Ok(())
    }

    pub(crate) fn unlock(&mut self, provider: NodeId, amount: Amount) -> Result<(), Refusal> {
        let now_s = self.totals.time_s;
        let at_s = now_s.saturating_add(self.params().unbonding_s.into());
        let bond = self.rows.bonds.get(&provider).cloned().unwrap_or_default();
        if amount == Amount::ZERO || amount > bond.active {
            return Err(Refusal::Bond { provider, active: bond.active, asked: amount });
        }
        if bond.leaving.len() >= LEAVING_MAX {
            return Err(Refusal::Field("too many parts of the bond are on their way out"));
        }
        let (active, at_stake) = (bond.active.minus(amount)?, bond.exposure(now_s)?);
        let limit = self.limit(active);
        if at_stake > limit {
            return Err(Refusal::Exposure { provider, at_stake, limit });
        }
        let bond = self.rows.bonds.edit_or_default(&provider);
        bond.active = active;
        bond.leaving.push(Until { amount, at_s });
        self.schedule(at_s, Due::Bond(provider));
        Ok(())
    }

    /// Pays out what has left a bond by now.
    pub(crate) fn pay_out_bond(&mut self, provider: &NodeId) -> Result<(), Refusal> {
        let now_s = self.totals.time_s;
        let Some(bond) = self.rows.bonds.edit(provider) else { return Ok(()) };
        let out = Amount::sum(bond.leaving.iter().filter(|part| part.at_s <= now_s).map(|part| part.amount))?;
        bond.leaving.retain(|part| part.at_s > now_s);
        bond.recent.retain(|paid| paid.at_s > now_s);
        if bond.held()? == Amount::ZERO && bond.exposure(now_s)? == Amount::ZERO {
            self.rows.bonds.take(provider);
        }
        self.credit(provider, out)
    }

    /// Puts what a new tab holds for a provider at stake.
    pub(crate) fn expose(&mut self, provider: NodeId, amount: Amount) -> Result<(), Refusal> {
        if amount == Amount::ZERO {
            return Ok(());
        }
        let now_s = self.totals.time_s;
        let (active, before) = match self.rows.bonds.get(&provider) {
            Some(bond) => (bond.active, bond.exposure(now_s)?),
            None => Default::default(),
        };
        let (at_stake, limit) = (before.plus(amount)?, self.limit(active));
        if at_stake > limit {
            return Err(Refusal::Exposure { provider, at_stake, limit });
        }
        let bond = self.rows.bonds.edit_or_default(&provider);
        bond.open = bond.open.plus(amount)?;
        Ok(())
    }

    /// What a tab held for a provider is paid: it stays at stake for the audit window.
    pub(crate) fn expose_paid(&mut self, provider: &NodeId, amount: Amount) -> Result<(), Refusal> {
        if amount == Amount::ZERO {
            return Ok(());
        }
        let now_s = self.totals.time_s;
        let step_s = (u64::from(self.params().audit_window_s) / STEPS).max(1);
        let at_s = (now_s / step_s + 1).saturating_add(STEPS).saturating_mul(step_s);
        let bond = self.rows.bonds.edit_or_default(provider);
        bond.open = bond.open.minus(amount)?;
        bond.recent.retain(|paid| paid.at_s > now_s);
        match bond.recent.last_mut().filter(|paid| paid.at_s == at_s) {
            Some(paid) => paid.amount = paid.amount.plus(amount)?,
            None => bond.recent.push(Until { amount, at_s }),
        }
        Ok(())
    }

    /// What a tab held for a provider went back to the client.
    pub(crate) fn expose_less(&mut self, provider: &NodeId, amount: Amount) -> Result<(), Refusal> {
        if amount == Amount::ZERO {
            return Ok(());
        }
        let bond = self.rows.bonds.edit_or_default(provider);
        bond.open = bond.open.minus(amount)?;
        Ok(())
    }

    pub(crate) fn slash(&mut self, fraud: &Fraud) -> Result<(), Refusal> {
        let Fraud { case, provider, share_ppm, victim, harm, reporter } = *fraud;
        if share_ppm > PPM {
            return Err(Refusal::Field("more than all of a bond"));
        }
        if self.rows.cases.get(&case).is_some() {
            return Err(Refusal::Judged { provider });
        }
        let kept_s = self.totals.time_s.saturating_add(self.params().unbonding_s.into());
        self.rows.cases.put(case, kept_s);
        self.schedule(kept_s, Due::Case(case));
        self.forfeit_work(&provider);
        let held = self.rows.bonds.get(&provider).map_or(Ok(Amount::ZERO), Bond::held)?;
        let slashed = held.ppm(share_ppm)?;
        if let Some(bond) = self.rows.bonds.edit(&provider) {
            bond.cut(slashed)?;
        }
        let half = slashed.share(1, 2)?;
        let to_victim = harm.min(half);
        let to_reporter = half.minus(to_victim)?.min(slashed.ppm(self.params().reporter_ppm)?);
        self.credit(&victim, to_victim)?;
        self.credit(&reporter, to_reporter)?;
        self.burn(slashed.minus(to_victim)?.minus(to_reporter)?)?;
        self.tell(Event::Slashed { provider, amount: slashed, victim: to_victim, reporter: to_reporter });
        Ok(())
    }

    /// Forgets a case whose evidence nobody may bring any more.
    pub(crate) fn end_case(&mut self, case: &[u8; 32]) {
        if self.rows.cases.get(case).is_some_and(|kept_s| *kept_s <= self.totals.time_s) {
            self.rows.cases.take(case);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_that_of_the_rule() {
        let limit = |bond, audit| exposure_limit(Amount(bond), audit, 0).0;
        assert_eq!((limit(99, 10_000), limit(98, 10_000)), (1, 0), "1 % audited: 99 times what is at stake");
        assert_eq!((limit(19, 50_000), limit(18, 50_000)), (1, 0), "5 % audited: 19 times");
        assert_eq!(limit(100, 500_000), 100);
        assert_eq!(limit(0, 999_999), 0);
        assert_eq!(limit(u64::MAX, 999_999), u64::MAX);
        assert_eq!(exposure_limit(Amount(100), 500_000, 50_000), Amount(95), "what comes back does not count");
    }
}
