//! What the machines know of each other, and the streams between them.

use super::{DELAY_US, Node, World};
use crate::common::{network, peer};
use skep_plan::{Candidate, Figures, Label, Network, Offer};
use skep_types::wire::{Control, SessionId};
use std::{sync::Arc, time::Duration};

impl World {
    /// The listed machines. What the gateway takes them to be is drawn anew each time, and need not be so.
    pub(super) fn network(&mut self) -> Arc<Network> {
        let (rng, listed) = (&mut self.rng, self.nodes.iter().filter(|(_, node)| node.listed));
        let mut us = |most: u64| (!rng.chance(20)).then(|| Duration::from_micros(rng.between(1, most)));
        let figures = |_| Figures {
            decode_block: us(5_000),
            prefill_block: us(2_000),
            visit: us(2_000),
            wait: us(50_000),
            delay: us(DELAY_US),
            goodput: None,
            memory: us(2_000).map(|some| some.as_micros() as u64),
            beacons: Vec::new(),
        };
        let known: Vec<Figures> = (0..self.nodes.len()).map(figures).collect();
        let candidate = |((id, node), figures): ((&u8, &Node), Figures)| {
            let offer = Offer { peer: peer(*id), blocks: node.blocks };
            Candidate { offer, price: 0, label: Label::Public, figures }
        };
        network(listed.zip(known).map(candidate).collect())
    }

    /// When a message sent now arrives: after a random delay, but never before those sent earlier on its stream.
    pub(super) fn arrival(&mut self, from: u8, to: u8, data: Option<u64>, session: SessionId, extra: u64) -> u64 {
        let time = self.now + extra + self.rng.between(100, DELAY_US);
        let newest = self.arrivals.entry((from, to, data, session)).or_default();
        *newest = time.max(*newest + 1);
        *newest
    }

    /// The stream that a frame goes on: one for each next hop and epoch, and one for each mirror.
    pub(super) fn stream(&mut self, id: u8, session: SessionId, sent: &skep_session::Outgoing) -> u64 {
        self.streams += 1;
        let (to, fresh) = (sent.next.node.0[0], self.streams + (1 << 32));
        let (out, mirror) = self.nodes.get_mut(&id).unwrap().streams.entry(session).or_default();
        if sent.mirror {
            return mirror.get_or_insert((to, fresh)).1;
        }
        match out {
            Some((peer, epoch, stream)) if (*peer, *epoch) == (to, sent.epoch) => *stream,
            _ => out.insert((to, sent.epoch, fresh)).2,
        }
    }

    pub(super) fn note_control(&mut self, to: u8, message: &Control) {
        match message {
            Control::Open { session, epoch, blocks, next, .. } => {
                self.note(format_args!("open {to} {session:?} {epoch} {blocks} then {}", next.node.0[0]));
            }
            Control::Redirect { epoch, next, forward_from, .. } => {
                self.note(format_args!("redirect {to} {epoch} to {} from {forward_from}", next.node.0[0]));
            }
            Control::Mirror { to: standby, .. } => {
                self.note(format_args!("mirror {to} to {:?}", standby.as_ref().map(|peer| peer.node.0[0])));
            }
            Control::Close { session } => self.note(format_args!("close {to} {session:?}")),
        }
    }
}
