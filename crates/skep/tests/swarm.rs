//! Real processes of one network: each member has a page and an API of its own, and the network outlives the machine that began it.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;
#[path = "common/up.rs"]
mod up;

use common::{body, stream};
use serde_json::Value;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use up::{Up, skep, succeed, up};

/// What `skep status` says at a node.
fn status(node: &Up) -> Value {
    let home = tempfile::tempdir().unwrap();
    serde_json::from_str(&succeed(skep(home.path()).args(["status", "--json", "--api", api(node)]))).unwrap()
}

fn api(node: &Up) -> &str {
    node.said["api"].as_str().unwrap()
}

/// Waits until a node knows so many living others with itself.
fn wait_for(node: &Up, living: usize) -> Value {
    let begun = Instant::now();
    loop {
        let seen = status(node);
        let alive = seen["nodes"].as_array().unwrap().iter().filter(|node| node["alive"] == true).count();
        if alive == living {
            return seen;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{living} were to be seen: {seen}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_network_outlives_the_machine_that_began_it() {
    let homes: Vec<TempDir> = (0..4).map(|_| tempfile::tempdir().unwrap()).collect();
    let first = up(homes[0].path(), &["--port", "0", "--blocks", "0..4"]);
    let peer = first.said["peer"].as_str().unwrap().to_owned();
    let join =
        |home: usize, blocks: &str| up(homes[home].path(), &["--port", "0", "--join", &peer, "--blocks", blocks]);
    let (second, third, fourth) = (join(1, "4..8"), join(2, "0..4"), join(3, "4..8"));
    // Each has found each, though all joined at the first one.
    for node in [&first, &second, &third, &fourth] {
        wait_for(node, 4);
    }
    let whole = stream(api(&first), &body(120, None)).read_to_end();

    let mut under_way = stream(api(&third), &body(120, Some(40.0)));
    for _ in 0..20 {
        under_way.next_event().unwrap();
    }
    drop(first);
    assert_eq!(under_way.read_to_end().text, whole.text, "the answer went on");
    for node in [&second, &third, &fourth] {
        wait_for(node, 3);
        assert_eq!(stream(api(node), &body(120, None)).read_to_end().text, whole.text);
    }

    // A member that starts again finds the others by what it remembers.
    let remembers_two = || {
        let folder = std::fs::read_dir(homes[1].path().join("networks"));
        let files = folder.into_iter().flatten().flatten();
        files.map(|file| file.metadata().unwrap().len()).max().is_some_and(|bytes| bytes > 220)
    };
    let begun = Instant::now();
    while !remembers_two() {
        assert!(begun.elapsed() < Duration::from_secs(70), "it noted nobody down");
        std::thread::sleep(Duration::from_millis(50));
    }
    drop((second, fourth));
    wait_for(&third, 1);
    let again = join(1, "4..8");
    for node in [&third, &again] {
        wait_for(node, 2);
        assert_eq!(stream(api(node), &body(120, None)).read_to_end().text, whole.text);
    }
}

#[test]
fn a_member_that_is_no_doorkeeper_invites_nobody() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = up(here.path(), &["--port", "0", "--listen", "0.0.0.0:0"]);
    let link = succeed(skep(here.path()).args(["invite", "--api", api(&first)]));
    let member = up(there.path(), &["--port", "0", "--blocks", "0..4", &link]);
    let output = skep(there.path()).args(["invite", "--api", api(&member)]).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(5), 0), "{text}");
    let id = first.said["node"]["id"].as_str().unwrap();
    let sentence = format!("only the machine that began this network, {}, and its doorkeepers can invite", &id[..10]);
    assert!(text.contains(&sentence) && text.contains("hint: "), "{text}");
    let stranger = tempfile::tempdir().unwrap();
    let output = skep(stranger.path()).args(["up", "--join", member.said["peer"].as_str().unwrap()]).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("this machine lets nobody in"), "{text}");
}

/// A link by a node that may not be a doorkeeper yet.
fn link_by(node: &Up) -> String {
    let (home, begun) = (tempfile::tempdir().unwrap(), Instant::now());
    loop {
        let output = skep(home.path()).args(["invite", "--api", api(node)]).output().unwrap();
        if output.status.success() {
            return String::from_utf8(output.stdout).unwrap().trim_end().to_owned();
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "it never became a doorkeeper: {output:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The figures of a node, as another one shows it.
fn sessions(seen: &Value, id: &Value) -> u64 {
    let node = seen["nodes"].as_array().unwrap().iter().find(|node| node["id"] == *id).unwrap();
    node["figures"]["sessions"].as_u64().unwrap_or(0)
}

#[test]
fn a_machine_that_is_removed_is_refused_by_every_member_and_its_sessions_end() {
    let homes: Vec<TempDir> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let first = up(homes[0].path(), &["--port", "0", "--listen", "0.0.0.0:0", "--blocks", "0..4"]);
    let link = succeed(skep(homes[0].path()).args(["invite", "--api", api(&first)]));
    let second = up(homes[1].path(), &["--port", "0", "--blocks", "4..8", &link]);
    let bad = up(homes[2].path(), &["--port", "0", "--blocks", "0..4", &link]);
    for node in [&first, &second, &bad] {
        wait_for(node, 3);
    }
    let whole = stream(api(&first), &body(40, None)).read_to_end().text;
    assert_eq!(stream(api(&bad), &body(40, None)).read_to_end().text, whole);
    let mut under_way = stream(api(&bad), &body(400, Some(2.0)));
    under_way.next_event().unwrap();
    let (its, of_second) = (bad.said["node"]["id"].as_str().unwrap(), &second.said["node"]["id"]);
    let begun = Instant::now();
    while sessions(&status(&second), of_second) == 0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "the second node serves nobody");
        std::thread::sleep(Duration::from_millis(50));
    }

    let command = |arguments: &[&str], node: &Up| {
        skep(homes[0].path()).args(arguments).args(["--json", "--api", api(node)]).output().unwrap()
    };
    let refused = command(&["remove", &its[..10]], &second);
    assert!(!refused.status.success(), "it is no doorkeeper");
    assert!(command(&["remove", &its[..10]], &first).status.success());
    let begun = Instant::now();
    for node in [&first, &second] {
        wait_for(node, 2);
    }
    while sessions(&status(&second), of_second) > 0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "its session goes on");
        std::thread::sleep(Duration::from_millis(50));
    }
    println!("cut off everywhere after {:.1} s", begun.elapsed().as_secs_f64());
    for node in [&first, &second] {
        let listed: Value = serde_json::from_slice(&command(&["members"], node).stdout).unwrap();
        let found = listed.as_array().unwrap().iter().find(|member| member["id"] == its).unwrap();
        assert_eq!((&found["role"], &found["by"]), (&"removed".into(), &first.said["node"]["id"]));
        assert_eq!(stream(api(node), &body(40, None)).read_to_end().text, whole);
    }
    // It is refused when it starts again, with its old pass and with the link, which has uses left.
    drop((under_way, bad));
    let output = skep(homes[2].path()).args(["up", "--port", "0", &link]).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("this machine was removed from the network"), "{text}");
}

/// Longer than any pass of the network of this test.
const PASS: Duration = Duration::from_secs(16);

#[test]
fn doorkeepers_take_over_when_the_machine_that_began_a_network_is_gone_for_good() {
    let homes: Vec<TempDir> = (0..5).map(|_| tempfile::tempdir().unwrap()).collect();
    let join = |home: usize, arguments: &[&str]| {
        let all = [&["--port", "0", "--standing-seconds", "1", "--pass-seconds", "15"], arguments].concat();
        up(homes[home].path(), &all)
    };
    let first = join(0, &["--listen", "0.0.0.0:0"]);
    let whole = stream(api(&first), &body(40, None)).read_to_end().text;
    let link = link_by(&first);
    let (second, third) = (join(1, &["--blocks", "0..4", &link]), join(2, &["--blocks", "4..8", &link]));
    link_by(&second);
    link_by(&third);
    for node in [&second, &third] {
        wait_for(node, 3);
    }
    drop(first);
    for node in [&second, &third] {
        wait_for(node, 2);
    }
    // One that was invited by a doorkeeper, and needs both others for each answer.
    let link = link_by(&second);
    let fourth = join(3, &["--blocks", "0..2", &link]);
    wait_for(&fourth, 3);
    std::thread::sleep(PASS);
    for node in [&second, &third, &fourth] {
        assert_eq!(stream(api(node), &body(40, None)).read_to_end().text, whole);
    }
    // The link names the other doorkeeper too, who renews passes as well.
    drop(second);
    let fifth = join(4, &["--blocks", "2..4", &link]);
    for node in [&third, &fourth, &fifth] {
        wait_for(node, 3);
    }
    std::thread::sleep(PASS);
    for node in [&third, &fourth, &fifth] {
        assert_eq!(stream(api(node), &body(40, None)).read_to_end().text, whole);
    }
}

#[test]
fn two_machines_of_a_local_network_find_each_other_with_nothing_typed() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let port = std::net::UdpSocket::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port();
    let lan = format!("--lan={port}");
    let first = up(here.path(), &["--port", "0", &lan, "--blocks", "0..4"]);
    let second = up(there.path(), &["--port", "0", &lan, "--blocks", "4..8"]);
    for node in [&first, &second] {
        wait_for(node, 2);
    }
    let text = stream(api(&second), &body(20, None)).read_to_end().text;
    assert_eq!(stream(api(&first), &body(20, None)).read_to_end().text, text);
}
