//! Ids, digests and ranges that every floor of the house speaks of, and their canonical encoding.
//!
//! - One key: a [`NodeId`] is an ed25519 public key, at once network address, account and signature.
//! - One hash: a [`ModelId`] is the BLAKE3 root of a model's file.
//! - What is stored or signed is encoded with `borsh`, which has exactly one encoding of each value.
//! - What a machine says of itself is a [signed], expiring statement, such as an [`offer`].
//!
//! People read ids as 64 lowercase hexadecimal digits; [`NodeId::short`] is for tables only.

mod id;
mod invite;
pub mod offer;
mod pass;
mod range;
mod relay;
pub mod signed;
pub mod wire;

pub use id::{IdError, ModelId, NodeId};
pub use invite::{
    INVITE_VERSION, Invite, InviteError, InviteTerms, MAX_GATEWAYS, MAX_INVITE_BYTES, MAX_INVITE_LINK_CHARS,
    MAX_INVITE_USES,
};
pub use pass::{
    CLOCKS_APART, DELEGATION_SECONDS, Delegation, MAX_DOORKEEPERS, MAX_REMOVALS, PASS_SECONDS, Pass, REMOVAL_SECONDS,
    Removal,
};
pub use range::{BlockRange, RangeError};
pub use relay::{Relay, RelayError};
