//! Dialling a machine back, so that it learns whether it can be reached.

use crate::connect::within;
use crate::message::encode;
use crate::net::LOOK;
use crate::stream::{DIAL, Outbox};
use crate::{Net, NetError};
use iroh::endpoint::{PortmapperConfig, presets};
use iroh::{Endpoint, EndpointAddr, PublicKey, RelayMode, SecretKey, TransportAddr};
use skep_types::NodeId;
use skep_types::wire::{DialAsk, DialReply, Peer};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::time::timeout;

/// How long a machine that is dialled back may take: three times as long as any other dial.
const DIAL_WITHIN: Duration = Duration::from_secs(3);

/// Answers one who asks to be dialled back.
pub struct DialResponder(pub(crate) Outbox);

impl DialResponder {
    /// Sends the answer; too long a reason is cut.
    ///
    /// # Errors
    /// When the asker is gone.
    pub async fn send(mut self, reply: DialReply) -> Result<(), NetError> {
        self.0.send_message(reply).await
    }
}

impl Net {
    /// Asks `to` to dial this machine back.
    ///
    /// # Errors
    /// When it cannot be reached or does not answer within [`NetLimits::reply_timeout`](crate::NetLimits::reply_timeout).
    pub async fn ask_dial(&self, to: &Peer, ask: DialAsk) -> Result<DialReply, NetError> {
        let mut bytes = vec![DIAL];
        encode(to.node, ask, &mut bytes)?;
        let (_outbox, mut inbox) = self.shared.open_both(to, bytes).await?;
        let limit = self.shared.limits.reply_timeout;
        let reply = within(limit, to.node, "the answer of one who dials back", inbox.message()).await?;
        reply.ok_or(NetError::Truncated { node: to.node, bytes: 0 })
    }

    /// The UDP port that this machine listens on.
    pub fn port(&self) -> Option<u16> {
        self.shared.endpoint.bound_sockets().first().map(SocketAddr::port)
    }

    /// The address at which this machine sees a connected node; none while its packets come through the relay.
    pub fn seen_at(&self, node: NodeId) -> Option<IpAddr> {
        match self.shared.book().newest(node)?.way()? {
            crate::Way::Direct { addr, .. } => Some(addr.ip()),
            crate::Way::Relayed { .. } => None,
        }
    }

    /// Whether `node` answers at `addr` to a machine that it has never heard of: from a socket and under a key that are new, and without
    /// the relay.
    pub async fn dial_back(&self, node: NodeId, addr: SocketAddr) -> bool {
        let any: IpAddr = if addr.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let builder = Endpoint::builder(presets::Minimal)
            .secret_key(SecretKey::generate())
            .relay_mode(RelayMode::Disabled)
            .portmapper_config(PortmapperConfig::Disabled)
            .clear_address_lookup()
            .clear_ip_transports()
            .bind_addr(SocketAddr::new(any, 0));
        let (Ok(builder), Ok(key)) = (builder, PublicKey::from_bytes(&node.0)) else { return false };
        let Ok(endpoint) = builder.bind().await else { return false };
        let to = EndpointAddr::from_parts(key, [TransportAddr::Ip(addr)]);
        let reached = matches!(timeout(DIAL_WITHIN, endpoint.connect(to, LOOK)).await, Ok(Ok(_)));
        // To say goodbye where nobody answers takes longer than the asker waits.
        tokio::spawn(async move { timeout(DIAL_WITHIN, endpoint.close()).await });
        reached
    }
}
