//! Real processes behind home routers: the relay, the way around it, and what `skep doctor` says.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "common/wan.rs"]
mod wan;

use serde_json::Value;
use skep_netlab::{Home, Host, Lab, Link, Mapping};
use std::path::Path;
use std::time::{Duration, Instant};
use wan::{Up, printed, route, skep, text};

const MS: Duration = Duration::from_millis(1);
/// Far more than the ten seconds that a direct path may take to be found, and far less than the minute after which the transport would
/// look by itself.
const SOON: Duration = Duration::from_secs(30);

/// A relay on a host of its own, a gateway in one home and a node in another or the same, 40 ms from house to house.
struct World {
    // In this order, so that processes end before their hosts.
    node: Up,
    gateway: Up,
    _relay: Up,
    link: String,
    at_gateway: Host,
    at_node: Host,
    homes: Vec<Home>,
    at_relay: Host,
    lab: Lab,
    folders: [tempfile::TempDir; 3],
}

impl World {
    /// `None` on a machine that lacks what it takes, after saying so.
    fn build(mapping: Mapping, same_home: bool, cut: bool) -> Option<Self> {
        if let Some(lacks) = skep_netlab::missing(&["nft"]) {
            eprintln!("SKIPPED: {lacks}; no network was emulated");
            return None;
        }
        let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
        let mut lab = Lab::new(5).unwrap();
        let at_relay = lab.hosts(1, 40 * MS, 0.0).unwrap().remove(0);
        let mut homes = vec![Home::new(&mut lab, 1, mapping).unwrap(), Home::new(&mut lab, 2, mapping).unwrap()];
        for home in &homes {
            lab.set_links(home.router(), Link::delay(10 * MS), Link::delay(10 * MS));
        }
        lab.set_cut(homes[0].router(), homes[1].router(), cut);
        let at_gateway = homes[0].host().unwrap();
        let at_node = homes[usize::from(!same_home)].host().unwrap();
        let listen = format!("{}:7538", at_relay.address());
        let relay = Up::run(&at_relay, folders[0].path(), &["relay", "--listen", &listen]).unwrap();
        let address = relay.said["relay"].as_str().unwrap();
        let arguments = ["--relay", address, "--listen", "0.0.0.0:7000", "--port", "7537", "--blocks", "0..4"];
        let gateway = Up::start(&at_gateway, folders[1].path(), &arguments).unwrap();
        let link = printed(skep(&at_gateway, folders[1].path()).arg("invite")).unwrap();
        let node = Up::start(&at_node, folders[2].path(), &[&link, "--blocks", "4..8"]).unwrap();
        Some(Self { node, gateway, _relay: relay, link, at_gateway, at_node, homes, at_relay, lab, folders })
    }

    /// Whether the gateway reaches the node through the relay only.
    fn relayed(&self) -> bool {
        let status = printed(skep(&self.at_gateway, self.folders[1].path()).args(["status", "--json"])).unwrap();
        let status: Value = serde_json::from_str(&status).unwrap();
        let node = status["nodes"].as_array().unwrap().iter().find(|node| node["id"] == self.node.id()).unwrap();
        node["relayed"].as_bool().unwrap()
    }

    /// How long it takes until there is a direct path.
    fn until_direct(&self) -> Duration {
        let begun = Instant::now();
        while self.relayed() {
            assert!(begun.elapsed() < SOON, "the connection stayed on the relay");
            std::thread::sleep(50 * MS);
        }
        begun.elapsed()
    }

    /// Gateway and node answer together, and the text is what one machine alone says.
    fn answers(&self) {
        let answer = ask(&self.at_gateway);
        assert_eq!(route(&answer), [self.gateway.id(), self.node.id()]);
        let alone = Up::start(&self.at_relay, self.folders[0].path(), &["--ephemeral", "--port", "7537"]).unwrap();
        let expected = ask(&self.at_relay);
        assert_eq!(route(&expected), [alone.id()]);
        assert_eq!(text(&answer), text(&expected));
    }

    /// What the doctor finds at the node's place.
    fn doctor(&self, check: &str) -> (bool, String) {
        self.finding(check).unwrap()
    }

    /// What it finds once a member dialled the node back directly: it may know none yet, or know it through the relay yet.
    fn dialled_back(&self) -> String {
        let begun = Instant::now();
        loop {
            match self.finding("outside") {
                Some((_, says)) if says.contains("dialled") => return says,
                other => assert!(begun.elapsed() < SOON, "nobody dialled back: {other:?}"),
            }
            std::thread::sleep(250 * MS);
        }
    }

    fn finding(&self, check: &str) -> Option<(bool, String)> {
        let words = ["doctor", &self.link, "--json"];
        let found: Value =
            serde_json::from_str(&printed(skep(&self.at_node, self.folders[2].path()).args(words)).unwrap()).unwrap();
        let found = found["findings"].as_array().unwrap().iter().find(|one| one["check"] == check)?.clone();
        Some((found["good"].as_bool().unwrap(), found["says"].as_str().unwrap().to_owned()))
    }
}

/// What the network answers whose gateway runs on a host.
fn ask(host: &Host) -> Value {
    let words = ["chat", "What is love?", "--temperature", "0", "--max-tokens", "8", "--json"];
    serde_json::from_str(&printed(skep(host, Path::new("/nowhere")).args(words)).unwrap()).unwrap()
}

#[test]
fn processes_behind_routers_answer_through_the_relay_and_leave_it_when_a_direct_path_appears() {
    let Some(world) = World::build(Mapping::Kept, false, true) else { return };
    assert!(world.relayed(), "no packet of one home reaches the other");
    world.answers();
    let (good, says) = world.doctor("gateway");
    assert!(good && says.contains("answers only through the relay"), "{says}");
    let (_, says) = world.doctor("router");
    assert!(
        says.contains("behind a router") && says.contains(&world.homes[1].router().address().to_string()),
        "{says}"
    );
    world.lab.set_cut(world.homes[0].router(), world.homes[1].router(), false);
    println!("direct {:.1} s after it became possible", world.until_direct().as_secs_f64());
    world.answers();
    let (good, says) = world.doctor("gateway");
    assert!(good && says.contains("answers directly"), "{says}");
    // The router lets in answers only, and a member that dials back is none.
    let says = world.dialled_back();
    let router = world.homes[1].router().address().to_string();
    assert!(says.contains(&router) && says.contains("is not reachable from outside"), "{says}");
}

#[test]
fn processes_behind_routers_that_give_every_destination_another_port_stay_on_the_relay_and_answer() {
    let Some(world) = World::build(Mapping::PerDestination, false, false) else { return };
    world.answers();
    assert!(world.relayed());
}

#[test]
fn processes_in_one_home_speak_directly_although_there_is_a_relay() {
    let Some(world) = World::build(Mapping::Kept, true, false) else { return };
    world.until_direct();
    world.answers();
    let (good, says) = world.doctor("gateway");
    assert!(good && says.contains(&format!("answers directly at {}", world.at_gateway.address())), "{says}");
    let says = world.dialled_back();
    assert!(says.contains("in the same home or office, and reached it"), "{says}");
}
