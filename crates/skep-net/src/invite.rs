//! Signing and checking invites.

use crate::{Net, random_bytes};
use iroh::{PublicKey, Signature};
use skep_types::{Invite, InviteTerms};

impl Net {
    /// An invite to this machine's network until `expires`, in seconds since 1970, for `uses` machines. It names the addresses of
    /// [`Net::peer`].
    pub fn invite(&self, expires: u64, uses: u16) -> Invite {
        let peer = self.peer();
        let mut nonce = [0; 16];
        nonce.copy_from_slice(&random_bytes()[..16]);
        let terms = InviteTerms { network: peer.node, addrs: peer.addrs, expires, nonce, uses };
        let signature = self.shared.endpoint.secret_key().sign(&terms.to_sign()).to_bytes();
        Invite { terms, signature }
    }
}

/// Whether an invite is signed by the key of the network that it names. The strict rule holds: keys and points of small order are
/// refused.
pub fn is_signed(invite: &Invite) -> bool {
    let signature = Signature::from_bytes(&invite.signature);
    let key = PublicKey::from_bytes(&invite.terms.network.0);
    key.is_ok_and(|key| key.verify(&invite.terms.to_sign(), &signature).is_ok())
}
