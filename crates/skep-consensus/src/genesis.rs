//! How a network's ledger begins: figures, time and first validators. Nobody has anything.
//!
//! The network's [`ChainId`] is BLAKE3(`"skep genesis 1\0"` ‖ `borsh` of [`Genesis`]), so whoever knows the name knows who began it.

use crate::block::hash;
use crate::validators::Validators;
use borsh::{BorshDeserialize, BorshSerialize};
use skep_ledger::{ChainId, Params, Refusal, State};

/// What a ledger begins with.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Genesis {
    /// Figures of the laws.
    pub params: Params,
    /// When it begins, Unix seconds.
    pub time_s: u64,
    /// Who agrees on the first block.
    pub validators: Validators,
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
        Ok(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validators::Validator;
    use skep_types::NodeId;

    #[test]
    fn a_name_is_this() {
        let validators = Validators::new(vec![Validator { id: NodeId([1; 32]), power: 1 }]).unwrap();
        let genesis = Genesis { params: Params::default(), time_s: 1_700_000_000, validators };
        let name: String = genesis.chain().0.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(name, "b155b8309cfb5f5e733847b4d56b52217b0f5030cd11434bfdeefe72d6e0b0e7");
        assert_ne!(Genesis { time_s: 0, ..genesis.clone() }.chain(), genesis.chain());
    }
}
