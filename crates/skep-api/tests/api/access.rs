//! Keys: who needs one, what each opens, and how it ends.

use crate::harness::{Answer, Server, eventually};
use crate::scripted::{Script, Scripted, events};
use serde_json::{Value, json};
use skep_api::{ApiConfig, Keys, Open};
use skep_node::FinishReason;
use std::io::{BufRead, BufReader, Read};
use std::net::IpAddr;
use std::time::Duration;

const JSON: &str = "content-type: application/json\r\n";
/// What a proxy of this machine adds, which makes a request one from elsewhere.
pub const FAR: &str = "x-forwarded-for: 192.0.2.9\r\n";

pub fn server() -> Server {
    Server::start(Scripted::says(&["x", "y"]))
}

/// Asks from elsewhere, with a key or without.
pub fn far(server: &Server, method: &str, path: &str, key: &str, body: &str) -> Answer {
    let key = if key.is_empty() { String::new() } else { format!("authorization: Bearer {key}\r\n") };
    server.raw(&server.request(method, path, &format!("{JSON}{FAR}{key}"), body))
}

/// Makes a key here; the key and its id.
pub fn made(server: &Server, terms: &Value) -> (String, String) {
    let made = server.post("/skep/v1/keys", &terms.to_string()).json();
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{made}")).to_owned();
    (text(&made["key"]), text(&made["made"]["id"]))
}

#[test]
fn another_machine_gets_the_page_and_nothing_else_without_a_key() {
    let server = server();
    for (path, status) in [("/", 200), ("/favicon.svg", 200), ("/health", 200), ("/v1/models", 401)] {
        assert_eq!(far(&server, "GET", path, "", "").status, status, "{path}");
    }
    for path in ["/v1/chat/completions", "/skep/v1/invite", "/skep/v1/keys", "/skep/v1/pair-code", "/skep/v1/machine"] {
        let refused = far(&server, "POST", path, "", "{}");
        assert_eq!((refused.status, refused.error().1), (401, json!("invalid_api_key")), "{path}");
        assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
        assert_eq!(refused.json()["error"]["type"], "invalid_request_error");
    }
    assert_eq!(server.get("/v1/models").status, 200, "this machine needs none");
    assert_eq!(server.backend.requests.lock().unwrap().len(), 0);
}

#[test]
fn a_key_opens_what_its_scope_says() {
    let server = server();
    let (user, _) = made(&server, &json!({"label": "a phone"}));
    let (owner, _) = made(&server, &json!({"label": "my laptop", "scope": "owner"}));
    let ask = |key: &str, path: &str| far(&server, "GET", path, key, "").status;
    for path in ["/v1/models", "/skep/v1/network", "/skep/v1/route"] {
        assert_eq!((ask(&user, path), ask(&owner, path)), (200, 200), "{path}");
    }
    for path in ["/skep/v1/machine", "/skep/v1/settings", "/skep/v1/keys", "/skep/v1/members", "/skep/v1/models"] {
        assert_eq!((ask(&user, path), ask(&owner, path)), (403, 200), "{path}");
    }
    assert_eq!(far(&server, "GET", "/skep/v1/machine", &user, "").error().1, json!("missing_scope"));
    assert_eq!(far(&server, "POST", "/v1/completions", &user, r#"{"prompt":"hi"}"#).status, 200);
    for path in ["/skep/v1/keys", "/skep/v1/pair-code"] {
        let refused = far(&server, "POST", path, &owner, r#"{"label":"another","scope":"owner"}"#);
        assert_eq!((refused.status, refused.error().1), (403, json!("missing_scope")), "a key makes no keys");
    }
    assert_eq!(server.get("/skep/v1/keys").json()["keys"].as_array().unwrap().len(), 2);
}

#[test]
fn a_key_is_good_until_it_is_revoked_and_its_answers_end_with_it() {
    let endless = Script {
        events: events(&["word "; 10_000], FinishReason::Length),
        pace: Duration::from_millis(5),
        ..Script::default()
    };
    let server = Server::start(Scripted::new(move |_| endless.clone()));
    let (key, id) = made(&server, &json!({"label": "a phone"}));
    let headers = format!("{JSON}{FAR}authorization: Bearer {key}\r\n");
    let request = server.request("POST", "/v1/completions", &headers, r#"{"prompt":"hi","stream":true}"#);
    let mut stream = BufReader::new(server.open(&request));
    let mut line = String::new();
    while !line.contains("word ") {
        line.clear();
        stream.read_line(&mut line).unwrap();
    }
    let revoked = server.post("/skep/v1/keys/revoke", &json!({"id": id}).to_string());
    assert_eq!(revoked.json()["revoked"]["label"], "a phone");
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("invalid_api_key") && !rest.contains("[DONE]"), "{rest}");
    eventually("the end of the answer", || server.get("/skep/v1/network").json()["active"] == 0);
    assert_eq!(far(&server, "GET", "/v1/models", &key, "").error().1, json!("invalid_api_key"));
    let again = server.post("/skep/v1/keys/revoke", &json!({"id": id}).to_string());
    assert_eq!((again.status, again.error().1), (404, json!("unknown_key")));
}

#[test]
fn limits_are_refused_as_openai_does() {
    let server = server();
    let (key, _) = made(&server, &json!({"label": "slow", "requests_per_minute": 2}));
    assert_eq!(far(&server, "GET", "/v1/models", &key, "").status, 200);
    assert_eq!(far(&server, "GET", "/v1/models", &key, "").status, 200);
    let refused = far(&server, "GET", "/v1/models", &key, "");
    assert_eq!((refused.status, refused.error().1), (429, json!("rate_limit_exceeded")));
    assert_eq!(refused.json()["error"]["type"], "requests");
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=30).contains(&wait), "{wait}");
    // A prompt of 5 tokens, and 2 that are drawn.
    let (key, _) = made(&server, &json!({"label": "small", "tokens_per_day": 8}));
    for (status, spent) in [(200, 7), (200, 14), (429, 14)] {
        let answer = far(&server, "POST", "/v1/completions", &key, r#"{"prompt":"hi"}"#);
        assert_eq!(answer.status, status, "{}", answer.body);
        assert_eq!(server.get("/skep/v1/keys").json()["keys"][1]["tokens_today"], json!(spent));
    }
    let refused = far(&server, "GET", "/v1/models", &key, "");
    assert_eq!(refused.json()["error"]["type"], "tokens");
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=86_400).contains(&wait), "{wait}");
}

#[test]
fn terms_that_mean_nothing_are_refused_by_name() {
    let server = server();
    for (body, param) in [
        (json!({}), "label"),
        (json!({"label": " "}), "label"),
        (json!({"label": "a\nb"}), "label"),
        (json!({"label": "x".repeat(65)}), "label"),
        (json!({"label": "x", "scope": "all"}), "scope"),
        (json!({"label": "x", "days": 0}), "days"),
        (json!({"label": "x", "requests_per_minute": 0}), "requests_per_minute"),
        (json!({"label": "x", "tokens_per_day": -1}), "tokens_per_day"),
        (json!({"label": "x", "key": "sk-skep-mine"}), "key"),
    ] {
        let refused = server.post("/skep/v1/keys", &body.to_string());
        assert_eq!((refused.status, refused.error().0), (400, json!(param)), "{body}");
    }
    assert_eq!(server.get("/skep/v1/keys").json(), json!({"keys": [], "reached_at": []}));
}

#[test]
fn keys_outlive_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("api-keys.json");
    let start = || {
        let keys = Keys::open(&path).unwrap();
        Server::with(Scripted::says(&["x"]), ApiConfig { keys, ..ApiConfig::default() })
    };
    let server = start();
    let (key, _) = made(&server, &json!({"label": "a phone", "days": 1}));
    server.shut_down();
    let server = start();
    assert_eq!(far(&server, "GET", "/v1/models", &key, "").status, 200);
    let kept = server.get("/skep/v1/keys").json()["keys"][0].clone();
    assert_eq!(kept["expires"].as_u64().unwrap() - kept["created"].as_u64().unwrap(), 86_400);
    assert!(kept.get("hash").is_none() && !kept.to_string().contains("sk-skep"));
}

fn open() -> Server {
    let open = Open { port: 7537, addresses: || vec![IpAddr::from([192, 0, 2, 7])] };
    Server::with(Scripted::says(&["x"]), ApiConfig { open: Some(open), ..ApiConfig::default() })
}

#[test]
fn a_phone_exchanges_a_code_for_a_key_once() {
    let closed = server().post("/skep/v1/pair-code", r#"{"label":"my phone"}"#);
    assert_eq!((closed.status, closed.error().1), (409, json!("not_open")));
    let server = open();
    assert_eq!(server.get("/skep/v1/keys").json()["reached_at"], json!(["http://192.0.2.7:7537"]));
    let made = server.post("/skep/v1/pair-code", r#"{"label":"my phone","scope":"owner"}"#).json();
    assert_eq!(made["seconds"], 300);
    let link = made["links"][0]["link"].as_str().unwrap();
    let code = link.strip_prefix("http://192.0.2.7:7537/#pair=").unwrap();
    let picture: Vec<_> =
        made["links"][0]["picture"].as_array().unwrap().iter().map(|row| row.as_str().unwrap()).collect();
    assert!(picture.len() > 20 && picture.iter().all(|row| row.len() == picture.len()), "a square");
    assert!(picture[0].starts_with("1111111") && picture[6].starts_with("1111111"), "with a corner to look for");
    assert!(
        server.get("/skep/v1/keys").json()["keys"].as_array().unwrap().is_empty(),
        "nothing is made before it is used"
    );
    let body = json!({"code": code}).to_string();
    let paired = far(&server, "POST", "/skep/v1/pair", "", &body).json();
    assert_eq!((&paired["made"]["label"], &paired["made"]["scope"]), (&json!("my phone"), &json!("owner")));
    assert_eq!(far(&server, "GET", "/skep/v1/machine", paired["key"].as_str().unwrap(), "").status, 200);
    let again = far(&server, "POST", "/skep/v1/pair", "", &body);
    assert_eq!((again.status, again.error().1), (401, json!("invalid_code")));
    assert_eq!(server.get("/skep/v1/keys").json()["keys"].as_array().unwrap().len(), 1);
}
