//! Who belongs to this gateway's network: every node that ever joined, where it is, and whether it lives.

use crate::generate::NodeView;
use skep_net::{Net, Watch};
use skep_plan::Offer;
use skep_session::HopTotals;
use skep_types::NodeId;
use skep_types::wire::{Join, Peer};
use std::collections::BTreeMap;

/// Nodes that may have joined, dead ones included.
const MAX_MEMBERS: usize = 1024;

/// The members of one gateway.
pub(crate) struct Members {
    by_node: BTreeMap<NodeId, Member>,
}

struct Member {
    join: Join,
    alive: bool,
    frames: u64,
    /// Heartbeats go to the member as long as this lives; `None` for this very node.
    _watch: Option<Watch>,
}

impl Members {
    pub(crate) fn new() -> Self {
        Self { by_node: BTreeMap::new() }
    }

    /// Takes in a node, or takes it in again after it restarted.
    ///
    /// # Errors
    /// One sentence when there is no room.
    pub(crate) fn join(&mut self, join: Join, net: Option<&Net>) -> Result<(), String> {
        let node = join.peer.node;
        if !self.by_node.contains_key(&node) && self.by_node.len() >= MAX_MEMBERS {
            let dead = self.by_node.iter().find(|(_, member)| !member.alive).map(|(node, _)| *node);
            let dead = dead.ok_or_else(|| format!("{MAX_MEMBERS} nodes have joined, the most this gateway knows"))?;
            self.by_node.remove(&dead);
        }
        let frames = self.by_node.get(&node).map_or(0, |member| member.frames);
        let watch = net.map(|net| net.watch(node));
        self.by_node.insert(node, Member { join, alive: true, frames, _watch: watch });
        Ok(())
    }

    /// Notes that a node answers again or no more. Returns whether it is a member whose state changed.
    pub(crate) fn set_alive(&mut self, node: NodeId, alive: bool) -> bool {
        match self.by_node.get_mut(&node) {
            Some(member) if member.alive != alive => {
                member.alive = alive;
                true
            }
            _ => false,
        }
    }

    /// What the living offer.
    pub(crate) fn offers(&self) -> Vec<Offer> {
        let living = self.by_node.values().filter(|member| member.alive);
        living.map(|member| Offer { peer: member.join.peer.clone(), blocks: member.join.blocks }).collect()
    }

    /// Counts the frames that each stage of a finished answer handled.
    pub(crate) fn count(&mut self, hops: &[HopTotals]) {
        for hop in hops {
            if let Some(member) = self.by_node.get_mut(&hop.stage.peer.node) {
                member.frames += u64::from(hop.frames);
            }
        }
    }

    /// A member's address and process id.
    pub(crate) fn find(&self, node: NodeId) -> Option<(&Peer, Option<u32>)> {
        self.by_node.get(&node).map(|member| (&member.join.peer, member.join.pid))
    }

    /// The members as people see them, the living first, then by first block.
    pub(crate) fn views(&self, net: &Net) -> Vec<NodeView> {
        let mut views: Vec<NodeView> = self
            .by_node
            .iter()
            .map(|(id, member)| NodeView {
                id: *id,
                pid: member.join.pid,
                blocks: Some(member.join.blocks),
                alive: member.alive,
                rtt_ms: net.rtt(*id).map(|rtt| rtt.as_secs_f64() * 1e3),
                relayed: net.is_relayed(*id).unwrap_or(false),
                frames: member.frames,
            })
            .collect();
        views.sort_by_key(|view| (!view.alive, view.blocks, view.id));
        views
    }
}
