//! How a network's ledger begins: figures, time and first validators. Nobody has anything, unless it is a ledger for trying out, whose
//! beginning says what it [grants](Genesis::grants).
//!
//! The network's [`ChainId`] is BLAKE3(`"skep genesis 1\0"` ‖ `borsh` of [`Genesis`]), so whoever knows the name knows who began it.

use crate::block::hash;
use crate::validators::Validators;
use borsh::{BorshDeserialize, BorshSerialize};
use skep_ledger::{Amount, ChainId, Params, Refusal, State};
use skep_types::NodeId;

/// What a ledger begins with.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Genesis {
    /// Figures of the laws.
    pub params: Params,
    /// When it begins, Unix seconds.
    pub time_s: u64,
    /// Who agrees on the first block.
    pub validators: Validators,
    /// What accounts begin with, in the order of their keys, each key once. None in a network that is for everybody.
    pub grants: Vec<(NodeId, Amount)>,
}

impl Genesis {
    /// The name of the network that begins so.
    pub fn chain(&self) -> ChainId {
        ChainId(hash(b"skep genesis 1\0", self))
    }

    /// The state before the first block.
    ///
    /// # Errors
    /// [`Refusal::Field`] for figures that no ledger may have.
    pub fn state(&self) -> Result<State, Refusal> {
        let mut state = State::new(self.chain(), self.params, self.time_s)?;
        let first: Vec<_> = self.validators.iter().map(|one| (one.id, one.power)).collect();
        state.seat_first(&first)?;
        if !self.grants.windows(2).all(|pair| pair[0].0 < pair[1].0) {
            return Err(Refusal::Field("grants are in the order of their keys, each key once"));
        }
        state.grant_first(&self.grants)?;
        Ok(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validators::Validator;
    use skep_ledger::SUPPLY_MAX;

    #[test]
    fn a_name_is_this() {
        let validators = Validators::new(vec![Validator { id: NodeId([1; 32]), power: 1 }]).unwrap();
        let genesis = Genesis { params: Params::default(), time_s: 1_700_000_000, validators, grants: Vec::new() };
        let name: String = genesis.chain().0.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(name, "1650c00ee4c5cf9e72b56ee4a53f536da54cd87794822365bbd6f329a100d567");
        assert_ne!(Genesis { time_s: 0, ..genesis.clone() }.chain(), genesis.chain());
        let granted = Genesis { grants: vec![(NodeId([2; 32]), Amount(5))], ..genesis.clone() };
        assert_ne!(granted.chain(), genesis.chain(), "a grant is in the name");
    }

    #[test]
    fn grants_are_in_order_once_and_no_more_than_may_exist() {
        let validators = Validators::new(vec![Validator { id: NodeId([1; 32]), power: 1 }]).unwrap();
        let state = |grants: &[(u8, u64)]| {
            let grants = grants.iter().map(|(who, amount)| (NodeId([*who; 32]), Amount(*amount))).collect();
            Genesis { params: Params::default(), time_s: 1, validators: validators.clone(), grants }.state()
        };
        let good = state(&[(2, 5), (3, 7)]).unwrap();
        assert_eq!(good.account(&NodeId([3; 32])).balance, Amount(7));
        assert_eq!((good.supply().unwrap(), good.audit().unwrap().total().unwrap()), (Amount(12), Amount(12)));
        for refused in [&[(3, 5), (2, 7)][..], &[(2, 5), (2, 7)], &[(2, 0)], &[(2, SUPPLY_MAX), (3, 1)]] {
            assert!(state(refused).is_err(), "{refused:?}");
        }
    }
}
