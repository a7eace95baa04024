//! A client that hangs up ends the work for its answer.

use crate::harness::{Server, eventually};
use crate::scripted::{Script, Scripted, events};
use skep_node::FinishReason;
use std::io::{BufRead, BufReader};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Answers with one piece and then with nothing more, as if the next token took for ever.
fn stuck() -> Server {
    Server::start(Scripted::new(|_| Script {
        events: events(&["Hello"], FinishReason::Stop)[..1].to_vec(),
        hold: true,
        ..Script::default()
    }))
}

fn hang_up(server: &Server, body: &str, read_until: Option<&str>) {
    let request = server.request("POST", "/v1/completions", "content-type: application/json\r\n", body);
    let mut stream = BufReader::new(server.open(&request));
    match read_until {
        Some(text) => {
            let mut line = String::new();
            while !line.contains(text) {
                line.clear();
                assert!(stream.read_line(&mut line).unwrap() > 0, "the stream ended before {text}");
            }
        }
        // Nothing is sent before the end, so the request counts as begun once the backend has it.
        None => eventually("the request", || !server.backend.requests.lock().unwrap().is_empty()),
    }
    assert_eq!(server.backend.cancelled.load(Ordering::SeqCst), 0);
    drop(stream);
    eventually("the cancel", || server.backend.cancelled.load(Ordering::SeqCst) == 1);
    eventually("the end", || server.get("/skep/v1/network").json()["active"] == 0);
}

#[test]
fn in_the_middle_of_a_stream_while_the_next_token_is_awaited() {
    hang_up(&stuck(), r#"{"prompt":"hi","stream":true}"#, Some("Hello"));
}

#[test]
fn while_an_answer_that_comes_whole_is_awaited() {
    hang_up(&stuck(), r#"{"prompt":"hi"}"#, None);
}

#[test]
fn while_the_first_token_of_a_stream_is_awaited() {
    let server = Server::start(Scripted::new(|_| Script { hold: true, ..Script::default() }));
    hang_up(&server, r#"{"prompt":"hi","stream":true}"#, None);
}

#[test]
fn while_pieces_keep_coming() {
    let server = Server::start(Scripted::new(|_| Script {
        events: events(&["Hello "; 100_000], FinishReason::Length),
        pace: Duration::from_millis(1),
        ..Script::default()
    }));
    hang_up(&server, r#"{"prompt":"hi","stream":true}"#, Some("Hello"));
}

#[test]
fn a_shutdown_does_not_wait_for_an_answer_that_is_stuck() {
    let server = stuck();
    let body = r#"{"prompt":"hi","stream":true}"#;
    let stream = server.open(&server.request("POST", "/v1/completions", "content-type: application/json\r\n", body));
    eventually("the request", || !server.backend.requests.lock().unwrap().is_empty());
    server.shut_down();
    drop(stream);
}
