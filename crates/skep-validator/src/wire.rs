//! What validators and those who ask them say, as packets of [`skep_net`].
//!
//! # Between validators
//! A stream of blocks (byte 9) begins with [`Said::Hello`], which names the ledger; a stream that names another one is refused. Then each side
//! says on streams that it opened itself [`Said::Engine`] and [`Said::Txs`], any number of each. A validator opens two streams to each
//! other one: what is urgent goes over the first, transactions and final blocks over the second. Only validators, and machines that
//! their owner named, are listened to.
//!
//! # Asking
//! On a stream for a ledger (byte 10) go [`Ask`]s one way and [`Answer`]s the other. Answers come in any order; the number of a question
//! is in its answer. At most [`SUBMITS_MAX`] submissions may be under way on one stream.
//!
//! All of it is `borsh`; there is one encoding of each.

use borsh::{BorshDeserialize, BorshSerialize};
use skep_consensus::light::Shown;
use skep_consensus::{BlockId, Message, MessageError};
use skep_ledger::{ChainId, Key, Proof, Tx};
use skep_net::{PACKET_BYTES_MAX, Packet};
use skep_types::NodeId;
use skep_types::signed::Signed;

/// The most transactions of one packet.
pub const TXS_MAX: usize = 1024;
/// The most submissions that may be under way on one stream.
pub const SUBMITS_MAX: usize = 64;
/// The longest reason in an answer, bytes.
pub const REASON_BYTES_MAX: usize = 300;

/// A packet between validators.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Said {
    /// Begins a stream.
    Hello {
        /// Which ledger.
        chain: ChainId,
        /// Drawn when the sender started: another number means that it was started again, and that streams to it are dead.
        life: u64,
    },
    /// A message of the engine.
    Engine(Message),
    /// Transactions for every pool, at most [`TXS_MAX`].
    Txs(Vec<Signed<Tx>>),
}

impl Said {
    /// The packet; nothing if it is too long.
    pub fn packet(&self) -> Option<Packet> {
        Packet::new(&borsh::to_vec(self).ok()?)
    }

    /// Reads a packet; what it says is not checked yet.
    ///
    /// # Errors
    /// [`MessageError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        let said: Self = decode(bytes)?;
        match &said {
            Self::Engine(message) if !message.is_bounded() => Err(MessageError::TooMany),
            Self::Txs(txs) if txs.len() > TXS_MAX => Err(MessageError::TooMany),
            _ => Ok(said),
        }
    }
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Ask {
    /// How far the ledger is here.
    Status,
    /// A row of the state, with its proof.
    Row(Key),
    /// Transactions, at most [`TXS_MAX`], to be answered when what becomes of each is known.
    Submit {
        /// The number of the answer.
        number: u32,
        /// Signed by their payers.
        txs: Vec<Signed<Tx>>,
    },
}

impl Ask {
    /// The packet; nothing if it is too long.
    pub fn packet(&self) -> Option<Packet> {
        Packet::new(&borsh::to_vec(self).ok()?)
    }

    /// Reads a question.
    ///
    /// # Errors
    /// [`MessageError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        match decode(bytes)? {
            Self::Submit { txs, .. } if txs.len() > TXS_MAX => Err(MessageError::TooMany),
            ask => Ok(ask),
        }
    }
}

/// How far a validator is.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Status {
    /// The ledger.
    pub chain: ChainId,
    /// Who answers.
    pub me: NodeId,
    /// Number of the last final block.
    pub height: u64,
    /// The last final block.
    pub block: BlockId,
    /// Its time, Unix seconds.
    pub time_s: u64,
    /// How many agree on the next block.
    pub validators: u32,
    /// The power of this one among them; 0 if it is none.
    pub power: u64,
    /// All power.
    pub total: u64,
    /// Transactions that wait here.
    pub waiting: u64,
    /// Transactions that became final since this process started.
    pub done: u64,
}

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Outcome {
    /// It stands in this final block, which is on this machine's disk.
    Final {
        /// Number of the block.
        height: u64,
    },
    /// It was not taken.
    Refused {
        /// Why, at most [`REASON_BYTES_MAX`] bytes.
        reason: String,
    },
    /// It waited for longer than this machine watches: it may become final yet.
    Unknown,
}

/// A row of the state under a final block.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Row {
    /// The block, for a light client.
    pub shown: Shown,
    /// The row's encoding; none if there is no such row.
    pub row: Option<Vec<u8>>,
    /// Proves either under the block's state root.
    pub proof: Proof,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Answer {
    /// To [`Ask::Status`].
    Status(Status),
    /// To [`Ask::Row`]; before the first block nothing is proved.
    Row(Option<Box<Row>>),
    /// To [`Ask::Submit`].
    Submitted {
        /// The number of the question.
        number: u32,
        /// One for each transaction, in order.
        outcomes: Vec<Outcome>,
    },
}

impl Answer {
    /// The packet; nothing if it is too long.
    pub fn packet(&self) -> Option<Packet> {
        Packet::new(&borsh::to_vec(self).ok()?)
    }

    /// Reads an answer; what it proves is for the reader to check.
    ///
    /// # Errors
    /// [`MessageError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        decode(bytes)
    }
}

fn decode<T: BorshDeserialize>(bytes: &[u8]) -> Result<T, MessageError> {
    if bytes.len() > PACKET_BYTES_MAX {
        return Err(MessageError::TooLong(bytes.len()));
    }
    borsh::from_slice(bytes).map_err(|error| MessageError::Malformed(error.to_string()))
}
