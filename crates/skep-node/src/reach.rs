//! Whether this machine can be reached, as another member finds out: it dials back.
//!
//! A member dials only the address at which it sees the asker, with the port that the asker names: once in [`EVERY`] for each asker, and
//! [`AT_ONCE`] at once. Who reads that it is reached knows that this member reaches it; members on the same local network say nothing of
//! those outside, which is why several are asked.

use crate::gateway::Gateway;
use crate::membership::Membership;
use serde::Serialize;
use skep_net::Net;
use skep_types::NodeId;
use skep_types::wire::{DialAsk, DialReply};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// How often one machine is dialled back.
const EVERY: Duration = Duration::from_secs(5);
/// Machines that are dialled back at once.
const AT_ONCE: usize = 2;
/// Members that a machine asks.
const ASKED: usize = 3;

/// What members found out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Reach {
    /// An address of the internet at which a member reached this machine.
    pub outside: Option<SocketAddr>,
    /// An address at which a member did not.
    pub silent: Option<SocketAddr>,
    /// An address of a home or an office at which a member reached this machine.
    pub inside: Option<SocketAddr>,
    /// Members that see this machine through the relay only.
    pub relayed: usize,
    /// Members that were asked and answered.
    pub answered: usize,
}

/// Those who were dialled back of late. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Dials {
    dialled: Arc<Mutex<BTreeMap<NodeId, Instant>>>,
    free: Arc<Semaphore>,
}

impl Default for Dials {
    fn default() -> Self {
        Self { dialled: Arc::default(), free: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl Dials {
    /// Dials a member back.
    pub(crate) async fn answer(&self, net: &Net, membership: &Membership, from: NodeId, ask: DialAsk) -> DialReply {
        let refused = |reason: &str| DialReply::Refused { reason: reason.into() };
        if !membership.admits(from, ask.pass.as_ref()) {
            return refused("only members are dialled back");
        }
        let Some(seen) = net.seen_at(from) else { return DialReply::Relayed };
        let Ok(_turn) = self.free.try_acquire() else { return refused("others are being dialled back; ask again") };
        if !self.is_due(from) {
            return refused("this machine was dialled back a moment ago");
        }
        let addr = SocketAddr::new(seen, ask.port);
        if net.dial_back(from, addr).await { DialReply::Reached { addr } } else { DialReply::Silent { addr } }
    }

    /// Whether a machine may be dialled back again, which is noted. Those whom nobody has to wait for any more are forgotten.
    fn is_due(&self, node: NodeId) -> bool {
        let mut dialled = self.dialled.lock().unwrap_or_else(PoisonError::into_inner);
        dialled.retain(|_, at| at.elapsed() < EVERY);
        let is_due = !dialled.contains_key(&node);
        if is_due {
            dialled.insert(node, Instant::now());
        }
        is_due
    }
}

impl Gateway {
    /// Asks members to dial this machine back.
    pub async fn reach(&self) -> Reach {
        let (net, membership) = (&self.inner.net, self.inner.links.membership());
        let mut members: Vec<_> = self.offers().into_iter().map(|offer| offer.peer).collect();
        members.retain(|peer| peer.node != net.node_id());
        let mut reach = Reach::default();
        let Some(port) = net.port() else { return reach };
        for _ in 0..ASKED.min(members.len()) {
            let [a, b, ..] = skep_net::random_bytes();
            let peer = members.swap_remove(usize::from(u16::from_le_bytes([a, b])) % members.len());
            if let Ok(reply) = net.ask_dial(&peer, DialAsk { pass: membership.pass(), port }).await {
                reach.note(&reply);
            }
        }
        reach
    }
}

impl Reach {
    fn note(&mut self, reply: &DialReply) {
        match reply {
            DialReply::Reached { addr } if is_public(addr.ip()) => self.outside = Some(*addr),
            DialReply::Reached { addr } => self.inside = Some(*addr),
            DialReply::Silent { addr } => self.silent = Some(*addr),
            DialReply::Relayed => self.relayed += 1,
            DialReply::Refused { .. } => return,
        }
        self.answered += 1;
    }
}

/// Whether an address is none of a home, an office or this machine.
fn is_public(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(addr) => !(addr.is_private() || addr.is_loopback() || addr.is_link_local()),
        IpAddr::V6(addr) => !(addr.is_unique_local() || addr.is_loopback() || addr.is_unicast_link_local()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_dialled_back_once_in_a_while() {
        let dials = Dials::default();
        assert!(dials.is_due(NodeId([1; 32])) && dials.is_due(NodeId([2; 32])));
        assert!(!dials.is_due(NodeId([1; 32])) && dials.clone().dialled.lock().unwrap().len() == 2);
    }

    #[test]
    fn what_members_say_is_told_apart() {
        let mut reach = Reach::default();
        let at = |text: &str| text.parse().unwrap();
        reach.note(&DialReply::Reached { addr: at("192.168.1.2:7") });
        reach.note(&DialReply::Silent { addr: at("192.0.2.1:7") });
        reach.note(&DialReply::Relayed);
        reach.note(&DialReply::Refused { reason: "no".into() });
        let expected = Reach {
            outside: None,
            silent: Some(at("192.0.2.1:7")),
            inside: Some(at("192.168.1.2:7")),
            relayed: 1,
            answered: 3,
        };
        assert_eq!(reach, expected);
        reach.note(&DialReply::Reached { addr: at("[2001:db8::1]:7") });
        assert_eq!(reach.outside, Some(at("[2001:db8::1]:7")));
    }
}
