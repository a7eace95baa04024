//! `/metrics`, read by the letter of Prometheus' text format.

use crate::access::{far, made};
use crate::harness::Server;
use crate::scripted::{Script, Scripted, events};
use serde_json::json;
use skep_node::{FinishReason, GenerateError};
use std::collections::{BTreeMap, BTreeSet};

type Labels = BTreeMap<String, String>;

/// A family: its kind, and its samples in order.
struct Family {
    kind: String,
    samples: Vec<(String, Labels, f64)>,
}

fn is_name(text: &str, more: &str) -> bool {
    let mut chars = text.chars();
    let starts = chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_' || more.contains(c));
    starts && chars.all(|c| c.is_ascii_alphanumeric() || c == '_' || more.contains(c))
}

/// The labels between braces, and what stands after them.
fn labels(text: &str) -> (Labels, &str) {
    let (mut found, mut rest) = (Labels::new(), text);
    loop {
        let (name, value) = rest.split_once("=\"").unwrap_or_else(|| panic!("no label in {rest}"));
        assert!(is_name(name, ""), "{name}");
        let mut told = String::new();
        let mut chars = value.char_indices();
        let end = loop {
            match chars.next().unwrap_or_else(|| panic!("no end in {value}")) {
                (at, '"') => break at,
                (_, '\\') => told.push(match chars.next().unwrap().1 {
                    'n' => '\n',
                    c @ ('\\' | '"') => c,
                    c => panic!("\\{c} is no escape"),
                }),
                (_, c) => told.push(c),
            }
        };
        assert!(found.insert(name.to_owned(), told).is_none(), "{name} stands twice in {text}");
        match value[end + 1..].split_at(1) {
            (",", more) => rest = more,
            ("}", more) => return (found, more),
            other => panic!("{other:?}"),
        }
    }
}

/// Reads all of it, and refuses whatever a strict reader would.
fn parse(text: &str) -> BTreeMap<String, Family> {
    assert!(text.ends_with('\n') && !text.contains('\r') && !text.contains("\n\n"));
    let mut families = BTreeMap::<String, Family>::new();
    let (mut open, mut helped) = (String::new(), String::new());
    let mut seen = BTreeSet::new();
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, says) = help.split_once(' ').unwrap();
            assert!(is_name(name, ":") && says.ends_with('.'), "{line}");
            name.clone_into(&mut helped);
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert_eq!(name, helped, "help stands before the type");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            let family = Family { kind: kind.to_owned(), samples: Vec::new() };
            assert!(families.insert(name.to_owned(), family).is_none(), "{name} stands twice");
            name.clone_into(&mut open);
        } else {
            let at = line.find(['{', ' ']).unwrap();
            let (name, rest) = line.split_at(at);
            let (labels, value) = rest.strip_prefix('{').map_or((Labels::new(), rest), labels);
            let value: f64 = value.strip_prefix(' ').unwrap().parse().unwrap_or_else(|_| panic!("{line}"));
            let family = families.get_mut(&open).unwrap();
            let allowed: &[&str] = if family.kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            assert!(allowed.iter().any(|end| name == format!("{open}{end}")), "{name} in the family {open}");
            assert!(seen.insert((name.to_owned(), labels.clone())), "{line} stands twice");
            family.samples.push((name.to_owned(), labels, value));
        }
    }
    for (name, family) in families.iter().filter(|(_, family)| family.kind == "histogram") {
        check_histogram(name, family);
    }
    families
}

/// Buckets rise, in their bounds and in their counts, to that of all, which is the count.
fn check_histogram(name: &str, family: &Family) {
    let mut series = BTreeMap::<Labels, Vec<(f64, f64)>>::new();
    for (_, labels, value) in family.samples.iter().filter(|(sample, ..)| sample.ends_with("_bucket")) {
        let mut labels = labels.clone();
        let bound = labels.remove("le").unwrap_or_else(|| panic!("a bucket of {name} without a bound"));
        series.entry(labels).or_default().push((bound.parse().unwrap(), *value));
    }
    let of = |end: &str, labels: &Labels| {
        let sample = format!("{name}{end}");
        family.samples.iter().find(|(known, found, _)| *known == sample && found == labels).map(|(.., value)| *value)
    };
    for (labels, buckets) in &series {
        assert!(buckets.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1), "{name} {labels:?}");
        let last = buckets.last().unwrap();
        assert_eq!((last.0, Some(last.1)), (f64::INFINITY, of("_count", labels)), "{name} {labels:?}");
        assert!(of("_sum", labels).is_some(), "{name} {labels:?}");
    }
}

/// The one sample with these labels among its own.
fn value(families: &BTreeMap<String, Family>, family: &str, sample: &str, wanted: &[(&str, &str)]) -> f64 {
    let has =
        |labels: &Labels| wanted.iter().all(|(name, value)| labels.get(*name).is_some_and(|known| known == value));
    let samples = families.get(family).unwrap_or_else(|| panic!("no {family}")).samples.iter();
    let found: Vec<_> = samples.filter(|(name, labels, _)| name == sample && has(labels)).collect();
    assert_eq!(found.len(), 1, "{sample} {wanted:?}");
    found[0].2
}

#[test]
fn every_line_is_by_the_letter_and_answers_are_counted_by_the_names_of_opentelemetry() {
    let server = Server::start(Scripted::new(|request| match request.max_tokens {
        Some(1) => Script { refuse: Some(GenerateError::Busy { limit: 3 }), ..Script::default() },
        _ => Script { events: events(&["a", "b", "c"], FinishReason::Stop), ..Script::default() },
    }));
    let fresh = parse(&server.get("/metrics").body);
    assert!(fresh["gen_ai_client_token_usage"].samples.is_empty(), "nothing is counted that did not happen");
    for stream in [false, true] {
        let body = json!({"messages": [{"role": "user", "content": "hi"}], "stream": stream}).to_string();
        assert_eq!(server.post("/v1/chat/completions", &body).status, 200);
    }
    assert_eq!(server.post("/v1/completions", r#"{"prompt":"hi","max_tokens":1}"#).status, 429);
    assert_eq!(server.post("/v1/embeddings", r#"{"input":"hi"}"#).status, 200);
    let answer = server.get("/metrics");
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let told = parse(&answer.body);
    let chat = [("gen_ai_operation_name", "chat"), ("gen_ai_response_model", "scripted/tiny")];
    let tokens = |kind, end| {
        let labels = [chat[0], chat[1], ("gen_ai_token_type", kind)];
        value(&told, "gen_ai_client_token_usage", &format!("gen_ai_client_token_usage{end}"), &labels)
    };
    assert_eq!((tokens("input", "_sum"), tokens("input", "_count")), (10.0, 2.0));
    assert_eq!((tokens("output", "_sum"), tokens("output", "_count")), (6.0, 2.0));
    // The scripted answer says 12.25 ms to the first token, and 2.5 ms for each after it.
    let seconds = |name: &str, labels: &[(&str, &str)]| value(&told, name, &format!("{name}_sum"), labels);
    assert!((seconds("gen_ai_server_time_to_first_token_seconds", &chat) - 0.0245).abs() < 1e-9);
    assert!((seconds("gen_ai_server_time_per_output_token_seconds", &chat) - 0.005).abs() < 1e-9);
    let durations = "gen_ai_server_request_duration_seconds";
    let count = |labels: &[(&str, &str)]| value(&told, durations, &format!("{durations}_count"), labels);
    assert_eq!(count(&chat), 2.0);
    assert_eq!(count(&[("gen_ai_operation_name", "text_completion"), ("error_type", "busy")]), 1.0);
    assert_eq!(count(&[("gen_ai_operation_name", "embeddings")]), 1.0);
    assert_eq!(value(&told, "skep_http_responses_total", "skep_http_responses_total", &[("class", "4xx")]), 1.0);
    assert_eq!(value(&told, "skep_machine_state", "skep_machine_state", &[("state", "lending")]), 1.0);
    assert_eq!(value(&told, "skep_machine_memory_cap_bytes", "skep_machine_memory_cap_bytes", &[]), 4096.0);
    assert_eq!(value(&told, "skep_network_nodes", "skep_network_nodes", &[("state", "alive")]), 2.0);
    assert!(!told.contains_key("skep_machine_disk_cap_bytes"), "what has no limit has no number");
}

#[test]
fn an_answer_that_nobody_waits_for_is_counted_as_cancelled() {
    let stuck = Script { events: events(&["a"], FinishReason::Stop)[..1].to_vec(), hold: true, ..Script::default() };
    let server = Server::start(Scripted::new(move |_| stuck.clone()));
    let body = r#"{"prompt":"hi","stream":true}"#;
    let stream = server.open(&server.request("POST", "/v1/completions", "content-type: application/json\r\n", body));
    crate::harness::eventually("the request", || !server.backend.requests.lock().unwrap().is_empty());
    drop(stream);
    crate::harness::eventually("the count", || server.get("/metrics").body.contains("error_type=\"cancelled\""));
    parse(&server.get("/metrics").body);
}

#[test]
fn only_the_owner_reads_them_from_elsewhere() {
    let server = Server::start(Scripted::says(&["x"]));
    let (user, _) = made(&server, &json!({"label": "a phone"}));
    let (owner, _) = made(&server, &json!({"label": "prometheus", "scope": "owner"}));
    let status = |key: &str| far(&server, "GET", "/metrics", key, "").status;
    assert_eq!((status(""), status(&user), status(&owner)), (401, 403, 200));
    let told = parse(&server.get("/metrics").body);
    assert_eq!(value(&told, "skep_api_keys", "skep_api_keys", &[]), 2.0);
    assert!(!server.get("/metrics").body.contains("sk-skep"));
}
