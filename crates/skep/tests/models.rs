//! The models of a running node: pulled, paused, killed in the middle, gone on with, refused with a reason, and removed.

#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "common/model.rs"]
mod model;
#[path = "common/server.rs"]
mod server;
#[path = "common/up.rs"]
mod up;

use serde_json::{Value, json};
use server::Server;
use skep_types::ModelId;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use up::{Up, skep, succeed, up};

const BUNDLED: &[u8] = include_bytes!("../assets/skep-bard-q8_0.gguf");
/// Whatever is waited for happens within this time.
const SOON: Duration = Duration::from_secs(120);
const MIB: u64 = 1 << 20;

/// A node of a home, alone.
fn alone(home: &Path, arguments: &[&str]) -> Up {
    up(home, &[&["--port", "0"], arguments].concat())
}

fn url(node: &Up) -> String {
    format!("{}/skep/v1/models", node.said["api"].as_str().unwrap())
}

fn get(node: &Up) -> Value {
    let text = ureq::get(url(node)).call().unwrap().body_mut().read_to_string().unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The status and the answer to an order.
fn say(node: &Up, order: &Value) -> (u16, Value) {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let answer = agent.post(url(node)).header("content-type", "application/json").send(order.to_string());
    let mut answer = answer.unwrap();
    let text = answer.body_mut().read_to_string().unwrap();
    (answer.status().as_u16(), serde_json::from_str(&text).unwrap())
}

fn order(node: &Up, order: &Value) -> Value {
    let (status, answer) = say(node, order);
    assert_eq!(status, 200, "{answer}");
    answer
}

/// The sentence of a refusal.
fn refused(node: &Up, order: &Value, status: u16) -> String {
    let (found, answer) = say(node, order);
    assert_eq!(found, status, "{answer}");
    answer["error"]["message"].as_str().unwrap().to_owned()
}

fn pull(source: &str) -> Value {
    json!({"command": "pull", "source": source})
}

/// Waits until the only pull is so, and returns it.
fn until(node: &Up, so: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let pull = get(node)["pulls"][0].clone();
        if so(&pull) {
            return pull;
        }
        assert!(begun.elapsed() < SOON, "it did not come about: {pull}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn is(state: &str) -> impl Fn(&Value) -> bool {
    move |pull| pull["state"] == state
}

fn bytes(pull: &Value) -> u64 {
    pull["bytes"].as_u64().unwrap()
}

/// What lies in a folder, but for empty folders.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn a_pull_is_paused_and_resumed_outlasts_kill_9_and_ends_in_the_store() {
    let (home, file) = (tempfile::tempdir().unwrap(), model::six_blocks().unwrap());
    let (id, size) = (ModelId::of(&file).to_string(), file.len() as u64);
    let server = Server::start(file.clone(), 5 * MIB);
    let node = alone(home.path(), &[]);
    let asked = order(&node, &pull(&server.url("six.gguf")))["pulls"][0].clone();
    let key = asked["id"].clone();
    let came = until(&node, |pull| bytes(pull) == 5 * MIB);
    assert_eq!((&came["state"], &came["total"], &came["name"]), (&json!("fetching"), &json!(size), &json!("six")));
    // Paused at once, also while the server sends nothing; what is let through then is not taken.
    let paused = order(&node, &json!({"command": "pause", "pull": key}))["pulls"][0].clone();
    assert_eq!((&paused["state"], &paused["bytes_per_second"]), (&json!("paused"), &json!(null)));
    server.open(20 * MIB);
    std::thread::sleep(Duration::from_millis(500));
    let held = bytes(&get(&node)["pulls"][0]);
    assert!(held < 6 * MIB, "{held} bytes came during a pause");
    order(&node, &json!({"command": "resume", "pull": key}));
    let had = bytes(&until(&node, |pull| bytes(pull) == 20 * MIB));
    // As kill -9 does.
    drop(node);
    server.open(u64::MAX);
    let node = alone(home.path(), &[]);
    let kept = get(&node)["pulls"][0].clone();
    assert_eq!((&kept["state"], &kept["id"], &kept["total"]), (&json!("paused"), &key, &json!(size)));
    order(&node, &json!({"command": "resume", "pull": key}));
    assert_eq!(until(&node, is("done"))["model"], json!(id));
    let starts = server.starts();
    println!("the server was asked from bytes {starts:?}; {had} were here before the kill");
    assert_eq!((starts.len(), starts[0]), (3, 0));
    assert!(starts[1] >= 5 * MIB && had - starts[2] <= had / 20, "{starts:?} of {had}");
    let view = get(&node);
    let row = view["models"].as_array().unwrap().iter().find(|row| row["id"] == json!(id)).unwrap();
    assert_eq!((&row["complete"], &row["name"], &row["in_use"]), (&json!(true), &json!("six"), &json!(false)));
    assert_eq!((&row["fits"], &row["stays"]), (&json!("here"), &json!(null)), "{row}");
    assert!(std::fs::read(row["path"].as_str().unwrap()).unwrap() == file);
    assert_eq!(files(&home.path().join("incoming")), [] as [PathBuf; 0]);
    let told = succeed(skep(home.path()).args(["models", "--api", node.said["api"].as_str().unwrap()]));
    assert!(told.contains("six") && told.contains("fits here"), "{told}");
    // Another process that uses it keeps it; afterwards it goes, and nothing of it stays.
    let other = up(home.path(), &["--port", "0", "--ephemeral", "--model", "six"]);
    let remove = json!({"command": "remove", "model": id});
    assert!(refused(&node, &remove, 409).starts_with(&format!("model {id} is in use\nhint: ")));
    drop(other);
    let left = order(&node, &remove);
    assert!(!left.to_string().contains(&format!("\"id\":\"{id}\"")), "{left}");
    assert!(!home.path().join("models").join(&id).exists());
}

#[test]
fn a_file_of_this_machine_is_pulled_and_a_cancelled_pull_leaves_nothing() {
    let (home, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = other.path().join("Six Blocks.gguf");
    let bytes = model::six_blocks().unwrap();
    std::fs::write(&file, &bytes).unwrap();
    let node = alone(home.path(), &[]);
    let view = order(&node, &pull(file.to_str().unwrap()));
    assert_eq!(view["pulls"][0]["name"], "Six-Blocks");
    let done = until(&node, is("done"));
    assert_eq!((&done["bytes"], &done["total"]), (&json!(bytes.len()), &json!(bytes.len())));
    assert!(file.exists(), "the file itself stays");
    let view = order(&node, &json!({"command": "cancel", "pull": done["id"]}));
    assert_eq!(view["pulls"], json!([]));
    let server = Server::start(bytes.clone(), 3 * MIB);
    order(&node, &pull(&server.url("six.gguf")));
    let key = until(&node, |pull| pull["bytes"] == 3 * MIB)["id"].clone();
    let view = order(&node, &json!({"command": "cancel", "pull": key}));
    assert_eq!(view["pulls"], json!([]));
    let begun = Instant::now();
    while !files(&home.path().join("incoming")).is_empty() {
        assert!(begun.elapsed() < SOON, "{:?}", files(&home.path().join("incoming")));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_cannot_be_pulled_or_removed_is_refused_with_a_reason() {
    let (home, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let node = alone(home.path(), &[]);
    let text = other.path().join("text.gguf");
    std::fs::write(&text, "no model at all").unwrap();
    let (own, good) = (ModelId::of(BUNDLED).to_string(), Server::start(BUNDLED.to_vec(), u64::MAX));
    let text_server = Server::start(b"no model at all".to_vec(), u64::MAX);
    for (source, why) in [
        ("Bart", "Bart is not fetched: it is neither an address nor a model of this network"),
        ("hf:owner/file.gguf", "hf:owner/file.gguf is not fetched: a file of the hub is written as"),
        ("http://192.0.2.1/x.gguf", "without TLS anybody on the way can change the file"),
        ("skep:abc", "a link leads to another network"),
        ("/no/such.gguf", "cannot read /no/such.gguf: No such file"),
        (text.to_str().unwrap(), "malformed gguf"),
    ] {
        let sentence = refused(&node, &pull(source), 400);
        assert!(sentence.contains(why) && sentence.contains("\nhint: "), "{source}: {sentence}");
    }
    // What a node has cannot be pulled from its own network, nor removed under it.
    let name = get(&node)["models"][0]["name"].as_str().unwrap().to_owned();
    assert!(refused(&node, &pull(&name), 409).starts_with(&format!("all of model {own} is on this machine")));
    let sentence = refused(&node, &json!({"command": "remove", "model": own}), 409);
    assert!(sentence.starts_with(&format!("this node serves model {own}")), "{sentence}");
    let unknown = "12".repeat(32);
    let sentence = refused(&node, &json!({"command": "remove", "model": unknown}), 404);
    assert!(sentence.starts_with(&format!("nothing of model {unknown} is in the store")), "{sentence}");
    assert!(refused(&node, &json!({"command": "pause", "pull": "x"}), 404).starts_with("there is no such pull"));
    // What fails on the way says why, and leaves nothing when it is put aside.
    let nowhere = "http://127.0.0.1:1/x.gguf".to_owned();
    let other_id = json!({"command": "pull", "source": good.url("bard.gguf"), "id": unknown});
    for (asked, why) in [
        (pull(&good.url("bard.txt")), "answers 404 Not Found".to_owned()),
        (pull(&nowhere), format!("{nowhere} cannot be fetched: ")),
        (pull(&text_server.url("text.gguf")), "malformed gguf".into()),
        (other_id, format!("this is model {own}, not {unknown}")),
    ] {
        order(&node, &asked);
        let failed = until(&node, is("failed"));
        let sentence = failed["error"]["message"].as_str().unwrap();
        assert!(sentence.contains(&why) && !failed["error"]["hint"].as_str().unwrap().is_empty(), "{failed}");
        order(&node, &json!({"command": "cancel", "pull": failed["id"]}));
    }
    assert_eq!(files(&home.path().join("incoming")), [] as [PathBuf; 0]);
}

/// A small disk of its own, gone at the end.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn new() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=16m", "tmpfs"]).arg(folder.path()).output();
        mounted.is_ok_and(|output| output.status.success()).then_some(Self(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(self.0.path()).status().unwrap();
    }
}

#[test]
fn a_disk_that_is_too_small_is_told_before_anything_comes() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(model::six_blocks().unwrap(), u64::MAX);
    let failed = |node: &Up| {
        order(node, &pull(&server.url("six.gguf")));
        let failed = until(node, is("failed"));
        assert_eq!(failed["bytes"], 0);
        failed["error"].clone()
    };
    let node = alone(home.path(), &["--share-disk", "10MB"]);
    let told = failed(&node);
    assert!(told["message"].as_str().unwrap().contains("of what the weights of models may take of the disk"), "{told}");
    assert!(told["hint"].as_str().unwrap().starts_with("raise share.disk"), "{told}");
    drop(node);
    let Some(disk) = SmallDisk::new() else {
        eprintln!("SKIPPED: this user may not mount a small disk; half of this test checked nothing");
        return;
    };
    let told = failed(&alone(disk.0.path(), &[]));
    assert!(told["message"].as_str().unwrap().contains("are free on the disk of"), "{told}");
    assert!(told["hint"].as_str().unwrap().starts_with("free some space"), "{told}");
}

#[test]
fn the_owners_cap_on_what_is_received_holds_for_pulls() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(model::six_blocks().unwrap(), u64::MAX);
    let rate = 2_000_000;
    let node = alone(home.path(), &["--share-download", "2MB"]);
    let begun = Instant::now();
    order(&node, &pull(&server.url("six.gguf")));
    for part in 1..=3 {
        let pull = until(&node, |pull| bytes(pull) >= part * rate);
        // What passes before a wait, and what a tenth of a second's rest allows.
        let most = begun.elapsed().as_secs_f64() * rate as f64 + 1e6;
        assert!((bytes(&pull) as f64) < most, "{pull} after {:?}", begun.elapsed());
    }
}

/// A network of which the first machine has the file and three of six blocks, and the second the others.
struct Two {
    homes: [TempDir; 2],
    bytes: Vec<u8>,
    link: String,
    _first: Up,
}

impl Two {
    fn start() -> Self {
        let homes = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let (file, bytes) = (homes[0].path().join("model.gguf"), model::six_blocks().unwrap());
        std::fs::write(&file, &bytes).unwrap();
        let model = ["--model", file.to_str().unwrap(), "--blocks", "0..3", "--listen", "0.0.0.0:0"];
        let first = alone(homes[0].path(), &model);
        let link = succeed(skep(homes[0].path()).args(["invite", "--api", first.said["api"].as_str().unwrap()]));
        Self { homes, bytes, link, _first: first }
    }

    fn second(&self, arguments: &[&str]) -> Up {
        alone(self.homes[1].path(), &[&[self.link.as_str(), "--blocks", "3..6"], arguments].concat())
    }
}

/// The model of the network.
fn row(node: &Up) -> Value {
    get(node)["models"][0].clone()
}

#[test]
fn a_member_pulls_the_networks_model_from_the_others() {
    let network = Two::start();
    let second = network.second(&[]);
    let before = row(&second);
    assert_eq!(
        (&before["name"], &before["complete"], &before["in_use"]),
        (&json!("six-blocks"), &json!(false), &json!(true))
    );
    let begun = Instant::now();
    while row(&second)["served"]["held"] != 6 {
        assert!(begun.elapsed() < SOON, "{}", row(&second));
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(get(&second)["memory"]["machines"], 1, "{}", get(&second));
    order(&second, &pull("six blocks"));
    until(&second, is("done"));
    let after = row(&second);
    assert_eq!((&after["complete"], &after["held_bytes"]), (&json!(true), &json!(network.bytes.len())));
    assert!(std::fs::read(after["path"].as_str().unwrap()).unwrap() == network.bytes);
}

#[test]
fn a_pull_over_the_network_outlasts_kill_9_too() {
    let network = Two::start();
    let had = {
        let second = network.second(&["--share-download", "1MB"]);
        let before = row(&second)["held_bytes"].as_u64().unwrap();
        order(&second, &pull("six-blocks"));
        let pull = until(&second, |pull| bytes(pull) > before + 3 * MIB);
        assert_eq!(pull["state"], "fetching");
        bytes(&pull)
    };
    let second = network.second(&[]);
    let kept = get(&second)["pulls"][0].clone();
    println!("{had} bytes were here before the kill, {} after it", bytes(&kept));
    assert_eq!((&kept["state"], &kept["total"]), (&json!("paused"), &json!(network.bytes.len())));
    assert!(bytes(&kept) >= had - had / 20, "{kept} of {had}");
    order(&second, &json!({"command": "resume", "pull": kept["id"]}));
    until(&second, is("done"));
    assert!(std::fs::read(row(&second)["path"].as_str().unwrap()).unwrap() == network.bytes);
}
