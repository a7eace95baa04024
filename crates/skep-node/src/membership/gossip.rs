//! How what one member hears of doorkeepers and removals comes to all.
//!
//! A member compares what it knows with [`AT_CHANGE`] others whenever it heard something new, and with one other every [`EVERY`]. An
//! exchange leaves both knowing the same. So news goes round in a few steps, and two parts of a network that could not reach each other are
//! one again soon after they can. One exchange of each member is answered at a time, and [`ANSWERED_MAX`] at once.
//!
//! Whoever was removed is cut off when this node hears of it: its connections are closed, and with them end the sessions under way.

use super::{Membership, Register};
use crate::gateway::Gateway;
use crate::swarm::Swarm;
use skep_net::{Net, NetError, RegisterReceiver, RegisterSender};
use skep_types::NodeId;
use skep_types::wire::{MAX_REGISTER_PAGES, Peer, RegisterHello, RegisterPage};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Whom a member tells at once what it heard.
const AT_CHANGE: usize = 6;
/// How often it compares what it knows with another one.
const EVERY: Duration = Duration::from_secs(30);
/// The same while it knows nobody, and before the first time.
const EVERY_AT_FIRST: Duration = Duration::from_secs(1);
/// What is heard shortly after each other is told together.
const TOGETHER: Duration = Duration::from_millis(100);
/// Exchanges that others began and that are answered at once.
const ANSWERED_MAX: usize = 8;
/// The longest exchange.
const PATIENCE: Duration = Duration::from_secs(10);

/// This node's part in it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Gossip {
    net: Net,
    membership: Membership,
    gateway: Option<Gateway>,
    swarm: Swarm,
    answered: Arc<Mutex<BTreeSet<NodeId>>>,
}

impl Gossip {
    pub(crate) fn new(net: Net, membership: Membership, gateway: Option<Gateway>, swarm: Swarm) -> Self {
        Self { net, membership, gateway, swarm, answered: Arc::default() }
    }

    /// Keeps comparing for as long as the node lives.
    pub(crate) async fn run(self) {
        let mut changes = self.membership.changes();
        let mut removed = BTreeSet::new();
        let every = EVERY.min(self.membership.rules().standing.max(EVERY_AT_FIRST));
        let mut wait = EVERY_AT_FIRST;
        loop {
            let others = match timeout(wait, changes.changed()).await {
                Err(_) => {
                    self.look_after().await;
                    1
                }
                Ok(Ok(())) => {
                    tokio::time::sleep(TOGETHER).await;
                    AT_CHANGE
                }
                Ok(Err(_)) => return,
            };
            changes.mark_unchanged();
            let all: BTreeSet<NodeId> = self.membership.removed().into_iter().collect();
            all.difference(&removed).for_each(|node| self.cut_off(*node));
            removed = all;
            wait = if self.compare_with(others).await { every } else { EVERY_AT_FIRST };
        }
    }

    /// What a door does now and then.
    async fn look_after(&self) {
        self.membership.tidy();
        let Some(gateway) = &self.gateway else { return };
        if self.membership.is_first() && self.membership.rules().named > 0 {
            self.membership.name_doorkeepers(&self.net, &gateway.standing(self.membership.rules().standing));
        }
        if self.membership.is_door() {
            gateway.know_members().await;
        }
    }

    fn cut_off(&self, node: NodeId) {
        tracing::info!(node = %node.short(), "a machine was removed from the network");
        if let Some(gateway) = &self.gateway {
            gateway.cut_off(node);
        }
        self.swarm.cut_off(node);
        self.net.expel(node);
    }

    /// Compares with so many others, drawn by lot. Returns whether there was anybody.
    async fn compare_with(&self, others: usize) -> bool {
        let mut known: Vec<Peer> = self.gateway.iter().flat_map(Gateway::offers).map(|offer| offer.peer).collect();
        known.extend(self.swarm.contacts().await);
        known.extend(self.membership.contacts());
        known.retain(|peer| peer.node != self.net.node_id() && !self.membership.is_removed(peer.node));
        let mut met = BTreeSet::new();
        known.retain(|peer| met.insert(peer.node));
        let mut exchanges = JoinSet::new();
        for _ in 0..others.min(known.len()) {
            let [a, b, c, d, ..] = skep_net::random_bytes();
            let peer = known.swap_remove(u32::from_le_bytes([a, b, c, d]) as usize % known.len());
            let own = self.clone();
            exchanges.spawn(async move { timeout(PATIENCE, own.compare(&peer)).await });
        }
        let any = !exchanges.is_empty();
        exchanges.join_all().await;
        any
    }

    async fn compare(&self, to: &Peer) -> Result<(), NetError> {
        let (tell, mut told) = self.net.open_register(to, self.membership.register_hello()).await?;
        match self.hear(&mut told).await? {
            // The other one knows the same, or does not take this one for a member.
            None => Ok(()),
            Some(heard) => tell_all(tell, self.membership.pages(&heard, self.doors())).await,
        }
    }

    /// Takes what comes; none if nothing did.
    async fn hear(&self, told: &mut RegisterReceiver) -> Result<Option<Register>, NetError> {
        let mut heard = None;
        for _ in 0..MAX_REGISTER_PAGES {
            let Some(page) = told.recv().await? else { break };
            heard.get_or_insert_with(Register::default).note(&page);
            if let Err(fault) = self.membership.take(&page) {
                tracing::warn!(node = %told.node().short(), %fault, "a member tells what nobody said");
                return Ok(None);
            }
        }
        Ok(heard)
    }

    /// Where this node reached doors.
    fn doors(&self) -> Vec<Peer> {
        let gateway = self.gateway.as_ref();
        let met = |node| gateway.and_then(|gateway| gateway.member(node)).map(|(peer, _)| peer);
        let mut doors = self.membership.door_peers(met);
        if self.membership.is_door() {
            doors.insert(0, self.net.peer());
        }
        doors
    }

    /// Answers an exchange that `from` began.
    pub(crate) async fn answer(
        self,
        from: NodeId,
        hello: RegisterHello,
        tell: RegisterSender,
        mut told: RegisterReceiver,
    ) {
        if !self.membership.admits(from, hello.pass.as_ref()) || !self.begin(from) {
            return;
        }
        if hello.digest != self.membership.register_hello().digest {
            let mut pages = self.membership.pages(&Register::default(), self.doors());
            if pages.is_empty() {
                pages.push(RegisterPage::default());
            }
            let exchange = async {
                tell_all(tell, pages).await?;
                self.hear(&mut told).await
            };
            if let Ok(Err(fault)) = timeout(PATIENCE, exchange).await {
                tracing::debug!(node = %from.short(), %fault, "an exchange broke off");
            }
        }
        super::lock(&self.answered).remove(&from);
    }

    fn begin(&self, from: NodeId) -> bool {
        let mut answered = super::lock(&self.answered);
        answered.len() < ANSWERED_MAX && answered.insert(from)
    }
}

async fn tell_all(mut tell: RegisterSender, pages: Vec<RegisterPage>) -> Result<(), NetError> {
    for page in pages {
        tell.send(page).await?;
    }
    Ok(())
}
