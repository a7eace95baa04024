//! Nothing that a client asks for is ignored: it is honoured, or refused by its name.

use crate::harness::Server;
use crate::scripted::Scripted;
use serde_json::{Value, json};

const CHAT: &str = "/v1/chat/completions";
const TEXT: &str = "/v1/completions";

/// A minimal request to `path` with one more field.
fn with(path: &str, field: &str, value: Value) -> String {
    let mut body = match path {
        CHAT => json!({"messages": [{"role": "user", "content": "hi"}]}),
        _ => json!({"prompt": "hi"}),
    };
    body[field] = value;
    body.to_string()
}

fn refused(server: &Server, path: &str, body: &str, param: &str) {
    let answer = server.post(path, body);
    assert_eq!(answer.status, 400, "{body}: {}", answer.body);
    let (got, code, message) = answer.error();
    assert_eq!(got, param, "{body}: {message}");
    assert!(code.is_string(), "{message}");
    assert!(message.contains(&format!("`{param}`")), "{message}");
    assert!(message.split_once("\nhint: ").is_some_and(|(_, hint)| !hint.is_empty()), "{message}");
    assert_eq!(answer.json()["error"]["type"], "invalid_request_error");
}

#[test]
fn options_that_cannot_be_honoured_are_refused_by_name() {
    let server = Server::start(Scripted::says(&["x"]));
    let both = [
        ("n", json!(2)),
        ("logit_bias", json!({"50": -100})),
        ("made_up", json!(null)),
        ("guided_json", json!({})),
        ("min_tokens", json!(1)),
        ("ignore_eos", json!(false)),
    ];
    let chat = [
        ("logprobs", json!(true)),
        ("top_logprobs", json!(1)),
        ("response_format", json!({"type": "json_object"})),
        ("response_format", json!({"type": "json_schema", "json_schema": {}})),
        ("tools", json!([{"type": "function", "function": {"name": "f"}}])),
        ("tool_choice", json!("required")),
        ("functions", json!([{}])),
        ("function_call", json!({"name": "f"})),
        ("modalities", json!(["text", "audio"])),
        ("audio", json!({"voice": "x"})),
        ("prediction", json!({"type": "content"})),
        ("reasoning_effort", json!("high")),
        ("verbosity", json!("low")),
        ("service_tier", json!("flex")),
        ("web_search_options", json!({})),
        ("store", json!(true)),
        ("echo", json!(false)),
        ("prompt", json!("hi")),
    ];
    let text = [
        ("echo", json!(true)),
        ("suffix", json!("x")),
        ("best_of", json!(2)),
        ("logprobs", json!(0)),
        ("max_completion_tokens", json!(1)),
        ("messages", json!([])),
    ];
    for (field, value) in both.clone().into_iter().chain(chat) {
        refused(&server, CHAT, &with(CHAT, field, value), field);
    }
    for (field, value) in both.into_iter().chain(text) {
        refused(&server, TEXT, &with(TEXT, field, value), field);
    }
    assert!(server.backend.requests.lock().unwrap().is_empty());
}

#[test]
fn values_that_ask_for_what_happens_anyway_are_accepted() {
    let server = Server::start(Scripted::says(&["x"]));
    let both = [
        ("n", json!(1)),
        ("stream", json!(false)),
        ("logit_bias", json!({})),
        ("user", json!("u")),
        ("logprobs", json!(null)),
    ];
    let chat = [
        ("logprobs", json!(false)),
        ("response_format", json!({"type": "text"})),
        ("tools", json!([])),
        ("tools", json!(null)),
        ("tool_choice", json!("none")),
        ("parallel_tool_calls", json!(true)),
        ("store", json!(false)),
        ("metadata", json!({"a": "b"})),
        ("modalities", json!(["text"])),
        ("service_tier", json!("auto")),
        ("reasoning_effort", json!(null)),
    ];
    let text = [("echo", json!(false)), ("suffix", json!(null)), ("best_of", json!(1))];
    for (path, (field, value)) in both
        .clone()
        .into_iter()
        .chain(chat)
        .map(|case| (CHAT, case))
        .chain(both.into_iter().chain(text).map(|case| (TEXT, case)))
    {
        let answer = server.post(path, &with(path, field, value));
        assert_eq!(answer.status, 200, "{field}: {}", answer.body);
    }
}

#[test]
fn values_that_mean_nothing_are_refused_by_name() {
    let server = Server::start(Scripted::says(&["x"]));
    let cases = [
        ("max_tokens", json!(0)),
        ("max_tokens", json!(-1)),
        ("max_tokens", json!(1.5)),
        ("max_tokens", json!("9")),
        ("max_tokens", json!(1u64 << 32)),
        ("temperature", json!(2.5)),
        ("temperature", json!("hot")),
        ("top_p", json!(1.1)),
        ("top_k", json!(-1)),
        ("min_p", json!(2)),
        ("repetition_penalty", json!(0)),
        ("presence_penalty", json!(3)),
        ("frequency_penalty", json!(-3)),
        ("pace", json!(0)),
        ("pace", json!(1001)),
        ("seed", json!(-1)),
        ("seed", json!(0.5)),
        ("stop", json!(["a", "b", "c", "d", "e"])),
        ("stop", json!("")),
        ("stop", json!([1])),
        ("stream", json!("yes")),
        ("stream_options", json!({"include_usage": true})),
        ("model", json!(3)),
    ];
    for (field, value) in cases {
        refused(&server, CHAT, &with(CHAT, field, value.clone()), field);
        refused(&server, TEXT, &with(TEXT, field, value), field);
    }
    for prompt in [
        json!([]),
        json!(["a", "b"]),
        json!([1, "a"]),
        json!([[]]),
        json!([-1]),
        json!({}),
        json!([[1], [2]]),
        json!(null),
    ] {
        refused(&server, TEXT, &with(TEXT, "prompt", prompt), "prompt");
    }
    let body = r#"{"messages":[{"role":"user","content":"hi"}],"max_tokens":1,"max_completion_tokens":2}"#;
    refused(&server, CHAT, body, "max_tokens");
    for (options, param) in [
        (json!({"include_obfuscation": true}), "stream_options.include_obfuscation"),
        (json!({"include_usage": 1}), "stream_options.include_usage"),
        (json!({"other": 1}), "stream_options.other"),
        (json!(true), "stream_options"),
    ] {
        refused(&server, TEXT, &json!({"prompt": "hi", "stream": true, "stream_options": options}).to_string(), param);
    }
}

#[test]
fn messages_are_read_to_the_last_field() {
    let server = Server::start(Scripted::says(&["x"]));
    let image = json!([{"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": "data:"}}]);
    let cases = [
        (json!([]), "messages"),
        (json!("hi"), "messages"),
        (json!(null), "messages"),
        (json!(["hi"]), "messages[0]"),
        (json!([{"content": "hi"}]), "messages[0].role"),
        (json!([{"role": "tool", "content": "hi"}]), "messages[0].role"),
        (json!([{"role": "king", "content": "hi"}]), "messages[0].role"),
        (json!([{"role": "user"}]), "messages[0].content"),
        (json!([{"role": "assistant", "content": null}]), "messages[0].content"),
        (json!([{"role": "user", "content": 3}]), "messages[0].content"),
        (json!([{"role": "user", "content": "hi", "name": "me"}]), "messages[0].name"),
        (json!([{"role": "assistant", "content": "hi", "tool_calls": [{}]}]), "messages[0].tool_calls"),
        (json!([{"role": "user", "content": "a"}, {"role": "user", "content": image}]), "messages[1].content[1].type"),
        (json!([{"role": "user", "content": [{"type": "text"}]}]), "messages[0].content[0].text"),
        (
            json!([{"role": "user", "content": [{"type": "text", "text": "a", "cache": 1}]}]),
            "messages[0].content[0].cache",
        ),
    ];
    for (messages, param) in cases {
        refused(&server, CHAT, &json!({"messages": messages}).to_string(), param);
    }
}

#[test]
fn what_is_no_json_is_told_with_its_place() {
    let server = Server::start(Scripted::says(&["x"]));
    let deep = format!("{{\"prompt\":{}", "[".repeat(100_000));
    for (body, told) in [
        ("", "line 1 column 0"),
        ("{\"prompt\":\n \"hi\"", "line 2 column 5"),
        ("[1]", "expected a JSON object"),
        ("{\"prompt\":\"a\",\"prompt\":\"b\"}", "`prompt` is given twice"),
        ("{\"prompt\":\"a\"} x", "trailing characters at line 1 column 16"),
        (deep.as_str(), "recursion limit"),
    ] {
        let answer = server.post(TEXT, body);
        let (_, code, message) = answer.error();
        assert_eq!((answer.status, code), (400, json!("invalid_json")), "{message}");
        assert!(message.contains(told) && message.contains("\nhint: "), "{message}");
    }
}
