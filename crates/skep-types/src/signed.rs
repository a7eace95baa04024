//! Statements that a machine signs with its key: what they share.
//!
//! A signed statement is the `borsh` encoding of the statement followed by 64 bytes of ed25519 signature. What is signed is the
//! statement's context (an ASCII text that ends with a zero byte and names the format and its version, so that no statement can
//! pass for another kind) followed by the same encoding. One verification rule holds everywhere, ZIP-215; this crate does not
//! bring the arithmetic, so whoever verifies hands in the function.
//!
//! A statement is *expiring*: it says in Unix seconds when it ends, and nobody may sign for longer than [`Statement::LIFETIME_S_MAX`].
//! Clocks may differ by [`CLOCK_SKEW_S`]. A statement with a higher sequence number replaces the signer's older one; the same
//! or a lower number is a replay.

use crate::NodeId;
use borsh::{BorshDeserialize, BorshSerialize};
use thiserror::Error;

/// How far the clocks of two machines may differ.
pub const CLOCK_SKEW_S: u64 = 30;

/// Why a statement is not taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StatementError {
    /// It has more bytes than any statement of its kind.
    #[error("{bytes} bytes are more than the {max} of any such statement")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The bytes are not a statement.
    #[error("not a statement of this kind: {0}")]
    Malformed(String),
    /// A field has a value that no statement may have.
    #[error("{0}")]
    Field(&'static str),
    /// Its time is over.
    #[error("it expired at {expires}, and it is {now}")]
    Expired {
        /// When it ended, Unix seconds.
        expires: u64,
        /// The verifier's clock, Unix seconds.
        now: u64,
    },
    /// It would be valid for longer than is allowed.
    #[error("it is signed until {expires}, later than the {latest} that is allowed now")]
    TooFar {
        /// When it would end, Unix seconds.
        expires: u64,
        /// The latest end that the verifier takes now, Unix seconds.
        latest: u64,
    },
    /// The signature is not the signer's.
    #[error("the signature is not that of {0}")]
    Forged(NodeId),
    /// The same or a newer statement of this signer is known.
    #[error("number {seq} is not above the {known} that is known")]
    Replayed {
        /// Its sequence number.
        seq: u64,
        /// The highest number known.
        known: u64,
    },
}

/// Something that a machine signs.
pub trait Statement: BorshSerialize + BorshDeserialize {
    /// Names the format and its version; ends with a zero byte.
    const CONTEXT: &'static [u8];
    /// The longest signed encoding.
    const BYTES_MAX: usize;
    /// The longest time from signing to expiry.
    const LIFETIME_S_MAX: u64;

    /// Whose key signs.
    fn signer(&self) -> NodeId;
    /// When it ends, Unix seconds.
    fn expires(&self) -> u64;
    /// Grows with each statement of the signer.
    fn seq(&self) -> u64;
    /// Checks the fields that have limits.
    ///
    /// # Errors
    /// [`StatementError::Field`].
    fn check(&self) -> Result<(), StatementError>;
}

/// The arithmetic of ed25519. Signing is deterministic, so this is a pure function of its arguments and the key.
pub trait Keys {
    /// Signs with this machine's key.
    fn sign(&self, message: &[u8]) -> [u8; 64];
    /// Whether `signature` is `signer`'s over `message`, by the rule of ZIP-215.
    fn verify(&self, signer: &NodeId, message: &[u8], signature: &[u8; 64]) -> bool;
}

/// A statement with its signature.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Signed<T> {
    /// What is said.
    pub statement: T,
    /// By whom: 64 bytes of ed25519.
    pub signature: [u8; 64],
}

impl<T: Statement> Signed<T> {
    /// Signs a statement. The keys must be the signer's, or nobody takes it.
    ///
    /// # Errors
    /// [`StatementError::Field`] and [`StatementError::TooLong`] for a statement that nobody would take.
    pub fn sign(statement: T, keys: &impl Keys) -> Result<Self, StatementError> {
        statement.check()?;
        let signature = keys.sign(&message(&statement)?);
        let signed = Self { statement, signature };
        signed.encode()?;
        Ok(signed)
    }

    /// The canonical bytes.
    ///
    /// # Errors
    /// [`StatementError::TooLong`].
    pub fn encode(&self) -> Result<Vec<u8>, StatementError> {
        let bytes = borsh::to_vec(self).map_err(|error| StatementError::Malformed(error.to_string()))?;
        within::<T>(bytes.len())?;
        Ok(bytes)
    }

    /// The bytes that the signature is over: the context, and the encoding of the statement.
    ///
    /// # Errors
    /// [`StatementError::Malformed`] if memory ends.
    pub fn to_sign(&self) -> Result<Vec<u8>, StatementError> {
        message(&self.statement)
    }

    /// Reads a statement without believing it: only [`Self::verify`] says whether it holds.
    ///
    /// # Errors
    /// [`StatementError::TooLong`], [`StatementError::Malformed`], [`StatementError::Field`].
    pub fn decode(bytes: &[u8]) -> Result<Self, StatementError> {
        within::<T>(bytes.len())?;
        let signed: Self = borsh::from_slice(bytes).map_err(|error| StatementError::Malformed(error.to_string()))?;
        signed.statement.check()?;
        Ok(signed)
    }

    /// Whether the statement holds at `now_s`; the cheap checks come first. One that came inside another message has not been
    /// through [`Self::decode`], so length and fields are checked here too.
    ///
    /// # Errors
    /// All of [`StatementError`] but [`StatementError::Replayed`], which [`Self::replaces`] says.
    pub fn verify(&self, now_s: u64, keys: &impl Keys) -> Result<(), StatementError> {
        self.statement.check()?;
        let expires = self.statement.expires();
        if expires <= now_s {
            return Err(StatementError::Expired { expires, now: now_s });
        }
        let latest = now_s.saturating_add(T::LIFETIME_S_MAX + CLOCK_SKEW_S);
        if expires > latest {
            return Err(StatementError::TooFar { expires, latest });
        }
        let message = message(&self.statement)?;
        within::<T>(message.len() - T::CONTEXT.len() + 64)?;
        let signer = self.statement.signer();
        if !keys.verify(&signer, &message, &self.signature) {
            return Err(StatementError::Forged(signer));
        }
        Ok(())
    }

    /// Whether this statement is newer than another one of the same signer.
    ///
    /// # Errors
    /// [`StatementError::Replayed`] if it is not.
    pub fn replaces(&self, older: &Self) -> Result<(), StatementError> {
        let (seq, known) = (self.statement.seq(), older.statement.seq());
        if seq > known { Ok(()) } else { Err(StatementError::Replayed { seq, known }) }
    }
}

fn within<T: Statement>(bytes: usize) -> Result<(), StatementError> {
    if bytes <= T::BYTES_MAX { Ok(()) } else { Err(StatementError::TooLong { bytes, max: T::BYTES_MAX }) }
}

/// What is signed.
fn message<T: Statement>(statement: &T) -> Result<Vec<u8>, StatementError> {
    let mut bytes = T::CONTEXT.to_vec();
    statement.serialize(&mut bytes).map_err(|error| StatementError::Malformed(error.to_string()))?;
    Ok(bytes)
}
