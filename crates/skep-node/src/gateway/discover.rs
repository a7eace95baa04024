//! How a gateway comes to know members that did not join it: by their offers in the network's directories.
//!
//! It asks every [`ASK_EVERY`], sooner while some block is held by nobody it knows. It connects to those it finds and watches them; one that
//! cannot be reached is tried again for as long as it offers. An offer's figures are taken as a node's own word, like any others.

use super::Gateway;
use super::planning::missing_block;
use crate::members::Heard;
use crate::swarm::Swarm;
use skep_plan::Holding;
use skep_types::offer::{Offer, Terms};
use skep_types::wire::{NodeFigures, Peer};
use skep_types::{BlockRange, NodeId};
use std::time::Duration;

/// How often a gateway asks who serves.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// The same while nobody is known to hold some block.
const ASK_EVERY_AT_FIRST: Duration = Duration::from_millis(500);

/// Asks for as long as the node lives.
pub(crate) async fn discover(gateway: Gateway, swarm: Swarm) {
    let (model, n_blocks) = (gateway.inner.model.id, gateway.inner.model.config.n_blocks);
    let Ok(whole) = BlockRange::new(0, n_blocks) else { return };
    loop {
        for offer in swarm.find(model, whole).await {
            gateway.hear(offer);
        }
        gateway.state().members.forget_old();
        let every = if gateway.is_whole() { ASK_EVERY } else { ASK_EVERY_AT_FIRST };
        tokio::time::sleep(every).await;
    }
}

impl Gateway {
    /// Takes an offer for what it is, and connects to the node if that is new or was away.
    fn hear(&self, offer: Offer) {
        let Offer { node, seq, terms, addrs, .. } = offer;
        let own = node == self.inner.net.node_id();
        if own || self.inner.links.membership().is_removed(node) {
            return;
        }
        if terms.model != self.inner.model.id || terms.blocks.end() > self.inner.model.config.n_blocks {
            return;
        }
        let peer = Peer { node, addrs };
        let heard = {
            let mut state = self.state();
            state.drawn = None;
            state.members.find(&peer, &terms, seq)
        };
        match heard {
            Heard::Known => return,
            Heard::Moved => return self.tell(None),
            Heard::Away => {}
        }
        let gateway = self.clone();
        tokio::spawn(async move {
            let reached = gateway.inner.net.reach(&peer).await;
            if let Err(fault) = &reached {
                tracing::debug!(node = %node.short(), %fault, "a member that offers cannot be reached");
            }
            gateway.found(node, reached.is_ok());
        });
    }

    /// Ends the dial of a found node.
    fn found(&self, node: NodeId, reached: bool) {
        let lives = {
            let mut state = self.state();
            state.drawn = None;
            state.members.found(node, reached, &self.inner.net)
        };
        if lives {
            tracing::info!(node = %node.short(), "a member was found");
            self.tell(None);
        }
    }

    /// Who of the living serves what.
    pub(crate) fn holdings(&self) -> Vec<Holding> {
        self.state().members.holdings()
    }

    /// Whether every block is held by somebody whom this gateway can reach.
    fn is_whole(&self) -> bool {
        missing_block(&self.state().members.spans(), self.inner.model.config.n_blocks).is_none()
    }
}

/// What an offer says of its node's speed. How many sessions are under way there, an offer does not say.
pub(crate) fn figures(terms: &Terms) -> NodeFigures {
    NodeFigures {
        decode_ns: terms.decode_ns,
        prefill_ns: terms.prefill_ns,
        visit_us: terms.visit_us,
        wait_us: terms.wait_us,
        goodput_kib_s: terms.goodput_kib_s,
        room: terms.room,
        memory: terms.memory,
        sessions: 0,
        price: terms.price,
        audience: terms.audience,
    }
}
