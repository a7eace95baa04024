//! Wide-area networks on one machine, for tests and measurements.
//!
//! Each host is a network namespace of its own. Its only way to others is a TUN device whose other end is held by one thread of
//! this process, the router. A packet from host A to host B goes through A's upward pipe, then through B's downward pipe, and
//! each [`Pipe`](Link) delays, loses, slows and queues as it was told. Loss, jitter and so every run's decisions come from a seed.
//! What a host says to addresses that no host has is dropped: nothing leaves the machine.
//!
//! A [`Home`] is a network behind network address translation: a router with one outside address that masquerades for the
//! hosts on its inside, as ordinary home routers do.
//!
//! Namespaces have no names. Each is held by a small process that ends when the pipe from this process breaks, however this
//! process ends, so nothing has to be cleaned up afterwards.
//!
//! All of this needs Linux, root, `/dev/net/tun`, `ip`, `unshare` and `nsenter`, and for a [`Home`] also `nft`. [`missing`] says what
//! is not there.

#![cfg(target_os = "linux")]

mod home;
mod lab;
mod link;
mod namespace;
mod router;

pub use home::{Home, Mapping};
pub use lab::{Host, Lab, missing};
pub use link::Link;
