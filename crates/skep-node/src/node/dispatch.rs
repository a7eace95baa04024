//! Hands what comes over the endpoint to the parts of the node that it is for.

use crate::gateway::Gateway;
use crate::links::{Arrival, arrived_control, arrived_data};
use crate::membership::Membership;
use crate::membership::gossip::Gossip;
use crate::reach::Dials;
use crate::stage_host::StageHost;
use crate::swarm::Swarm;
use skep_net::{Net, NetEvent};
use skep_session::Input;
use skep_types::NodeId;
use skep_types::wire::{Frame, JoinReply, Payload, StreamHello};
use tokio::sync::mpsc;

/// What the dispatcher hands streams to.
#[derive(Clone)]
pub(super) struct Roles {
    pub(super) stages: Option<StageHost>,
    pub(super) gateway: Option<Gateway>,
    pub(super) membership: Membership,
    pub(super) swarm: Swarm,
    pub(super) gossip: Gossip,
}

pub(super) async fn take_events(
    net: Net,
    mut events: mpsc::Receiver<NetEvent>,
    own: mpsc::Sender<Arrival>,
    roles: Roles,
) {
    let dials = Dials::default();
    while let Some(event) = events.recv().await {
        match event {
            // A node computes for the members of its network, and for nobody else who can reach it.
            NetEvent::Control { from, hello, requests, replies }
                if roles.membership.admits(from, hello.pass.as_ref()) =>
            {
                let _ = own.send(arrived_control(from, requests, replies)).await;
            }
            NetEvent::Control { from, .. } => tracing::warn!(%from, "who is no member asks for work"),
            NetEvent::Directory { from, hello, messages } => {
                if roles.membership.admits(from, hello.pass.as_ref()) {
                    roles.swarm.listen(from, messages);
                }
            }
            NetEvent::Dial { from, ask, reply } => {
                let (dials, net, membership) = (dials.clone(), net.clone(), roles.membership.clone());
                tokio::spawn(async move { reply.send(dials.answer(&net, &membership, from, ask).await).await });
            }
            NetEvent::Register { from, hello, tell, told } => {
                tokio::spawn(roles.gossip.clone().answer(from, hello, tell, told));
            }
            NetEvent::Data { from, hello, frames } => {
                let _ = own.send(arrived_data(from, hello, frames)).await;
            }
            NetEvent::Join { join, reply, .. } => {
                let taken = match &roles.gateway {
                    Some(gateway) => gateway.admit(join).await,
                    None => Err("this node takes no requests, so there is nothing to join".into()),
                };
                let answer = match taken {
                    Ok(pass) => JoinReply::Welcome { pass },
                    Err(reason) => JoinReply::Refused { reason },
                };
                tokio::spawn(reply.send(answer));
            }
            NetEvent::Figures { from, figures } => {
                if let Some(gateway) = &roles.gateway {
                    gateway.read_figures(from, figures);
                }
            }
            // A node agrees on no blocks: `skep validator` does.
            NetEvent::Packets { .. } => {}
            NetEvent::Down { node } => set_alive(&roles, node, false),
            NetEvent::Up { node } => set_alive(&roles, node, true),
        }
    }
}

fn set_alive(roles: &Roles, node: NodeId, alive: bool) {
    if let Some(gateway) = &roles.gateway {
        gateway.set_alive(node, alive);
    }
}

pub(super) async fn take_arrivals(mut arrivals: mpsc::Receiver<Arrival>, roles: Roles) {
    while let Some(arrival) = arrivals.recv().await {
        match arrival {
            Arrival::Control { from, requests, replies } => {
                if let Some(stages) = roles.stages.clone() {
                    tokio::spawn(stages.serve_control(from, requests, replies));
                }
            }
            Arrival::Data { from, hello, frames } => {
                tokio::spawn(take_data(from, hello, frames, roles.clone()));
            }
        }
    }
}

/// The first frame tells whether a stream feeds a stage of this node or brings outputs to its gateway; one node may be both
/// ends of the same session.
async fn take_data(from: NodeId, hello: StreamHello, mut frames: mpsc::Receiver<Result<Frame, String>>, roles: Roles) {
    let Some(first) = frames.recv().await else { return };
    let output = matches!(&first, Ok(Frame { payload: Payload::Candidates(_) | Payload::Vector(_), .. }));
    if !output {
        if let Some(stages) = roles.stages {
            stages.serve_data(from, hello, first, frames).await;
        }
        return;
    }
    let Some(inputs) = roles.gateway.and_then(|gateway| gateway.waiting(hello.session)) else { return };
    let mut item = Some(first);
    while let Some(frame) = item {
        let input = match frame {
            Ok(frame) => Input::Candidates { from, session: hello.session, frame },
            Err(_) => Input::Lost { node: from },
        };
        if inputs.send(input).await.is_err() {
            return;
        }
        item = frames.recv().await;
    }
}
