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
//! Whoever can reach the socket, except the pages of other web sites: see the module `guard`. Bind to a loopback address: whoever
//! may ask may also make invites.

mod answer;
mod backend;
mod body;
mod embeddings;
mod error;
mod guard;
mod images;
mod machine;
mod messages;
mod options;
mod page;
mod request;
mod responses;
mod routes;
mod stream;

pub use backend::Backend;

use axum::serve::ListenerExt;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// How long answers under way may go on after the shutdown was asked for.
const GRACE: Duration = Duration::from_secs(2);

/// What the owner may choose.
#[derive(Debug, Clone, Default)]
pub struct ApiConfig {
    /// Names under which this server may be reached, besides IP addresses and `localhost`; with a port, only at that port.
    pub allowed_hosts: Vec<String>,
}

/// What every request sees.
#[derive(Debug, Clone)]
struct Api<B> {
    backend: B,
    config: Arc<ApiConfig>,
    /// Seconds since 1970.
    started: u64,
}

/// The whole HTTP interface of `backend`.
pub fn router<B: Backend>(backend: B, config: ApiConfig) -> axum::Router {
    let api = Api { backend, config: Arc::new(config), started: routes::now() };
    let guard = axum::middleware::from_fn_with_state(api.clone(), guard::guard::<B>);
    routes::routes().layer(guard).with_state(api)
}

/// Serves `router` on `listener` until `shutdown` completes. Answers under way then have two seconds to end.
///
/// # Errors
/// What the operating system says of the listener.
pub async fn serve(
    listener: TcpListener,
    router: axum::Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let (ask, mut asked) = watch::channel(false);
    let signal = async move {
        shutdown.await;
        ask.send_replace(true);
    };
    // Pieces of text are small and must not wait for each other.
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "pieces of text may be delayed");
        }
    });
    let served = axum::serve(listener, router).with_graceful_shutdown(signal);
    let end = async move {
        // An error means that the sender is gone, which happens only once everything has ended.
        if asked.wait_for(|asked| *asked).await.is_ok() {
            tokio::time::sleep(GRACE).await;
        }
    };
    tokio::select! {
        result = served => result,
        () = end => Ok(()),
    }
}
