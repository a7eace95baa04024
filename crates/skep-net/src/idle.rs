//! Closing connections that nobody uses, so that a machine may come to know more machines than it can hold connections to.
//!
//! A machine closes a connection that it dialled itself when, for [`IDLE_FOR`], no stream was open on it and neither side has sent a
//! heartbeat. Whoever wants the peer again dials again.

use crate::link::CLOSE_IDLE;
use crate::net::Shared;
use std::sync::{Weak, atomic::Ordering};
use std::time::Duration;

/// How long a connection may be of no use.
const IDLE_FOR: Duration = Duration::from_secs(120);

/// Closes idle connections for as long as the endpoint is open.
pub(crate) async fn close_idle(shared: Weak<Shared>) {
    loop {
        tokio::time::sleep(IDLE_FOR / 4).await;
        let Some(shared) = shared.upgrade() else { return };
        if shared.closed.load(Ordering::Relaxed) {
            return;
        }
        close(&shared, IDLE_FOR);
    }
}

/// Closes what was idle for so long.
fn close(shared: &Shared, idle_for: Duration) {
    let book = shared.book();
    let unwatched = book.entries.values().filter(|entry| entry.watched.is_none());
    for link in unwatched.flat_map(|entry| &entry.links).filter(|link| link.dialled && link.is_open()) {
        if link.is_in_use() {
            link.touch();
        } else if link.idle() > idle_for {
            tracing::debug!(node = %link.node.short(), "closing an idle connection");
            link.connection.close(CLOSE_IDLE, b"idle");
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Net, NetConfig, NetEvent};
    use skep_types::wire::MemberHello;
    use std::time::Duration;

    async fn net(number: u8) -> (Net, tokio::sync::mpsc::Receiver<NetEvent>) {
        Net::bind(NetConfig::new([number; 32], "127.0.0.1:0".parse().unwrap())).await.unwrap()
    }

    #[tokio::test]
    async fn only_what_nobody_uses_is_closed() {
        let (a, _a_events) = net(1).await;
        let (b, mut b_events) = net(2).await;
        let (c, _c_events) = net(3).await;
        let alive = |peer: &Net| a.is_alive(peer.node_id());
        let close = || super::close(&a.shared, Duration::ZERO);
        let stream = a.open_directory(&b.peer(), MemberHello { pass: None }).await.unwrap();
        let Some(NetEvent::Directory { messages, .. }) = b_events.recv().await else { panic!("not a stream") };
        let watch = a.watch(c.node_id());
        a.reach(&c.peer()).await.unwrap();
        close();
        assert!(alive(&b) && alive(&c), "one has a stream, the other is watched");
        drop(watch);
        close();
        assert!(alive(&b) && !alive(&c));
        // Who was dialled leaves that to whoever dialled.
        super::close(&b.shared, Duration::ZERO);
        assert!(alive(&b));
        drop((stream, messages));
        close();
        assert!(!alive(&b));
        a.reach(&b.peer()).await.unwrap();
        assert!(alive(&b));
    }
}
