//! What can go wrong on the wire.

use skep_types::NodeId;
use skep_types::wire::FrameError;
use std::{net::SocketAddr, path::PathBuf, time::Duration};
use thiserror::Error;

/// Why the network could not do something. Errors about a peer name it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NetError {
    /// The socket could not be opened, for instance because the port is in use.
    #[error("cannot listen on {addr}: {reason}")]
    Bind {
        /// The wanted address.
        addr: SocketAddr,
        /// What the system said.
        reason: String,
    },
    /// The node's id is not an ed25519 public key.
    #[error("{node} is not a public key")]
    NotAKey {
        /// The id.
        node: NodeId,
    },
    /// A machine does not dial itself.
    #[error("a node cannot connect to itself")]
    ToSelf,
    /// The peer lists no address, or too many.
    #[error("{count} addresses of {} are not between 1 and {}", node.short(), skep_types::wire::MAX_ADDRS)]
    Addresses {
        /// The peer.
        node: NodeId,
        /// How many it lists.
        count: usize,
    },
    /// The peer could not be reached.
    #[error("cannot reach {}: {reason}", node.short())]
    Connect {
        /// The peer.
        node: NodeId,
        /// What happened.
        reason: String,
    },
    /// Something took too long.
    #[error("{what} with {} took over {} ms", node.short(), limit.as_millis())]
    Timeout {
        /// The peer.
        node: NodeId,
        /// What was waited for.
        what: &'static str,
        /// The limit.
        limit: Duration,
    },
    /// As many connections are open as the limits allow.
    #[error("the limit of {limit} connections is reached")]
    TooManyConnections {
        /// The limit.
        limit: usize,
    },
    /// The connection ended.
    #[error("lost the connection to {}: {reason}", node.short())]
    Lost {
        /// The peer.
        node: NodeId,
        /// What happened.
        reason: String,
    },
    /// The peer will read no more from this stream.
    #[error("{} stopped reading with code {code}", node.short())]
    Stopped {
        /// The peer.
        node: NodeId,
        /// Its code; 0 if it simply let go of the stream.
        code: u64,
    },
    /// The peer gave up sending.
    #[error("{} gave up sending with code {code}", node.short())]
    Reset {
        /// The peer.
        node: NodeId,
        /// Its code.
        code: u64,
    },
    /// The stream ended inside a message or frame.
    #[error("the stream of {} ended after {bytes} bytes of a message", node.short())]
    Truncated {
        /// The peer.
        node: NodeId,
        /// Bytes of the unfinished message or frame.
        bytes: usize,
    },
    /// A control message is empty or over the limit.
    #[error("a message of {bytes} bytes from or to {} is not within its bounds", node.short())]
    MessageLength {
        /// The peer.
        node: NodeId,
        /// Its claimed length.
        bytes: usize,
    },
    /// A control message does not decode, or breaks a bound.
    #[error("a message of {} is malformed: {reason}", node.short())]
    Message {
        /// The peer.
        node: NodeId,
        /// What is wrong.
        reason: String,
    },
    /// Bytes are not a frame, or a frame may not be sent.
    #[error("bad frame from or to {}: {source}", node.short())]
    Frame {
        /// The peer.
        node: NodeId,
        /// What is wrong.
        source: FrameError,
    },
    /// This endpoint is closed.
    #[error("the network endpoint is closed")]
    Closed,
    /// A text is not a peer.
    #[error("`{text}` is not a peer of the form <64 hex digits>@ip:port[,ip:port]: {reason}")]
    PeerText {
        /// The text, cut if long.
        text: String,
        /// What is wrong.
        reason: String,
    },
    /// The key file cannot be used.
    #[error("key file {path}: {reason}", path = path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}
