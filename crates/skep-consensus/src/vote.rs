//! What validators say: proposals and votes, and the bytes that they sign.
//!
//! What is signed is a context that ends with a zero byte, the 32 bytes of the network's [`ChainId`], and the `borsh`
//! encoding of what is said without who says it, for that is what the key shows.
//!
//! ```text
//! vote      "skep vote 1\0"      ‖ chain ‖ height u64 ‖ round u32 ‖ kind u8 ‖ block 0 | 1 ‖ 32 bytes
//! proposal  "skep proposal 1\0"  ‖ chain ‖ height u64 ‖ round u32 ‖ locked 0 | 1 ‖ u32 ‖ block 32 bytes
//! ```
//!
//! Tendermint's rule, which the log keeps over a restart: a validator says one thing at most of each kind in each round of each height.
//! Two that differ are [evidence](crate::evidence) against it.

use crate::block::BlockId;
use borsh::{BorshDeserialize, BorshSerialize};
use skep_ledger::ChainId;
use skep_types::NodeId;
use skep_types::signed::Keys;

const VOTE: &[u8] = b"skep vote 1\0";
const PROPOSAL: &[u8] = b"skep proposal 1\0";

/// 64 bytes of ed25519, verified by the rule of ZIP-215.
pub type Signature = [u8; 64];

/// The two votes of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub enum Kind {
    /// The proposal is good.
    Prevote,
    /// A quorum says so.
    Precommit,
}

/// A vote for a block, or for none.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Vote {
    /// Of which block.
    pub height: u64,
    /// In which round of it.
    pub round: u32,
    /// Which vote.
    pub kind: Kind,
    /// For what.
    pub block: Option<BlockId>,
    /// Whose.
    pub validator: NodeId,
}

/// A proposed block.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Proposal {
    /// Of which number.
    pub height: u64,
    /// In which round.
    pub round: u32,
    /// The earlier round in which a quorum prevoted for it, if it was proposed before.
    pub locked: Option<u32>,
    /// What is proposed.
    pub block: BlockId,
    /// By whom.
    pub validator: NodeId,
}

/// What a validator may be held to.
pub trait Said: BorshSerialize + BorshDeserialize + Clone + PartialEq {
    /// Who says it.
    fn validator(&self) -> NodeId;
    /// The bytes that are signed.
    fn to_sign(&self, chain: &ChainId) -> Vec<u8>;
}

fn bytes(context: &[u8], chain: &ChainId, said: &impl BorshSerialize) -> Vec<u8> {
    let mut bytes = [context, &chain.0[..]].concat();
    // Writing to memory does not fail; if it did, the signature would hold for nothing.
    let _ = said.serialize(&mut bytes);
    bytes
}

impl Said for Vote {
    fn validator(&self) -> NodeId {
        self.validator
    }

    fn to_sign(&self, chain: &ChainId) -> Vec<u8> {
        bytes(VOTE, chain, &(self.height, self.round, self.kind, self.block))
    }
}

impl Said for Proposal {
    fn validator(&self) -> NodeId {
        self.validator
    }

    fn to_sign(&self, chain: &ChainId) -> Vec<u8> {
        bytes(PROPOSAL, chain, &(self.height, self.round, self.locked, self.block))
    }
}

/// Something said, with the signature of who says it.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Signed<T> {
    /// What.
    pub said: T,
    /// Over [`Said::to_sign`].
    pub signature: Signature,
}

impl<T: Said> Signed<T> {
    /// Signs with the key of the validator that it names.
    pub fn sign(said: T, chain: &ChainId, keys: &impl Keys) -> Self {
        let signature = keys.sign(&said.to_sign(chain));
        Self { said, signature }
    }

    /// Whether the validator said this.
    pub fn holds(&self, chain: &ChainId, keys: &impl Keys) -> bool {
        keys.verify(&self.said.validator(), &self.said.to_sign(chain), &self.signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signed_bytes_are_these() {
        let (chain, block, validator) = (ChainId([9; 32]), BlockId([7; 32]), NodeId([1; 32]));
        let vote = Vote { height: 5, round: 2, kind: Kind::Precommit, block: Some(block), validator };
        let expected = [VOTE, &[9; 32], &[5, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1, 1], &[7; 32]].concat();
        assert_eq!(vote.to_sign(&chain), expected);
        let nil = Vote { block: None, kind: Kind::Prevote, ..vote.clone() };
        let expected = [VOTE, &[9; 32], &[5, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0]].concat();
        assert_eq!(nil.to_sign(&chain), expected);
        let proposal = Proposal { height: 5, round: 2, locked: Some(1), block, validator };
        let expected = [PROPOSAL, &[9; 32], &[5, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1, 1, 0, 0, 0], &[7; 32]].concat();
        assert_eq!(proposal.to_sign(&chain), expected);
    }

    #[test]
    fn an_encoding_is_this() {
        let vote = Vote {
            height: 5,
            round: 2,
            kind: Kind::Prevote,
            block: Some(BlockId([7; 32])),
            validator: NodeId([1; 32]),
        };
        let signed = Signed { said: vote, signature: [3; 64] };
        let expected = [&[5u8, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 1][..], &[7; 32], &[1; 32], &[3; 64]].concat();
        assert_eq!(borsh::to_vec(&signed).unwrap(), expected);
    }
}
