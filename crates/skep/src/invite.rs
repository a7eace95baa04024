//! `skep invite`: a link for other machines, and what `skep up` makes of one.

use crate::args::InviteArgs;
use crate::client::Client;
use crate::error::Error;
use crate::output;
use serde_json::json;
use skep_types::Invite;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// Asks the network that runs here for an invite.
pub(crate) fn run(args: &InviteArgs) -> Result<(), Error> {
    let api = Client::new(&args.ask.api);
    let made = api.post("/skep/v1/invite", &json!({"hours": args.hours, "uses": args.uses}))?;
    if args.ask.json {
        return output::line(made);
    }
    output::line(made["link"].as_str().unwrap_or_default())?;
    let machines = if args.uses == 1 { "one machine".into() } else { format!("up to {} machines", args.uses) };
    let hours = if args.hours == 1 { "hour".into() } else { format!("{} hours", args.hours) };
    eprintln!(
        "On the other machine: skep up LINK. It lets in {machines} within the next {hours}; show it to nobody else."
    );
    Ok(())
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

/// The address to listen on if none is chosen: a network on other machines, or a relay, must reach this one; else nobody needs to.
pub(crate) fn where_to_listen(invite: Option<&Invite>, relay: bool) -> SocketAddr {
    let addrs = invite.map_or(&[][..], |invite| &invite.terms.addrs);
    if addrs.iter().all(|addr| addr.ip().is_loopback()) && !relay {
        SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
    } else if relay || addrs.iter().any(SocketAddr::is_ipv4) {
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))
    } else {
        SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))
    }
}
