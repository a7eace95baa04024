//! Connections by machine.

use crate::Way;
use crate::watch::Watched;
use iroh::TransportAddr;
use iroh::endpoint::{Connection, VarInt};
use skep_types::NodeId;
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::{Mutex, watch};

/// Connections that one machine may have to this one; the oldest goes first. Two are ordinary (simultaneous dials), more come from
/// restarts that nobody has noticed yet.
pub(crate) const LINKS_PER_NODE: usize = 4;

pub(crate) const CLOSE_STALE: VarInt = VarInt::from_u32(1);
pub(crate) const CLOSE_CROWDED: VarInt = VarInt::from_u32(2);
pub(crate) const CLOSE_UNWELCOME: VarInt = VarInt::from_u32(3);
pub(crate) const CLOSE_IDLE: VarInt = VarInt::from_u32(4);

/// Joins in a row on one connection that were not welcomed before. A node whose owner mends what was refused connects again.
const JOINS_UNWELCOME: u32 = 8;

/// One connection and what its heartbeats tell.
pub(crate) struct Link {
    pub(crate) node: NodeId,
    pub(crate) connection: Connection,
    /// Whether this machine dialled.
    pub(crate) dialled: bool,
    /// Counter of the last ping.
    pub(crate) sent: AtomicU64,
    /// Counter of the last pong.
    pub(crate) answered: AtomicU64,
    /// A watch's pings since the last pong.
    pub(crate) missed: AtomicU32,
    /// Joins of the peer since it was last welcomed.
    pub(crate) joins: AtomicU32,
    /// When the peer last proved to be there.
    pub(crate) heard: watch::Sender<Instant>,
    /// Held by each end of each stream.
    users: Arc<()>,
    /// When a stream was last seen or a heartbeat came.
    used: std::sync::Mutex<Instant>,
}

impl Link {
    pub(crate) fn new(node: NodeId, connection: Connection, dialled: bool) -> Arc<Self> {
        Arc::new(Self {
            node,
            connection,
            dialled,
            sent: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            missed: AtomicU32::new(0),
            joins: AtomicU32::new(0),
            heard: watch::Sender::new(Instant::now()),
            users: Arc::default(),
            used: std::sync::Mutex::new(Instant::now()),
        })
    }

    /// To be held for as long as a stream lasts.
    pub(crate) fn user(&self) -> Arc<()> {
        self.users.clone()
    }

    /// Whether a stream is open.
    pub(crate) fn is_in_use(&self) -> bool {
        Arc::strong_count(&self.users) > 1
    }

    /// The connection is of use now.
    pub(crate) fn touch(&self) {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// For how long it was of no use, as far as was seen.
    pub(crate) fn idle(&self) -> Duration {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    /// Counts a join before it is looked at. Returns whether it may be; else the connection is closed.
    pub(crate) fn may_join(&self) -> bool {
        let may = self.joins.fetch_add(1, Ordering::Relaxed) < JOINS_UNWELCOME;
        if !may {
            self.connection.close(CLOSE_UNWELCOME, b"too many joins without a welcome");
        }
        may
    }

    pub(crate) fn is_open(&self) -> bool {
        self.connection.close_reason().is_none()
    }

    /// Whether one of its paths goes to one of `addrs`, or through the relay, which finds a machine wherever it is.
    pub(crate) fn leads_to(&self, addrs: &[SocketAddr]) -> bool {
        let leads = |to: &TransportAddr| to.is_relay() || addrs.iter().any(|addr| *to == TransportAddr::Ip(*addr));
        self.connection.paths().iter().any(|path| leads(path.remote_addr()))
    }

    /// The way that packets take now.
    pub(crate) fn way(&self) -> Option<Way> {
        let paths = self.connection.paths();
        let path = paths.iter().find(|path| path.is_selected())?;
        match path.remote_addr() {
            TransportAddr::Ip(addr) => Some(Way::Direct { addr: *addr, rtt: path.rtt() }),
            _ => Some(Way::Relayed { rtt: path.rtt() }),
        }
    }

    /// Whether what is sent now goes through the relay.
    pub(crate) fn is_relayed(&self) -> bool {
        matches!(self.way(), Some(Way::Relayed { .. }))
    }
}

/// Why the last dial failed, for those who waited for it.
pub(crate) struct FailedDial {
    pub(crate) at: Instant,
    pub(crate) addrs: Vec<SocketAddr>,
    pub(crate) error: crate::NetError,
}

/// What is known about one machine.
#[derive(Default)]
pub(crate) struct Entry {
    /// Newest last.
    pub(crate) links: Vec<Arc<Link>>,
    /// Present while somebody watches.
    pub(crate) watched: Option<Watched>,
    /// Held while somebody dials.
    pub(crate) dial: Arc<Mutex<Option<FailedDial>>>,
}

impl Entry {
    pub(crate) fn newest(&self) -> Option<Arc<Link>> {
        self.links.iter().rev().find(|link| link.is_open()).cloned()
    }

    /// Whether there is an open connection and, if the node is watched, fewer than `most` beats are missing on it.
    pub(crate) fn answers(&self, most: u32) -> bool {
        let watched = self.watched.is_some();
        self.links.iter().any(|link| link.is_open() && (!watched || link.missed.load(Ordering::Relaxed) < most))
    }

    fn is_idle(&self) -> bool {
        self.links.is_empty() && self.watched.is_none() && Arc::strong_count(&self.dial) == 1
    }
}

/// All machines with a connection, a watch or a dial under way.
#[derive(Default)]
pub(crate) struct Book {
    pub(crate) entries: HashMap<NodeId, Entry>,
}

impl Book {
    /// Links in one direction.
    pub(crate) fn count(&self, dialled: bool) -> usize {
        self.entries.values().flat_map(|entry| &entry.links).filter(|link| link.dialled == dialled).count()
    }

    /// The machines that this one dialled and reaches through the relay only.
    pub(crate) fn relayed(&self) -> Vec<NodeId> {
        let newest = self.entries.iter().filter_map(|(node, entry)| Some((*node, entry.newest()?)));
        newest.filter(|(_, link)| link.dialled && link.is_relayed()).map(|(node, _)| node).collect()
    }

    pub(crate) fn newest(&self, node: NodeId) -> Option<Arc<Link>> {
        self.entries.get(&node)?.newest()
    }

    /// The open connections of a node.
    pub(crate) fn links(&self, node: NodeId) -> Vec<Arc<Link>> {
        let links = self.entries.get(&node).map(|entry| &entry.links[..]).unwrap_or_default();
        links.iter().filter(|link| link.is_open()).cloned().collect()
    }

    /// Adds a link and closes the oldest of the node's if they are too many.
    pub(crate) fn add(&mut self, link: Arc<Link>) {
        let links = &mut self.entries.entry(link.node).or_default().links;
        if links.len() >= LINKS_PER_NODE {
            links.remove(0).connection.close(CLOSE_CROWDED, b"too many connections");
        }
        links.push(link);
    }

    pub(crate) fn remove(&mut self, link: &Arc<Link>) {
        if let Some(entry) = self.entries.get_mut(&link.node) {
            entry.links.retain(|other| !Arc::ptr_eq(other, link));
        }
        self.tidy(link.node);
    }

    /// Forgets a machine that nothing refers to.
    pub(crate) fn tidy(&mut self, node: NodeId) {
        if self.entries.get(&node).is_some_and(Entry::is_idle) {
            self.entries.remove(&node);
        }
    }
}
