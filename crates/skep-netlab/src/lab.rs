//! A network of hosts.

use crate::link::Link;
use crate::namespace::{Namespace, run};
use crate::router::Router;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tappers::linux::Tun;

/// Hosts with public addresses: 10.77.0.1, 10.77.0.2 and so on.
const HOSTS_MAX: usize = 250;

/// What this machine lacks for a [`Lab`]; `None` if nothing. `tools` are programs that the caller needs besides.
pub fn missing(tools: &[&str]) -> Option<String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = |tool: &str| std::env::split_paths(&path).any(|folder| folder.join(tool).exists());
    if let Some(tool) = ["ip", "unshare", "nsenter"].iter().chain(tools).find(|tool| !there(tool)) {
        return Some(format!("the program `{tool}` is not installed"));
    }
    if !Path::new("/dev/net/tun").exists() {
        return Some("/dev/net/tun is absent".into());
    }
    Namespace::new().err().map(|_| "only root may make network namespaces".into())
}

/// A network. Dropping it ends the router; each host's namespace lives until the host is dropped.
pub struct Lab {
    router: Router,
    seed: u64,
    hosts: usize,
}

impl Lab {
    /// A network without hosts whose chance comes from `seed`.
    ///
    /// # Errors
    /// When the system has no more threads or sockets.
    pub fn new(seed: u64) -> io::Result<Self> {
        Ok(Self { router: Router::start()?, seed, hosts: 0 })
    }

    /// Adds a host with a public address and lines that do nothing yet.
    ///
    /// # Errors
    /// When there are too many, or the system refuses (see [`missing`]).
    pub fn host(&mut self) -> io::Result<Host> {
        if self.hosts >= HOSTS_MAX {
            return Err(io::Error::other("there is no address for another host"));
        }
        let number = self.hosts as u8 + 1;
        let address = Ipv4Addr::new(10, 77, 0, number);
        let namespace = Namespace::new()?;
        let tun = Tun::new()?;
        tun.set_nonblocking(true)?;
        // A device keeps its other end when it moves, so the router holds what stands in the host's namespace.
        let name = String::from_utf8_lossy(tun.name()?.name_cstr().to_bytes()).into_owned();
        run(&format!("ip link set {name} netns {}", namespace.pid()))?;
        namespace.run(&format!("ip link set {name} name wan"))?;
        namespace.run(&format!("ip addr add {address}/16 dev wan"))?;
        namespace.run("ip link set wan up")?;
        namespace.run("ip route add default dev wan")?;
        let port = self.router.network().add(tun, address, self.seed);
        self.router.wake()?;
        self.hosts += 1;
        Ok(Host { namespace, address, port: Some(port) })
    }

    /// Hosts that are each `rtt / 2` away from each other; each packet is lost once on its way with probability `loss`.
    ///
    /// # Errors
    /// As [`Lab::host`].
    pub fn hosts(&mut self, count: usize, rtt: Duration, loss: f64) -> io::Result<Vec<Host>> {
        let hosts = (0..count).map(|_| self.host()).collect::<io::Result<Vec<_>>>()?;
        for host in &hosts {
            self.set_links(host, Link::delay(rtt / 4).with_loss(loss), Link::delay(rtt / 4));
        }
        Ok(hosts)
    }

    /// Changes a host's two lines. Packets on their way arrive as they would have. A host at home has none of its own: it shares those of
    /// the home's router.
    pub fn set_links(&self, host: &Host, up: Link, down: Link) {
        if let Some(port) = host.port {
            self.router.network().set_links(port, up, down);
        }
    }

    /// Cuts or mends the way between two hosts with lines of their own; their ways to others are as before.
    pub fn set_cut(&self, a: &Host, b: &Host, cut: bool) {
        if let (Some(a), Some(b)) = (a.port, b.port) {
            self.router.network().set_cut(a, b, cut);
        }
    }

    /// Packets that arrived so far, and that were lost.
    pub fn counts(&self) -> (u64, u64) {
        self.router.network().counts()
    }
}

/// A machine of the network. Dropping it takes its namespace away once no process is left in it.
pub struct Host {
    pub(crate) namespace: Namespace,
    pub(crate) address: Ipv4Addr,
    pub(crate) port: Option<usize>,
}

impl Host {
    /// Its address.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// A command that will run on it.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        self.namespace.command(&program.as_ref().to_string_lossy())
    }

    /// The process id that names the host's namespace to tools such as `nsenter`.
    pub fn pid(&self) -> u32 {
        self.namespace.pid()
    }
}
