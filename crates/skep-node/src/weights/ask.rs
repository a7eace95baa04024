//! What is asked of one peer, and what comes back.

use super::caps::Caps;
use super::writer::Order;
use crate::membership::Membership;
use crate::node::NodeError;
use skep_net::{Net, NetError, SliceReceiver, StoreLink};
use skep_store::fetch::{Ended, RequestId};
use skep_store::{Decoder, Shape, StoreError, slices};
use skep_types::wire::{Peer, ServedModel, StoreAnswer, StoreAsk};
use skep_types::{Invite, ModelId, Pass};
use std::ops::Range;
use std::time::Duration;
use tokio::sync::{OnceCell, mpsc};
use tokio::time::timeout;

/// Longest wait for an answer of a few bytes.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// A request on its way.
pub(super) struct Asked<'a> {
    pub(super) request: RequestId,
    pub(super) model: ModelId,
    pub(super) orders: &'a mpsc::Sender<Order>,
    pub(super) caps: &'a Caps,
}

impl Asked<'_> {
    /// Brings a slice to the writer; none when that broke off.
    pub(super) async fn slice(&self, link: &StoreLink, pass: Pass, shape: Shape, groups: Range<u64>) -> Option<Ended> {
        let ask = StoreAsk::Slice { pass, model: self.model, start: groups.start, end: groups.end };
        let mut bytes = match link.ask(ask).await.ok()? {
            (StoreAnswer::Slice { bytes: file }, bytes) if file == shape.bytes() => bytes,
            (StoreAnswer::NotHeld, _) => return Some(Ended::NotHeld),
            _ => return None,
        };
        let mut due = slices::slice_bytes(shape, groups.clone()).ok()?;
        let request = self.request;
        self.orders.send(Order::Begin { request, shape, groups, proves_size: false }).await.ok()?;
        while due > 0 {
            let piece = bytes.recv().await.ok()??;
            self.caps.wait_to_receive(piece.len()).await;
            // More than is due is no part of a slice, and the writer sees that.
            due = due.saturating_sub(piece.len() as u64);
            self.orders.send(Order::Bytes { request, bytes: piece }).await.ok()?;
        }
        Some(Ended::Done)
    }

    /// Learns the size from the slice of the last group, and checks it before anything is written.
    pub(super) async fn size(&self, link: &StoreLink, pass: Pass) -> Option<Ended> {
        let (shape, mut bytes) = match link.ask(StoreAsk::Last { pass, model: self.model }).await.ok()? {
            (StoreAnswer::Slice { bytes: file }, bytes) => (Shape::new(file).ok()?, bytes),
            (StoreAnswer::NotHeld, _) => return Some(Ended::NotHeld),
            _ => return None,
        };
        let groups = shape.last_group();
        let due = slices::slice_bytes(shape, groups.clone()).ok()?;
        // A group and a node for each level of the tree.
        let slice = read_all(&mut bytes, due).await?;
        match check(self.model, shape, groups.clone(), &slice) {
            Ok(()) => {}
            Err(StoreError::Lie(lie)) => return Some(Ended::Lied(lie)),
            Err(_) => return None,
        }
        let request = self.request;
        self.orders.send(Order::Begin { request, shape, groups, proves_size: true }).await.ok()?;
        self.orders.send(Order::Bytes { request, bytes: slice }).await.ok()?;
        Some(Ended::Done)
    }
}

/// Checks a whole slice.
fn check(id: ModelId, shape: Shape, groups: Range<u64>, slice: &[u8]) -> Result<(), StoreError> {
    let mut decoder = Decoder::new(id, shape, groups)?;
    let mut rest = slice;
    while let Some((_, length)) = decoder.next_part() {
        let (part, after) = rest.split_at(length.min(rest.len()));
        decoder.push(part)?;
        rest = after;
    }
    Ok(())
}

/// All of an answer, if it is as long as it should be.
async fn read_all(bytes: &mut SliceReceiver, due: u64) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    while let Some(piece) = bytes.recv().await.ok()? {
        if (all.len() + piece.len()) as u64 > due {
            return None;
        }
        all.extend(piece);
    }
    Some(all)
}

/// The connection to a peer, made if there is none.
pub(super) async fn reach<'a>(
    net: &Net,
    peer: &Peer,
    link: &'a OnceCell<StoreLink>,
) -> Result<&'a StoreLink, NetError> {
    link.get_or_try_init(|| net.open_store(peer)).await
}

/// Asks something that is answered with a few bytes.
pub(super) async fn answer_in_time(link: &StoreLink, ask: StoreAsk) -> Result<StoreAnswer, NetError> {
    let late = NetError::Timeout { node: link.node(), what: "a question about weights", limit: ANSWER_WITHIN };
    timeout(ANSWER_WITHIN, link.ask(ask)).await.unwrap_or(Err(late)).map(|(answer, _)| answer)
}

/// What a gateway says of its network to whoever it lets in, and which one it is: when the first cannot be reached, another one that the
/// invite names, and for a machine that is a member already one whom it knows.
pub(super) async fn network(
    net: &Net,
    membership: &Membership,
    gateway: &Peer,
    invite: Option<&Invite>,
) -> Result<(ServedModel, Peer), NodeError> {
    let mut asked = vec![gateway.clone()];
    let mut told = network_of(net, membership, gateway, invite).await;
    let named = invite.iter().flat_map(|invite| invite.terms.gateways.clone());
    for other in named.chain(membership.contacts()) {
        let is_named = invite.is_some_and(|invite| invite.terms.gateways.contains(&other));
        if !matches!(told, Err(NodeError::Net(_))) || !is_named && membership.pass().is_none() {
            break;
        }
        if asked.iter().any(|peer| peer.node == other.node) {
            continue;
        }
        // The reason that counts is the first one's.
        told = network_of(net, membership, &other, invite.filter(|_| is_named)).await.or(told);
        asked.push(other);
    }
    let last = asked.pop().unwrap_or_else(|| gateway.clone());
    told.map(|served| (served, last))
}

async fn network_of(
    net: &Net,
    membership: &Membership,
    member: &Peer,
    invite: Option<&Invite>,
) -> Result<ServedModel, NodeError> {
    let link = net.open_store(member).await?;
    let ask = StoreAsk::Network { invite: invite.cloned(), pass: membership.pass() };
    match answer_in_time(&link, ask).await? {
        StoreAnswer::Network(served) if membership.keep(&served.pass) => Ok(served),
        StoreAnswer::Network(_) => Err(NodeError::Pass),
        StoreAnswer::Refused { reason } => Err(NodeError::Refused { reason }),
        _ => Err(NodeError::Refused { reason: "it does not say what it serves".into() }),
    }
}
