//! Hosts behind network address translation.

use crate::lab::{Host, Lab};
use crate::namespace::{Namespace, run};
use std::io;
use std::net::Ipv4Addr;

/// Hosts of one home; their addresses are 192.168.N.2 and so on.
const INSIDE_MAX: usize = 250;

/// How a router maps what comes from inside to ports of its outside address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mapping {
    /// One port for all destinations, as most home routers do: two such homes can find a direct path.
    Kept,
    /// Another port for each destination: nobody else can use what one destination sees.
    PerDestination,
}

/// A network behind a router with one outside address. Only answers to what went out come in.
pub struct Home {
    router: Host,
    number: u8,
    inside: usize,
}

impl Home {
    /// Adds a home to a network. `number`, from 0 to 255, tells its inside addresses from those of others.
    ///
    /// # Errors
    /// When the system refuses, for instance because `nft` is not installed.
    pub fn new(lab: &mut Lab, number: u8, mapping: Mapping) -> io::Result<Self> {
        let router = lab.host()?;
        let masquerade = match mapping {
            Mapping::Kept => "masquerade",
            Mapping::PerDestination => "masquerade fully-random",
        };
        let space = &router.namespace;
        space.shell("echo 1 > /proc/sys/net/ipv4/ip_forward")?;
        space.run("ip link add name inside type bridge")?;
        space.run(&format!("ip addr add 192.168.{number}.1/24 dev inside"))?;
        space.run("ip link set inside up")?;
        // What nobody inside asked for is dropped without a trace: a refusal would occupy the port that a later try needs.
        space.shell(&format!(
            "nft -f - <<END
table ip home {{
    chain out {{ type nat hook postrouting priority 100; oifname wan {masquerade}; }}
    chain to_router {{ type filter hook input priority 0; iifname wan ct state new drop; }}
    chain through {{ type filter hook forward priority 0; iifname wan ct state new drop; }}
}}
END"
        ))?;
        Ok(Self { router, number, inside: 0 })
    }

    /// The router, whose lines are the home's.
    pub fn router(&self) -> &Host {
        &self.router
    }

    /// Adds a host on the inside.
    ///
    /// # Errors
    /// When there are too many, or the system refuses.
    pub fn host(&mut self) -> io::Result<Host> {
        if self.inside >= INSIDE_MAX {
            return Err(io::Error::other("there is no address for another host of the home"));
        }
        let (number, last) = (self.number, self.inside as u8 + 2);
        let address = Ipv4Addr::new(192, 168, number, last);
        let namespace = Namespace::new()?;
        let (router, host) = (self.router.namespace.pid(), namespace.pid());
        run(&format!("ip link add name lan netns {host} type veth peer name to{last} netns {router}"))?;
        self.router.namespace.run(&format!("ip link set to{last} master inside up"))?;
        namespace.run(&format!("ip addr add {address}/24 dev lan"))?;
        namespace.run("ip link set lan up")?;
        namespace.run(&format!("ip route add default via 192.168.{number}.1"))?;
        self.inside += 1;
        Ok(Host { namespace, address, port: None })
    }
}
