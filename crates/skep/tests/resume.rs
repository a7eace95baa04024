//! Real processes: a gateway is killed in the middle of an answer, starts again, and goes on with it.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;
#[path = "common/up.rs"]
mod up;

use common::{body, resume, stream};
use up::{Up, up};

fn api(node: &Up) -> &str {
    node.said["api"].as_str().unwrap()
}

#[test]
fn a_gateway_killed_in_the_middle_of_an_answer_takes_it_up_again_by_its_id() {
    let home = tempfile::tempdir().unwrap();
    let start = || up(home.path(), &["--port", "0"]);
    let mut asked = body(80, Some(60.0));
    // Drawn by chance, so that going on at another place would be seen.
    asked["temperature"] = serde_json::json!(1.0);
    asked["seed"] = serde_json::json!(7);
    let node = start();
    let whole = stream(api(&node), &asked).read_to_end().text;
    assert!(resume(api(&node), "cmpl-00000000000000000000000000000000").is_err());

    let mut under_way = stream(api(&node), &asked);
    for _ in 0..25 {
        under_way.next_event().unwrap();
    }
    let (id, before) = (under_way.so_far().id.clone(), under_way.so_far().text.clone());
    assert!(resume(api(&node), &id).is_err(), "it is under way");
    drop(node);
    drop(under_way);

    let node = start();
    let mut rest = resume(api(&node), &id).unwrap();
    rest.next_event().unwrap();
    let first = rest.so_far().text.clone();
    assert!(first.starts_with(&before) && first.len() < whole.len(), "{first}");
    let answer = rest.read_to_end();
    assert_eq!((answer.text.as_str(), answer.id.as_str(), answer.tokens), (whole.as_str(), id.as_str(), 80));
    // What is complete is not kept.
    assert!(resume(api(&node), &id).is_err());
    assert_eq!(std::fs::read_dir(home.path().join("answers")).unwrap().count(), 0);
}
