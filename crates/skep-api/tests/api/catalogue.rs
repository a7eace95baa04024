//! The models of the owner's machine.

use crate::harness::Server;
use crate::scripted::Scripted;
use serde_json::json;

fn server() -> Server {
    Server::start(Scripted::says(&["x"]))
}

#[test]
fn models_and_pulls_are_shown_as_they_are() {
    let shown = server().get("/skep/v1/models").json();
    let expected = json!({
        "models": [{
            "id": "ab".repeat(32), "name": "tiny", "bytes": 4096, "held_bytes": 1024, "complete": false,
            "path": "/models/model.gguf", "in_use": true,
            "served": {"blocks": 8, "held": 6, "missing": [[2, 4]], "machines": 2},
            "task": "generate", "context": 512,
            "need": {"weights_bytes": 4096, "session_bytes": 100, "session_tokens": 512},
            "fits": "here", "why": "It is small.", "stays": "this node uses it",
        }],
        "pulls": [{
            "id": "0123", "source": "https://example.org/x.gguf", "name": "x", "state": "failed", "bytes": 5, "total": 10,
            "bytes_per_second": null, "error": {"message": "nobody answers", "hint": "ask again"}, "model": null,
        }],
        "memory": {"allowed_bytes": 9, "free_bytes": null, "machines": 1, "offered_bytes": 7},
        "disk_free_bytes": 1,
        "folder": "/models",
    });
    assert_eq!(shown, expected);
}

#[test]
fn orders_are_passed_on_and_what_is_none_is_refused_by_name() {
    let server = server();
    let say = |body: &str| server.post("/skep/v1/models", body);
    let id = "cd".repeat(32);
    let pull = format!(r#"{{"command":"pull","source":"hf:a/b/c.gguf","name":"c","id":"{id}"}}"#);
    assert_eq!(say(&pull).json()["models"][0]["name"], "tiny");
    for command in ["pause", "resume", "cancel"] {
        assert_eq!(say(&format!(r#"{{"command":"{command}","pull":"0123"}}"#)).status, 200);
    }
    let told = server.backend.told.lock().unwrap().clone();
    assert!(told[0].starts_with(r#"Pull { source: "hf:a/b/c.gguf", name: Some("c"), id: Some("#), "{told:?}");
    assert_eq!(told[1..], [r#"Pause("0123")"#, r#"Resume("0123")"#, r#"Cancel("0123")"#]);
    for (body, param) in [
        ("{}", "command"),
        (r#"{"command":"stop"}"#, "command"),
        (r#"{"command":"pull"}"#, "source"),
        (r#"{"command":"pull","source":7}"#, "source"),
        (r#"{"command":"pull","source":"x","id":"12"}"#, "id"),
        (r#"{"command":"pull","source":"x","pull":"0123"}"#, "pull"),
        (r#"{"command":"pull","source":"nothing"}"#, "source"),
        (r#"{"command":"pause"}"#, "pull"),
        (r#"{"command":"remove","model":"tiny"}"#, "model"),
    ] {
        let answer = say(body);
        assert_eq!((answer.status, answer.error().0), (400, json!(param)), "{body}");
    }
    let refused = |body: &str| {
        let answer = say(body);
        (answer.status, answer.error().1, answer.error().2)
    };
    let (status, code, message) = refused(&format!(r#"{{"command":"remove","model":"{}"}}"#, "ab".repeat(32)));
    assert_eq!((status, code), (409, json!("in_use")));
    assert!(message.starts_with("this node serves model abab"), "{message}");
    let (status, code, _) = refused(&format!(r#"{{"command":"remove","model":"{id}"}}"#));
    assert_eq!((status, code), (404, json!("model_not_found")));
    let (status, code, message) = refused(r#"{"command":"pause","pull":"gone"}"#);
    assert_eq!((status, code), (404, json!("not_found")));
    assert!(message.starts_with("there is no such pull\nhint: "), "{message}");
    assert_eq!(server.backend.told.lock().unwrap().len(), 4);
}

#[test]
fn a_node_without_models_says_so() {
    let mut backend = Scripted::says(&["x"]);
    backend.steward = false;
    let server = Server::start(backend);
    for answer in [server.get("/skep/v1/models"), server.post("/skep/v1/models", r#"{"command":"pause","pull":"x"}"#)] {
        assert_eq!((answer.status, answer.error().1), (404, json!("no_models")));
    }
}
