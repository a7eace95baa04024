//! Real processes: a gateway is killed in the middle of an answer, starts again, and goes on with it.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;
#[path = "common/up.rs"]
mod up;

use common::{body, resume, stream};
use std::path::Path;
use up::{Up, up};

fn api(node: &Up) -> &str {
    node.said["api"].as_str().unwrap()
}

/// The request and the tokens of an answer's file.
fn parts(file: &Path) -> (Vec<u8>, Vec<u8>) {
    let mut request = std::fs::read(file).unwrap();
    let length = u32::from_le_bytes(request[1..5].try_into().unwrap()) as usize;
    let tokens = request.split_off(5 + length);
    (request, tokens)
}

#[test]
fn an_answer_whose_stop_text_was_drawn_when_its_gateway_was_killed_ends_there() {
    let home = tempfile::tempdir().unwrap();
    let start = || up(home.path(), &["--port", "0"]);
    let node = start();
    let whole = stream(api(&node), &body(80, None)).read_to_end().text;
    let stop: String = whole.chars().skip(60).take(5).collect();
    let mut stopping = body(80, Some(8.0));
    stopping["stop"] = serde_json::json!([stop]);
    let mut under_way = [stopping, body(80, Some(60.0))].map(|asked| stream(api(&node), &asked));
    let [id, other] = under_way.each_mut().map(|stream| {
        stream.next_event().unwrap();
        stream.so_far().id.clone()
    });
    while under_way[1].so_far().text.chars().count() < 75 {
        under_way[1].next_event().unwrap();
    }
    drop(node);
    let file = |id: &str| home.path().join("answers").join(id.trim_start_matches("cmpl-"));
    // As if the gateway had ended between the last token and the end of the answer.
    let (request, tokens) = (parts(&file(&id)).0, parts(&file(&other)).1);
    std::fs::write(file(&id), [request, tokens].concat()).unwrap();
    let answer = resume(api(&start()), &id).unwrap().read_to_end();
    assert_eq!(answer.text, whole.split(&stop).next().unwrap());
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
