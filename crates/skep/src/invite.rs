//! `skep invite`: a link for other machines, and what `skep up` makes of one.

use crate::args::InviteArgs;
use crate::client::Client;
use crate::error::Error;
use crate::{home, output};
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};
use serde_json::json;
use skep_node::Gateway;
use skep_types::wire::Peer;
use skep_types::{Invite, MAX_INVITE_USES};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// How long a machine looks for a network before it begins one. A part of a second that is drawn is added, so that two machines that start
/// at the same moment do not both begin one.
const LOOK_FOR: Duration = Duration::from_secs(2);
/// How long an invite that is announced lasts; it is made anew far sooner.
const LAN_INVITE_HOURS: u32 = 1;
/// How often a machine that may let nobody in looks whether it may now.
const MAY_ANNOUNCE_EVERY: Duration = Duration::from_secs(30);

/// Asks the network that runs here for an invite.
pub(crate) fn run(args: &InviteArgs) -> Result<(), Error> {
    let api = Client::new(&args.ask.api);
    let made = api.post("/skep/v1/invite", &json!({"hours": args.hours, "uses": args.uses}))?;
    if args.ask.json {
        return output::line(made);
    }
    let link = made["link"].as_str().unwrap_or_default();
    output::line(link)?;
    if args.qr {
        output::line(picture(link)?)?;
    }
    let machines = if args.uses == 1 { "one machine".into() } else { format!("up to {} machines", args.uses) };
    let hours = if args.hours == 1 { "hour".into() } else { format!("{} hours", args.hours) };
    eprintln!(
        "On the other machine: skep up LINK. It lets in {machines} within the next {hours}; show it to nobody else."
    );
    Ok(())
}

/// A link as a picture of half blocks, light on dark as most terminals are. In capitals it takes fewer of them, and is read all the same.
fn picture(link: &str) -> Result<String, Error> {
    let code = QrCode::with_error_correction_level(link.to_uppercase(), EcLevel::L);
    let code = code.map_err(|fault| Error::Link { reason: format!("the link is no picture: {fault}") })?;
    Ok(code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build())
}

/// An invite to a network that is announced on the local network: of several, to one that this machine joined before, else the first.
pub(crate) async fn look_around(port: u16, quiet: bool) -> Result<Option<Invite>, Error> {
    let patience = LOOK_FOR + Duration::from_millis(u64::from(skep_net::random_bytes()[0]) * 4);
    let heard = skep_net::networks_heard(port, patience).await;
    let mut heard = heard.map_err(|source| Error::System { what: "listening on the local network".into(), source })?;
    heard.sort_by_key(|invite| !home::networks().join(invite.terms.network.to_string()).exists());
    let Some(chosen) = heard.into_iter().next() else { return Ok(None) };
    if !quiet {
        eprintln!("joining the network {} of this local network", chosen.terms.network.short());
    }
    Ok(Some(chosen))
}

/// Announces a network on the local network for as long as the process lives and this machine lets others in.
pub(crate) fn announce(gateway: Gateway, port: u16) {
    tokio::spawn(async move {
        loop {
            skep_net::announce(port, || gateway.invite(LAN_INVITE_HOURS, MAX_INVITE_USES).ok()).await;
            tokio::time::sleep(MAY_ANNOUNCE_EVERY).await;
        }
    });
}

/// Reads a link and checks its signature, so that one with a wrong letter is told before anything is dialled.
///
/// # Errors
/// [`Error::Link`].
pub(crate) fn read(link: &str) -> Result<Invite, Error> {
    let invite: Invite =
        link.trim().parse().map_err(|fault: skep_types::InviteError| Error::Link { reason: fault.to_string() })?;
    if skep_net::is_signed(&invite) {
        Ok(invite)
    } else {
        Err(Error::Link { reason: "the invite is not as its network signed it".into() })
    }
}

/// The gateway of an invite that made it; each invite has one.
pub(crate) fn first_gateway(invite: &Invite) -> Peer {
    let none = || Peer { node: invite.terms.network, addrs: Vec::new() };
    invite.terms.gateways.first().cloned().unwrap_or_else(none)
}

/// The address to listen on if none is chosen: a network on other machines, a relay, or `others` of the local network must reach this one;
/// else nobody needs to.
pub(crate) fn where_to_listen(invite: Option<&Invite>, others: bool) -> SocketAddr {
    let gateways = invite.map_or(&[][..], |invite| &invite.terms.gateways);
    let mut addrs = gateways.iter().flat_map(|gateway| &gateway.addrs);
    if addrs.clone().all(|addr| addr.ip().is_loopback()) && !others {
        SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
    } else if others || addrs.any(SocketAddr::is_ipv4) {
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))
    } else {
        SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))
    }
}
