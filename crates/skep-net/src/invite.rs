//! Signing and checking: invites, passes, and statements about oneself.

use crate::{Net, random_bytes};
use iroh::{PublicKey, Signature};
use skep_types::signed::Keys;
use skep_types::{Invite, InviteTerms, NodeId, Pass};

impl Net {
    /// An invite to this machine's network until `expires`, in seconds since 1970, for `uses` machines. It names the addresses of
    /// [`Net::peer`], and the relay.
    pub fn invite(&self, expires: u64, uses: u16) -> Invite {
        let peer = self.peer();
        let mut nonce = [0; 16];
        nonce.copy_from_slice(&random_bytes()[..16]);
        let terms =
            InviteTerms { network: peer.node, addrs: peer.addrs, expires, nonce, uses, relay: self.shared.relay };
        let signature = self.shared.endpoint.secret_key().sign(&terms.to_sign()).to_bytes();
        Invite { terms, signature }
    }

    /// A pass which says that `member` is of this machine's network until `expires`, in seconds since 1970.
    pub fn pass(&self, member: NodeId, expires: u64) -> Pass {
        let network = self.node_id();
        let signature = self.shared.endpoint.secret_key().sign(&Pass::to_sign(network, member, expires)).to_bytes();
        Pass { network, member, expires, signature }
    }
}

/// Signs with this machine's key; checks by the strict rule, which refuses keys and points of small order.
impl Keys for Net {
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.shared.endpoint.secret_key().sign(message).to_bytes()
    }

    fn verify(&self, signer: &NodeId, message: &[u8], signature: &[u8; 64]) -> bool {
        let key = PublicKey::from_bytes(&signer.0);
        key.is_ok_and(|key| key.verify(message, &Signature::from_bytes(signature)).is_ok())
    }
}

/// Whether an invite is signed by the key of the network that it names. The strict rule holds: keys and points of small order are
/// refused.
pub fn is_signed(invite: &Invite) -> bool {
    let signature = Signature::from_bytes(&invite.signature);
    let key = PublicKey::from_bytes(&invite.terms.network.0);
    key.is_ok_and(|key| key.verify(&invite.terms.to_sign(), &signature).is_ok())
}

/// Whether a pass is signed by the key of the network that it names, by the same rule.
pub fn is_signed_pass(pass: &Pass) -> bool {
    let signature = Signature::from_bytes(&pass.signature);
    let key = PublicKey::from_bytes(&pass.network.0);
    let signed = Pass::to_sign(pass.network, pass.member, pass.expires);
    key.is_ok_and(|key| key.verify(&signed, &signature).is_ok())
}
