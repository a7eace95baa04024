//! Who reaches the page and the API: this machine, or others too, each with a key.

use crate::error::Error;
use crate::home;
use crate::up::port_of;
use clap::Args;
use skep_api::{ApiConfig, Keys, Open};
use std::net::Ipv4Addr;
use tokio::net::TcpListener;

/// The longest name of a host, in characters.
const MAX_NAME: usize = 253;

#[derive(Debug, Clone, Args)]
pub(crate) struct OpenFlags {
    /// Let other machines reach the page and the API, each with a key of `skep keys`; what passes is not encrypted [default: this machine only]
    #[arg(long, conflicts_with = "lend_only")]
    pub(crate) open: bool,
    /// Name by which others reach it, besides its IP addresses: hive.lan, or with a port hive.lan:80; may be given several times
    #[arg(long, value_name = "NAME", conflicts_with = "lend_only", value_parser = parse_name)]
    pub(crate) host_name: Vec<String>,
}

impl OpenFlags {
    /// The address to listen on.
    pub(crate) fn address(&self) -> Ipv4Addr {
        if self.open { Ipv4Addr::UNSPECIFIED } else { Ipv4Addr::LOCALHOST }
    }

    /// What the API is told. The keys of a machine whose own key is forgotten at the end are forgotten too.
    pub(crate) fn config(&self, listener: &TcpListener, ephemeral: bool) -> Result<ApiConfig, Error> {
        let keys = if ephemeral { Keys::default() } else { Keys::open(&home::api_keys())? };
        let port = port_of(listener)?;
        let open = self.open.then_some(Open { port, addresses: skep_net::own_addresses });
        Ok(ApiConfig { allowed_hosts: self.host_name.clone(), keys, open, ..ApiConfig::default() })
    }

    /// The addresses of the page for other machines, given that for this one; none while they do not reach it.
    pub(crate) fn links(&self, api: Option<&str>) -> Vec<String> {
        let port = api.filter(|_| self.open).and_then(|api| api.rsplit_once(':'));
        let link = |(_, port): (&str, &str)| {
            skep_net::own_addresses().into_iter().map(|address| format!("http://{address}:{port}")).collect()
        };
        port.map(link).unwrap_or_default()
    }
}

fn parse_name(text: &str) -> Result<String, String> {
    let (name, port) = text.split_once(':').unwrap_or((text, "0"));
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    let holds = (1..=MAX_NAME).contains(&name.len()) && name.chars().all(plain) && port.parse::<u16>().is_ok();
    if holds { Ok(text.to_owned()) } else { Err("a name is as hive.lan or hive.lan:80".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_hosts_and_nothing_else() {
        for name in ["hive.lan", "hive", "hive.lan:80", "xn--hve-0na.example"] {
            assert_eq!(parse_name(name).as_deref(), Ok(name));
        }
        for name in
            ["", "http://hive.lan", "hive.lan/", "hive lan", "*", "hive.lan:", "hive.lan:x", "hive:80:80", "a@b"]
        {
            assert!(parse_name(name).is_err(), "{name}");
        }
    }
}
