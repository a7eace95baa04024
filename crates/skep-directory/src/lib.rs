//! Directories of offers: a role of ordinary nodes, by which who serves what is known without any list of everybody.
//!
//! [`Member`] is one node's part in it, a state machine without I/O: it publishes what the node serves, finds what others serve, and
//! keeps a [`Directory`] when the role falls to it. The shell carries messages over connections that prove the sender's key.
//!
//! # Places
//! The *point* of a node in a model is the first 8 bytes, big-endian, of BLAKE3(`"skep point 1\0"` ‖ model ‖ node), as a fraction of
//! 2⁶⁴. A [`Shard`] is a model, a depth `d` and a prefix of `d` bits; it is where nodes whose point begins with the prefix publish.
//! At depth 0 that is everyone.
//!
//! A shard is kept by the [`COPIES`] volunteers that rank highest in it (rendezvous hashing): the rank of a volunteer is
//! `mix(key(shard) + key(volunteer))`, where a key is the first 8 bytes, big-endian, of BLAKE3 over `"skep shard 1\0"` and the shard's
//! encoding, or over `"skep volunteer 1\0"` and the node; `+` wraps, and `mix` is the finaliser of SplitMix64.
//!
//! A shard keeps at most [`SHELF_MAX`] offers: those with the lowest points, so all copies agree on which. From the point below
//! which half of them lie a directory estimates how many servers the model has ([`Shard::servers`]); it says nothing of that until
//! it has kept the shard for one [`PUBLISH_MS`], when all have published there. A node publishes at depth
//! `⌈log₂(servers / SHARD_TARGET)⌉`, which is 0 for up to [`SHARD_TARGET`] servers; in a larger model those with the [`SAMPLE`] lowest
//! points, as each finds out from its own point and the number of servers, publish at depth 0 too. So depth
//! 0 is a fair sample of a popular model from which anyone learns its size, and the rest is spread evenly. The depth changes only when
//! the number is off by [`DEPTH_SLACK`], and who stands in the sample leaves it when there are half as many again before it, so that no
//! one moves to and fro. A deeper shard's directories may have heard of few only because others are still on their way there: what they
//! say sends a node deeper, or lets it ask at depth 0, at most once in ten minutes; it comes back only when depth 0 says so.
//!
//! # Volunteers
//! The node's own point in the network (its key as a volunteer) decides who keeps directories: those below `max(32, size / 700) / size`
//! of the whole range, where `size` is the number of offers in the network; up to 32 nodes that is everyone. A volunteer steps down
//! above twice that share: from then on it takes no offers and names others to those who send some; its last record, which holds for 40
//! s, tells the other volunteers, who take its place before it has lost what it keeps; and it goes on to read lists and to say who
//! keeps what. A record is refused above four times. `size` is what the directories say they hold, each counted as four times the
//! median at most, divided by [`COPIES`]; a node takes the median of the last three answers.
//!
//! Volunteers know each other by what a few *partners* tell: each volunteer has four others as partners, drawn by a number that only it
//! knows, a new one in place of the oldest every 30 s, and another one in place of one that has not answered for 3 s. It sends its signed
//! record to its partners once in [`RENEW_MS`] and to each new one. It asks them in turn what they have taken up since it last asked
//! ([`Message::Roll`]), and is told in short ([`Mark`]: the volunteer's key and the second of its record); of these it wants the records
//! that it lacks ([`Message::Want`]), from one partner each, and what one does not deliver from the next. It asks one partner every
//! `24 / (log₂ volunteers + 2)` seconds. Each question doubles the number of those who know of a record, so all do after some half a minute
//! however many they are, and a volunteer sends as many messages in a large network as in a small one; what grows with the number of
//! volunteers is the records themselves, each of which comes to each of them about once a minute. A newcomer asks four others at once for
//! all, and is told of to others when it has read what they know, or after 10 s, because who knows few names the wrong ones. Whoever is
//! greeted by a volunteer of which it had not heard answers with its own record. A volunteer of whom nothing is heard is forgotten when its
//! last record ends, three minutes after it was signed.
//!
//! Ordinary nodes know a few volunteers and ask those which are highest in a shard. A node that is met may be of any
//! kind, and who is invited often meets ordinary nodes only: so an ordinary node that is asked who keeps a shard names the volunteers
//! it knows, and a volunteer that is taken for one of a shard's three, and is not, names those who are. Who has no directory yet asks
//! two others of the nodes it has met each time. A directory cannot forge: offers and records are signed by whom they speak of. It can
//! omit; so everything is asked of two at once, answers are united, and a third is asked where one of the two is silent; and a partner that
//! omits is one of four, for two minutes.
//!
//! # Publishing
//! An offer lives for 60 s and is signed anew and sent every [`PUBLISH_MS`]. It is refused when it is forged, expired,
//! signed for too long, oversized, replayed (its number is not above the one kept), sent by another than its signer, crowded out, or when
//! the shard is another one's; [`Refusal`] says which. A target that does not answer twice, or does not name
//! itself when it says who keeps the shard, is given up for [`FAILED_MS`] and the next in rank takes its place. So that it can, a
//! volunteer takes offers of a shard in which it is among the four highest; volunteers that step down do not count in this. One that has
//! come to be lower names those who are higher to whoever publishes, tells what it still keeps to whoever searches, and no longer counts it
//! in what it says it holds.
//!
//! # Finding
//! A search asks two of a shard's directories at once. Each names [`OFFERS_MAX`] offers at most, so that every block is covered that any
//! of its offers holds: one half are those that claim to serve the asker fastest, by the time of a block and the block's part
//! of the way there, which follows from both sides' delays to the beacons; the other half is drawn by the asker's salt. A search that
//! knows nothing of the model begins with the sample at depth 0. If the model has more servers than one shard, those who
//! have answered then name the directories of one of the deeper shards, a random one, and these are asked too, in 400 ms or not at all: a
//! chain of nodes that are fast and near is found among many sooner than among few. A search that begins deeper and finds too little ends
//! with the sample.
//!
//! # Looking
//! With each confirmation a directory says what part of the average supply the slowest block of the shard has. Where that is little, a
//! node may look: two directories of its shard list in short what all its nodes serve, and what both name is what the node takes for
//! true. A shard is a fair part of the model's nodes, so what is short in it is short in the model, and each shard gets even by itself.
//! The lists are unsigned; two directories that lie alike can make a node load blocks that are not short, and no more often than it
//! chooses to move.
//!
//! # Limits
//! One node may send [`BURST`] messages at once and [`PER_SECOND`] per second, others are dropped unanswered; it may keep
//! [`OFFERS_PER_NODE`] offers. A node follows the pace of [`PEERS_MAX`] others; a directory keeps [`SHELVES_MAX`] shards and
//! [`ROLL_MAX`] volunteers (the ones with the lowest keys), and wants [`MARKS_MAX`] records of a partner at once. No message is longer than [`MESSAGE_BYTES_MAX`]. What many keys together
//! can do remains: whoever makes keys until they suit can crowd a shard's sample or sit in a shard's three directories.

mod directory;
mod gossip;
mod guide;
mod look;
mod member;
mod message;
mod pace;
mod roll;
mod search;
mod service;
mod shard;
mod shelf;

pub use directory::Directory;
pub use member::{Contact, Effect, Input, Member};
pub use message::{
    MARKS_MAX, MESSAGE_BYTES_MAX, Mark, Message, Near, OFFERS_MAX, PAGE_RECORDS, Refusal, SPANS_MAX, Span, THERE_MAX,
};
pub use pace::{BURST, PEERS_MAX, PER_SECOND};
pub use roll::{ROLL_MAX, Roll};
pub use shard::{DEPTH_MAX, DEPTH_SLACK, SAMPLE, SHARD_TARGET, Shard, directories_of, eligible};
pub use shelf::SHELF_MAX;

/// Directories of a shard.
pub const COPIES: usize = 3;
/// How often an offer is sent: two may be lost before it is gone.
pub const PUBLISH_MS: u64 = 20_000;
/// How often a volunteer says to the others that it is still one: two may be lost.
pub const RENEW_MS: u64 = 60_000;
/// How long a directory that did not answer is passed over.
pub const FAILED_MS: u64 = 60_000;
/// Shards that a directory keeps; three on average.
pub const SHELVES_MAX: usize = 64;
/// Offers that one node may keep at a directory; most nodes serve one model at one or two depths.
pub const OFFERS_PER_NODE: u8 = 8;
