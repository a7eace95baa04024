//! The thread that carries packets between the hosts.

use crate::link::{Link, Pipe};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};
use std::io::{self, Read};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tappers::linux::Tun;

/// The longest packet that a TUN device of the usual 1500 bytes hands out, with room for larger ones.
const PACKET_BYTES: usize = 9216;
/// Packets on their way in the whole network; more are lost, so that a flood does not take the machine's memory.
const PACKETS_MAX: usize = 1 << 17;

/// A host's place in the router.
pub(crate) struct Port {
    tun: Arc<Tun>,
    up: Pipe,
    down: Pipe,
}

/// What the router knows, shared with whoever changes it.
#[derive(Default)]
pub(crate) struct Network {
    ports: Vec<Port>,
    by_address: HashMap<Ipv4Addr, usize>,
    /// Pairs of ports, the lower first, between which nothing passes.
    cut: BTreeSet<(usize, usize)>,
    carried: u64,
    lost: u64,
}

impl Network {
    /// Adds a host and returns its port.
    pub(crate) fn add(&mut self, tun: Tun, address: Ipv4Addr, seed: u64) -> usize {
        let port = self.ports.len();
        let pipe = |salt| Pipe::new(Link::default(), seed.wrapping_mul(1000) + 2 * port as u64 + salt);
        self.ports.push(Port { tun: Arc::new(tun), up: pipe(0), down: pipe(1) });
        self.by_address.insert(address, port);
        port
    }

    pub(crate) fn set_links(&mut self, port: usize, up: Link, down: Link) {
        self.ports[port].up.set(up);
        self.ports[port].down.set(down);
    }

    pub(crate) fn set_cut(&mut self, a: usize, b: usize, cut: bool) {
        let pair = (a.min(b), a.max(b));
        if cut {
            self.cut.insert(pair);
        } else {
            self.cut.remove(&pair);
        }
    }

    /// Packets that arrived, and that did not.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.carried, self.lost)
    }

    /// Where a packet from `port` goes.
    fn target(&self, from: usize, packet: &[u8]) -> Option<usize> {
        let target: [u8; 4] = packet.get(16..20).filter(|_| packet[0] >> 4 == 4)?.try_into().ok()?;
        let to = *self.by_address.get(&Ipv4Addr::from(target))?;
        (!self.cut.contains(&(from.min(to), from.max(to)))).then_some(to)
    }
}

/// A packet on its way, ordered by when something happens to it, then by when it came.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Travelling {
    due: Duration,
    number: u64,
    to: usize,
    /// Whether it has passed the downward pipe of its host.
    at_the_door: bool,
    bytes: Vec<u8>,
}

/// Holds the router's thread; dropping it ends the thread.
pub(crate) struct Router {
    network: Arc<Mutex<Network>>,
    wake: UnixStream,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Router {
    pub(crate) fn start() -> io::Result<Self> {
        let network = Arc::new(Mutex::new(Network::default()));
        let (wake, woken) = UnixStream::pair()?;
        woken.set_nonblocking(true)?;
        wake.set_nonblocking(true)?;
        let carrier = Carrier {
            network: network.clone(),
            woken,
            start: Instant::now(),
            travelling: BinaryHeap::new(),
            packets: 0,
            buffer: vec![0; PACKET_BYTES],
        };
        let thread = std::thread::Builder::new().name("netlab-router".into()).spawn(move || carrier.run())?;
        Ok(Self { network, wake, thread: Some(thread) })
    }

    /// The network. The thread waits while it is held.
    pub(crate) fn network(&self) -> MutexGuard<'_, Network> {
        lock(&self.network)
    }

    /// Tells the thread that there is a new port to listen on.
    pub(crate) fn wake(&self) -> io::Result<()> {
        io::Write::write_all(&mut &self.wake, &[1])
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        let _ = self.wake.shutdown(std::net::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock(network: &Mutex<Network>) -> MutexGuard<'_, Network> {
    network.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread's own.
struct Carrier {
    network: Arc<Mutex<Network>>,
    woken: UnixStream,
    start: Instant,
    travelling: BinaryHeap<Reverse<Travelling>>,
    packets: u64,
    buffer: Vec<u8>,
}

impl Carrier {
    fn run(mut self) {
        let mut tuns: Vec<Arc<Tun>> = Vec::new();
        loop {
            match self.wait(&tuns) {
                Ok(Woken::Ended) => return,
                Ok(Woken::NewPort) => tuns = lock(&self.network).ports.iter().map(|port| port.tun.clone()).collect(),
                Ok(Woken::Packets(ready)) => self.take(&tuns, &ready),
                // A signal; everything is looked at again.
                Err(_) => {}
            }
            self.deliver();
        }
    }

    /// Sleeps until a packet comes or is due.
    fn wait(&mut self, tuns: &[Arc<Tun>]) -> io::Result<Woken> {
        let timeout = self.travelling.peek().map(|next| next.0.due.saturating_sub(self.start.elapsed()));
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let mut fds = vec![PollFd::new(&self.woken, PollFlags::IN)];
        fds.extend(tuns.iter().map(|tun| PollFd::new(&**tun, PollFlags::IN)));
        poll(&mut fds, timeout.as_ref())?;
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        if !ready[0] {
            return Ok(Woken::Packets(ready[1..].to_vec()));
        }
        match self.woken.read(&mut [0; 64]) {
            Ok(0) => Ok(Woken::Ended),
            _ => Ok(Woken::NewPort),
        }
    }

    /// Takes every packet that the hosts have handed out.
    fn take(&mut self, tuns: &[Arc<Tun>], ready: &[bool]) {
        let network = self.network.clone();
        let mut network = lock(&network);
        for (from, tun) in tuns.iter().enumerate().filter(|(from, _)| ready[*from]) {
            while let Ok(bytes) = tun.recv(&mut self.buffer) {
                let packet = &self.buffer[..bytes];
                let now = self.start.elapsed();
                // What a host says to nobody, as systems do when a device appears, was never on the way.
                let Some(to) = network.target(from, packet) else { continue };
                match network.ports[from].up.send(now, bytes) {
                    Some(due) if self.travelling.len() < PACKETS_MAX => {
                        self.packets += 1;
                        let (number, bytes) = (self.packets, packet.to_vec());
                        self.travelling.push(Reverse(Travelling { due, number, to, at_the_door: false, bytes }));
                    }
                    _ => network.lost += 1,
                }
            }
        }
    }

    /// Moves on everything that is due.
    fn deliver(&mut self) {
        let network = self.network.clone();
        let mut network = lock(&network);
        while let Some(next) = self.travelling.peek()
            && next.0.due <= self.start.elapsed()
            && let Some(Reverse(mut packet)) = self.travelling.pop()
        {
            if packet.at_the_door {
                // A host whose device is full loses packets as any machine does.
                let arrived = network.ports[packet.to].tun.send(&packet.bytes).is_ok();
                network.carried += u64::from(arrived);
                network.lost += u64::from(!arrived);
                continue;
            }
            match network.ports[packet.to].down.send(packet.due, packet.bytes.len()) {
                Some(due) => {
                    (packet.due, packet.at_the_door) = (due, true);
                    self.travelling.push(Reverse(packet));
                }
                None => network.lost += 1,
            }
        }
    }
}

/// Why the thread woke.
enum Woken {
    Ended,
    NewPort,
    /// Which ports have packets; a wait that timed out names none.
    Packets(Vec<bool>),
}
