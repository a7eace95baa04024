//! Takes connections, and gives none more than its share of time and room.
//!
//! - Each request says its head within [`Patience::head`], from the connection's begin or the last answer's end; a connection that says nothing for so long is
//!   closed.
//! - A head has at most 32 KiB and 100 lines.
//! - A client that takes nothing of its answer for [`Patience::write`] is cut off. What waits for it meanwhile is bounded by its answer's length.
//! - Connections from this machine and from elsewhere have places of their own, so that nobody elsewhere keeps its owner out; each
//!   address elsewhere has a share. Connections over that are closed unheard.

use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Sleep, sleep};

/// How long answers under way may go on after the shutdown was asked for.
const GRACE: Duration = Duration::from_secs(2);
/// The longest head of a request, in bytes.
const MAX_HEAD: usize = 32 << 10;
/// How long to wait when the system has no more sockets to give.
const NO_SOCKETS: Duration = Duration::from_millis(200);

/// How long, and how many at once.
#[derive(Debug, Clone)]
pub struct Patience {
    /// For the head of a request.
    pub head: Duration,
    /// For the body of one.
    pub body: Duration,
    /// For a client to take more of its answer.
    pub write: Duration,
    /// The shortest wait of a wrong key.
    pub wrong_key: Duration,
    /// Connections from this machine.
    pub here: usize,
    /// Connections from elsewhere.
    pub elsewhere: usize,
    /// Of these, from one address.
    pub each: usize,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(30),
            body: Duration::from_secs(30),
            write: Duration::from_secs(60),
            wrong_key: Duration::from_millis(250),
            here: 1024,
            elsewhere: 256,
            each: 64,
        }
    }
}

/// Who opened the connection that a request came by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller(pub(crate) SocketAddr);

/// Serves `router` on `listener` until `shutdown` completes. Answers under way then have two seconds to end.
///
/// # Errors
/// What the operating system says of the listener.
pub async fn serve(
    listener: TcpListener,
    router: axum::Router,
    patience: Patience,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let (ask, asked) = watch::channel(false);
    let places = Arc::new(Places { patience, taken: Mutex::default() });
    tokio::pin!(shutdown);
    loop {
        let (stream, from) = tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(fault) => {
                    // A client that is gone already is its own affair; without sockets, some must be given back first.
                    tracing::debug!(%fault, "a connection was not taken");
                    sleep(NO_SOCKETS).await;
                    continue;
                }
            },
        };
        if let Some(place) = Places::take(&places, from.ip()) {
            tokio::spawn(converse(stream, from, place, router.clone(), asked.clone()));
        }
    }
    drop((asked, listener));
    ask.send_replace(true);
    tokio::select! {
        () = ask.closed() => {}
        () = sleep(GRACE) => {}
    }
    Ok(())
}

/// One connection, request by request.
async fn converse(
    stream: TcpStream,
    from: SocketAddr,
    place: Place,
    router: axum::Router,
    mut asked: watch::Receiver<bool>,
) {
    // Pieces of text are small and must not wait for each other.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "pieces of text may be delayed");
    }
    let patience = &place.places.patience;
    let service = service_fn(|mut request: Request<Incoming>| {
        request.extensions_mut().insert(Caller(from));
        TowerToHyperService::new(router.clone()).call(request.map(Body::new))
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(patience.head)
        .max_header_size(MAX_HEAD)
        .max_buf_size(2 * MAX_HEAD);
    let stream = TokioIo::new(Patient { stream, patience: patience.write, waiting: None });
    let connection = http.serve_connection(stream, service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        // It changes once, or its sender is gone, which means the same.
        _ = asked.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.as_mut().await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke off");
    }
}

/// Who holds a connection now.
#[derive(Debug)]
struct Places {
    patience: Patience,
    /// Connections of each address; those of this machine under one.
    taken: Mutex<HashMap<IpAddr, usize>>,
}

/// A connection's place, free again when dropped.
#[derive(Debug)]
struct Place {
    places: Arc<Places>,
    from: IpAddr,
}

/// This machine, in the table of places.
const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

impl Places {
    fn take(places: &Arc<Self>, from: IpAddr) -> Option<Place> {
        let from = if from.to_canonical().is_loopback() { HERE } else { from.to_canonical() };
        let mut taken = places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let (own, patience) = (taken.get(&from).copied().unwrap_or(0), &places.patience);
        let all: usize = taken.iter().filter(|(address, _)| **address != HERE).map(|(_, count)| count).sum();
        let free = if from == HERE { own < patience.here } else { own < patience.each && all < patience.elsewhere };
        free.then(|| {
            *taken.entry(from).or_default() += 1;
            Place { places: places.clone(), from }
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.from) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.from);
            }
        }
    }
}

/// A stream that gives up on a reader that takes nothing.
struct Patient {
    stream: TcpStream,
    patience: Duration,
    /// Runs while a write waits.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Patient {
    /// What a write came to, or that it waited too long.
    fn judge<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(self.patience)));
        ready!(waiting.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Patient {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.judge(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.judge(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_elsewhere_keeps_this_machine_out() {
        let patience = Patience { here: 2, elsewhere: 3, each: 2, ..Patience::default() };
        let places = Arc::new(Places { patience, taken: Mutex::default() });
        let from = |last: u8| IpAddr::from([192, 0, 2, last]);
        let held: Vec<_> = [1, 1, 2].into_iter().filter_map(|last| Places::take(&places, from(last))).collect();
        assert_eq!(held.len(), 3);
        assert!(Places::take(&places, from(1)).is_none(), "an address has its share");
        assert!(Places::take(&places, from(3)).is_none(), "and all of them have theirs");
        let here: Vec<_> = [[127, 0, 0, 1], [127, 9, 9, 9]]
            .into_iter()
            .filter_map(|local| Places::take(&places, IpAddr::from(local)))
            .collect();
        assert_eq!(here.len(), 2);
        assert!(Places::take(&places, HERE).is_none());
        drop((held, here));
        assert!(places.taken.lock().unwrap().is_empty());
        assert!(Places::take(&places, from(3)).is_some());
    }
}
