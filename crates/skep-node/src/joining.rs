//! How a node becomes a member of another machine's network, stays one, and says what it serves.

use crate::gateway::Gateway;
use crate::membership::Membership;
use crate::node::NodeError;
use crate::swarm::Swarm;
use skep_net::{Net, NetError};
use skep_types::wire::{Join, JoinReply, MAX_DOORS, Peer};
use skep_types::{BlockRange, Invite};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a node waits before it asks again to be taken in.
const REJOIN_AFTER: Duration = Duration::from_millis(500);
/// The same after many tries.
const REJOIN_AFTER_MOST: Duration = Duration::from_secs(30);
/// How often a node looks whether it knows others than it has noted down.
const REMEMBER_EVERY: Duration = Duration::from_secs(5);
/// How often a node that starts asks to be taken in, when no answer comes.
const JOIN_TRIES: u32 = 3;

/// Says what this node serves.
pub(crate) struct Announcer {
    net: Net,
    own: Option<Gateway>,
    /// Machines that let this one in, the one that is asked now first; none if this node began its network.
    doors: Mutex<Vec<Peer>>,
    membership: Membership,
    /// What is said now.
    join: Mutex<Join>,
    /// Whether the other machine's gateway has not heard it yet.
    unheard: AtomicBool,
    /// One join at a time, so that an older one never comes after a newer one.
    asking: tokio::sync::Mutex<()>,
}

impl Announcer {
    pub(crate) fn new(net: Net, own: Option<Gateway>, doors: Vec<Peer>, membership: Membership, join: Join) -> Self {
        Self {
            net,
            own,
            doors: Mutex::new(doors),
            membership,
            join: Mutex::new(join),
            unheard: AtomicBool::new(true),
            asking: tokio::sync::Mutex::default(),
        }
    }

    /// The blocks that are said to be served, if any are.
    pub(crate) fn blocks(&self) -> Option<BlockRange> {
        self.join().blocks
    }

    /// The machine whose gateway this node joined, if it did not begin its network.
    pub(crate) fn far(&self) -> Option<Peer> {
        self.doors().first().cloned()
    }

    fn doors(&self) -> MutexGuard<'_, Vec<Peer>> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks another door from now on, if this node knows of one.
    fn turn(&self) {
        let met = |node| self.own.as_ref().and_then(|own| own.member(node)).map(|(peer, _)| peer);
        let known = self.membership.door_peers(met);
        let mut doors = self.doors();
        if doors.is_empty() {
            return;
        }
        doors.rotate_left(1);
        for door in known {
            match doors.iter().position(|other| other.node == door.node) {
                Some(at) => doors[at] = door,
                None if doors.len() < MAX_DOORS => doors.push(door),
                None => {}
            }
        }
    }

    /// Says from now on that other blocks are served. A gateway that cannot be reached now is told later.
    pub(crate) async fn change(&self, blocks: BlockRange) {
        self.unheard.store(true, Ordering::Relaxed);
        self.join().blocks = Some(blocks);
        if let Err(fault) = self.say().await {
            tracing::info!(%fault, "the gateway that this node joined has not heard of its move yet");
        }
    }

    fn join(&self) -> MutexGuard<'_, Join> {
        self.join.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says it for the first time, to the first door that takes this node in.
    ///
    /// # Errors
    /// As [`Announcer::say`]; but who is a member already finds the others while none of the doors answers.
    pub(crate) async fn first(&self) -> Result<(), NodeError> {
        let doors = self.doors().len();
        let mut said = self.say().await;
        for _ in 1..doors {
            if !matches!(said, Err(NodeError::Net(_))) {
                break;
            }
            self.turn();
            said = self.say().await;
        }
        match said {
            Err(NodeError::Net(fault)) if self.membership.pass().is_some() && self.far().is_some() => {
                tracing::warn!(%fault, "none of the machines that let others into this network answers");
                Ok(())
            }
            said => said,
        }
    }

    /// Says it to both gateways, and waits until they have heard.
    ///
    /// # Errors
    /// [`NodeError::Refused`]; [`NodeError::Pass`]; [`NodeError::Net`] when the other machine's cannot be reached.
    pub(crate) async fn say(&self) -> Result<(), NodeError> {
        let join = self.join().clone();
        if let Some(own) = &self.own {
            own.join(join).map_err(|reason| NodeError::Refused { reason })?;
        }
        let Some(far) = self.far() else { return Ok(()) };
        let _turn = self.asking.lock().await;
        let (told, reply) = self.ask(&far).await;
        self.take(told, reply?)
    }

    /// Takes the answer to a join.
    fn take(&self, told: Option<BlockRange>, reply: JoinReply) -> Result<(), NodeError> {
        match reply {
            JoinReply::Welcome { pass } if self.membership.keep(&pass) => {
                self.unheard.store(told != self.blocks(), Ordering::Relaxed);
                Ok(())
            }
            JoinReply::Welcome { .. } => Err(NodeError::Pass),
            JoinReply::Refused { reason } => Err(NodeError::Refused { reason }),
        }
    }

    /// Asks to be taken in. A lost packet costs a dial, so a person does not have to try again for it.
    async fn ask(&self, gateway: &Peer) -> (Option<BlockRange>, Result<JoinReply, NetError>) {
        let mut tries = 1;
        loop {
            let join = self.told(gateway);
            let (told, reply) = (join.blocks, self.net.join(gateway, join).await);
            if tries == JOIN_TRIES || !matches!(reply, Err(NetError::Timeout { .. })) {
                return (told, reply);
            }
            tries += 1;
        }
    }

    /// What a gateway of another machine is told: a process id means something on its own machine only.
    fn told(&self, gateway: &Peer) -> Join {
        let same_machine = gateway.addrs.iter().all(|addr| addr.ip().is_loopback());
        let join = self.join().clone();
        Join { pid: join.pid.filter(|_| same_machine), pass: self.membership.pass(), ..join }
    }

    /// Asks again to be taken in whenever the gateway has not answered for a while, so that a restarted gateway finds its nodes, when
    /// the pass is half over, and when it has not heard of a move. A gateway that stays away is asked ever more rarely, and the other doors
    /// in turn with it. A doorkeeper signs its own pass.
    pub(crate) async fn stay_joined(&self) {
        let mut wait = REJOIN_AFTER;
        let mut watched = None;
        loop {
            tokio::time::sleep(wait).await;
            let Some(gateway) = self.far() else { return };
            if watched.as_ref().is_none_or(|(node, _)| *node != gateway.node) {
                watched = Some((gateway.node, self.net.watch(gateway.node)));
            }
            if self.membership.wants_pass()
                && let Some(pass) = self.membership.pass_for(&self.net, self.net.node_id())
            {
                self.membership.keep(&pass);
            }
            let heard = !self.unheard.load(Ordering::Relaxed);
            if heard && self.net.is_alive(gateway.node) && !self.membership.wants_pass() {
                wait = REJOIN_AFTER;
                continue;
            }
            let _turn = self.asking.lock().await;
            let join = self.told(&gateway);
            let told = join.blocks;
            let reply = self.net.join(&gateway, join).await;
            let welcome = reply.is_ok_and(|reply| self.take(told, reply).is_ok());
            if !welcome && wait > REJOIN_AFTER {
                self.turn();
            }
            wait = if welcome { REJOIN_AFTER } else { (2 * wait).min(REJOIN_AFTER_MOST) };
        }
    }
}

/// Who may let this node in, as far as it was told: first who answered it already, if that one may.
pub(crate) fn doors(
    membership: &Membership,
    answered: Option<Peer>,
    join: Option<Peer>,
    invite: Option<&Invite>,
) -> Vec<Peer> {
    let named = invite.iter().flat_map(|invite| invite.terms.gateways.clone());
    let mut named: Vec<Peer> = join.into_iter().chain(named).collect();
    let known = membership.doors();
    let may = |peer: &Peer| known.contains(&peer.node) || named.iter().any(|door| door.node == peer.node);
    if let Some(answered) = answered.filter(|peer| !named.is_empty() && may(peer)) {
        named.insert(0, answered);
    }
    let mut met = BTreeSet::new();
    named.retain(|door| met.insert(door.node));
    named
}

/// Keeps on the disk who may know the way: the members that the gateway reaches, if there is one, those that keep directories, and doors.
pub(crate) async fn remember(swarm: Swarm, gateway: Option<Gateway>, membership: Membership) {
    loop {
        tokio::time::sleep(REMEMBER_EVERY).await;
        let mut contacts = swarm.contacts().await;
        contacts.extend(gateway.iter().flat_map(Gateway::offers).map(|offer| offer.peer));
        contacts.extend(membership.door_peers(|_| None));
        membership.meet(contacts);
    }
}
