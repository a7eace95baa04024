//! Real processes: one starts a network, one invites, one joins.

#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "common/up.rs"]
mod up;

use serde_json::Value;
use std::path::Path;
use up::{skep, succeed, up};

/// The sentence with which `skep up` refuses to start.
fn refusal(home: &Path, arguments: &[&str]) -> String {
    let output = skep(home).arg("up").args(arguments).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(5), "{text}");
    text
}

#[test]
fn processes_of_the_invited_join_by_link_and_others_do_not() {
    let home = || tempfile::tempdir().unwrap();
    let (here, there, stranger) = (home(), home(), home());
    // On all addresses of this machine, so that whoever joins needs an invite.
    let listen = ["--listen", "0.0.0.0:0", "--port", "0", "--blocks", "0..4"];
    let gateway = up(here.path(), &listen);
    let (api, peer) = (gateway.said["api"].as_str().unwrap(), gateway.said["peer"].as_str().unwrap());
    let uninvited = refusal(stranger.path(), &["--join", peer]);
    assert!(uninvited.contains("this network takes an invite"), "{uninvited}");
    assert!(uninvited.contains("\n\nhint: a new link comes from `skep invite`"), "{uninvited}");

    let link = succeed(skep(here.path()).args(["invite", "--uses", "1", "--api", api]));
    assert!(link.starts_with("skep:") && !link.contains(char::is_whitespace), "{link}");
    let node = up(there.path(), &[&link, "--blocks", "4..8"]);
    let view: Value =
        serde_json::from_str(&succeed(skep(here.path()).args(["status", "--json", "--api", api]))).unwrap();
    let ids: Vec<&Value> = view["nodes"].as_array().unwrap().iter().map(|node| &node["id"]).collect();
    assert!(ids.contains(&&node.said["node"]["id"]) && ids.len() == 2, "{view}");
    // Both halves of the model are there, so the network answers.
    let answer =
        succeed(skep(here.path()).args(["chat", "What is love?", "--max-tokens", "4", "--json", "--api", api]));
    assert!(answer.contains(node.said["node"]["id"].as_str().unwrap()), "{answer}");

    let used_up = refusal(stranger.path(), &[&link, "--blocks", "4..8"]);
    assert!(used_up.contains("the invite was for 1 machines, and as many have used it"), "{used_up}");
    // The one that was let in comes back with the same link.
    drop(node);
    drop(up(there.path(), &[&link, "--blocks", "4..8"]));
}

#[test]
fn processes_that_listen_here_only_say_what_an_invite_needs() {
    let home = tempfile::tempdir().unwrap();
    let gateway = up(home.path(), &["--port", "0"]);
    let api = gateway.said["api"].as_str().unwrap();
    let output = skep(home.path()).args(["invite", "--api", api]).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(5), 0), "{text}");
    assert!(text.contains("this network listens on this machine only, so nobody else can join it"), "{text}");
    assert!(text.contains("hint: start it with `skep up --listen 0.0.0.0:7537`"), "{text}");
}
