//! Blocks: transactions in order, and a header that stands for them and for everything before.
//!
//! A block is `borsh` of [`Block`], at most [`BLOCK_BYTES_MAX`] bytes. Its id is BLAKE3(`"skep block 1\0"` ‖ header). The header names the hashes
//! of the two other parts, BLAKE3 over their encodings; the state root, the validators of this block and those of the next one, all after its
//! transactions. So whoever trusts an id can check every row of the state by a short proof, and the certificate of the block that follows.
//!
//! A block is *valid* after another one if its number is the next one, its parent that block, its time not before that block's, its
//! proposer a validator, its certificate proves the parent, every one of its transactions applies, and root and validators are what
//! the laws of the ledger make of them. A validator votes only for blocks that are no more than [`CLOCK_SKEW_S`] ahead of its own
//! clock; what is final needs no clock.
//!
//! The first block, number 1, has the network's [`ChainId`] for its parent and no certificate.
//!
//! [`CLOCK_SKEW_S`]: skep_types::signed::CLOCK_SKEW_S

use crate::certificate::{Certificate, CertificateError};
use borsh::{BorshDeserialize, BorshSerialize};
use skep_ledger::{ChainId, Hash, Refusal, Tx};
use skep_types::NodeId;
use skep_types::signed::Signed;
use std::fmt;
use thiserror::Error;

/// The longest block in bytes: it takes a home's uplink of 10 Mbit/s a second to send it once.
pub const BLOCK_BYTES_MAX: usize = 1 << 20;
/// What of it transactions may take; header and a certificate of 100 validators have their place beside them.
pub const TXS_BYTES_MAX: usize = BLOCK_BYTES_MAX - 8192;
const CONTEXT: &[u8] = b"skep block 1\0";

/// A block and all before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct BlockId(pub [u8; 32]);

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What a block's id is over.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Header {
    /// Which network.
    pub chain: ChainId,
    /// Its number, from 1.
    pub height: u64,
    /// When it was proposed, Unix seconds, by its proposer's clock.
    pub time_s: u64,
    /// The block before it.
    pub parent: BlockId,
    /// Who made it.
    pub proposer: NodeId,
    /// Of the parent's certificate.
    pub certificate: Hash,
    /// Of the transactions.
    pub txs: Hash,
    /// The state root after it.
    pub root: Hash,
    /// Of those who agree on it.
    pub validators: Hash,
    /// Of those who agree on the next block.
    pub next: Hash,
}

impl Header {
    /// Its block's id.
    pub fn id(&self) -> BlockId {
        BlockId(hash(CONTEXT, self))
    }
}

/// A block.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Block {
    /// Stands for all of it.
    pub header: Header,
    /// Proves the parent; the first block has none.
    pub certificate: Option<Certificate>,
    /// In the order in which they are applied.
    pub txs: Vec<Signed<Tx>>,
}

impl Block {
    /// Its id.
    pub fn id(&self) -> BlockId {
        self.header.id()
    }

    /// Whether the parts are those that the header names, and it is no longer than a block may be.
    ///
    /// # Errors
    /// [`BlockError::Parts`], [`BlockError::TooLong`].
    pub fn check_parts(&self) -> Result<(), BlockError> {
        let bytes = borsh::object_length(self).map_err(|_| BlockError::Parts)?;
        if bytes > BLOCK_BYTES_MAX {
            return Err(BlockError::TooLong { bytes });
        }
        let same = self.header.certificate == hash(b"", &self.certificate) && self.header.txs == hash(b"", &self.txs);
        if same { Ok(()) } else { Err(BlockError::Parts) }
    }
}

/// BLAKE3 over a context and an encoding.
pub(crate) fn hash(context: &[u8], value: &impl BorshSerialize) -> Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(context);
    // A hasher takes everything.
    let _ = value.serialize(&mut hasher);
    *hasher.finalize().as_bytes()
}

/// A block that is final, and what proves it.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Decided {
    /// The block.
    pub block: Block,
    /// Its certificate, by those who agree on it.
    pub certificate: Certificate,
}

/// Why a block is not valid.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BlockError {
    /// It is too long.
    #[error("{bytes} bytes are more than the {BLOCK_BYTES_MAX} of any block")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Its parts are not those of its header.
    #[error("its parts are not those that its header names")]
    Parts,
    /// It does not follow the last block.
    #[error("block {got} does not follow block {last}")]
    Place {
        /// The number of the last block.
        last: u64,
        /// Its number.
        got: u64,
    },
    /// It is of another network.
    #[error("it is for another network")]
    Chain,
    /// Its proposer is no validator.
    #[error("its proposer {0} is not a validator")]
    Proposer(NodeId),
    /// It is from the future.
    #[error("its time is {time_s}, and it is {now_s}")]
    Time {
        /// Its time, Unix seconds.
        time_s: u64,
        /// The time here, Unix seconds.
        now_s: u64,
    },
    /// What it says of the last block's certificate does not hold.
    #[error("its certificate does not prove the block before it: {0}")]
    Certificate(#[from] CertificateError),
    /// The ledger refuses it, or the transaction at this place in it.
    #[error("the ledger refuses it: {0}")]
    Refused(#[from] Refusal),
    /// The state after it is another one.
    #[error("its state root or its validators are not what its transactions lead to")]
    Outcome,
}
