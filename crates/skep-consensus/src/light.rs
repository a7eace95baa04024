//! A light client: from one trusted block to later ones and to rows of the state, with no trust in whoever sends them.
//!
//! Who trusts a block trusts its state root and the validators of the next one. From there, [`Trusted::follow`] takes the next
//! block's header, and [`Trusted::leap`] one far ahead, if validators with more than a third of the trusted power signed it too: at least one
//! of them is honest as long as less than a third is not. Both need the certificate of the new header's own validators. A trusted block is good for
//! a limited time, which the caller states: who validated long ago has nothing to lose any more by signing another past.
//!
//! [`Trusted::shows`] checks a row, or that there is none, by a proof of the ledger.

use crate::block::{BlockId, Header};
use crate::certificate::{Certificate, CertificateError};
use crate::genesis::Genesis;
use crate::validators::Validators;
use borsh::{BorshDeserialize, BorshSerialize};
use skep_ledger::{ChainId, Hash, Key, Proof, Refusal};
use skep_types::signed::{CLOCK_SKEW_S, Keys};
use thiserror::Error;

/// Why something is not believed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LightError {
    /// It is of another network.
    #[error("it is for another network")]
    Chain,
    /// The header does not come after the trusted block, or not right after it.
    #[error("header {got} does not follow block {trusted}")]
    Place {
        /// Number of the trusted block.
        trusted: u64,
        /// Number of the header.
        got: u64,
    },
    /// The trusted block is too old to be built on.
    #[error("the trusted block is of {trusted_s}, and it is {now_s}")]
    Expired {
        /// Time of the trusted block, Unix seconds.
        trusted_s: u64,
        /// The time here, Unix seconds.
        now_s: u64,
    },
    /// The header is from the future, or from before the trusted block.
    #[error("the header is of {time_s}, and it is {now_s}")]
    Time {
        /// Time of the header, Unix seconds.
        time_s: u64,
        /// The time here, Unix seconds.
        now_s: u64,
    },
    /// The validators handed in are not those that a header names.
    #[error("these are not the validators that the header names")]
    Validators,
    /// The certificate does not prove the header.
    #[error("the certificate does not prove the header: {0}")]
    Certificate(#[from] CertificateError),
    /// Too few of those who are trusted signed.
    #[error("a power of {signed} of the trusted {total} signed, which is too little to leap")]
    Overlap {
        /// The trusted power that signed.
        signed: u64,
        /// All trusted power.
        total: u64,
    },
    /// The row is not what it is said to be, or is not proved.
    #[error(transparent)]
    Row(#[from] Refusal),
}

/// What a machine sends to be believed.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Shown {
    /// Of a final block.
    pub header: Header,
    /// Proves it.
    pub certificate: Certificate,
    /// Those who agreed on it.
    pub validators: Validators,
    /// Those who agree on the next one, if they are others.
    pub next: Option<Validators>,
}

impl Shown {
    /// Whether the header is final, if these validators are the right ones.
    ///
    /// # Errors
    /// [`LightError::Validators`], [`LightError::Certificate`].
    pub fn verify(&self, keys: &impl Keys) -> Result<(), LightError> {
        let (header, certificate) = (&self.header, &self.certificate);
        if header.validators != self.validators.hash() || header.next != self.next().hash() {
            return Err(LightError::Validators);
        }
        if (certificate.height, certificate.block) != (header.height, header.id()) {
            return Err(CertificateError::OtherBlock.into());
        }
        Ok(certificate.verify(&header.chain, &self.validators, None, keys)?)
    }

    fn next(&self) -> &Validators {
        self.next.as_ref().unwrap_or(&self.validators)
    }
}

/// A block that is trusted, and all that follows from it.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Trusted {
    /// The network.
    pub chain: ChainId,
    /// Number of the block.
    pub height: u64,
    /// The block.
    pub id: BlockId,
    /// Its time, Unix seconds.
    pub time_s: u64,
    /// The state after it; before the first block nothing is known of the state.
    pub root: Option<Hash>,
    /// Those who agree on the next block.
    pub next: Validators,
}

impl Trusted {
    /// Begins with how the network began, which its name proves.
    pub fn begin(genesis: &Genesis) -> Self {
        let chain = genesis.chain();
        let (id, next) = (BlockId(chain.0), genesis.validators.clone());
        Self { chain, height: 0, id, time_s: genesis.time_s, root: None, next }
    }

    /// Goes on to the next block.
    ///
    /// # Errors
    /// [`LightError`]; what is trusted stays as it was.
    pub fn follow(&mut self, shown: &Shown, now_s: u64, trust_s: u64, keys: &impl Keys) -> Result<(), LightError> {
        let header = &shown.header;
        if header.height != self.height + 1 || header.parent != self.id {
            return Err(LightError::Place { trusted: self.height, got: header.height });
        }
        if shown.validators != self.next {
            return Err(LightError::Validators);
        }
        self.check(header, now_s, trust_s)?;
        shown.verify(keys)?;
        self.trust(shown);
        Ok(())
    }

    /// Goes on to a block far ahead.
    ///
    /// # Errors
    /// [`LightError`]; what is trusted stays as it was. After [`LightError::Overlap`] one in between may do.
    pub fn leap(&mut self, shown: &Shown, now_s: u64, trust_s: u64, keys: &impl Keys) -> Result<(), LightError> {
        let header = &shown.header;
        if header.height <= self.height {
            return Err(LightError::Place { trusted: self.height, got: header.height });
        }
        self.check(header, now_s, trust_s)?;
        let signers = shown.certificate.signatures.iter().filter_map(|(place, _)| shown.validators.at((*place).into()));
        // The trusted power counts, not the one that the header gives to the same key.
        let signed = signers.filter_map(|one| self.next.get(&one.id)).map(|one| one.power).sum();
        let total = self.next.total();
        // A certificate may name a place twice; that one is refused below.
        if u128::from(signed) * 3 <= u128::from(total) {
            return Err(LightError::Overlap { signed, total });
        }
        shown.verify(keys)?;
        self.trust(shown);
        Ok(())
    }

    fn check(&self, header: &Header, now_s: u64, trust_s: u64) -> Result<(), LightError> {
        if header.chain != self.chain {
            return Err(LightError::Chain);
        }
        if now_s > self.time_s.saturating_add(trust_s) {
            return Err(LightError::Expired { trusted_s: self.time_s, now_s });
        }
        if header.time_s < self.time_s || header.time_s > now_s.saturating_add(CLOCK_SKEW_S) {
            return Err(LightError::Time { time_s: header.time_s, now_s });
        }
        Ok(())
    }

    fn trust(&mut self, shown: &Shown) {
        let header = &shown.header;
        (self.height, self.id, self.time_s) = (header.height, header.id(), header.time_s);
        (self.root, self.next) = (Some(header.root), shown.next().clone());
    }

    /// Whether the row of `key` after this block has the encoding `row`, or there is none.
    ///
    /// # Errors
    /// [`LightError::Row`].
    pub fn shows(&self, proof: &Proof, key: &Key, row: Option<&[u8]>) -> Result<(), LightError> {
        let root = self.root.ok_or(Refusal::Proof("nothing is known of the state before the first block"))?;
        Ok(proof.shows(&root, key, row)?)
    }
}
