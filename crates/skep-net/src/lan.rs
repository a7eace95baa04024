//! Finding a network on the local network, where the owners of both machines have chosen that.
//!
//! The machine that began a network, and each of its doorkeepers, says once in [`SAY_EVERY`], on each of its IPv4 interfaces, to the multicast group [`GROUP`]: the text of
//! an [`Invite`]'s link, and nothing else. A packet lives for one hop, so it stays on the local network. Who looks for a network takes
//! the invites that it hears, and only those which their networks signed. So whoever is on the local network may join: that is what the
//! owner chooses.

use crate::is_signed;
use skep_types::{Invite, MAX_INVITE_LINK_CHARS};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

/// Where machines that look listen: a group of the range that is never routed beyond an organisation.
const GROUP: Ipv4Addr = Ipv4Addr::new(239, 255, 83, 75);
/// How often a network says that it is there.
const SAY_EVERY: Duration = Duration::from_secs(1);
/// An invite that is said is made anew after this time; it should last for longer.
const RENEW_EVERY: Duration = Duration::from_secs(300);
/// When one network was heard, others that are there are waited for this long.
const OTHERS_WITHIN: Duration = Duration::from_millis(1200);
/// Networks that are told apart.
const NETWORKS_MAX: usize = 16;

/// Says on the local network, for ever, how to join: by an invite of `make`, for as long as it makes one. Interfaces that come and go
/// are noticed when it is made anew.
pub async fn announce(port: u16, make: impl Fn() -> Option<Invite>) {
    let to = SocketAddr::from((GROUP, port));
    while let Some(invite) = make() {
        let text = invite.to_string();
        let sockets: Vec<UdpSocket> =
            interfaces().await.iter().filter_map(|interface| speaker(interface).ok()).collect();
        let renewed = Instant::now() + RENEW_EVERY;
        while Instant::now() < renewed {
            for socket in &sockets {
                // An interface may be down at this moment.
                let _ = socket.send_to(text.as_bytes(), to).await;
            }
            tokio::time::sleep(SAY_EVERY).await;
        }
    }
}

/// The networks that are heard on the local network, one invite of each, the first heard first: none within `patience`, or those heard
/// shortly after the first one.
///
/// # Errors
/// When the system gives no socket.
pub async fn networks_heard(port: u16, patience: Duration) -> io::Result<Vec<Invite>> {
    let socket = listener(port, &interfaces().await)?;
    let mut heard: Vec<Invite> = Vec::new();
    let mut until = Instant::now() + patience;
    // One more than the longest link, so that a longer packet is not cut to one.
    let mut packet = vec![0; MAX_INVITE_LINK_CHARS + 1];
    while let Ok(received) = timeout_at(until, socket.recv_from(&mut packet)).await {
        let Ok((length, _)) = received else { continue };
        let link = std::str::from_utf8(&packet[..length]).ok();
        let Some(invite) = link.and_then(|link| link.parse::<Invite>().ok()) else { continue };
        let known = heard.iter().any(|other| other.terms.network == invite.terms.network);
        if known || heard.len() >= NETWORKS_MAX || !is_signed(&invite) {
            continue;
        }
        if heard.is_empty() {
            until = until.min(Instant::now() + OTHERS_WITHIN);
        }
        heard.push(invite);
    }
    Ok(heard)
}

/// Addresses of the interfaces that are up, this machine's own loop among them: two nodes of one machine find each other too.
async fn interfaces() -> Vec<Ipv4Addr> {
    let listed = tokio::task::spawn_blocking(|| {
        let up = netdev::get_interfaces().into_iter().filter(|interface| interface.is_up());
        up.flat_map(|interface| interface.ipv4_addrs()).collect()
    });
    listed.await.unwrap_or_default()
}

/// Addresses of version 4 by which others of the local network may reach this machine: those of the interface that leads to the internet first, those
/// of tunnels last. It asks the system, which takes some milliseconds.
pub fn own_addresses() -> Vec<IpAddr> {
    let mut up: Vec<_> = netdev::get_interfaces().into_iter().filter(|interface| interface.is_up()).collect();
    up.sort_by_key(|interface| (!interface.default, interface.is_tun() || interface.is_point_to_point()));
    let addresses = up.iter().flat_map(|interface| interface.ipv4_addrs());
    addresses.filter(|address| !address.is_loopback() && !address.is_link_local()).map(IpAddr::from).take(8).collect()
}

fn speaker(interface: &Ipv4Addr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_multicast_if_v4(interface)?;
    socket.set_multicast_ttl_v4(1)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into())?;
    UdpSocket::from_std(socket.into())
}

fn listener(port: u16, interfaces: &[Ipv4Addr]) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    // Several nodes of one machine may look at once.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).into())?;
    for interface in interfaces {
        // What has no multicast is passed over.
        let _ = socket.join_multicast_v4(&GROUP, interface);
    }
    UdpSocket::from_std(socket.into())
}
