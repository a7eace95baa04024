//! What machines say to each other about blocks. Connections prove who speaks; what must hold beyond that is signed.
//!
//! A message is `borsh` of [`Message`], at most [`MESSAGE_BYTES_MAX`] bytes.

use crate::block::{BLOCK_BYTES_MAX, Block, Decided};
use crate::certificate::{Passage, Polka};
use crate::vote::{Proposal, Signed, Vote};
use borsh::{BorshDeserialize, BorshSerialize};
use skep_ledger::{Tx, VALIDATORS_MAX};
use skep_types::signed::Signed as SignedStatement;
use thiserror::Error;

/// The longest message: one block that is final, or several short ones.
pub const MESSAGE_BYTES_MAX: usize = BLOCK_BYTES_MAX + (1 << 16);
/// The most blocks of one answer.
pub const BLOCKS_MAX: usize = 64;

/// Why bytes are no message.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MessageError {
    /// There are too many.
    #[error("{0} bytes are more than any message has")]
    TooLong(usize),
    /// They are nothing of the kind.
    #[error("not a message about blocks: {0}")]
    Malformed(String),
    /// A list is longer than it may be.
    #[error("it lists more than there can be")]
    TooMany,
}

/// A message about blocks.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Message {
    /// A vote, of the sender or not.
    Vote(Signed<Vote>),
    /// A proposal with its block.
    Proposal(Signed<Proposal>, Box<Block>),
    /// Proves prevotes.
    Polka(Polka),
    /// Lets into a round.
    Passage(Passage),
    /// A transaction for every pool.
    Tx(Box<SignedStatement<Tx>>),
    /// How far the sender is.
    Status {
        /// Number of its last final block.
        height: u64,
    },
    /// Asks for final blocks.
    Ask {
        /// From this number on.
        from: u64,
    },
    /// Final blocks in order, at most [`BLOCKS_MAX`]: the answer.
    Blocks(Vec<Decided>),
}

impl Message {
    /// The bytes.
    ///
    /// # Errors
    /// [`MessageError::TooLong`].
    pub fn encode(&self) -> Result<Vec<u8>, MessageError> {
        let bytes = borsh::to_vec(self).map_err(|error| MessageError::Malformed(error.to_string()))?;
        if bytes.len() <= MESSAGE_BYTES_MAX { Ok(bytes) } else { Err(MessageError::TooLong(bytes.len())) }
    }

    /// Reads a message; what it says is not checked yet.
    ///
    /// # Errors
    /// [`MessageError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(MessageError::TooLong(bytes.len()));
        }
        let message: Self = borsh::from_slice(bytes).map_err(|error| MessageError::Malformed(error.to_string()))?;
        if message.is_bounded() { Ok(message) } else { Err(MessageError::TooMany) }
    }

    /// Whether its lists are no longer than they may be; [`Self::decode`] asks that too.
    pub fn is_bounded(&self) -> bool {
        let signers = |block: &Block| block.certificate.as_ref().map_or(0, |it| it.signatures.len());
        match self {
            Self::Polka(polka) => polka.signatures.len() <= VALIDATORS_MAX,
            Self::Passage(passage) => passage.votes.len() <= VALIDATORS_MAX,
            Self::Proposal(_, block) => signers(block) <= VALIDATORS_MAX,
            Self::Blocks(blocks) => {
                let one = |it: &Decided| signers(&it.block).max(it.certificate.signatures.len()) <= VALIDATORS_MAX;
                blocks.len() <= BLOCKS_MAX && blocks.iter().all(one)
            }
            Self::Vote(_) | Self::Tx(_) | Self::Status { .. } | Self::Ask { .. } => true,
        }
    }
}
