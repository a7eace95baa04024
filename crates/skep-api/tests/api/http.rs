//! Paths, methods, bounds, other web sites, the page.

use crate::harness::Server;
use crate::scripted::{Scripted, node};
use serde_json::json;
use skep_api::ApiConfig;

fn server() -> Server {
    Server::start(Scripted::says(&["x"]))
}

#[test]
fn models_are_listed_and_found_by_id_and_by_name() {
    let server = server();
    let list = server.get("/v1/models").json();
    assert_eq!((&list["object"], list["data"].as_array().unwrap().len()), (&json!("list"), 1));
    let model = &list["data"][0];
    let id = "ab".repeat(32);
    assert_eq!((&model["id"], &model["object"], &model["owned_by"]), (&json!(id), &json!("model"), &json!("skep")));
    assert!(model["created"].as_u64().unwrap() > 1_700_000_000);
    assert_eq!(model["skep"]["name"], "scripted/tiny");
    for asked in [id.as_str(), "scripted/tiny", "scripted%2Ftiny"] {
        assert_eq!(&server.get(&format!("/v1/models/{asked}")).json(), model);
    }
    let unknown = server.get("/v1/models/gpt");
    assert_eq!((unknown.status, unknown.error().1), (404, json!("model_not_found")));
}

#[test]
fn the_network_is_shown_and_a_node_unplugged() {
    let server = server();
    let view = server.get("/skep/v1/network");
    assert_eq!(
        (view.json()["nodes"][1]["blocks"].clone(), view.header("cache-control")),
        (json!([4, 8]), Some("no-store"))
    );
    assert_eq!(view.json()["nodes"][1]["figures"]["delay_ms"], json!(0.125));
    let route = server.get("/skep/v1/route").json().clone();
    assert_eq!((route["last"]["lap_ms"].clone(), route["next"].clone()), (json!(2.5), json!(null)));
    assert_eq!(route["refused"], "no node may run block 2");
    let unplug = |body: String| server.post("/skep/v1/unplug", &body);
    let ask = |byte| unplug(json!({"node": node(byte)}).to_string());
    assert_eq!(ask(1).json(), json!({"node": node(1)}));
    assert_eq!((ask(3).status, ask(4).status), (403, 404));
    for body in [r#"{"node":"01"}"#, r#"{"node":1}"#, "{}"] {
        let answer = unplug(body.to_owned());
        assert_eq!((answer.status, answer.error().0), (400, json!("node")), "{body}");
    }
    let extra = unplug(json!({"node": node(1), "force": true}).to_string());
    assert_eq!((extra.status, extra.error().0), (400, json!("force")));
}

#[test]
fn members_are_listed_and_removed() {
    let server = server();
    let reach = json!({"outside": null, "silent": "192.0.2.7:7", "inside": null, "relayed": 0, "answered": 1});
    assert_eq!(server.get("/skep/v1/reach").json(), reach);
    let members = server.get("/skep/v1/members").json()["members"].clone();
    assert_eq!((&members[0]["id"], &members[0]["role"]), (&json!(node(7)), &json!("first")));
    assert_eq!((&members[1]["alive"], &members[1]["pass_until"]), (&json!(true), &json!(null)));
    let remove = |body: serde_json::Value| server.post("/skep/v1/remove", &body.to_string());
    assert_eq!(remove(json!({"node": node(1)})).json(), json!({"removed": node(1)}));
    let first = remove(json!({"node": node(7)}));
    assert_eq!((first.status, first.error().1), (409, json!("not_removed")));
    assert_eq!(remove(json!({"node": "01"})).error().0, json!("node"));
}

#[test]
fn an_answer_is_taken_up_by_its_id() {
    let server = server();
    let known = "ab".repeat(16);
    for (prefix, object) in [("chatcmpl", "chat.completion.chunk"), ("cmpl", "text_completion")] {
        let answer = server.get(&format!("/skep/v1/answers/{prefix}-{known}"));
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/event-stream")));
        let first = answer.body.split_once("\n\n").unwrap().0.strip_prefix("data: ").unwrap().to_owned();
        let first: serde_json::Value = serde_json::from_str(&first).unwrap();
        assert_eq!((&first["object"], &first["created"]), (&json!(object), &json!(77)));
        assert_eq!(first["id"], json!(format!("{prefix}-{known}")));
        assert!(answer.body.ends_with("data: [DONE]\n\n"), "{}", answer.body);
    }
    for id in ["cmpl-", "else-00", &format!("cmpl-{known}0"), &known, &format!("cmpl-{}", "0".repeat(32))] {
        let answer = server.get(&format!("/skep/v1/answers/{id}"));
        assert_eq!((answer.status, answer.error().1), (404, json!("no_answer")), "{id}");
    }
}

#[test]
fn an_invite_is_made_for_the_hours_and_machines_that_are_asked_for() {
    let server = server();
    let ask = |body: &str| server.post("/skep/v1/invite", body);
    for (body, hours, uses) in [("{}", 24, 8), (r#"{"hours":1,"uses":256}"#, 1, 256), (r#"{"hours":720}"#, 720, 8)] {
        let made = ask(body).json();
        let invite: skep_types::Invite = made["link"].as_str().unwrap().parse().unwrap();
        assert_eq!((u64::from(invite.terms.uses), invite.terms.expires), (uses, hours * 3600), "{body}");
        assert_eq!(made, json!({"link": invite.to_string(), "hours": hours, "uses": uses, "expires": hours * 3600}));
    }
    for (body, param) in [
        (r#"{"hours":0}"#, "hours"),
        (r#"{"hours":721}"#, "hours"),
        (r#"{"uses":0}"#, "uses"),
        (r#"{"uses":257}"#, "uses"),
        (r#"{"uses":"8"}"#, "uses"),
        (r#"{"days":1}"#, "days"),
    ] {
        let answer = ask(body);
        assert_eq!((answer.status, answer.error().0), (400, json!(param)), "{body}");
    }
    let nowhere = ask(r#"{"uses":13}"#);
    assert_eq!((nowhere.status, nowhere.error().1), (409, json!("no_invite")));
    assert!(nowhere.error().2.contains("\nhint: start it with `skep up --listen "));
    assert_eq!(server.get("/skep/v1/invite").status, 405);
}

#[test]
fn other_paths_and_methods_are_refused_in_json() {
    let server = server();
    for path in [
        "/v1",
        "/v1/",
        "/v1/assistants",
        "/v1/moderations",
        "/skep/v1/else",
        "/index.htm",
        "/../Cargo.toml",
        "/v1/models/",
    ] {
        let answer = server.get(path);
        assert_eq!(answer.status, 404, "{path}: {}", answer.body);
        assert!(answer.error().2.contains("\nhint: "));
    }
    assert_eq!(server.post("/v1/assistants", "{}").status, 404);
    for (method, path, allow) in [
        ("GET", "/v1/chat/completions", Some("POST")),
        ("OPTIONS", "/v1/chat/completions", Some("POST")),
        ("DELETE", "/v1/models", Some("GET,HEAD")),
        ("POST", "/", None),
    ] {
        let answer = server.raw(&server.request(method, path, "", ""));
        assert_eq!((answer.status, answer.error().1), (405, json!("method_not_allowed")), "{method} {path}");
        assert_eq!(answer.header("allow"), allow, "{method} {path}");
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
    assert_eq!(server.get("/health").json(), json!({"status": "ok"}));
}

#[test]
fn a_body_over_the_limit_is_refused_and_one_at_the_limit_is_not() {
    let server = server();
    let frame = r#"{"prompt":""}"#.len();
    let of = |length: usize| format!("{{\"prompt\":\"{}\"}}", "a".repeat(length - frame));
    assert_eq!(server.post("/v1/completions", &of(4 << 20)).status, 200);
    for length in [(4 << 20) + 1, 9 << 20] {
        let answer = server.post("/v1/completions", &of(length));
        assert_eq!((answer.status, answer.error().1), (413, json!("body_too_large")));
    }
}

#[test]
fn pages_of_other_sites_get_nothing() {
    let server = Server::with(
        Scripted::says(&["x"]),
        ApiConfig { allowed_hosts: vec!["hive.lan".into()], ..ApiConfig::default() },
    );
    let body = r#"{"prompt":"hi"}"#;
    let ask = |host: &str, headers: &str| {
        let length = body.len();
        let head = format!("POST /v1/completions HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{headers}");
        server.raw(&format!("{head}content-length: {length}\r\n\r\n{body}"))
    };
    let json_type = "content-type: application/json; charset=utf-8\r\n";
    assert_eq!(ask("localhost:4680", json_type).status, 200);
    assert_eq!(ask("hive.lan", &format!("{json_type}origin: http://hive.lan\r\n")).status, 200);
    let rebound = ask("evil.example:4680", &format!("{json_type}origin: http://evil.example:4680\r\n"));
    assert_eq!((rebound.status, rebound.error().1), (403, json!("host_not_allowed")));
    for origin in ["http://evil.example", "null", "http://localhost:5173"] {
        let crossed = ask("localhost:4680", &format!("{json_type}origin: {origin}\r\n"));
        assert_eq!((crossed.status, crossed.error().1), (403, json!("origin_not_allowed")));
        assert_eq!(crossed.header("access-control-allow-origin"), None);
    }
    // These types need no leave from the server when a page of another site sends them.
    for simple in ["", "content-type: text/plain\r\n", "content-type: application/x-www-form-urlencoded\r\n"] {
        assert_eq!(ask("localhost", simple).status, 415);
    }
    let view = server.raw("GET /skep/v1/network HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n");
    assert_eq!(view.status, 403);
    assert_eq!(server.backend.requests.lock().unwrap().len(), 2);
}

#[test]
fn the_page_is_served_under_a_strict_policy() {
    let server = server();
    let page = server.get("/");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'self'; "));
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    assert!(page.body.contains("<!doctype html>"), "{}", page.body);
    // Whatever the page loads is there, with its type, and kept for ever where its name holds its hash.
    let paths = page.body.split(['"', '\'']).filter(|text| text.starts_with("./") || text.starts_with("/assets/"));
    for path in paths {
        let path = format!("/{}", path.trim_start_matches(['.', '/']));
        let file = server.get(&path);
        assert_eq!(file.status, 200, "{path}");
        let kind = file.header("content-type").unwrap();
        assert_eq!(path.ends_with(".js"), kind.starts_with("text/javascript"), "{path}: {kind}");
        assert_eq!(path.ends_with(".css"), kind.starts_with("text/css"), "{path}: {kind}");
        let cache = if path.starts_with("/assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
        assert_eq!(file.header("cache-control"), Some(cache), "{path}");
        let tag = format!("if-none-match: {}\r\n", file.header("etag").unwrap());
        assert_eq!(server.raw(&server.request("GET", &path, &tag, "")).status, 304);
    }
}
