//! How a node becomes a member of another machine's network, stays one, and says what it serves.

use crate::gateway::Gateway;
use crate::membership::Membership;
use crate::node::NodeError;
use crate::swarm::Swarm;
use skep_net::{Net, NetError};
use skep_types::BlockRange;
use skep_types::wire::{Join, JoinReply, Peer};
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
    far: Option<Peer>,
    membership: Membership,
    /// What is said now.
    join: Mutex<Join>,
    /// Whether the other machine's gateway has not heard it yet.
    unheard: AtomicBool,
    /// One join at a time, so that an older one never comes after a newer one.
    asking: tokio::sync::Mutex<()>,
}

impl Announcer {
    pub(crate) fn new(net: Net, own: Option<Gateway>, far: Option<Peer>, membership: Membership, join: Join) -> Self {
        Self {
            net,
            own,
            far,
            membership,
            join: Mutex::new(join),
            unheard: AtomicBool::new(true),
            asking: tokio::sync::Mutex::default(),
        }
    }

    /// The blocks that are said to be served.
    pub(crate) fn blocks(&self) -> BlockRange {
        self.join().blocks
    }

    /// The machine whose gateway this node joined.
    pub(crate) fn far(&self) -> Option<&Peer> {
        self.far.as_ref()
    }

    /// Says from now on that other blocks are served. A gateway that cannot be reached now is told later.
    pub(crate) async fn change(&self, blocks: BlockRange) {
        self.unheard.store(true, Ordering::Relaxed);
        self.join().blocks = blocks;
        if let Err(fault) = self.say().await {
            tracing::info!(%fault, "the gateway that this node joined has not heard of its move yet");
        }
    }

    fn join(&self) -> MutexGuard<'_, Join> {
        self.join.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says it for the first time.
    ///
    /// # Errors
    /// As [`Announcer::say`]; but who is a member already finds the others without the machine that began the network.
    pub(crate) async fn first(&self) -> Result<(), NodeError> {
        match (self.say().await, &self.far) {
            (Err(NodeError::Net(fault)), Some(far)) if self.membership.hello().pass.is_some() => {
                tracing::warn!(network = %far.node.short(), %fault, "the machine that began this network does not answer");
                Ok(())
            }
            (said, _) => said,
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
        let Some(far) = &self.far else { return Ok(()) };
        let _turn = self.asking.lock().await;
        let (told, reply) = self.ask(far).await;
        self.take(told, reply?)
    }

    /// Takes the answer to a join.
    fn take(&self, told: BlockRange, reply: JoinReply) -> Result<(), NodeError> {
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
    async fn ask(&self, gateway: &Peer) -> (BlockRange, Result<JoinReply, NetError>) {
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
        Join { pid: join.pid.filter(|_| same_machine), ..join }
    }

    /// Asks again to be taken in whenever the gateway has not answered for a while, so that a restarted gateway finds its nodes, when
    /// the pass is half over, and when it has not heard of a move. A gateway that stays away is asked ever more rarely.
    pub(crate) async fn stay_joined(&self) {
        let Some(gateway) = &self.far else { return };
        let _watch = self.net.watch(gateway.node);
        let mut wait = REJOIN_AFTER;
        loop {
            tokio::time::sleep(wait).await;
            let heard = !self.unheard.load(Ordering::Relaxed);
            if heard && self.net.is_alive(gateway.node) && !self.membership.wants_pass() {
                wait = REJOIN_AFTER;
                continue;
            }
            let _turn = self.asking.lock().await;
            let join = self.told(gateway);
            let told = join.blocks;
            let reply = self.net.join(gateway, join).await;
            let welcome = reply.is_ok_and(|reply| self.take(told, reply).is_ok());
            wait = if welcome { REJOIN_AFTER } else { (2 * wait).min(REJOIN_AFTER_MOST) };
        }
    }
}

/// Keeps on the disk who may know the way: the members that the gateway reaches, if there is one, and those that keep directories.
pub(crate) async fn remember(swarm: Swarm, gateway: Option<Gateway>, membership: Membership) {
    loop {
        tokio::time::sleep(REMEMBER_EVERY).await;
        let mut contacts = swarm.contacts().await;
        contacts.extend(gateway.iter().flat_map(Gateway::offers).map(|offer| offer.peer));
        membership.meet(contacts);
    }
}
