//! The 9-byte datagrams that tell whether a machine is there.

use crate::link::Link;
use crate::net::Shared;
use bytes::Bytes;
use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

const PING: u8 = 1;
const PONG: u8 = 2;

/// A heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beat {
    Ping(u64),
    Pong(u64),
}

impl Beat {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (kind, counter) = bytes.split_first()?;
        let counter = u64::from_le_bytes(counter.try_into().ok()?);
        match *kind {
            PING => Some(Self::Ping(counter)),
            PONG => Some(Self::Pong(counter)),
            _ => None,
        }
    }

    fn encode(self) -> Bytes {
        let (kind, counter) = match self {
            Self::Ping(counter) => (PING, counter),
            Self::Pong(counter) => (PONG, counter),
        };
        let mut bytes = [kind; 9];
        bytes[1..].copy_from_slice(&counter.to_le_bytes());
        Bytes::copy_from_slice(&bytes)
    }
}

/// Sends the next ping of a link.
pub(crate) fn ping(link: &Link) {
    let counter = link.sent.fetch_add(1, Ordering::Relaxed) + 1;
    // A datagram that cannot be sent is a missed beat like any other.
    let _ = link.connection.send_datagram(Beat::Ping(counter).encode());
}

/// Reads a link's datagrams until the connection ends: answers pings at once, notes pongs.
pub(crate) async fn read(shared: Arc<Shared>, link: Arc<Link>) {
    while let Ok(bytes) = link.connection.read_datagram().await {
        match Beat::parse(&bytes) {
            Some(Beat::Ping(counter)) => {
                link.touch();
                let _ = link.connection.send_datagram(Beat::Pong(counter).encode());
            }
            Some(Beat::Pong(counter)) if take_pong(&link, counter) => {}
            _ => {
                shared.counters.datagrams.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// Whether the pong answers a ping that is still open.
fn take_pong(link: &Link, counter: u64) -> bool {
    let open = counter > link.answered.load(Ordering::Relaxed) && counter <= link.sent.load(Ordering::Relaxed);
    if open {
        link.answered.store(counter, Ordering::Relaxed);
        link.missed.store(0, Ordering::Relaxed);
        link.heard.send_replace(Instant::now());
        link.touch();
    }
    open
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn heartbeats_have_these_bytes() {
        assert_eq!(&Beat::Ping(0x0102).encode()[..], [1, 2, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(&Beat::Pong(u64::MAX).encode()[..], [2, 255, 255, 255, 255, 255, 255, 255, 255]);
        assert_eq!(Beat::parse(&[1; 8]), None);
        assert_eq!(Beat::parse(&[1; 10]), None);
        assert_eq!(Beat::parse(&[3; 9]), None);
        assert_eq!(Beat::parse(&[]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_heartbeat_or_nothing(bytes in prop::collection::vec(any::<u8>(), 0..12)) {
            if let Some(beat) = Beat::parse(&bytes) {
                prop_assert_eq!(&beat.encode()[..], &bytes[..]);
            }
        }
    }
}
