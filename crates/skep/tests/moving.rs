//! A real process goes to the blocks that are served slowest, under an answer that goes on over its old ones.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;
#[path = "common/up.rs"]
mod up;

use common::{body, stream};
use serde_json::{Value, json};
use skep_types::BlockRange;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use up::{AT_REST, Up, skep, succeed, up};

/// What a node may hold so that it takes spans of two blocks.
fn weights() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/skep-bard-q8_0.gguf");
    let gguf = skep_model::Gguf::open(&file).unwrap();
    let bytes = |start| skep_node::weight_bytes(&gguf, BlockRange::new(start, start + 2).unwrap()).unwrap();
    (2 * (0..=6).map(bytes).max().unwrap()).to_string()
}

/// The spans that `skep peers` shows at a node, by the ids of the processes.
fn spans(home: &Path, api: &str) -> Vec<(u64, Value)> {
    let peers: Value = serde_json::from_str(&succeed(skep(home).args(["peers", "--json", "--api", api]))).unwrap();
    let peers = peers.as_array().unwrap().iter().filter(|node| node["alive"] == true);
    peers.map(|node| (node["pid"].as_u64().unwrap(), node["blocks"].clone())).collect()
}

#[test]
fn processes_move_while_an_answer_goes_on_over_their_old_blocks() {
    let homes: Vec<TempDir> = (0..5).map(|_| tempfile::tempdir().unwrap()).collect();
    let first = up(homes[0].path(), &["--port", "0", "--blocks", "0..6"]);
    let (api, peer) = (first.said["api"].as_str().unwrap(), first.said["peer"].as_str().unwrap());
    let whole = |pace| stream(api, &body(200, pace));
    let mut child = skep(homes[1].path())
        .args(["up", "--threads", "1", "--port", "0", "--join", peer, "--weights", &weights()])
        .args(AT_REST)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
    let mover = Up { child, said: Value::Null };
    let hears = said.next().unwrap().unwrap();
    assert!(hears.starts_with("this node holds blocks 6..8 of"), "it went where nobody was: {hears}");
    let pid = u64::from(mover.child.id());
    while !spans(homes[0].path(), api).contains(&(pid, json!([6, 8]))) {
        std::thread::sleep(Duration::from_millis(50));
    }
    let expected = whole(None).read_to_end().text;

    // The answer begins while there is one chain only. Then others come, after which blocks 4 and 5 are served slowest by far.
    let mut answer = whole(Some(4.0));
    for _ in 0..4 {
        answer.next_event().unwrap();
    }
    let join = |home: usize, blocks| up(homes[home].path(), &["--lend-only", "--join", peer, "--blocks", blocks]);
    let others = [join(2, "0..4"), join(3, "6..8"), join(4, "6..8")];
    let moves = said.map(Result::unwrap).find(|line| line.starts_with("moves ")).unwrap();
    assert_eq!(moves, "moves from blocks 6..8 to 4..6, because block 4 is served slowest");
    while !spans(homes[0].path(), api).contains(&(pid, json!([4, 6]))) {
        std::thread::sleep(Duration::from_millis(50));
    }
    // Nobody else has the keys and values of this answer.
    let last = (0..20).map_while(|_| answer.next_event()).last().unwrap();
    let part = &answer.so_far().text;
    assert!(last < 199 && expected.starts_with(part), "{part:?} is not how it goes on undisturbed: {expected:?}");
    drop(answer);
    // The new chain gives the same text.
    assert_eq!(whole(None).read_to_end().text, expected);
    drop(others);
}
