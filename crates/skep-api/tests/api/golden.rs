//! Streams and whole answers, byte by byte. Ids and times are told by the answer itself and put in by the test.

use crate::harness::{Answer, Server};
use crate::scripted::{Script, Scripted, events};
use serde_json::Value;
use skep_node::{FinishReason, GenerateError};

const SKEP: &str = concat!(
    r#""skep":{"seed":7,"finish":"stop","prompt_tokens":5,"completion_tokens":3,"hops":["#,
    r#"{"node":"<n1>","blocks":[0,4],"frames":3,"hold_ms":1.5,"rtt_ms":null},"#,
    r#"{"node":"<n2>","blocks":[4,8],"frames":3,"hold_ms":1.5,"rtt_ms":null}],"#,
    r#""recoveries":[{"at_token":1,"lost":["<n9>"],"rung":"replay","stall_ms":20.5}],"#,
    r#""first_token_ms":12.25,"total_ms":40.0,"lap_ms":2.5}"#
);
const CHUNK: &str = r#"data: {"id":"<id>","object":"chat.completion.chunk","created":<created>,"model":"<model>","system_fingerprint":"rk-1","choices":["#;
const TEXT: &str = r#"data: {"id":"<id>","object":"text_completion","created":<created>,"model":"<model>","system_fingerprint":"rk-1","choices":["#;
const USAGE: &str = r#""usage":{"prompt_tokens":5,"completion_tokens":3,"total_tokens":8}"#;

/// Puts what differs from run to run into a golden text.
fn filled(golden: &str, answer: &Answer) -> String {
    let first = answer.body.strip_prefix("data: ").unwrap_or(&answer.body).lines().next().unwrap();
    let first: Value = serde_json::from_str(first).unwrap();
    let id = first["id"].as_str().unwrap();
    let (prefix, digits) = id.split_once('-').unwrap();
    assert!(matches!(prefix, "chatcmpl" | "cmpl") && digits.len() == 32, "{id}");
    golden
        .replace("<id>", id)
        .replace("<created>", &first["created"].as_u64().unwrap().to_string())
        .replace("<model>", &"ab".repeat(32))
        .replace("<n1>", &"01".repeat(32))
        .replace("<n2>", &"02".repeat(32))
        .replace("<n9>", &"09".repeat(32))
}

/// The second token ends inside a character, so its piece is empty and sends nothing.
fn server() -> Server {
    Server::start(Scripted::says(&["Hello", "", " \u{1f41d}\n"]))
}

const CHAT: &str = r#"{"messages":[{"role":"user","content":"hi"}],"seed":7"#;

#[test]
fn a_chat_streams_exactly_these_bytes() {
    let answer = server().post("/v1/chat/completions", &format!("{CHAT},\"stream\":true}}"));
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    assert_eq!(answer.header("cache-control"), Some("no-cache"));
    let golden = [
        CHUNK,
        r#"{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}"#,
        "\n\n",
        CHUNK,
        r#"{"index":0,"delta":{"content":"Hello"},"logprobs":null,"finish_reason":null}]}"#,
        "\n\n",
        CHUNK,
        "{\"index\":0,\"delta\":{\"content\":\" \u{1f41d}\\n\"},\"logprobs\":null,\"finish_reason\":null}]}",
        "\n\n",
        CHUNK,
        r#"{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}],"#,
        SKEP,
        "}\n\ndata: [DONE]\n\n",
    ];
    assert_eq!(answer.body, filled(&golden.concat(), &answer));
}

#[test]
fn with_include_usage_it_is_null_in_all_pieces_but_the_last_which_has_no_choice() {
    let body = format!("{CHAT},\"stream\":true,\"stream_options\":{{\"include_usage\":true}}}}");
    let answer = server().post("/v1/chat/completions", &body);
    let golden = [
        CHUNK,
        r#"{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}],"usage":null}"#,
        "\n\n",
        CHUNK,
        r#"{"index":0,"delta":{"content":"Hello"},"logprobs":null,"finish_reason":null}],"usage":null}"#,
        "\n\n",
        CHUNK,
        "{\"index\":0,\"delta\":{\"content\":\" \u{1f41d}\\n\"},\"logprobs\":null,\"finish_reason\":null}],\"usage\":null}",
        "\n\n",
        CHUNK,
        r#"{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}],"usage":null,"#,
        SKEP,
        "}\n\n",
        CHUNK,
        "],",
        USAGE,
        "}\n\ndata: [DONE]\n\n",
    ];
    assert_eq!(answer.body, filled(&golden.concat(), &answer));
}

#[test]
fn a_chat_answers_whole_with_exactly_these_bytes() {
    let answer = server().post("/v1/chat/completions", &format!("{CHAT}}}"));
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    let head = CHUNK.replace("data: ", "").replace("chat.completion.chunk", "chat.completion");
    let choice = "{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"Hello \u{1f41d}\\n\",\"refusal\":null},\"logprobs\":null,\"finish_reason\":\"stop\"}],";
    let golden = [&head, choice, USAGE, ",", SKEP, "}"];
    assert_eq!(answer.body, filled(&golden.concat(), &answer));
}

#[test]
fn a_completion_streams_exactly_these_bytes() {
    let answer = server().post("/v1/completions", r#"{"prompt":"hi","seed":7,"stream":true}"#);
    let golden = [
        TEXT,
        r#"{"index":0,"text":"Hello","logprobs":null,"finish_reason":null}]}"#,
        "\n\n",
        TEXT,
        "{\"index\":0,\"text\":\" \u{1f41d}\\n\",\"logprobs\":null,\"finish_reason\":null}]}",
        "\n\n",
        TEXT,
        r#"{"index":0,"text":"","logprobs":null,"finish_reason":"stop"}],"#,
        SKEP,
        "}\n\ndata: [DONE]\n\n",
    ];
    assert_eq!(answer.body, filled(&golden.concat(), &answer));
}

#[test]
fn a_completion_answers_whole_with_exactly_these_bytes() {
    let answer = server().post("/v1/completions", r#"{"prompt":"hi","seed":7}"#);
    let head = TEXT.replace("data: ", "");
    let choice = "{\"index\":0,\"text\":\"Hello \u{1f41d}\\n\",\"logprobs\":null,\"finish_reason\":\"stop\"}],";
    assert_eq!(answer.body, filled(&[&head, choice, USAGE, ",", SKEP, "}"].concat(), &answer));
}

#[test]
fn a_failure_on_the_way_is_the_last_event_and_nothing_is_done() {
    let server = Server::start(Scripted::new(|_| {
        let mut events = events(&["Hello"], FinishReason::Stop);
        events[1] = Err(GenerateError::Failed { reason: "node 3 is gone".into() });
        Script { events, ..Script::default() }
    }));
    let answer = server.post("/v1/completions", r#"{"prompt":"hi","stream":true}"#);
    assert_eq!(answer.status, 200);
    let golden = [
        TEXT,
        r#"{"index":0,"text":"Hello","logprobs":null,"finish_reason":null}]}"#,
        "\n\n",
        r#"data: {"error":{"message":"the answer could not be continued: node 3 is gone\nhint: ask again; "#,
        r#"GET /skep/v1/network shows which nodes are left","type":"server_error","param":null,"code":"failed"}}"#,
        "\n\n",
    ];
    assert_eq!(answer.body, filled(&golden.concat(), &answer));
    let whole = server.post("/v1/completions", r#"{"prompt":"hi"}"#);
    assert_eq!((whole.status, whole.error().1), (502, "failed".into()));
}

#[test]
fn a_gateway_that_lets_go_without_a_last_event_is_a_failure() {
    let server = Server::start(Scripted::new(|_| Script {
        events: events(&["Hello"], FinishReason::Stop)[..1].to_vec(),
        ..Script::default()
    }));
    let answer = server.post("/v1/completions", r#"{"prompt":"hi","stream":true}"#);
    assert!(answer.body.contains(r#"{"error":{"#) && !answer.body.contains("[DONE]"), "{}", answer.body);
    assert_eq!(server.post("/v1/completions", r#"{"prompt":"hi"}"#).status, 502);
}
