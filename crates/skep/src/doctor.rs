//! `skep doctor`: can this machine be part of a network, and if not, why. One sentence for each finding.

use crate::args::DoctorArgs;
use crate::client::Client;
use crate::error::Error;
use crate::{invite, output};
use serde_json::{Value, json};
use skep_net::{Net, NetConfig, Way};
use skep_types::Relay;
use skep_types::wire::Peer;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

/// Time for a direct path to be found beside the relay's.
const DIRECT_WITHIN: Duration = Duration::from_secs(5);

/// What was found out about one thing.
struct Finding {
    /// What was looked at, for programs.
    check: &'static str,
    /// Whether a network can work like this.
    good: bool,
    /// One sentence.
    says: String,
    /// What would change it.
    advice: Option<&'static str>,
}

impl Finding {
    fn good(check: &'static str, says: String) -> Self {
        Self { check, good: true, says, advice: None }
    }

    fn bad(check: &'static str, says: String, advice: &'static str) -> Self {
        Self { check, good: false, says, advice: Some(advice) }
    }

    fn with(self, advice: &'static str) -> Self {
        Self { advice: Some(advice), ..self }
    }
}

/// Looks at everything that can be looked at from here, and says it.
pub(crate) async fn run(args: DoctorArgs) -> Result<(), Error> {
    let invite = args.link.as_deref().map(invite::read).transpose()?;
    let join = args.join.as_deref().map(skep_net::parse_peer).transpose()?;
    let relay = args.relay.or_else(|| invite.as_ref()?.terms.relay);
    let gateway = join.or_else(|| Some(invite::first_gateway(invite.as_ref()?)));
    let mut findings = Vec::new();
    let bind = args.listen.unwrap_or(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
    match Net::bind(NetConfig { relay, ..NetConfig::new(skep_net::random_bytes(), bind) }).await {
        Ok((net, _events)) => {
            let relay_answers = net.relay_answers().await;
            findings.extend(own_addresses(&net, relay_answers == Some(true)));
            findings.push(relay_found(relay.as_ref(), relay_answers));
            if let Some(gateway) = &gateway {
                findings.push(gateway_found(&net, gateway, relay.is_some()).await);
            }
            net.close().await;
        }
        Err(fault) => findings.push(Finding::bad(
            "listen",
            format!("This machine cannot listen: {fault}."),
            "End what uses the port, or choose another one with --listen.",
        )),
    }
    let client = Client::new(&args.ask.api);
    findings.extend(client.get("/skep/v1/reach").ok().and_then(|reach| reach_found(&reach)));
    findings.extend(members_found(client.get("/skep/v1/network").ok(), &args.ask.api, gateway.is_some()));
    show(&findings, args.ask.json)
}

/// Where this machine listens, and as what others see it.
fn own_addresses(net: &Net, relay_answers: bool) -> Vec<Finding> {
    let addrs = net.peer().addrs;
    let (own, outside): (Vec<SocketAddr>, Vec<SocketAddr>) = addrs.iter().partition(|addr| is_own(addr));
    let mut found =
        vec![Finding::good("listen", format!("This machine can listen for others over UDP, at {}.", list(&own)))];
    if own.iter().all(|addr| addr.ip().is_loopback()) {
        found[0].good = false;
        found[0].advice = Some("Only this machine reaches such an address; connect it to a network.");
    }
    if !outside.is_empty() {
        let says = format!("It is behind a router that translates addresses; others see it as {}.", list(&outside));
        found.push(Finding::good("router", says).with(
            "Two machines behind such routers usually find a direct path by themselves; a port forwarded to this machine, and given \
             to --listen, always works.",
        ));
    } else if relay_answers {
        found.push(Finding::good("router", "No router translates its address, as the relay sees it.".into()));
    } else if own.iter().all(is_private) {
        found.push(Finding::good("router", "Its addresses are those of a home or an office, unknown outside.".into()).with(
            "Machines in other places reach it only through a router's forwarded port, or with the help of a relay: `skep relay`.",
        ));
    }
    found
}

fn relay_found(relay: Option<&Relay>, answers: Option<bool>) -> Finding {
    match (relay, answers) {
        (Some(relay), Some(true)) => Finding::good("relay", format!("The relay at {} answers.", relay.addr)),
        (Some(relay), _) => Finding::bad(
            "relay",
            format!("The relay at {} does not answer, or does not know the token.", relay.addr),
            "See that `skep relay` runs there, that its port is open for TCP and UDP, and that its address was copied whole.",
        ),
        (None, _) => {
            Finding::good("relay", "No relay is used, so nobody but the network's machines is contacted.".into()).with(
                "A relay helps where machines cannot reach each other: `skep relay` on one that everybody reaches.",
            )
        }
    }
}

/// Whether the gateway can be reached, and how.
async fn gateway_found(net: &Net, gateway: &Peer, has_relay: bool) -> Finding {
    let name = gateway.node.short();
    let advice = if has_relay {
        "See that the gateway runs and that it uses the same relay."
    } else {
        "See that the gateway runs, that it listens with --listen on an address of its machine, and that UDP to it is not blocked; or \
         give the network a relay."
    };
    match net.way_to(gateway, DIRECT_WITHIN).await {
        Ok(Way::Direct { addr, rtt }) => Finding::good(
            "gateway",
            format!("The gateway {name} answers directly at {addr}, {:.1} ms there and back.", rtt.as_secs_f64() * 1e3),
        ),
        Ok(Way::Relayed { rtt }) => Finding::good(
            "gateway",
            format!(
                "The gateway {name} answers only through the relay, {:.1} ms there and back.",
                rtt.as_secs_f64() * 1e3
            ),
        )
        .with("It works, more slowly; a port forwarded on either side, or a router that keeps ports, makes it direct."),
        Err(fault) => Finding::bad("gateway", format!("The gateway {name} cannot be reached: {fault}."), advice),
    }
}

/// Whether members reach the machine that runs here when they dial it back. Who cannot be reached from outside says most.
fn reach_found(reach: &Value) -> Option<Finding> {
    let at = |place: &str| reach[place].as_str().map(str::to_owned);
    let found = |says: String| Finding::good("outside", says);
    if let Some(addr) = at("outside") {
        return Some(found(format!(
            "A member dialled this machine back at {addr} and reached it: it is reachable from outside."
        )));
    }
    if let Some(addr) = at("silent") {
        let says = format!(
            "A member dialled this machine back at {addr} and did not reach it: it is not reachable from outside."
        );
        return Some(found(says).with(
            "Others reach it where it dials them, or through a relay. A port of its router that is forwarded to the port of --listen, both \
             with the same number, makes it reachable.",
        ));
    }
    if let Some(addr) = at("inside") {
        return Some(found(format!(
            "A member dialled this machine back at {addr}, in the same home or office, and reached it."
        )));
    }
    let relayed = reach["relayed"].as_u64().is_some_and(|members| members > 0);
    relayed.then(|| {
        found("Members see this machine only through the relay.".into()).with(
            "It works, more slowly. A port of its router that is forwarded to the port of --listen makes a direct path.",
        )
    })
}

/// How the gateway that runs here reaches its nodes.
fn members_found(network: Option<Value>, api: &str, elsewhere: bool) -> Vec<Finding> {
    let Some(network) = network else {
        let says = format!("No gateway runs here (nobody answers at {api}), so nothing is known of a network's nodes.");
        let hint =
            "On the gateway's machine this command says how each node is reached; elsewhere give it the invite's link.";
        let finding = Finding::good("nodes", says);
        return vec![if elsewhere { finding } else { finding.with(hint) }];
    };
    let own = network["gateway"].as_str().unwrap_or_default();
    let nodes = network["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let found: Vec<Finding> = nodes.iter().filter(|node| node["id"] != own).map(member_found).collect();
    if found.is_empty() {
        let says = "The gateway that runs here has no other nodes.".to_owned();
        return vec![Finding::good("nodes", says).with("`skep invite` prints a link for another machine.")];
    }
    found
}

fn member_found(node: &Value) -> Finding {
    let id = node["id"].as_str().unwrap_or("?");
    let name = id.get(..10).unwrap_or(id);
    let rtt = node["rtt_ms"].as_f64().map_or(String::new(), |ms| format!(", {ms:.1} ms there and back"));
    if node["alive"] != true {
        let advice = "See that it runs; on its machine `skep doctor LINK` says whether it reaches this gateway.";
        Finding::bad("nodes", format!("The node {name} does not answer the gateway that runs here."), advice)
    } else if node["relayed"] == true {
        Finding::good("nodes", format!("The node {name} answers through the relay{rtt}."))
            .with("A direct path is looked for all the time; a port forwarded on either side makes one.")
    } else {
        Finding::good("nodes", format!("The node {name} answers directly{rtt}."))
    }
}

fn show(findings: &[Finding], as_json: bool) -> Result<(), Error> {
    if as_json {
        let list: Vec<Value> = findings
            .iter()
            .map(|one| json!({ "check": one.check, "good": one.good, "says": one.says, "advice": one.advice }))
            .collect();
        return output::line(json!({ "good": findings.iter().all(|one| one.good), "findings": list }));
    }
    for one in findings {
        output::line(format!("{} {}", if one.good { "good" } else { "BAD " }, one.says))?;
        if let Some(advice) = one.advice {
            output::line(format!("     {advice}"))?;
        }
    }
    Ok(())
}

/// Whether an address is one of this machine's: the system lets nobody listen on others.
fn is_own(addr: &SocketAddr) -> bool {
    UdpSocket::bind((addr.ip(), 0)).is_ok()
}

fn is_private(addr: &SocketAddr) -> bool {
    match addr {
        SocketAddr::V4(addr) => addr.ip().is_private() || addr.ip().is_loopback() || addr.ip().is_link_local(),
        SocketAddr::V6(addr) => {
            addr.ip().is_unique_local() || addr.ip().is_loopback() || addr.ip().is_unicast_link_local()
        }
    }
}

fn list(addrs: &[SocketAddr]) -> String {
    let texts: Vec<String> = addrs.iter().map(ToString::to_string).collect();
    if texts.is_empty() { "no address".into() } else { texts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_node_of_a_gateway_gets_a_sentence() {
        let id = |digit: &str| digit.repeat(64);
        let network = json!({ "gateway": id("0"), "nodes": [
            { "id": id("0"), "alive": true, "relayed": false, "rtt_ms": null },
            { "id": id("1"), "alive": true, "relayed": false, "rtt_ms": 12.34 },
            { "id": id("2"), "alive": true, "relayed": true, "rtt_ms": 80.0 },
            { "id": id("3"), "alive": false, "relayed": false, "rtt_ms": null } ]});
        let found = members_found(Some(network), "", false);
        let says: Vec<(&str, bool)> = found.iter().map(|one| (one.says.as_str(), one.good)).collect();
        assert_eq!(
            says,
            [
                ("The node 1111111111 answers directly, 12.3 ms there and back.", true),
                ("The node 2222222222 answers through the relay, 80.0 ms there and back.", true),
                ("The node 3333333333 does not answer the gateway that runs here.", false),
            ]
        );
        assert!(found[2].advice.is_some());
        assert!(members_found(None, "http://x", true)[0].says.contains("nobody answers at http://x"));
    }

    #[test]
    fn who_is_reachable_from_outside_is_told_from_who_is_not() {
        let says = |reach: Value| reach_found(&reach).map(|found| (found.says, found.advice.is_some()));
        let (outside, advised) = says(json!({"outside": "192.0.2.1:7", "silent": "192.0.2.1:7"})).unwrap();
        assert!(outside.contains("reachable from outside") && !outside.contains(" not ") && !advised);
        let (silent, advised) = says(json!({"silent": "192.0.2.1:7", "inside": "10.0.0.1:7"})).unwrap();
        assert!(silent.contains("is not reachable from outside") && advised);
        assert!(says(json!({"inside": "10.0.0.1:7", "relayed": 1})).unwrap().0.contains("in the same home or office"));
        assert!(says(json!({"relayed": 1})).unwrap().0.contains("only through the relay"));
        assert_eq!(says(json!({"relayed": 0, "answered": 0})), None);
    }

    #[test]
    fn addresses_of_homes_are_told_from_others() {
        let private = |text: &str| is_private(&text.parse().unwrap());
        assert!(private("192.168.1.2:1") && private("10.0.0.1:1") && private("[fd00::1]:1") && private("127.0.0.1:1"));
        assert!(!private("192.0.2.1:1") && !private("[2001:db8::1]:1"));
        assert!(is_own(&"127.0.0.1:1".parse().unwrap()) && !is_own(&"192.0.2.1:1".parse().unwrap()));
    }
}
