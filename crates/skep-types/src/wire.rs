//! What machines say to each other. The types; `skep-net` carries them, `skep-session` decides them.
//!
//! # Control (gateway ↔ stage)
//! One bidirectional stream per session and stage, opened by the gateway with a [`MemberHello`]. Messages are `borsh`, each after its
//! length as a little-endian `u32`, at most [`MAX_CONTROL_BYTES`].
//!
//! # Data (hop → next hop)
//! One unidirectional stream per session and hop. It begins with a [`StreamHello`] (`borsh`, with its length as above) and goes on
//! with [`Frame`]s. A frame is a 24-byte header and a body, at most [`MAX_FRAME_BYTES`] in all:
//!
//! | offset | field | |
//! |---|---|---|
//! | 0 | kind | `u8`: 1 tokens, 2 rows, 3 candidates, 4 vector |
//! | 1 | flags | `u8`: bit 0 = the session's output after the last row is wanted; other bits must be 0 |
//! | 2 | hops | `u16`: number of 8-byte hop reports that begin the body |
//! | 4 | epoch | `u32` |
//! | 8 | pos | `u32`: position of the first row |
//! | 12 | rows | `u32`: number of rows, at least 1 |
//! | 16 | forward_from | `u32`: outputs of positions below this are kept by the receiver but not forwarded |
//! | 20 | body | `u32`: bytes that follow the header |
//!
//! All integers are little-endian; activations are the exact bits of `f32`, little-endian. A token is a `u32`; a candidate is a
//! `u32` id and an `f32` logit; a vector is `f32` values. Bytes after the hop reports must be exactly what kind and rows ask for:
//! `4 × rows` for tokens, a positive multiple of `4 × rows` for rows, a positive multiple of 8 for candidates and of 4 for a vector
//! (the `pos` of these two is the position of the row that they follow, and `rows` is 1). Rows that go to block 0 are what a model
//! reads in place of tokens: the patches of an image.
//!
//! # Store (asker ↔ holder)
//! One bidirectional stream per question: one [`StoreAsk`] one way, one [`StoreAnswer`] and perhaps the bytes of a slice the other. All
//! but the question to a gateway carry a [`Pass`](crate::Pass).
//!
//! # Figures (node → gateway)
//! One unidirectional stream of [`NodeFigures`], each after its length as above, opened by a node after it has joined: the first
//! message at once, the others when one of the figures changes. The newest counts.
//!
//! # Directory (member → member)
//! One unidirectional stream per direction: a [`MemberHello`], then messages of `skep-directory`, each after its length as above.
//!
//! # Register (member ↔ member)
//! One bidirectional stream for each exchange of what both know about who lets others in and who was removed: a [`RegisterHello`] one
//! way, [`RegisterPage`]s both ways.
//!
//! # Dial-back (member ↔ member)
//! One bidirectional stream for each question: one [`DialAsk`] one way, one [`DialReply`] the other.
//!
//! # Output
//! A session is opened for one of two outputs, see [`Output`]. A vector speaks of a whole text or image, every position of which
//! sees all others. So each of its frames carries all of the session's positions: `pos` is 0 and `rows` the `max_positions` of the
//! [`Control::Open`].

use crate::{BlockRange, Invite, ModelId, NodeId, Pass};
use borsh::{BorshDeserialize, BorshSerialize};
use std::{fmt, net::SocketAddr};

mod dial;
mod figures;
mod frame;
mod register;
mod store;

pub use dial::{DialAsk, DialReply};
pub use figures::NodeFigures;
pub use frame::{FRAME_HEADER_BYTES, Frame, FrameError, FrameHeader, HopReport, Payload};
pub use register::{MAX_DOOR_ADDRS, MAX_DOORS, MAX_REGISTER_PAGES, PAGE_REMOVALS, RegisterHello, RegisterPage};
pub use store::{MAX_COUNTED_BLOCKS, MAX_HELD_RUNS, MAX_HOLDERS, ServedModel, StoreAnswer, StoreAsk};

/// The longest control message, in bytes.
pub const MAX_CONTROL_BYTES: usize = 16 << 10;
/// The longest frame with its header, in bytes.
pub const MAX_FRAME_BYTES: usize = 16 << 20;
/// The most hops of a route, and so the most hop reports of a frame.
pub const MAX_HOPS: usize = 64;
/// The most socket addresses that a [`Peer`] may list.
pub const MAX_ADDRS: usize = 16;
/// The longest reason in a refusal or a fault, in bytes; longer ones are cut by the sender and refused by the receiver.
pub const MAX_REASON_BYTES: usize = 512;

/// A reason, cut to what a message may carry.
pub fn cut_reason(mut reason: String) -> String {
    let mut end = reason.len().min(MAX_REASON_BYTES);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason.truncate(end);
    reason
}

/// Names one attempt at one answer; drawn at random by the gateway and known only to the route's members.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct SessionId(pub [u8; 16]);

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({:02x}{:02x}{:02x}{:02x})", self.0[0], self.0[1], self.0[2], self.0[3])
    }
}

/// A machine and where it may be reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash, BorshSerialize, BorshDeserialize)]
pub struct Peer {
    /// Its key.
    pub node: NodeId,
    /// Its socket addresses, at most [`MAX_ADDRS`].
    pub addrs: Vec<SocketAddr>,
}

/// What a node says when it joins a gateway.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Join {
    /// Where the node may be reached.
    pub peer: Peer,
    /// The model it holds blocks of.
    pub model: ModelId,
    /// The blocks it holds; none of a machine that only uses the network.
    pub blocks: Option<BlockRange>,
    /// Operating-system process id, told only to a gateway on the same machine.
    pub pid: Option<u32>,
    /// What lets it in; a gateway that knows its key, or that listens on its own machine only, asks for none.
    pub invite: Option<Invite>,
    /// What says that it is a member already, if anything does.
    pub pass: Option<Pass>,
}

/// The gateway's answer to a [`Join`].
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum JoinReply {
    /// The node is a member, and this says so to the others.
    Welcome {
        /// For the machine that joined.
        pass: Pass,
    },
    /// The node is not, and why.
    Refused {
        /// One sentence.
        reason: String,
    },
}

/// The first message of a stream that only members of the same network open to each other.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct MemberHello {
    /// Says that the sender is a member; the machine that began the network needs none.
    pub pass: Option<Pass>,
}

/// What the last stage of a session sends to the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Output {
    /// The best candidates for the token after a row, so many of them; 0 means all.
    Candidates(u32),
    /// One vector for the whole input: the embedding of a text, the scores of an image's classes.
    Vector,
}

/// Gateway → stage.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Control {
    /// Serve `blocks` for a session: make a KV cache and be ready for frames.
    Open {
        /// The session.
        session: SessionId,
        /// The gateway's counter of route changes.
        epoch: u32,
        /// The model.
        model: ModelId,
        /// Which of the stage's blocks to run; may be a part of what it holds.
        blocks: BlockRange,
        /// Where outputs go: the next stage, or the gateway after the last block.
        next: Peer,
        /// What comes out in the end.
        output: Output,
        /// Positions that the KV cache must hold.
        max_positions: u32,
    },
    /// From now on outputs go to `next`; first send it the retained outputs of positions `replay_from..`.
    Redirect {
        /// The session.
        session: SessionId,
        /// The new epoch.
        epoch: u32,
        /// The new next hop.
        next: Peer,
        /// First position to send again.
        replay_from: u32,
        /// The `forward_from` of the frames sent again.
        forward_from: u32,
    },
    /// The session is over: free everything.
    Close {
        /// The session.
        session: SessionId,
    },
    /// Send outputs to a standby of the next hop as well, the retained ones first; or to none any more.
    Mirror {
        /// The session.
        session: SessionId,
        /// The standby.
        to: Option<Peer>,
    },
}

/// Stage → gateway.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum ControlReply {
    /// Ready for frames.
    Opened {
        /// The session.
        session: SessionId,
        /// The epoch of the `Open`.
        epoch: u32,
    },
    /// Will not serve this session.
    Refused {
        /// The session.
        session: SessionId,
        /// One sentence.
        reason: String,
    },
    /// Cannot go on.
    Fault {
        /// The session.
        session: SessionId,
        /// The stage's epoch.
        epoch: u32,
        /// What happened.
        fault: Fault,
    },
}

/// Why a stage cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Fault {
    /// The next hop cannot be reached.
    NextLost {
        /// The next hop.
        node: NodeId,
    },
    /// Rows were skipped.
    Gap {
        /// The position that was expected at most.
        expected: u32,
        /// The position that came.
        got: u32,
    },
    /// The hop before sent something that is not a frame of this session.
    BadFrame {
        /// The hop before.
        node: NodeId,
        /// One sentence.
        reason: String,
    },
    /// The arithmetic failed.
    Compute {
        /// One sentence.
        reason: String,
    },
}

/// The first message of a data stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct StreamHello {
    /// The session that the frames belong to.
    pub session: SessionId,
    /// The sender's epoch.
    pub epoch: u32,
}
