//! What a network endpoint is told, and its bounds.

use skep_types::Relay;
use std::{fmt, net::SocketAddr, time::Duration};

/// What an endpoint needs to start.
#[derive(Clone)]
pub struct NetConfig {
    /// The machine's ed25519 secret key; see [`crate::load_or_create_key`].
    pub secret: [u8; 32],
    /// The UDP socket address to listen on; port 0 takes a free one.
    pub bind: SocketAddr,
    /// What passes bytes on to and from peers that cannot be reached otherwise; nobody is contacted without one.
    pub relay: Option<Relay>,
    /// Bounds.
    pub limits: NetLimits,
}

impl NetConfig {
    /// An endpoint with the default limits.
    pub fn new(secret: [u8; 32], bind: SocketAddr) -> Self {
        Self { secret, bind, relay: None, limits: NetLimits::default() }
    }
}

impl fmt::Debug for NetConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetConfig")
            .field("bind", &self.bind)
            .field("relay", &self.relay)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// The bounds of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetLimits {
    /// Streams of each direction kind that one peer may hold open on one connection.
    pub max_streams: u32,
    /// Connections that other machines may hold to this one, and, counted apart, that this one may hold to others.
    pub max_connections: usize,
    /// Connections for weights that other machines may hold to this one.
    pub max_bulk: usize,
    /// Events that wait for the reader before peers are made to wait.
    pub max_events: usize,
    /// Bytes that one peer may have on the way or unread on one stream.
    pub stream_window: u32,
    /// Bytes that one peer may have on the way or unread on one connection.
    pub connection_window: u32,
    /// Time between two heartbeats to a watched node.
    pub heartbeat_every: Duration,
    /// Unanswered heartbeats for this long mean that a node is down.
    pub dead_after: Duration,
    /// Longest time to reach a peer and open a stream to it.
    pub connect_timeout: Duration,
    /// Longest time from a stream's (or connection's) beginning to its first complete message.
    pub hello_timeout: Duration,
    /// Longest wait for the answer to a join.
    pub reply_timeout: Duration,
}

impl Default for NetLimits {
    fn default() -> Self {
        Self {
            max_streams: 256,
            max_connections: 256,
            max_bulk: 32,
            max_events: 256,
            stream_window: 1 << 20,
            connection_window: 32 << 20,
            heartbeat_every: Duration::from_millis(100),
            dead_after: Duration::from_millis(500),
            connect_timeout: Duration::from_secs(1),
            hello_timeout: Duration::from_secs(5),
            reply_timeout: Duration::from_secs(5),
        }
    }
}

impl NetLimits {
    /// Unanswered heartbeats after which a node is down.
    pub(crate) fn missed_beats(&self) -> u32 {
        let beats = self.dead_after.as_millis() / self.heartbeat_every.as_millis().max(1);
        u32::try_from(beats).unwrap_or(u32::MAX).max(1)
    }
}
