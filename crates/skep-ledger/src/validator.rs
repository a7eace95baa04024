//! Validators: who agrees on blocks, and with how much power.
//!
//! The first are seated when the ledger begins. From then on validators alone seat and unseat: each endorses a power for a key, and once
//! those with more than two thirds of all power endorse the same power for the same key, it has that power, and these endorsements are
//! forgotten. An endorsement replaces the validator's one before; a power of 0 unseats. One lone validator thus seats by one transaction.
//!
//! A block is agreed on by the validators in the state before it: a change holds from the block after the one that made it.
//!
//! There are 1 to [`VALIDATORS_MAX`] of them, each with a power of at most [`POWER_MAX`].

use crate::state::State;
use crate::{Event, Refusal};
use borsh::{BorshDeserialize, BorshSerialize};
use skep_types::NodeId;

/// The most validators: a certificate has a signature of each.
pub const VALIDATORS_MAX: usize = 100;
/// The most power of one of them, so that no sum of powers, nor three times it, is too large for 64 bits.
pub const POWER_MAX: u64 = 1 << 40;

/// What a validator endorses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Endorsement {
    /// Whose key.
    pub validator: NodeId,
    /// The power that it should have.
    pub power: u64,
}

/// Whether `part` is more than two thirds of `total`: two such parts share more than a third.
pub fn is_quorum(part: u64, total: u64) -> bool {
    u128::from(part) * 3 > u128::from(total) * 2
}

impl State {
    /// Everyone who validates with its power, in the order of the keys.
    pub fn validators(&self) -> impl Iterator<Item = (NodeId, u64)> {
        self.rows.validators.iter().map(|(id, power)| (*id, *power))
    }

    /// What a validator endorses now.
    pub fn endorsement(&self, voter: &NodeId) -> Option<Endorsement> {
        self.rows.endorsements.get(voter).copied()
    }

    /// Seats the first validators of a ledger that has no blocks yet.
    ///
    /// # Errors
    /// [`Refusal::Field`] for a ledger that has some, for none or too many, for a key twice, and for a power that none may have.
    pub fn seat_first(&mut self, validators: &[(NodeId, u64)]) -> Result<(), Refusal> {
        if self.totals.height > 0 || self.rows.validators.iter().next().is_some() {
            return Err(Refusal::Field("the first validators were seated before"));
        }
        if !(1..=VALIDATORS_MAX).contains(&validators.len()) {
            return Err(Refusal::Field("a ledger begins with 1 to 100 validators"));
        }
        for (place, (id, power)) in validators.iter().enumerate() {
            if !(1..=POWER_MAX).contains(power) || validators[..place].iter().any(|(other, _)| other == id) {
                return Err(Refusal::Field("each validator is named once, with a power that one may have"));
            }
        }
        validators.iter().for_each(|(id, power)| self.rows.validators.put(*id, *power));
        self.rows.commit();
        Ok(())
    }

    pub(crate) fn endorse(&mut self, voter: NodeId, validator: NodeId, power: u64) -> Result<(), Refusal> {
        if self.rows.validators.get(&voter).is_none() {
            return Err(Refusal::NotValidator { who: voter });
        }
        if power > POWER_MAX {
            return Err(Refusal::Field("no validator may have so much power"));
        }
        if self.rows.validators.get(&validator).copied().unwrap_or(0) == power {
            return Err(Refusal::Field("it has this power already"));
        }
        let wanted = Endorsement { validator, power };
        self.rows.endorsements.put(voter, wanted);
        let total = self.validators().map(|(_, power)| power).sum();
        let of_one_mind: Vec<NodeId> =
            self.rows.endorsements.iter().filter(|(_, other)| **other == wanted).map(|(voter, _)| *voter).collect();
        let agreed = of_one_mind.iter().filter_map(|voter| self.rows.validators.get(voter)).sum();
        if is_quorum(agreed, total) {
            for voter in &of_one_mind {
                self.rows.endorsements.take(voter);
            }
            self.seat(wanted)?;
        }
        Ok(())
    }

    fn seat(&mut self, Endorsement { validator, power }: Endorsement) -> Result<(), Refusal> {
        if power == 0 {
            self.rows.validators.take(&validator);
            self.rows.endorsements.take(&validator);
        } else {
            self.rows.validators.put(validator, power);
        }
        if !(1..=VALIDATORS_MAX).contains(&self.rows.validators.iter().count()) {
            return Err(Refusal::Field("a ledger has 1 to 100 validators"));
        }
        self.tell(Event::Seated { validator, power });
        Ok(())
    }
}
