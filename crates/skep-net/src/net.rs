//! The endpoint of this machine.

use crate::bulk::StoreAsked;
use crate::congestion::FloorFactory;
use crate::dial::DialResponder;
use crate::goodput::Goodput;
use crate::link::Book;
use crate::packet::{PacketReceiver, PacketSender};
use crate::stream::{
    ControlReceiver, ControlReplies, ControlRequests, ControlSender, DataSender, DirectoryReceiver, DirectorySender,
    FiguresReceiver, FiguresSender, FrameReceiver, JoinResponder, RegisterReceiver, RegisterSender,
};
use crate::traffic::{Tally, Traffic};
use crate::{NetConfig, NetError, NetLimits, Watch, Way, idle, relay, serve, watch};
use iroh::endpoint::{Connection, IdleTimeout, PortmapperConfig, QuicTransportConfig, presets};
use iroh::{Endpoint, RelayMode, RelayUrl, SecretKey};
use skep_types::wire::{DialAsk, Join, JoinReply, MAX_ADDRS, MemberHello, Peer, RegisterHello, StreamHello};
use skep_types::{NodeId, Relay};
use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    runtime::Handle,
    sync::{Semaphore, mpsc},
};

pub(crate) const ALPN: &[u8] = b"skep/1";
/// Of the connections for weights.
pub(crate) const BULK_ALPN: &[u8] = b"skep-store/1";
/// A connection that carries nothing; see [`crate::relay`].
pub(crate) const LOOK: &[u8] = b"skep/1/look";

/// Longer than any stall of a home computer: death is the heartbeats' business, and a connection given up loses its sessions for nothing.
const IDLE: Duration = Duration::from_secs(15);
const KEEP_ALIVE: Duration = Duration::from_secs(4);
/// The round trip that is assumed before the first was measured. A packet that gets no answer is sent again after three of them: with
/// the usual third of a second, one lost packet at the beginning would take as long as a whole dial may.
const INITIAL_RTT: Duration = Duration::from_millis(100);
/// Longest wait for a machine's own addresses, and for peers to hear of a close.
const PATIENCE: Duration = Duration::from_secs(2);
/// Longest wait for the relay at the start. Without it the machine begins all the same: the relay may come later.
const RELAY_PATIENCE: Duration = Duration::from_secs(5);

/// What other machines do to this one.
pub enum NetEvent {
    /// A gateway opened a control stream.
    Control {
        /// Who.
        from: NodeId,
        /// What says that it is a member; nobody has checked it.
        hello: MemberHello,
        /// What it asks.
        requests: ControlRequests,
        /// Where to answer.
        replies: ControlReplies,
    },
    /// The hop before opened a data stream.
    Data {
        /// Who.
        from: NodeId,
        /// Its first message.
        hello: StreamHello,
        /// Its frames.
        frames: FrameReceiver,
    },
    /// A node wants to join. `join.peer.node` is its proven key.
    Join {
        /// Who.
        from: NodeId,
        /// What it says.
        join: Join,
        /// Where to answer.
        reply: JoinResponder,
    },
    /// A member sends messages about directories.
    Directory {
        /// Who.
        from: NodeId,
        /// What says that it is a member; nobody has checked it.
        hello: MemberHello,
        /// What it says.
        messages: DirectoryReceiver,
    },
    /// A member compares what it knows of the network's members with what this machine knows.
    Register {
        /// Who.
        from: NodeId,
        /// What says that it is a member, which nobody has checked; and what sums up what it knows.
        hello: RegisterHello,
        /// What this machine knows goes here.
        tell: RegisterSender,
        /// What the member knows comes here.
        told: RegisterReceiver,
    },
    /// A machine wants to know whether it can be reached.
    Dial {
        /// Who.
        from: NodeId,
        /// What says that it is a member, which nobody has checked; and its port.
        ask: DialAsk,
        /// Where to answer.
        reply: DialResponder,
    },
    /// A node begins to tell its figures.
    Figures {
        /// Who.
        from: NodeId,
        /// What it tells.
        figures: FiguresReceiver,
    },
    /// A machine speaks of blocks, or asks the ledger something.
    Packets {
        /// Who.
        from: NodeId,
        /// What it says.
        packets: PacketReceiver,
        /// Where to answer, if it asks.
        answers: Option<PacketSender>,
    },
    /// A watched node stopped answering, or its last connection closed. Told once.
    Down {
        /// Which.
        node: NodeId,
    },
    /// A node that was told to be down answers again, or has a new connection.
    Up {
        /// Which.
        node: NodeId,
    },
}

impl fmt::Debug for NetEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, node) = match self {
            Self::Control { from, .. } => ("Control", from),
            Self::Data { from, .. } => ("Data", from),
            Self::Join { from, .. } => ("Join", from),
            Self::Directory { from, .. } => ("Directory", from),
            Self::Register { from, .. } => ("Register", from),
            Self::Dial { from, .. } => ("Dial", from),
            Self::Figures { from, .. } => ("Figures", from),
            Self::Packets { from, .. } => ("Packets", from),
            Self::Down { node } => ("Down", node),
            Self::Up { node } => ("Up", node),
        };
        f.debug_tuple(kind).field(node).finish()
    }
}

/// Counts of what was refused since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetStats {
    /// Datagrams that are no heartbeat or answer no open one.
    pub datagrams_ignored: u64,
    /// Streams whose first byte or first message was wrong or late.
    pub streams_refused: u64,
    /// Connections that were too many or did not complete.
    pub connections_refused: u64,
}

#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) datagrams: AtomicU64,
    pub(crate) streams: AtomicU64,
    pub(crate) connections: AtomicU64,
}

/// What the endpoint and its tasks share.
pub(crate) struct Shared {
    pub(crate) endpoint: Endpoint,
    pub(crate) node: NodeId,
    pub(crate) limits: NetLimits,
    pub(crate) relay: Option<Relay>,
    pub(crate) relay_url: Option<RelayUrl>,
    /// Tries of others to find a direct path.
    pub(crate) looks: Arc<Semaphore>,
    pub(crate) counters: Counters,
    pub(crate) tally: Tally,
    pub(crate) goodput: Arc<Goodput>,
    pub(crate) runtime: Handle,
    pub(crate) closed: AtomicBool,
    /// Whether nobody is in a hurry to hear who is gone.
    pub(crate) resting: AtomicBool,
    /// Connections for weights that other machines hold.
    pub(crate) bulk: AtomicUsize,
    /// Those connections, and some that are closed.
    pub(crate) stores: Mutex<Vec<Connection>>,
    /// Where their questions go.
    pub(crate) asked: Mutex<Option<mpsc::Sender<StoreAsked>>>,
    events: Mutex<Option<mpsc::Sender<NetEvent>>>,
    book: Mutex<Book>,
}

impl Shared {
    /// The connections. No code that holds the lock waits or can panic half-way through a change.
    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The way to the reader of the events, until the endpoint closes.
    pub(crate) fn events(&self) -> Option<mpsc::Sender<NetEvent>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts an event into the queue unless it is full.
    pub(crate) fn announce(&self, event: NetEvent) -> bool {
        self.events().is_none_or(|events| !matches!(events.try_send(event), Err(mpsc::error::TrySendError::Full(_))))
    }

    fn stop(&self) {
        self.closed.store(true, Ordering::Relaxed);
        self.events.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// Closes the endpoint when the last [`Net`] is gone without [`Net::close`].
struct Guard(Arc<Shared>);

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.0.closed.load(Ordering::Relaxed) {
            self.0.stop();
            let endpoint = self.0.endpoint.clone();
            self.0.runtime.spawn(async move { endpoint.close().await });
        }
    }
}

/// The endpoint of this machine; clones share it. When the last clone goes, the endpoint closes.
#[derive(Clone)]
pub struct Net {
    pub(crate) shared: Arc<Shared>,
    _guard: Arc<Guard>,
}

impl Net {
    /// Opens the socket and begins to accept. Contacts nobody. The receiver gets what other machines do, in a bounded queue: while
    /// it is full, peers wait.
    ///
    /// # Errors
    /// [`NetError::Bind`], for instance when the port is in use.
    pub async fn bind(config: NetConfig) -> Result<(Self, mpsc::Receiver<NetEvent>), NetError> {
        let relay_url = config.relay.as_ref().and_then(relay::url);
        let endpoint = bind_endpoint(&config, relay_url.clone()).await?;
        let NetConfig { bind, limits, relay, .. } = config;
        let (sender, receiver) = mpsc::channel(limits.max_events.max(1));
        let shared = Arc::new(Shared {
            node: NodeId(*endpoint.id().as_bytes()),
            endpoint,
            limits,
            relay,
            relay_url,
            looks: Arc::new(Semaphore::new(relay::LOOKS_MAX)),
            counters: Counters::default(),
            tally: Tally::default(),
            goodput: Arc::default(),
            runtime: Handle::current(),
            closed: AtomicBool::new(false),
            resting: AtomicBool::new(false),
            bulk: AtomicUsize::new(0),
            stores: Mutex::default(),
            asked: Mutex::default(),
            events: Mutex::new(Some(sender)),
            book: Mutex::default(),
        });
        shared.runtime.spawn(serve::accept(shared.clone()));
        shared.runtime.spawn(idle::close_idle(Arc::downgrade(&shared)));
        let net = Self { _guard: Arc::new(Guard(shared.clone())), shared };
        if bind.ip().is_unspecified() {
            net.learn_addresses().await;
        }
        if relay.is_some() {
            net.shared.runtime.spawn(relay::look_for_direct_paths(Arc::downgrade(&net.shared)));
            let _ = tokio::time::timeout(RELAY_PATIENCE, net.shared.endpoint.online()).await;
        }
        Ok((net, receiver))
    }

    /// The machine's interfaces are listed by a task of the endpoint; without any, loopback remains.
    async fn learn_addresses(&self) {
        let listed = async {
            while self.shared.endpoint.addr().ip_addrs().next().is_none() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let _ = tokio::time::timeout(PATIENCE, listed).await;
    }

    /// This machine's key.
    pub fn node_id(&self) -> NodeId {
        self.shared.node
    }

    /// This machine as others may reach it: the bound address, or those of its interfaces if it listens on all.
    pub fn peer(&self) -> Peer {
        let bound = self.shared.endpoint.bound_sockets();
        let mut addrs: Vec<SocketAddr> = bound.iter().copied().filter(|addr| !addr.ip().is_unspecified()).collect();
        if addrs.is_empty() {
            addrs = self.shared.endpoint.addr().ip_addrs().copied().collect();
        }
        if addrs.is_empty() {
            let loopback = |addr: &SocketAddr| match addr {
                SocketAddr::V4(_) => SocketAddr::from(([127, 0, 0, 1], addr.port())),
                SocketAddr::V6(_) => SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, addr.port())),
            };
            addrs = bound.iter().map(loopback).collect();
        }
        addrs.truncate(MAX_ADDRS);
        Peer { node: self.shared.node, addrs }
    }

    /// Asks `to` to be let in.
    ///
    /// # Errors
    /// When it cannot be reached or does not answer within [`NetLimits::reply_timeout`].
    pub async fn join(&self, to: &Peer, join: Join) -> Result<JoinReply, NetError> {
        self.shared.join(to, join).await
    }

    /// Opens a control stream as a gateway.
    ///
    /// # Errors
    /// When `to` cannot be reached within [`NetLimits::connect_timeout`].
    pub async fn open_control(
        &self,
        to: &Peer,
        hello: MemberHello,
    ) -> Result<(ControlSender, ControlReceiver), NetError> {
        self.shared.open_control(to, hello).await
    }

    /// Opens a stream of messages about directories.
    ///
    /// # Errors
    /// When `to` cannot be reached within [`NetLimits::connect_timeout`].
    pub async fn open_directory(&self, to: &Peer, hello: MemberHello) -> Result<DirectorySender, NetError> {
        self.shared.open_directory(to, hello).await
    }

    /// Opens a stream to compare what this machine knows of the network's members with what `to` knows.
    ///
    /// # Errors
    /// When `to` cannot be reached within [`NetLimits::connect_timeout`].
    pub async fn open_register(
        &self,
        to: &Peer,
        hello: RegisterHello,
    ) -> Result<(RegisterSender, RegisterReceiver), NetError> {
        self.shared.open_register(to, hello).await
    }

    /// Closes all connections with a machine that is no member any more, and so ends all streams with it. It may connect again.
    pub fn expel(&self, node: NodeId) {
        self.shared.expel(node);
    }

    /// Connects to a machine unless it is connected already.
    ///
    /// # Errors
    /// When `to` cannot be reached within [`NetLimits::connect_timeout`].
    pub async fn reach(&self, to: &Peer) -> Result<(), NetError> {
        self.shared.reach(to).await.map(drop)
    }

    /// Opens a data stream to the next hop.
    ///
    /// # Errors
    /// When `to` cannot be reached within [`NetLimits::connect_timeout`].
    pub async fn open_data(&self, to: &Peer, hello: StreamHello) -> Result<DataSender, NetError> {
        self.shared.open_data(to, hello).await
    }

    /// Opens a stream on which this node tells a gateway its figures.
    ///
    /// # Errors
    /// When `to` cannot be reached within [`NetLimits::connect_timeout`].
    pub async fn open_figures(&self, to: &Peer) -> Result<FiguresSender, NetError> {
        self.shared.open_figures(to).await
    }

    /// Sends heartbeats to `node` on every connection with it for as long as any [`Watch`] of it lives. Its going and coming are
    /// told as [`NetEvent::Down`] and [`NetEvent::Up`]; a node starts as up, and is down if no connection comes about within
    /// [`NetLimits::dead_after`]. A watch does not dial.
    pub fn watch(&self, node: NodeId) -> Watch {
        watch::watch(&self.shared, node)
    }

    /// While nobody waits for an answer, heartbeats may go ten times as slowly, and so a node that is gone is noticed ten times as late: an
    /// idle machine should cost its owner nothing.
    pub fn set_resting(&self, resting: bool) {
        self.shared.resting.store(resting, Ordering::Relaxed);
    }

    /// QUIC's smoothed round-trip time to a connected node.
    pub fn rtt(&self, node: NodeId) -> Option<Duration> {
        let link = self.shared.book().newest(node)?;
        let paths = link.connection.paths();
        paths.iter().find(|path| path.is_selected()).or_else(|| paths.iter().next()).map(|path| path.rtt())
    }

    /// Bytes per second that came over this machine's links in large frames; none before the first such frame.
    pub fn goodput(&self) -> Option<u64> {
        self.shared.goodput.read()
    }

    /// How a machine is reached: connects to it, and waits up to `patience` for a direct path where the relay's came first.
    ///
    /// # Errors
    /// When `to` cannot be reached within [`NetLimits::connect_timeout`].
    pub async fn way_to(&self, to: &Peer, patience: Duration) -> Result<Way, NetError> {
        relay::way_to(&self.shared, to, patience).await
    }

    /// Whether what is sent to a connected node passes through the relay.
    pub fn is_relayed(&self, node: NodeId) -> Option<bool> {
        Some(self.shared.book().newest(node)?.is_relayed())
    }

    /// Whether this machine is connected to its relay; `None` if it has none. Waits a moment for the answer.
    pub async fn relay_answers(&self) -> Option<bool> {
        self.shared.relay?;
        Some(tokio::time::timeout(PATIENCE, self.shared.endpoint.online()).await.is_ok())
    }

    /// The relay that this machine uses, if any.
    pub fn relay(&self) -> Option<&Relay> {
        self.shared.relay.as_ref()
    }

    /// Whether there is a connection to `node` and, if it is watched, it answers.
    pub fn is_alive(&self, node: NodeId) -> bool {
        let most = self.shared.limits.missed_beats();
        self.shared.book().entries.get(&node).is_some_and(|entry| entry.answers(most))
    }

    /// What was sent and received so far; read it every second or so, as what a connection carried since goes with it.
    pub fn traffic(&self) -> Traffic {
        self.shared.tally.read()
    }

    /// What was refused so far.
    pub fn stats(&self) -> NetStats {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.shared.counters;
        NetStats {
            datagrams_ignored: count(&counters.datagrams),
            streams_refused: count(&counters.streams),
            connections_refused: count(&counters.connections),
        }
    }

    /// Leaves: every connection closes, peers are told, and the event queue ends. Other clones get [`NetError::Closed`].
    pub async fn close(self) {
        self.shared.stop();
        let _ = tokio::time::timeout(PATIENCE, self.shared.endpoint.close()).await;
    }
}

async fn bind_endpoint(config: &NetConfig, relay_url: Option<RelayUrl>) -> Result<Endpoint, NetError> {
    let NetConfig { secret, bind, limits, relay } = config;
    let bind = *bind;
    let failed = |reason: String| NetError::Bind { addr: bind, reason };
    let idle = IdleTimeout::try_from(IDLE).map_err(|fault| failed(fault.to_string()))?;
    let transport = QuicTransportConfig::builder()
        .max_concurrent_bidi_streams(limits.max_streams.into())
        .max_concurrent_uni_streams(limits.max_streams.into())
        .stream_receive_window(limits.stream_window.into())
        .receive_window(limits.connection_window.into())
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(KEEP_ALIVE)
        .initial_rtt(INITIAL_RTT)
        .datagram_receive_buffer_size(Some(64 << 10))
        .datagram_send_buffer_size(16 << 10)
        .congestion_controller_factory(Arc::new(FloorFactory))
        .build();
    let mut builder = Endpoint::builder(presets::Minimal)
        .secret_key(SecretKey::from_bytes(secret))
        .alpns(vec![ALPN.to_vec(), BULK_ALPN.to_vec(), LOOK.to_vec()])
        .relay_mode(RelayMode::Disabled)
        .portmapper_config(PortmapperConfig::Disabled)
        .clear_address_lookup()
        .clear_ip_transports()
        .transport_config(transport)
        .bind_addr(bind)
        .map_err(|fault| failed(fault.to_string()))?;
    if let (Some(relay), Some(url)) = (relay, relay_url) {
        let mode = RelayMode::Custom(relay::map(relay, url));
        builder = builder.relay_mode(mode).ca_tls_config(relay::trust(relay));
    }
    builder.bind().await.map_err(|fault| failed(format!("{fault:#}")))
}
