//! What a machine keeps of the state so that a start takes the blocks since then and not all of them.
//!
//! A snapshot is `borsh` of [`Snapshot`]: the head of the chain and every row of the state, in the order of their keys. It is for the machine that
//! made it: the root shows that the rows are those of its block, but no header names who was
//! [missing](crate::Head::missing) in the last certificates.

use crate::chain::Head;
use borsh::{BorshDeserialize, BorshSerialize};
use skep_ledger::{Key, Refusal, State};

/// A chain at one of its blocks.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Snapshot {
    /// The block.
    pub head: Head,
    /// The rows after it, each with its encoding.
    pub rows: Vec<(Key, Vec<u8>)>,
}

impl Snapshot {
    pub(crate) fn of(head: &Head, state: &State) -> Result<Self, Refusal> {
        let row = |key: Key| Ok((key, state.row(&key)?.unwrap_or_default()));
        Ok(Self { head: head.clone(), rows: state.keys().map(row).collect::<Result<_, Refusal>>()? })
    }
}
