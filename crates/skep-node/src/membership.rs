//! Who is a member of this node's network, as each member can tell by itself.
//!
//! A network is named by the key of the machine that began it. That machine lets others in and gives each a [`Pass`]; see
//! [`skep_types::Pass`]. A member shows its pass with each stream that only members may open, so that any member computes for any other
//! and tells it what it knows, whether or not the machine that began the network is there.

use crate::admission;
use skep_net::is_signed_pass;
use skep_types::wire::MemberHello;
use skep_types::{NodeId, PASS_SECONDS, Pass};
use std::sync::{Arc, Mutex, PoisonError};

/// This node's membership. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Membership {
    own: NodeId,
    network: NodeId,
    pass: Arc<Mutex<Option<Pass>>>,
}

impl Membership {
    /// Of the network that `network` began; a node that began its own needs no pass.
    pub(crate) fn new(own: NodeId, network: NodeId) -> Self {
        Self { own, network, pass: Arc::default() }
    }

    /// The machine that began the network.
    pub(crate) fn network(&self) -> NodeId {
        self.network
    }

    /// Whether this node began it.
    pub(crate) fn is_first(&self) -> bool {
        self.own == self.network
    }

    /// What this node shows to other members.
    pub(crate) fn hello(&self) -> MemberHello {
        MemberHello { pass: self.lock().clone() }
    }

    /// Keeps a pass for this node; one that says something else is no use to it.
    pub(crate) fn keep(&self, pass: &Pass) -> bool {
        let good = pass.member == self.own && self.holds(pass);
        if good {
            *self.lock() = Some(pass.clone());
        }
        good
    }

    /// Whether this node should ask for another pass.
    pub(crate) fn wants_pass(&self) -> bool {
        let half_over = |pass: &Pass| pass.expires < admission::now() + PASS_SECONDS / 2;
        !self.is_first() && self.lock().as_ref().is_none_or(half_over)
    }

    /// Whether `from`, whose key the connection has proven, is a member.
    pub(crate) fn admits(&self, from: NodeId, hello: &MemberHello) -> bool {
        from == self.network || hello.pass.as_ref().is_some_and(|pass| pass.member == from && self.holds(pass))
    }

    /// Whether a pass is one of this network.
    fn holds(&self, pass: &Pass) -> bool {
        pass.network == self.network && pass.expires > admission::now() && is_signed_pass(pass)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Pass>> {
        self.pass.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
