//! The write-ahead log: what a validator heard and said at the height that is not final yet, so that after a crash it says the same.
//!
//! A log is a sequence of frames: length of the record (`u32`, little-endian), the first 8 bytes of BLAKE3(`"skep log 1\0"` ‖ record), and the
//! record, `borsh` of [`Record`]. The first record is [`Record::Begin`]; a log is emptied when its height is final and the block is on disk.
//!
//! A crash leaves any part of what was not synced yet. So reading ends at the first frame that is cut off or does not match its hash. Nothing
//! was said that rests on what comes after it, because the engine syncs before it speaks.

use crate::block::{Block, BlockId};
use crate::certificate::Polka;
use crate::vote::{Proposal, Signed, Vote};
use borsh::{BorshDeserialize, BorshSerialize};
use skep_types::NodeId;

/// The longest record: a block with its frame.
pub const RECORD_BYTES_MAX: usize = crate::block::BLOCK_BYTES_MAX + 1024;
const CONTEXT: &[u8] = b"skep log 1\0";
/// Bytes before a record.
const HEAD: usize = 12;

/// Why a validator waits no longer for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub enum Wait {
    /// For a proposal.
    Propose,
    /// For a quorum of prevotes for one block.
    Prevote,
    /// For a quorum of precommits for one block.
    Precommit,
}

/// What changed what the validator will say.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Record {
    /// The height that the log is of.
    Begin {
        /// Its number.
        height: u64,
    },
    /// A vote, of others or its own.
    Vote(Signed<Vote>),
    /// A proposal, of others or its own.
    Proposal(Signed<Proposal>),
    /// A proof of prevotes.
    Polka(Polka),
    /// Time was over.
    Timeout {
        /// In which round.
        round: u32,
        /// For what.
        wait: Wait,
    },
    /// A proposed block was tried out.
    Tried {
        /// The round in which it was proposed.
        round: u32,
        /// By whom.
        proposer: NodeId,
        /// Which block.
        id: BlockId,
        /// Whether it is valid.
        valid: bool,
        /// The block itself, unless it stands in the log before.
        block: Option<Box<Block>>,
    },
}

impl Record {
    /// The frame.
    pub fn frame(&self) -> Vec<u8> {
        let mut frame = vec![0; HEAD];
        // Writing to memory does not fail; if it did, the hash would not match.
        let _ = self.serialize(&mut frame);
        let hash = hash(&frame[HEAD..]);
        let bytes = (frame.len() - HEAD) as u32;
        frame[..4].copy_from_slice(&bytes.to_le_bytes());
        frame[4..HEAD].copy_from_slice(&hash);
        frame
    }
}

fn hash(record: &[u8]) -> [u8; 8] {
    let mut first = [0; 8];
    let mut hasher = blake3::Hasher::new();
    first.copy_from_slice(&hasher.update(CONTEXT).update(record).finalize().as_bytes()[..8]);
    first
}

/// Reads a log as far as it is whole. Also says how many bytes that is: what comes after them must be cut off before more is appended.
pub fn read(log: &[u8]) -> (Vec<Record>, usize) {
    let (mut records, mut whole) = (Vec::new(), 0);
    while let Some((record, bytes)) = next(&log[whole..]) {
        records.push(record);
        whole += bytes;
    }
    (records, whole)
}

fn next(log: &[u8]) -> Option<(Record, usize)> {
    let (head, rest) = log.split_at_checked(HEAD)?;
    let bytes = u32::from_le_bytes(head[..4].try_into().ok()?) as usize;
    let record = rest.get(..bytes).filter(|_| bytes <= RECORD_BYTES_MAX)?;
    let same = head[4..] == hash(record);
    Some((borsh::from_slice(record).ok().filter(|_| same)?, HEAD + bytes))
}
