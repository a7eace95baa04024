//! Invites: a network's owner lets machines in.
//!
//! # Terms and signature
//! An [`Invite`] is its [`InviteTerms`] and the ed25519 signature of `b"skep invite 3\0"` followed by the terms in `borsh`, by the key
//! of the machine that began the network or of a doorkeeper, whose delegation is in the invite then (see [`Pass`](crate::Pass)). It
//! names up to [`MAX_GATEWAYS`] machines that let its holder in, so that one of them is there; the first is the one that signed. Each of
//! these believes the signature, keeps nothing about an invite before somebody presents it, and counts the machines that it let in
//! by the nonce. So an invite lets in its number of machines at each gateway that it names, and at no other.
//!
//! Whoever holds an invite may use it, so it is shown to nobody but those whom the owner invites. It holds no other secret: a key,
//! addresses, numbers, a signature, and the token that lets a machine use the network's relay.
//!
//! # Link
//! A link is `skep:` and the unpadded base32 (RFC 4648: letters and the digits 2 to 7, so that no digit looks like a letter) of one
//! byte, [`INVITE_VERSION`], and the invite in `borsh`, at most [`MAX_INVITE_BYTES`] together. It is written in lowercase and read
//! in any case. Every invite has one link in lowercase: padding, spare bits that are set, and bytes at the end are refused.
//!
//! | bytes | field | |
//! |---|---|---|
//! | 1 | version | 3 |
//! | 32 | network | the key of the machine that began it |
//! | 4 + | gateways | `u32` count, from 1 to [`MAX_GATEWAYS`]; each its key (32), and its addresses: `u32` count, at least 1 and [`MAX_ADDRS`] of all gateways together, each 0, IPv4 (4) and port (`u16`), or 1, IPv6 (16) and port |
//! | 8 | expires | `u64`: seconds since 1970 |
//! | 16 | nonce | random |
//! | 2 | uses | `u16`: machines, from 1 to [`MAX_INVITE_USES`] |
//! | 1 + | relay | 0 for none; or 1, its key (32), its token (16), and its address as those above |
//! | 1 + | by | 0 if the machine that began the network signed; or 1, and the delegation: the doorkeeper's key (32), `u64` end, signature (64) |
//! | 64 | signature | |
//!
//! All integers are little-endian.

use crate::wire::{MAX_ADDRS, Peer};
use crate::{Delegation, NodeId, Relay};
use borsh::{BorshDeserialize, BorshSerialize};
use data_encoding::BASE32_NOPAD;
use std::{fmt, str::FromStr};
use thiserror::Error;

/// The version of a link.
pub const INVITE_VERSION: u8 = 3;
/// The most machines that an invite names.
pub const MAX_GATEWAYS: usize = 4;
/// The most bytes of a link before base32; [`MAX_GATEWAYS`] with [`MAX_ADDRS`] addresses of IPv6, a relay and a delegation take 748. As
/// text it fits into one packet of a local network.
pub const MAX_INVITE_BYTES: usize = 768;
/// The most characters of a link.
pub const MAX_INVITE_LINK_CHARS: usize = SCHEME.len() + MAX_INVITE_BYTES.div_ceil(5) * 8;
/// The most machines that one invite may let in.
pub const MAX_INVITE_USES: u16 = 256;

const SCHEME: &str = "skep:";
/// Makes the signature one of an invite and of nothing else that the same key signs.
const CONTEXT: &[u8] = b"skep invite 3\0";

/// What an invite says.
#[derive(Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct InviteTerms {
    /// The key of the machine that began the network.
    pub network: NodeId,
    /// Who lets its holder in, from 1 to [`MAX_GATEWAYS`]; the first signs. Each has an address, and all together at most
    /// [`MAX_ADDRS`].
    pub gateways: Vec<Peer>,
    /// When it ends by a gateway's clock, in seconds since 1970.
    pub expires: u64,
    /// Random; tells this invite from others.
    pub nonce: [u8; 16],
    /// Machines that each gateway may let in, from 1 to [`MAX_INVITE_USES`].
    pub uses: u16,
    /// Passes bytes on between machines of the network that cannot reach each other.
    pub relay: Option<Relay>,
}

/// A signed permission to join a network.
#[derive(Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Invite {
    /// What was signed.
    pub terms: InviteTerms,
    /// The doorkeeper who signed; none if the machine that began the network did. Nothing in this crate checks it.
    pub by: Option<Box<Delegation>>,
    /// By the key of the first gateway; nothing in this crate checks it.
    pub signature: [u8; 64],
}

/// Why a text is not an invite.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InviteError {
    /// It does not begin as a link does.
    #[error("an invite begins with `{SCHEME}`")]
    Scheme,
    /// It is longer than any link.
    #[error("an invite is at most {MAX_INVITE_BYTES} bytes long")]
    TooLong,
    /// It is not base32.
    #[error("the invite is cut off, or has a character that no invite has")]
    Text,
    /// It is of another version of Skep.
    #[error("the invite is of version {0}, and this program reads version {INVITE_VERSION}")]
    Version(u8),
    /// Its bytes are not an invite.
    #[error("the invite is cut off or changed")]
    Malformed,
    /// It names no gateway, or too many.
    #[error("the invite names {0} gateways, not 1 to {MAX_GATEWAYS}")]
    Gateways(usize),
    /// It lists too many addresses, or a gateway without one.
    #[error("the invite lists {0} addresses, not 1 to {MAX_ADDRS} with one of each gateway")]
    Addresses(usize),
    /// Another one than its first gateway signed it.
    #[error("the first gateway of the invite is not the one that signed it")]
    Signer,
    /// It lets nobody in, or too many.
    #[error("the invite is for {0} machines, not 1 to {MAX_INVITE_USES}")]
    Uses(u16),
}

impl InviteTerms {
    /// The bytes that the first gateway signs.
    pub fn to_sign(&self) -> Vec<u8> {
        let mut bytes = CONTEXT.to_vec();
        append(&mut bytes, self);
        bytes
    }
}

impl Invite {
    /// Checks the bounds that the encoding itself does not have.
    ///
    /// # Errors
    /// [`InviteError::Gateways`], [`InviteError::Addresses`], [`InviteError::Uses`] and [`InviteError::Signer`].
    pub fn check(&self) -> Result<(), InviteError> {
        let InviteTerms { network, gateways, uses, .. } = &self.terms;
        if !(1..=MAX_GATEWAYS).contains(&gateways.len()) {
            return Err(InviteError::Gateways(gateways.len()));
        }
        let addrs: usize = gateways.iter().map(|gateway| gateway.addrs.len()).sum();
        if addrs > MAX_ADDRS || gateways.iter().any(|gateway| gateway.addrs.is_empty()) {
            return Err(InviteError::Addresses(addrs));
        }
        let signer = self.by.as_ref().map_or(*network, |by| by.keeper);
        if gateways[0].node != signer {
            return Err(InviteError::Signer);
        }
        if !(1..=MAX_INVITE_USES).contains(uses) {
            return Err(InviteError::Uses(*uses));
        }
        Ok(())
    }
}

/// The link.
impl fmt::Display for Invite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![INVITE_VERSION];
        append(&mut bytes, self);
        write!(f, "{SCHEME}{}", BASE32_NOPAD.encode(&bytes).to_ascii_lowercase())
    }
}

impl FromStr for Invite {
    type Err = InviteError;

    fn from_str(text: &str) -> Result<Self, InviteError> {
        let scheme = text.get(..SCHEME.len()).filter(|scheme| scheme.eq_ignore_ascii_case(SCHEME));
        let digits = &text[scheme.ok_or(InviteError::Scheme)?.len()..];
        // Five bytes take eight digits.
        if text.len() > MAX_INVITE_LINK_CHARS {
            return Err(InviteError::TooLong);
        }
        let bytes = BASE32_NOPAD.decode(digits.to_ascii_uppercase().as_bytes()).map_err(|_| InviteError::Text)?;
        let (version, body) = bytes.split_first().ok_or(InviteError::Malformed)?;
        if *version != INVITE_VERSION {
            return Err(InviteError::Version(*version));
        }
        let invite: Self = borsh::from_slice(body).map_err(|_| InviteError::Malformed)?;
        invite.check()?;
        Ok(invite)
    }
}

/// Nonce and signature let a machine in, so no log may show them.
impl fmt::Debug for InviteTerms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("InviteTerms");
        shown.field("network", &self.network).field("gateways", &self.gateways);
        shown
            .field("expires", &self.expires)
            .field("uses", &self.uses)
            .field("relay", &self.relay)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Invite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invite").field("terms", &self.terms).finish_non_exhaustive()
    }
}

/// Appends the `borsh` of a value. A `Vec` takes everything, and the lists of an invite are far below the 2^32 items at which
/// `borsh` itself gives up.
fn append(bytes: &mut Vec<u8>, value: &impl BorshSerialize) {
    let written = value.serialize(bytes);
    debug_assert!(written.is_ok(), "a list of more than 2^32 addresses");
}
