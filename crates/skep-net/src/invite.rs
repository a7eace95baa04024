//! Signing and checking: invites, passes and who may give them, and statements about oneself.

use crate::{Net, random_bytes};
use iroh::{PublicKey, Signature};
use skep_types::signed::Keys;
use skep_types::wire::{MAX_ADDRS, Peer};
use skep_types::{Delegation, Invite, InviteTerms, MAX_GATEWAYS, NodeId, Pass, Removal};

impl Net {
    /// An invite to the network that this machine began, until `expires`, in seconds since 1970, for `uses` machines. It names the
    /// addresses of [`Net::peer`], and the relay.
    pub fn invite(&self, expires: u64, uses: u16) -> Invite {
        self.invite_to(self.node_id(), None, Vec::new(), expires, uses)
    }

    /// An invite to a network in which this machine is the doorkeeper of `by`, or which it began. It names `others` as well, as far as
    /// there is room for them: addresses beyond an equal share of each gateway are left out.
    pub fn invite_to(
        &self,
        network: NodeId,
        by: Option<Delegation>,
        others: Vec<Peer>,
        expires: u64,
        uses: u16,
    ) -> Invite {
        let mut gateways = vec![self.peer()];
        gateways.extend(others.into_iter().filter(|other| !other.addrs.is_empty() && other.node != self.node_id()));
        gateways.truncate(MAX_GATEWAYS);
        let share = MAX_ADDRS / gateways.len();
        gateways.iter_mut().for_each(|gateway| gateway.addrs.truncate(share));
        let mut nonce = [0; 16];
        nonce.copy_from_slice(&random_bytes()[..16]);
        let terms = InviteTerms { network, gateways, expires, nonce, uses, relay: self.shared.relay };
        let signature = self.sign(&terms.to_sign());
        Invite { terms, by: by.map(Box::new), signature }
    }

    /// A pass which says that `member` is of the network that this machine began, until `expires`, in seconds since 1970.
    pub fn pass(&self, member: NodeId, expires: u64) -> Pass {
        self.pass_to(self.node_id(), None, member, expires)
    }

    /// The same of a network in which this machine is the doorkeeper of `by`.
    pub fn pass_to(&self, network: NodeId, by: Option<Delegation>, member: NodeId, expires: u64) -> Pass {
        let signature = self.sign(&Pass::to_sign(network, member, expires));
        Pass { network, member, expires, by: by.map(Box::new), signature }
    }

    /// Makes `keeper` a doorkeeper of the network that this machine began, until `expires`, in seconds since 1970.
    pub fn delegate(&self, keeper: NodeId, expires: u64) -> Delegation {
        let signature = self.sign(&Delegation::to_sign(self.node_id(), keeper, expires));
        Delegation { keeper, expires, signature }
    }

    /// Says that `member` is of a network no more, until `expires`, in seconds since 1970.
    pub fn removal(&self, network: NodeId, member: NodeId, expires: u64) -> Removal {
        let by = self.node_id();
        let signature = self.sign(&Removal::to_sign(network, member, by, expires));
        Removal { member, by, expires, signature }
    }
}

/// Signs with this machine's key; checks by the strict rule, which refuses keys and points of small order.
impl Keys for Net {
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.shared.endpoint.secret_key().sign(message).to_bytes()
    }

    fn verify(&self, signer: &NodeId, message: &[u8], signature: &[u8; 64]) -> bool {
        is_by(signer, message, signature)
    }
}

/// Whether an invite is signed by the key of the network that it names, or by a doorkeeper whom that key made one. The strict rule
/// holds: keys and points of small order are refused.
pub fn is_signed(invite: &Invite) -> bool {
    let Invite { terms, by, signature } = invite;
    may_sign(terms.network, by.as_deref()).is_some_and(|signer| is_by(&signer, &terms.to_sign(), signature))
}

/// Whether a pass is signed by the key of the network that it names, or by a doorkeeper whom that key made one, by the same rule.
pub fn is_signed_pass(pass: &Pass) -> bool {
    let signed = Pass::to_sign(pass.network, pass.member, pass.expires);
    may_sign(pass.network, pass.by.as_deref()).is_some_and(|signer| is_by(&signer, &signed, &pass.signature))
}

/// Whether the key of a network made this doorkeeper one, by the same rule.
pub fn is_signed_delegation(network: NodeId, delegation: &Delegation) -> bool {
    let Delegation { keeper, expires, signature } = delegation;
    is_by(&network, &Delegation::to_sign(network, *keeper, *expires), signature)
}

/// Whether a removal is signed by whom it names, by the same rule; not whether that one may remove.
pub fn is_signed_removal(network: NodeId, removal: &Removal) -> bool {
    let Removal { member, by, expires, signature } = removal;
    is_by(by, &Removal::to_sign(network, *member, *by, *expires), signature)
}

/// Who may sign for a network: its own key, or the doorkeeper, if it is one.
fn may_sign(network: NodeId, by: Option<&Delegation>) -> Option<NodeId> {
    match by {
        None => Some(network),
        Some(delegation) => is_signed_delegation(network, delegation).then_some(delegation.keeper),
    }
}

fn is_by(signer: &NodeId, message: &[u8], signature: &[u8; 64]) -> bool {
    let key = PublicKey::from_bytes(&signer.0);
    key.is_ok_and(|key| key.verify(message, &Signature::from_bytes(signature)).is_ok())
}
