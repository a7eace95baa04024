//! Certificates: that a quorum said the same.
//!
//! A commit [`Certificate`] proves that a block is final. It lists the precommits of validators with more than two thirds of the power for that block, in one
//! round, by their places in the set that agrees on that height: place (`u16`) and signature (64 bytes), in rising order of places.
//! A [`Polka`] is the same of prevotes and proves what a round is locked on. A [`Passage`] lets a validator into a
//! round: precommits of a quorum in the round before, for whatever, or any votes of more than a third in the round itself.

use crate::block::BlockId;
use crate::validators::Validators;
use crate::vote::{Kind, Said, Signature, Signed, Vote};
use borsh::{BorshDeserialize, BorshSerialize};
use skep_ledger::ChainId;
use skep_types::NodeId;
use skep_types::signed::Keys;
use thiserror::Error;

/// Why a certificate proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CertificateError {
    /// It is about another block or height.
    #[error("it is not about this block")]
    OtherBlock,
    /// It names a place that no validator has, or names places out of order.
    #[error("its signatures are not in the order of the validators")]
    Places,
    /// It names a key that does not validate, or names one twice.
    #[error("{0} is no validator here, or is named twice")]
    NotValidator(NodeId),
    /// A signature is not the validator's.
    #[error("the signature is not that of {0}")]
    Forged(NodeId),
    /// Too few signed.
    #[error("a power of {signed} of {total} signed, which is too little")]
    Power {
        /// The power that signed.
        signed: u64,
        /// All power.
        total: u64,
    },
}

/// Proves that a block is final.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Certificate {
    /// Number of the block.
    pub height: u64,
    /// The round in which it was agreed on.
    pub round: u32,
    /// The block.
    pub block: BlockId,
    /// Places of validators, rising, with their signatures of the precommit.
    pub signatures: Vec<(u16, Signature)>,
}

impl Certificate {
    /// The precommit of the validator at a place.
    pub fn vote(&self, validator: NodeId) -> Vote {
        Vote { height: self.height, round: self.round, kind: Kind::Precommit, block: Some(self.block), validator }
    }

    /// Checks it against those who agree on this height. A signature that stands in `known`, a certificate that was verified, is not
    /// verified again.
    ///
    /// # Errors
    /// [`CertificateError`], but for [`CertificateError::OtherBlock`].
    pub fn verify(
        &self,
        chain: &ChainId,
        validators: &Validators,
        known: Option<&Self>,
        keys: &impl Keys,
    ) -> Result<(), CertificateError> {
        let mut signed = 0;
        for (at, (place, _)) in self.signatures.iter().enumerate() {
            let validator = validators.at(usize::from(*place)).ok_or(CertificateError::Places)?;
            if at > 0 && self.signatures[at - 1].0 >= *place {
                return Err(CertificateError::Places);
            }
            signed += validator.power;
        }
        // The power is counted first: signatures cost most.
        if !validators.is_quorum(signed) {
            return Err(CertificateError::Power { signed, total: validators.total() });
        }
        let known =
            known.filter(|known| (known.height, known.round, known.block) == (self.height, self.round, self.block));
        let fresh = |signature: &&(u16, Signature)| known.is_none_or(|known| !known.signatures.contains(signature));
        for (place, signature) in self.signatures.iter().filter(fresh) {
            let id = validators.at(usize::from(*place)).ok_or(CertificateError::Places)?.id;
            if !keys.verify(&id, &self.vote(id).to_sign(chain), signature) {
                return Err(CertificateError::Forged(id));
            }
        }
        Ok(())
    }

    /// Whether the validator at this place signed.
    pub fn has(&self, place: usize) -> bool {
        self.signatures.binary_search_by_key(&place, |(place, _)| usize::from(*place)).is_ok()
    }

    /// Adds a precommit that came late and was verified.
    pub fn add(&mut self, place: u16, signature: Signature) {
        if let Err(at) = self.signatures.binary_search_by_key(&place, |(place, _)| *place) {
            self.signatures.insert(at, (place, signature));
        }
    }
}

/// Proves that a quorum prevoted for a block in a round.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Polka {
    /// Number of the block.
    pub height: u64,
    /// Which round.
    pub round: u32,
    /// The block.
    pub block: BlockId,
    /// Validators with their signatures of the prevote.
    pub signatures: Vec<(NodeId, Signature)>,
}

/// Proves that a round may be entered.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Passage {
    /// Number of the block.
    pub height: u64,
    /// The round of the votes.
    pub round: u32,
    /// Whether votes of more than a third lead into this round, or precommits of a quorum into the next.
    pub skip: bool,
    /// Who voted what, with the signatures.
    pub votes: Vec<(NodeId, Kind, Option<BlockId>, Signature)>,
}

/// Checks votes of one height and round, one of each validator, and adds up their power.
pub(crate) fn power_of<'a>(
    votes: impl IntoIterator<Item = &'a Signed<Vote>>,
    chain: &ChainId,
    validators: &Validators,
    keys: &impl Keys,
) -> Result<u64, CertificateError> {
    let (mut seen, mut power) = (Vec::new(), 0);
    for vote in votes {
        let id = vote.said.validator;
        let validator = validators.get(&id).filter(|_| !seen.contains(&id));
        power += validator.ok_or(CertificateError::NotValidator(id))?.power;
        seen.push(id);
        if !vote.holds(chain, keys) {
            return Err(CertificateError::Forged(id));
        }
    }
    Ok(power)
}
