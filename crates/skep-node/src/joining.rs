//! How a node becomes a member of another machine's network, and stays one.

use crate::gateway::Gateway;
use crate::membership::Membership;
use crate::swarm::Swarm;
use skep_net::{Net, NetError};
use skep_types::wire::{Join, JoinReply, Peer};
use std::time::Duration;

/// How long a node waits before it asks again to be taken in.
const REJOIN_AFTER: Duration = Duration::from_millis(500);
/// The same after many tries.
const REJOIN_AFTER_MOST: Duration = Duration::from_secs(30);
/// How often a node looks whether it knows others than it has noted down.
const REMEMBER_EVERY: Duration = Duration::from_secs(5);
/// How often a node that starts asks to be taken in, when no answer comes.
const JOIN_TRIES: u32 = 3;

/// Asks to be taken in. A lost packet costs a dial, so a person does not have to try again for it.
pub(crate) async fn first_join(net: &Net, gateway: &Peer, join: &Join) -> Result<JoinReply, NetError> {
    let mut reply = net.join(gateway, join.clone()).await;
    for _ in 1..JOIN_TRIES {
        if !matches!(reply, Err(NetError::Timeout { .. })) {
            break;
        }
        reply = net.join(gateway, join.clone()).await;
    }
    reply
}

/// Asks again to be taken in whenever the gateway has not answered for a while, so that a restarted gateway finds its nodes, and when the
/// pass is half over. A gateway that stays away is asked ever more rarely.
pub(crate) async fn stay_joined(net: Net, gateway: Peer, join: Join, membership: Membership) {
    let _watch = net.watch(gateway.node);
    let mut wait = REJOIN_AFTER;
    loop {
        tokio::time::sleep(wait).await;
        if net.is_alive(gateway.node) && !membership.wants_pass() {
            wait = REJOIN_AFTER;
            continue;
        }
        wait = match net.join(&gateway, join.clone()).await {
            Ok(JoinReply::Welcome { pass }) if membership.keep(&pass) => REJOIN_AFTER,
            _ => (2 * wait).min(REJOIN_AFTER_MOST),
        };
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
