//! The HTTP interface over real sockets, in front of a scripted backend.
#![allow(clippy::unwrap_used, reason = "a test")]

mod access;
mod attacks;
mod catalogue;
mod completions;
mod encode;
mod golden;
mod hangup;
mod harness;
mod http;
mod machine;
mod metrics;
mod refusals;
mod responses;
mod scripted;
