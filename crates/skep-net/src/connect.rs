//! Reaching a peer and opening streams to it.

use crate::link::{CLOSE_STALE, CLOSE_UNWELCOME, FailedDial, Link};
use crate::message::{Message, encode};
use crate::net::{ALPN, Shared};
use crate::stream::{
    CONTROL, ControlReceiver, ControlSender, DATA, DIRECTORY, DataSender, DirectorySender, FIGURES, FiguresSender,
    Inbox, JOIN, Outbox, REGISTER, RegisterReceiver, RegisterSender,
};
use crate::{NetError, heartbeat, serve};
use iroh::endpoint::Connection;
use iroh::{EndpointAddr, PublicKey, TransportAddr};
use skep_types::NodeId;
use skep_types::wire::{Join, JoinReply, MAX_ADDRS, MemberHello, Peer, RegisterHello, StreamHello};
use std::{
    future::Future,
    sync::{Arc, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};
use tokio::time::timeout;

/// Time for iroh's own task to hear of a closed connection.
const CLOSING: Duration = Duration::from_millis(20);

/// Waits for `work` within `limit`.
pub(crate) async fn within<T>(
    limit: Duration,
    node: NodeId,
    what: &'static str,
    work: impl Future<Output = Result<T, NetError>>,
) -> Result<T, NetError> {
    timeout(limit, work).await.unwrap_or(Err(NetError::Timeout { node, what, limit }))
}

pub(crate) fn lost(node: NodeId) -> impl Fn(iroh::endpoint::ConnectionError) -> NetError {
    move |fault| NetError::Lost { node, reason: fault.to_string() }
}

impl Shared {
    pub(crate) async fn open_control(
        self: &Arc<Self>,
        to: &Peer,
        hello: MemberHello,
    ) -> Result<(ControlSender, ControlReceiver), NetError> {
        let bytes = opening(to, CONTROL, hello)?;
        let (outbox, inbox) = self.open_both(to, bytes).await?;
        Ok((ControlSender(outbox), ControlReceiver(inbox)))
    }

    pub(crate) async fn join(self: &Arc<Self>, to: &Peer, join: Join) -> Result<JoinReply, NetError> {
        let bytes = opening(to, JOIN, join)?;
        let (_outbox, mut inbox) = self.open_both(to, bytes).await?;
        let reply = within(self.limits.reply_timeout, to.node, "the answer to a join", inbox.message()).await?;
        reply.ok_or(NetError::Truncated { node: to.node, bytes: 0 })
    }

    pub(crate) async fn open_data(self: &Arc<Self>, to: &Peer, hello: StreamHello) -> Result<DataSender, NetError> {
        let bytes = opening(to, DATA, hello)?;
        Ok(DataSender(self.open_one_way(to, bytes).await?))
    }

    pub(crate) async fn open_figures(self: &Arc<Self>, to: &Peer) -> Result<FiguresSender, NetError> {
        Ok(FiguresSender(self.open_one_way(to, vec![FIGURES]).await?))
    }

    pub(crate) async fn open_directory(
        self: &Arc<Self>,
        to: &Peer,
        hello: MemberHello,
    ) -> Result<DirectorySender, NetError> {
        let bytes = opening(to, DIRECTORY, hello)?;
        Ok(DirectorySender(self.open_one_way(to, bytes).await?))
    }

    pub(crate) async fn open_register(
        self: &Arc<Self>,
        to: &Peer,
        hello: RegisterHello,
    ) -> Result<(RegisterSender, RegisterReceiver), NetError> {
        let bytes = opening(to, REGISTER, hello)?;
        let (outbox, inbox) = self.open_both(to, bytes).await?;
        Ok((RegisterSender(outbox), RegisterReceiver(inbox)))
    }

    /// Closes what connections there are with a machine.
    pub(crate) fn expel(&self, node: NodeId) {
        let links = self.book().links(node);
        for link in links {
            link.connection.close(CLOSE_UNWELCOME, b"no member any more");
        }
        let stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        for store in stores.iter().filter(|store| *store.remote_id().as_bytes() == node.0) {
            store.close(CLOSE_UNWELCOME, b"no member any more");
        }
    }

    /// Opens a unidirectional stream with its first bytes.
    pub(crate) async fn open_one_way(self: &Arc<Self>, to: &Peer, first: Vec<u8>) -> Result<Outbox, NetError> {
        let link = self.reach(to).await?;
        within(self.limits.connect_timeout, to.node, "opening a stream", async {
            let stream = link.connection.open_uni().await.map_err(lost(to.node))?;
            let mut outbox = Outbox::on(&link, stream);
            outbox.send(first).await?;
            Ok(outbox)
        })
        .await
    }

    /// Opens a bidirectional stream; it exists for the peer only once something was written.
    pub(crate) async fn open_both(self: &Arc<Self>, to: &Peer, first: Vec<u8>) -> Result<(Outbox, Inbox), NetError> {
        let link = self.reach(to).await?;
        within(self.limits.connect_timeout, to.node, "opening a stream", async {
            let (send, receive) = link.connection.open_bi().await.map_err(lost(to.node))?;
            let mut outbox = Outbox::on(&link, send).urgent();
            outbox.send(first).await?;
            Ok((outbox, Inbox::on(&link, receive)))
        })
        .await
    }

    /// A connection that works as far as can be known: one that answered lately or answers now, else a new one.
    pub(crate) async fn reach(self: &Arc<Self>, to: &Peer) -> Result<Arc<Link>, NetError> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(NetError::Closed);
        }
        if to.node == self.node {
            return Err(NetError::ToSelf);
        }
        let asked = Instant::now();
        if let Some(link) = self.working(to, asked).await {
            return Ok(link);
        }
        // Those who want the same peer at once share one dial.
        let dial = self.book().entries.entry(to.node).or_default().dial.clone();
        let mut last = dial.lock().await;
        let dialled = self.book().newest(to.node).filter(|link| *link.heard.borrow() >= asked);
        let outcome = match (dialled, &*last) {
            (Some(link), _) => Ok(link),
            (None, Some(failed)) if failed.at >= asked && failed.addrs == to.addrs => Err(failed.error.clone()),
            _ => {
                self.leave_old_addresses(to).await;
                self.dial(to).await
            }
        };
        if let Err(error) = &outcome {
            *last = Some(FailedDial { at: Instant::now(), addrs: to.addrs.clone(), error: error.clone() });
        }
        drop(last);
        drop(dial);
        self.book().tidy(to.node);
        outcome
    }

    /// The newest connection, if it answered lately or answers now. One that leads elsewhere than the peer says must answer now: the peer may
    /// have been started again at a new address.
    async fn working(&self, to: &Peer, asked: Instant) -> Option<Arc<Link>> {
        let link = self.book().newest(to.node)?;
        let lately = link.heard.borrow().elapsed() < self.limits.dead_after;
        if lately && link.leads_to(&to.addrs) {
            return Some(link);
        }
        if link.missed.load(Ordering::Relaxed) >= self.limits.missed_beats() {
            return None;
        }
        let mut heard = link.heard.subscribe();
        heartbeat::ping(&link);
        let answered = timeout(self.limits.dead_after, heard.wait_for(|heard| *heard >= asked)).await;
        (matches!(answered, Ok(Ok(_))) && link.is_open()).then_some(link.clone())
    }

    /// Closes the silent connections of a peer that has moved. While one of them is open, iroh sends the handshake of a new connection to
    /// where that one leads.
    async fn leave_old_addresses(&self, to: &Peer) {
        let links = self.book().links(to.node);
        if links.is_empty() || links.iter().any(|link| link.leads_to(&to.addrs)) {
            return;
        }
        for link in links {
            link.connection.close(CLOSE_STALE, b"the machine has moved");
        }
        tokio::time::sleep(CLOSING).await;
    }

    async fn dial(self: &Arc<Self>, to: &Peer) -> Result<Arc<Link>, NetError> {
        let limit = self.limits.max_connections;
        if self.book().count(true) >= limit {
            return Err(NetError::TooManyConnections { limit });
        }
        Ok(serve::adopt(self, self.connect(to, ALPN, self.limits.connect_timeout).await?, true))
    }

    /// A new connection, made within `limit`.
    pub(crate) async fn connect(&self, to: &Peer, alpn: &[u8], limit: Duration) -> Result<Connection, NetError> {
        let node = to.node;
        if self.closed.load(Ordering::Relaxed) {
            return Err(NetError::Closed);
        }
        if node == self.node {
            return Err(NetError::ToSelf);
        }
        // A machine that only the relay reaches may list none.
        let least = usize::from(self.relay.is_none());
        if !(least..=MAX_ADDRS).contains(&to.addrs.len()) {
            return Err(NetError::Addresses { node, count: to.addrs.len() });
        }
        let key = PublicKey::from_bytes(&node.0).map_err(|_| NetError::NotAKey { node })?;
        let direct = to.addrs.iter().copied().map(TransportAddr::Ip);
        let address = EndpointAddr::from_parts(key, direct.chain(self.relay_url.clone().map(TransportAddr::Relay)));
        let connected = within(limit, node, "connecting", async {
            let connected = self.endpoint.connect(address, alpn).await;
            connected.map_err(|fault| NetError::Connect { node, reason: format!("{fault:#}") })
        });
        let connection = connected.await?;
        self.tally.add(&connection);
        Ok(connection)
    }
}

/// The first bytes of a stream: what it is for, and what its opener says at once.
fn opening<M: Message>(to: &Peer, kind: u8, hello: M) -> Result<Vec<u8>, NetError> {
    let mut bytes = vec![kind];
    encode(to.node, hello, &mut bytes)?;
    Ok(bytes)
}
