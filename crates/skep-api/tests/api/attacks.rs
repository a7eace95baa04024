//! What others try on a server that listens to a whole network. `docs/threats.md` lists these tests.

use crate::access::{FAR, far, made, server};
use crate::harness::{Server, eventually};
use crate::scripted::{Script, Scripted, events};
use serde_json::json;
use skep_api::{ApiConfig, Patience};
use skep_node::FinishReason;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Whatever is cut off is cut off within this time, on a machine that has other things to do.
const SOON: Duration = Duration::from_secs(20);

fn impatient(patience: Patience) -> Server {
    Server::with(Scripted::says(&["x"]), ApiConfig { patience, ..ApiConfig::default() })
}

/// Whether the other side closes the connection soon, whatever it says before.
fn is_closed(stream: &mut TcpStream) -> bool {
    let (begun, mut bytes) = (Instant::now(), [0; 4096]);
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    while begun.elapsed() < SOON {
        match stream.read(&mut bytes) {
            Ok(0) => return true,
            Err(fault) if matches!(fault.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return true,
            Ok(_) => {}
        }
    }
    false
}

#[test]
fn a_name_that_leads_here_by_rebinding_is_no_host() {
    let server = server();
    for host in ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "a@127.0.0.1", "", "[::1]x"] {
        for path in ["/v1/models", "/skep/v1/keys", "/", "/metrics"] {
            let answer = server.raw(&format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"));
            assert_eq!((answer.status, answer.error().1), (403, json!("host_not_allowed")), "{host} {path}");
        }
    }
    let two = "GET /v1/models HTTP/1.1\r\nhost: localhost\r\nhost: evil.example\r\nconnection: close\r\n\r\n";
    assert_eq!(server.raw(two).status, 400, "of two hosts neither counts");
    let absolute = "GET http://localhost/v1/models HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n";
    assert_eq!(server.raw(absolute).status, 403, "an address in the first line hides no host");
}

#[test]
fn a_page_of_another_site_makes_a_browser_do_nothing() {
    let server = server();
    let ask =
        |method: &str, path: &str, headers: &str, body: &str| server.raw(&server.request(method, path, headers, body));
    for site in ["cross-site", "same-site", "anything"] {
        for mode in ["no-cors", "cors", "navigate", "websocket"] {
            let headers = format!("sec-fetch-site: {site}\r\nsec-fetch-mode: {mode}\r\n");
            for path in ["/v1/models", "/skep/v1/network", "/skep/v1/keys"] {
                let answer = ask("GET", path, &headers, "");
                assert_eq!(
                    (answer.status, answer.error().1),
                    (403, json!("origin_not_allowed")),
                    "{site} {mode} {path}"
                );
            }
            let follows = if mode == "navigate" { 200 } else { 403 };
            assert_eq!(ask("GET", "/", &headers, "").status, follows, "{site} {mode}: a link may be followed");
        }
    }
    // What a form or a beacon of another site can send without a question, from a browser too old to say whose page it shows.
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
        let headers = format!("content-type: {kind}\r\n");
        for path in ["/v1/completions", "/skep/v1/keys", "/skep/v1/machine", "/skep/v1/pair", "/skep/v1/keys/revoke"] {
            let answer = ask("POST", path, &headers, r#"{"prompt":"hi","label":"mine","command":"pause"}"#);
            assert_eq!(answer.status, 415, "{kind} {path}");
        }
    }
    for origin in ["http://evil.example", "null", "http://127.0.0.1:1", "https://localhost"] {
        let headers = format!("content-type: application/json\r\norigin: {origin}\r\n");
        assert_eq!(ask("POST", "/skep/v1/keys", &headers, r#"{"label":"mine"}"#).status, 403, "{origin}");
        let asked = format!("origin: {origin}\r\naccess-control-request-method: POST\r\n");
        let question = ask("OPTIONS", "/skep/v1/keys", &asked, "");
        assert_eq!((question.status, question.header("access-control-allow-origin")), (403, None), "{origin}");
    }
    let own = "sec-fetch-site: same-origin\r\nsec-fetch-mode: cors\r\n";
    assert_eq!(ask("GET", "/v1/models", own, "").status, 200, "its own page may");
    assert_eq!(server.get("/skep/v1/keys").json()["keys"], json!([]));
    assert!(server.backend.told.lock().unwrap().is_empty());
}

#[test]
fn no_path_leads_out_of_the_page() {
    let server = server();
    for path in [
        "/../Cargo.toml",
        "/..%2fCargo.toml",
        "/%2e%2e/Cargo.toml",
        "/assets/../../Cargo.toml",
        "/assets/..%5c..%5cCargo.toml",
        "/assets/%2e%2e%2f%2e%2e%2fsrc/lib.rs",
        "//etc/passwd",
        "/%2fetc/passwd",
        "/etc/passwd%00.svg",
        "/file:///etc/passwd",
        "/assets/",
        "/assets",
        "/./index.html/..",
    ] {
        let answer = server.get(path);
        assert_eq!((answer.status, answer.error().1), (404, json!("not_found")), "{path}");
        assert_eq!(far(&server, "GET", path, "", "").status, 401, "{path}: strangers learn nothing at all");
    }
}

#[test]
fn heads_and_bodies_over_the_limit_are_refused() {
    let server = server();
    let long = format!("x-long: {}\r\n", "a".repeat(70 << 10));
    let many = "x-many: 1\r\n".repeat(200);
    for headers in [long, many] {
        let mut stream = server.open(&server.request("GET", "/v1/models", &headers, ""));
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text);
        assert!(text.starts_with("HTTP/1.1 431 ") || text.is_empty(), "{text:.80}");
    }
    let path = format!("GET /{} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n", "a".repeat(70 << 10));
    let mut stream = server.open(&path);
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text);
    assert!(text.starts_with("HTTP/1.1 414 ") || text.starts_with("HTTP/1.1 431 ") || text.is_empty(), "{text:.80}");
    let body = "a".repeat((4 << 20) + 1);
    let refused = server.post("/skep/v1/keys", &body);
    assert_eq!((refused.status, refused.error().1), (413, json!("body_too_large")));
    // The one path that listens to strangers takes little of them.
    let long = json!({"code": "0".repeat(8 << 10)}).to_string();
    let refused = far(&server, "POST", "/skep/v1/pair", "", &long);
    assert_eq!((refused.status, refused.error().1), (413, json!("body_too_large")));
    // Of all others a stranger's body is not even read.
    let begun = server.request("POST", "/v1/completions", &format!("content-type: application/json\r\n{FAR}"), &body);
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.write_all(begun.split_at(400).0.as_bytes()).unwrap();
    let mut first = [0; 12];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 401");
    assert_eq!(server.get("/health").status, 200);
}

#[test]
fn a_head_that_never_ends_is_cut_off() {
    let server = impatient(Patience { head: Duration::from_millis(300), ..Patience::default() });
    let mut silent = TcpStream::connect(server.address).unwrap();
    let mut begun = server.open("GET /v1/models HTTP/1.1\r\nhost: localhost\r\n");
    let mut drips = TcpStream::connect(server.address).unwrap();
    let dripping = std::thread::spawn(move || {
        let begun = Instant::now();
        while begun.elapsed() < SOON {
            if drips.write_all(b"x").is_err() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    });
    assert!(is_closed(&mut silent), "one that says nothing");
    assert!(is_closed(&mut begun), "one that stops in the middle");
    assert!(dripping.join().unwrap(), "one that says a letter now and then");
}

#[test]
fn a_body_that_never_ends_is_refused() {
    let server = impatient(Patience { body: Duration::from_millis(300), ..Patience::default() });
    let head = "POST /v1/completions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{";
    let mut stream = server.open(head);
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 408 ") && text.contains("\"timeout\""), "{text}");
    assert!(server.backend.requests.lock().unwrap().is_empty());
}

#[test]
fn a_reader_that_takes_nothing_is_cut_off_and_its_answer_ends() {
    let piece: &'static str = "0123456789abcdef".repeat(256).leak();
    let flood = Script { events: events(&vec![piece; 100_000], FinishReason::Length), ..Script::default() };
    let backend = Scripted::new(move |_| flood.clone());
    let patience = Patience { write: Duration::from_millis(500), ..Patience::default() };
    let server = Server::with(backend, ApiConfig { patience, ..ApiConfig::default() });
    let body = r#"{"prompt":"hi","stream":true}"#;
    let stream = server.open(&server.request("POST", "/v1/completions", "content-type: application/json\r\n", body));
    // Nothing is read: the pieces wait in the scripted backend, whose channel holds four, and not in the server.
    eventually("the cut", || server.backend.cancelled.load(Ordering::SeqCst) == 1);
    assert_eq!(server.get("/skep/v1/network").json()["active"], 0);
    drop(stream);
}

#[test]
fn connections_have_a_number_and_those_over_it_are_closed_unheard() {
    let server = impatient(Patience { here: 8, head: Duration::from_secs(1), ..Patience::default() });
    let held: Vec<_> = (0..8).map(|_| server.open("GET /")).collect();
    let mut over = TcpStream::connect(server.address).unwrap();
    assert!(is_closed(&mut over));
    eventually("a free place, once those that say nothing are cut off", || {
        let mut stream = TcpStream::connect(server.address).unwrap();
        let asked = stream.write_all(server.request("GET", "/health", "", "").as_bytes());
        let mut text = String::new();
        asked.and_then(|()| stream.read_to_string(&mut text)).is_ok() && text.starts_with("HTTP/1.1 200")
    });
    drop(held);
}

#[test]
fn who_guesses_keys_is_slowed_and_then_refused_for_a_while() {
    let server = impatient(Patience { wrong_key: Duration::from_millis(20), ..Patience::default() });
    let (key, _) = made(&server, &json!({"label": "a phone"}));
    let begun = Instant::now();
    for n in 0..10 {
        let path = ["/v1/models", "/skep/v1/machine"][n % 2];
        let wrong = far(&server, "GET", path, &format!("sk-skep-{n:052}"), "");
        assert_eq!((wrong.status, wrong.error().1), (401, json!("invalid_api_key")), "{n}");
    }
    // 0 three times, then 1 to 7 waits.
    assert!(begun.elapsed() >= Duration::from_millis(20) * 28, "{:?}", begun.elapsed());
    for guess in [&key, "sk-skep-other"] {
        let refused = far(&server, "GET", "/v1/models", guess, "");
        assert_eq!((refused.status, refused.error().1), (429, json!("rate_limit_exceeded")));
        let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=60).contains(&wait), "{wait}");
    }
    let code = far(&server, "POST", "/skep/v1/pair", "", r#"{"code":"0123"}"#);
    assert_eq!(code.status, 429, "codes are no other way in");
    assert_eq!(far(&server, "GET", "/", "", "").status, 200, "the page is everybody's");
    assert_eq!(server.get("/v1/models").status, 200, "this machine is not held to it");
}

#[test]
fn who_guesses_codes_is_refused_like_who_guesses_keys() {
    let server = impatient(Patience { wrong_key: Duration::from_millis(1), ..Patience::default() });
    for n in 0..10 {
        let wrong = far(&server, "POST", "/skep/v1/pair", "", &json!({"code": n.to_string()}).to_string());
        assert_eq!((wrong.status, wrong.error().1), (401, json!("invalid_code")), "{n}");
    }
    assert_eq!(far(&server, "POST", "/skep/v1/pair", "", r#"{"code":"x"}"#).status, 429);
}
