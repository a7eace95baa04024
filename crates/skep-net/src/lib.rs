//! The wire: endpoint by key, frames, heartbeats.
//!
//! # Protocol `skep/1`
//! Two machines share one QUIC connection (iroh, TLS with both keys proven), dialled by whoever needs it first; either side opens
//! streams on it. Two machines that dial each other at once end with two connections, which is harmless. A connection
//! goes to the addresses of its [`Peer`](skep_types::wire::Peer), to the addresses that the peer itself names on the way, and
//! through the network's [relay](NetConfig::relay) if there is one; nowhere else: no address service, no port mapper, and no relay
//! that nobody chose. A direct path is always taken instead of the relay. While there is none, the machine that dialled looks for one
//! every 4 seconds, with a connection of the protocol `skep/1/look` that carries nothing and ends within 3 seconds.
//!
//! The first byte of a stream says what it is:
//!
//! | byte | stream | then |
//! |---|---|---|
//! | 1 | bidirectional | control: one [`MemberHello`](skep_types::wire::MemberHello), then [`Control`](skep_types::wire::Control) one way, [`ControlReply`](skep_types::wire::ControlReply) the other, any number of each |
//! | 2 | unidirectional | data: one [`StreamHello`](skep_types::wire::StreamHello), then frames |
//! | 3 | bidirectional | join: one [`Join`](skep_types::wire::Join) one way, one [`JoinReply`](skep_types::wire::JoinReply) the other |
//! | 5 | unidirectional | figures: any number of [`NodeFigures`](skep_types::wire::NodeFigures) |
//! | 6 | unidirectional | directories: one [`MemberHello`](skep_types::wire::MemberHello), then any number of [`skep_directory::Message`] |
//! | 7 | bidirectional | register: one [`RegisterHello`](skep_types::wire::RegisterHello), then [`RegisterPage`](skep_types::wire::RegisterPage)s both ways |
//! | 8 | bidirectional | dial-back: one [`DialAsk`](skep_types::wire::DialAsk) one way, one [`DialReply`](skep_types::wire::DialReply) the other |
//! | 9 | unidirectional | blocks: any number of [packets](Packet) |
//! | 10 | bidirectional | ledger: any number of [packets](Packet) both ways |
//! | 4 | bidirectional, on a connection for weights | store: one [`StoreAsk`](skep_types::wire::StoreAsk) one way, one [`StoreAnswer`](skep_types::wire::StoreAnswer) and perhaps the bytes of a slice the other |
//!
//! A message is its length as a little-endian `u32`, from 1 to [`MAX_CONTROL_BYTES`](skep_types::wire::MAX_CONTROL_BYTES), and that
//! many bytes of `borsh`. A packet is the same with bytes that are not looked into here, at most [`PACKET_BYTES_MAX`]. Frames stand in [`skep_types::wire`]. A stream that ends between two messages or frames ended well; a
//! stream that ends inside one did not. `Join::peer` must name the key of the connection, else the join is refused. After eight joins on one connection
//! of which none was answered with a welcome, the next one closes the connection: whoever tries its luck pays a handshake for it.
//!
//! # Protocol `skep-store/1`
//! Weights have connections of their own, under this name, so that they neither wait before activations nor fill their window. On such
//! a connection only whoever was dialled serves, only stream 4 is taken, there are no heartbeats, and the sender yields to other
//! traffic as soon as a queue shows. After eight questions in a row that were refused the next one closes it.
//!
//! # Heartbeats
//! QUIC datagrams of exactly 9 bytes: kind (`u8`: 1 ping, 2 pong) and counter (`u64`, little-endian). A ping is answered at once by a
//! pong with its counter. While somebody [watches](Net::watch) a node, each connection to it carries a ping every
//! [`heartbeat_every`](NetLimits::heartbeat_every); when pings for [`dead_after`](NetLimits::dead_after) went unanswered, or
//! the last connection closed, the node is down. A machine that [rests](Net::set_resting) sends one heartbeat in ten. Silence is counted in pings rather than in time, so that a machine that slept does
//! not take its peers for dead. Other datagrams, and pongs that answer no open ping, are ignored and counted.
//!
//! # Bounds and refusals
//! Connections, streams, unread bytes, messages, frames and the time to say hello are bounded by [`NetLimits`] and
//! [`skep_types::wire`]. Memory follows the bytes that came, not the length that a header claims. What breaks the protocol ends its
//! own stream, in both directions, with one of these codes; other streams and peers do not notice:
//!
//! | code | meaning |
//! |---|---|
//! | 1 | the stream's first byte is unknown, or it said nothing for [`hello_timeout`](NetLimits::hello_timeout) |
//! | 2 | a message or frame is malformed or over the limit |
//! | 3 | the sender gave up inside a message or frame |
//! | 4 | the receiver takes no more streams, for instance because it is closing |
//!
//! A connection is closed with 0 (the machine leaves), 1 (this one is silent and the machine answers on another or has moved),
//! 2 (too many connections), 3 (too many joins without a welcome, too many refusals, or a machine that is no member any more) or 4 (nobody used it for two minutes).
//!
//! Everything runs on the caller's tokio runtime: long computations there would delay heartbeats, so they belong on other threads.

mod bulk;
mod config;
mod congestion;
mod connect;
mod dial;
mod error;
mod goodput;
mod heartbeat;
mod idle;
mod invite;
mod key;
mod lan;
mod link;
mod message;
mod net;
mod packet;
mod peer;
mod random;
mod relay;
mod serve;
mod stream;
mod traffic;
mod watch;
mod yielding;

pub use bulk::{SliceReceiver, SliceSender, StoreAsked, StoreLink, StoreResponder};
pub use config::{NetConfig, NetLimits};
pub use dial::DialResponder;
pub use error::NetError;
pub use invite::{is_signed, is_signed_delegation, is_signed_pass, is_signed_removal};
pub use key::load_or_create_key;
pub use lan::{announce, networks_heard, own_addresses};
pub use net::{Net, NetEvent, NetStats};
pub use packet::{PACKET_BYTES_MAX, Packet, PacketReceiver, PacketSender};
pub use peer::{format_peer, parse_peer};
pub use random::random_bytes;
pub use relay::Way;
pub use stream::{
    ControlReceiver, ControlReplies, ControlRequests, ControlSender, DataSender, DirectoryReceiver, DirectorySender,
    FiguresReceiver, FiguresSender, FrameReceiver, JoinResponder, RegisterReceiver, RegisterSender,
};
pub use traffic::Traffic;
pub use watch::Watch;
