//! Names of networks and of what transactions open.

use borsh::{BorshDeserialize, BorshSerialize};
use skep_types::NodeId;
use std::fmt;

/// A network: the hash of its first block. It is in everything that is signed, so that nothing signed for one network holds in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct ChainId(pub [u8; 32]);

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A transaction, and what it opened: a tab, an order. An account uses each number once, so this names one thing for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct TxId {
    /// Who sent it.
    pub payer: NodeId,
    /// Its number among the payer's transactions, from 0.
    pub nonce: u64,
}

impl fmt::Display for TxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.payer.short(), self.nonce)
    }
}
