//! What this machine sent and received, all connections together.

use iroh::endpoint::{Connection, WeakConnectionHandle};
use std::sync::{Mutex, PoisonError};

/// Bytes of UDP, headers of QUIC and retransmissions included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes sent.
    pub sent: u64,
    /// Bytes received.
    pub received: u64,
}

/// Counts over the connections of an endpoint, each of which counts for itself. What a connection carried after it was last read counts
/// no more when it is gone, so whoever wants the sum reads it every now and then.
#[derive(Default)]
pub(crate) struct Tally(Mutex<Counted>);

#[derive(Default)]
struct Counted {
    open: Vec<(WeakConnectionHandle, Traffic)>,
    gone: Traffic,
}

impl Tally {
    /// Counts a new connection from now on.
    pub(crate) fn add(&self, connection: &Connection) {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counted.read();
        counted.open.push((connection.weak_handle(), Traffic::default()));
    }

    /// All so far.
    pub(crate) fn read(&self) -> Traffic {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counted.read();
        counted.open.iter().fold(counted.gone, |sum, (_, own)| sum.plus(*own))
    }
}

impl Counted {
    /// Brings the counts up to date, and forgets who is gone.
    fn read(&mut self) {
        let gone = &mut self.gone;
        self.open.retain_mut(|(handle, own)| {
            let Some(connection) = handle.upgrade() else {
                *gone = gone.plus(*own);
                return false;
            };
            let stats = connection.stats();
            *own = Traffic { sent: stats.udp_tx.bytes, received: stats.udp_rx.bytes };
            true
        });
    }
}

impl Traffic {
    fn plus(self, other: Self) -> Self {
        Self { sent: self.sent + other.sent, received: self.received + other.received }
    }
}
