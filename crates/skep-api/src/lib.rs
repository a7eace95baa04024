//! The OpenAI-compatible API and the embedded page.
//!
//! [`router`] puts the HTTP interface in front of a [`Backend`], and [`serve`] runs it on a socket. What the interface accepts is
//! listed in the crate's `README.md`; nothing that a client asks for is ignored: an option that cannot be honoured is refused by
//! its name.
//!
//! # Headers of every answer
//! - `skep-route`: the stages that began the answer, `<first 10 digits of the node's id>[<first block>..<one past the last>]`,
//!   separated by commas; of several inputs, those of the first. Changes of route on the way are in a completion's `skep.recoveries`.
//! - `skep-timing`, of completions: milliseconds in the syntax of `Server-Timing`. `prefill` is the time from the request to the first token. A
//!   stream has only this one, as its headers are sent with the first token. A whole answer adds `total`, `lap` (mean time per
//!   token after the first) and `stage0`, `stage1`, … (time that each stage held its frames, with the stage as `desc`).
//!
//! # Who may ask
//! Whoever is on this machine, and whoever elsewhere shows a key: see the module `access`. The pages of other web sites may not, wherever the
//! browser is that shows them: see the module `guard`. How long and how many at once is said in the module `listen`.

mod access;
mod answer;
mod backend;
mod body;
mod catalogue;
mod embeddings;
mod error;
mod guard;
mod images;
mod listen;
mod machine;
mod messages;
mod metrics;
mod options;
mod page;
mod request;
mod responses;
mod routes;
mod stats;
mod stream;
mod tally;

pub use access::{KeyView, Keys, KeysFault, MAX_KEYS, MAX_LABEL, Scope, Terms};
pub use backend::Backend;
pub use listen::{Patience, serve};

use stats::Stats;
use std::net::IpAddr;
use std::sync::Arc;

/// What the owner may choose.
#[derive(Debug, Clone, Default)]
pub struct ApiConfig {
    /// Names under which this server may be reached, besides IP addresses and `localhost`; with a port, only at that port.
    pub allowed_hosts: Vec<String>,
    /// The keys of machines elsewhere.
    pub keys: Keys,
    /// How other machines reach this one; `None` while they do not.
    pub open: Option<Open>,
    /// How long, and how many at once.
    pub patience: Patience,
}

/// How other machines reach this one.
#[derive(Debug, Clone, Copy)]
pub struct Open {
    /// The port of the page and the API.
    pub port: u16,
    /// This machine's addresses as they are now, the likeliest first.
    pub addresses: fn() -> Vec<IpAddr>,
}

/// What every request sees.
#[derive(Debug, Clone)]
struct Api<B> {
    backend: B,
    config: Arc<ApiConfig>,
    stats: Stats,
    /// Seconds since 1970.
    started: u64,
}

/// The whole HTTP interface of `backend`.
pub fn router<B: Backend>(backend: B, config: ApiConfig) -> axum::Router {
    let api = Api { backend, config: Arc::new(config), stats: Stats::default(), started: routes::now() };
    let guard = axum::middleware::from_fn_with_state(api.clone(), guard::guard::<B>);
    routes::routes().layer(guard).with_state(api)
}
