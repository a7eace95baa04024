//! The gateway as a door of its network: invites, and who is let in.

use super::Gateway;
use crate::admission::{self, Refusal};
use crate::membership::Shown;
use serde::Serialize;
use skep_types::wire::{Join, Peer};
use skep_types::{BlockRange, Invite, MAX_INVITE_USES, NodeId, Pass};
use std::collections::BTreeSet;
use std::time::Duration;
use thiserror::Error;

/// The longest time that an invite may last, in hours: 30 days.
pub const MAX_INVITE_HOURS: u32 = 720;

/// Why an invite cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InviteRefused {
    /// No other machine could use it.
    #[error("this network listens on this machine only, so nobody else can join it")]
    ThisMachineOnly,
    /// This machine lets nobody in.
    #[error("only the machine that began this network, {}, and its doorkeepers can invite", .0.short())]
    Elsewhere(NodeId),
    /// It would end at once, or last too long.
    #[error("an invite lasts 1 to {MAX_INVITE_HOURS} hours, not {0}")]
    Hours(u32),
    /// It would let nobody in, or too many.
    #[error("an invite is for 1 to {MAX_INVITE_USES} machines, not {0}")]
    Uses(u16),
}

/// Why a machine cannot be removed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RemoveRefused {
    /// This machine may remove nobody.
    #[error("only the machine that began this network, {}, and its doorkeepers can remove machines", .0.short())]
    Elsewhere(NodeId),
    /// It is the machine that began the network.
    #[error("nobody can remove the machine that began the network")]
    First,
    /// It is a doorkeeper, and this machine is one too.
    #[error("only the machine that began this network, {}, can remove a doorkeeper", .0.short())]
    Doorkeeper(NodeId),
}

/// A member as people see it, or a machine that was removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemberView {
    /// Its key.
    pub id: NodeId,
    /// `first` began the network, `doorkeeper` lets others in, `member` does neither, `removed` is a member no more.
    pub role: &'static str,
    /// Whether it answers; unknown of one that this machine did not connect to.
    pub alive: Option<bool>,
    /// The blocks that it serves, as far as is known.
    pub blocks: Option<BlockRange>,
    /// When the pass that it showed here last ends, in seconds since 1970.
    pub pass_until: Option<u64>,
    /// Who signed that pass, or the removal.
    pub by: Option<NodeId>,
}

impl Gateway {
    /// The members that this machine knows, and those who were removed: in the order of what they are, then of their keys.
    pub fn members(&self) -> Vec<MemberView> {
        let membership = self.inner.links.membership();
        let (own, first) = (self.inner.net.node_id(), membership.network());
        let (doors, removed, mut shown) = (membership.doors(), membership.removed(), membership.shown());
        if let Some(pass) = membership.pass() {
            shown.insert(own, Shown { expires: pass.expires, signer: pass.signer() });
        }
        let nodes = self.state().members.views(&self.inner.net);
        let mut ids: BTreeSet<NodeId> = nodes.iter().map(|node| node.id).collect();
        ids.extend(shown.keys().chain(&doors).chain(&removed).chain([&own]).copied());
        ids.extend(self.inner.admission.admitted());
        let view = |id: NodeId| {
            let is_removed = removed.contains(&id);
            let role = match id {
                _ if is_removed => "removed",
                _ if id == first => "first",
                _ if doors.contains(&id) => "doorkeeper",
                _ => "member",
            };
            let node = nodes.iter().find(|node| node.id == id);
            let pass = shown.get(&id).filter(|_| !is_removed);
            MemberView {
                id,
                role,
                alive: if id == own { Some(true) } else { node.map(|node| node.alive) },
                blocks: node.and_then(|node| node.blocks),
                pass_until: pass.map(|pass| pass.expires),
                by: if is_removed { membership.removed_by(id) } else { pass.map(|pass| pass.signer) },
            }
        };
        let mut views: Vec<MemberView> = ids.into_iter().map(view).collect();
        let rank = |view: &MemberView| {
            ["first", "doorkeeper", "member"].iter().position(|role| *role == view.role).unwrap_or(3)
        };
        views.sort_by_key(rank);
        views
    }

    /// Removes a machine from the network. The others hear of it within seconds where they can be reached.
    ///
    /// # Errors
    /// [`RemoveRefused`] when this machine may not.
    pub async fn remove(&self, node: NodeId) -> Result<(), RemoveRefused> {
        let membership = self.inner.links.membership();
        let first = membership.network();
        if !membership.is_door() {
            return Err(RemoveRefused::Elsewhere(first));
        }
        if node == first {
            return Err(RemoveRefused::First);
        }
        if !membership.is_first() && membership.doors().contains(&node) {
            return Err(RemoveRefused::Doorkeeper(first));
        }
        let gateway = self.clone();
        let removed =
            tokio::task::spawn_blocking(move || gateway.inner.links.membership().remove(&gateway.inner.net, node));
        // It fails only when the node is ending.
        let _ = removed.await;
        self.know_members().await;
        Ok(())
    }

    /// An invite for `uses` machines, which ends after so many hours. It names other doors that are alive as well.
    ///
    /// # Errors
    /// [`InviteRefused`].
    pub fn invite(&self, hours: u32, uses: u16) -> Result<Invite, InviteRefused> {
        let (membership, net) = (self.inner.links.membership(), &self.inner.net);
        if !membership.is_door() {
            return Err(InviteRefused::Elsewhere(membership.network()));
        }
        let only_here = net.relay().is_none() && net.peer().addrs.iter().all(|addr| addr.ip().is_loopback());
        if self.inner.admission.is_open() || only_here {
            return Err(InviteRefused::ThisMachineOnly);
        }
        if !(1..=MAX_INVITE_HOURS).contains(&hours) {
            return Err(InviteRefused::Hours(hours));
        }
        if !(1..=MAX_INVITE_USES).contains(&uses) {
            return Err(InviteRefused::Uses(uses));
        }
        let living: Vec<Peer> = self.offers().into_iter().map(|offer| offer.peer).collect();
        let mut others = membership.door_peers(|door| living.iter().find(|peer| peer.node == door).cloned());
        others.retain(|other| living.contains(other));
        let expires = admission::now().saturating_add(u64::from(hours) * 3600);
        Ok(net.invite_to(membership.network(), membership.delegation(), others, expires, uses))
    }

    /// Takes a node of another machine into the network if it may join; see [`admission`].
    pub(crate) async fn admit(&self, mut join: Join) -> Result<Pass, String> {
        let node = join.peer.node;
        let pass = self.let_in(node, join.invite.take(), join.pass.take()).await?;
        self.join(join)?;
        Ok(pass)
    }

    /// Lets a machine in, and gives it a pass.
    pub(crate) async fn let_in(
        &self,
        node: NodeId,
        invite: Option<Invite>,
        pass: Option<Pass>,
    ) -> Result<Pass, String> {
        let gateway = self.clone();
        let admitted = tokio::task::spawn_blocking(move || gateway.open_door(node, invite.as_ref(), pass.as_ref()));
        match admitted.await {
            Ok(admitted) => admitted.map_err(|refusal| refusal.to_string()),
            Err(_) => Err("this gateway is ending".into()),
        }
    }

    fn open_door(&self, node: NodeId, invite: Option<&Invite>, pass: Option<&Pass>) -> Result<Pass, Refusal> {
        let membership = self.inner.links.membership();
        if membership.is_removed(node) {
            return Err(Refusal::Removed);
        }
        let elsewhere = || Refusal::Elsewhere(membership.network());
        if !membership.is_door() {
            return Err(elsewhere());
        }
        if !pass.is_some_and(|pass| membership.is_pass_of(node, pass)) {
            if invite.is_some_and(|invite| !membership.may_sign(invite.by.as_deref())) {
                return Err(Refusal::OldKeeper);
            }
            self.inner.admission.admit(admission::now(), node, invite)?;
        }
        membership.pass_for(&self.inner.net, node).ok_or_else(elsewhere)
    }

    /// Members that have been seen alive for so long, those for longest first.
    pub(crate) fn standing(&self, for_so_long: Duration) -> Vec<NodeId> {
        self.state().members.standing(for_so_long, self.inner.net.node_id())
    }

    /// Remembers who showed a pass lately, and forgets who was removed.
    pub(crate) async fn know_members(&self) {
        let gateway = self.clone();
        let known = tokio::task::spawn_blocking(move || {
            let membership = gateway.inner.links.membership();
            gateway.inner.admission.know(membership.shown().into_keys(), &membership.removed());
        });
        // It fails only when the node is ending.
        let _ = known.await;
    }

    /// Has nothing to do any more with a machine that was removed.
    pub(crate) fn cut_off(&self, node: NodeId) {
        let gone = {
            let mut state = self.state();
            state.drawn = None;
            if let Some(reader) = state.readers.remove(&node) {
                reader.abort();
            }
            state.members.remove(node)
        };
        if gone {
            self.tell(Some(node));
        }
    }
}
