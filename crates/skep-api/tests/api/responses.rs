//! `/v1/responses`: what it reads, what it refuses, and the series of events.

use crate::harness::{Answer, Server};
use crate::scripted::{Script, Scripted, events};
use serde_json::{Value, json};
use skep_node::{ChatMessage, FinishReason, GenerateError, Prompt};

const PATH: &str = "/v1/responses";

fn server(finish: FinishReason) -> Server {
    let script = move || Script { events: events(&["Hello", "", " \u{1f41d}\n"], finish), ..Script::default() };
    Server::start(Scripted::new(move |_| script()))
}

/// The names and the data of all events.
fn streamed(answer: &Answer) -> Vec<(String, Value)> {
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/event-stream")), "{}", answer.body);
    let event = |block: &str| {
        let (name, data) = block.split_once('\n').unwrap();
        let data = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        (name.strip_prefix("event: ").unwrap().to_owned(), data)
    };
    answer.body.split_terminator("\n\n").map(event).collect()
}

#[test]
fn an_answer_comes_whole_and_can_be_sent_back() {
    let server = server(FinishReason::Stop);
    let body = json!({
        "input": "hi", "instructions": "be brief", "max_output_tokens": 9, "temperature": 0.7, "top_p": 0.25,
        "seed": 7, "metadata": {"a": "b"}, "tools": [], "text": {"format": {"type": "text"}},
    });
    let answer = server.post(PATH, &body.to_string());
    assert_eq!(answer.status, 200, "{}", answer.body);
    let mut got = answer.json();
    let digits = got["id"].as_str().unwrap().strip_prefix("resp_").unwrap().to_owned();
    assert_eq!((digits.len(), got["created_at"].is_u64()), (32, true));
    assert_eq!(got["skep"]["finish"], "stop");
    assert_eq!(got["skep"]["seed"], 7);
    for varies in ["id", "created_at", "skep"] {
        got.as_object_mut().unwrap().remove(varies);
    }
    let message = json!({
        "type": "message", "id": format!("msg_{digits}"), "status": "completed", "role": "assistant",
        "content": [{"type": "output_text", "text": "Hello \u{1f41d}\n", "annotations": [], "logprobs": []}],
    });
    let expected = json!({
        "object": "response", "status": "completed", "background": false, "error": null, "incomplete_details": null,
        "instructions": "be brief", "max_output_tokens": 9, "max_tool_calls": null, "model": "ab".repeat(32),
        "output": [message], "parallel_tool_calls": true, "previous_response_id": null,
        "reasoning": {"effort": null, "summary": null}, "service_tier": "default", "store": false,
        "temperature": 0.7, "text": {"format": {"type": "text"}}, "tool_choice": "auto", "tools": [],
        "top_logprobs": 0, "top_p": 0.25, "truncation": "disabled", "user": null, "metadata": {"a": "b"},
        "usage": {
            "input_tokens": 5, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 3,
            "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 8,
        },
    });
    assert_eq!(got, expected);

    let user = |text: &str| json!({"role": "user", "content": [{"type": "input_text", "text": text}]});
    let body = json!({"input": [user("hi"), got["output"][0], user("and?")]});
    assert_eq!(server.post(PATH, &body.to_string()).status, 200);
    let asked = server.backend.requests.lock().unwrap();
    let said = |role: &str, content: &str| ChatMessage { role: role.into(), content: content.into() };
    assert_eq!(asked[0].prompt, Prompt::Chat(vec![said("system", "be brief"), said("user", "hi")]));
    assert_eq!((asked[0].max_tokens, asked[0].sampling.temperature, asked[0].sampling.top_p), (Some(9), 0.7, 0.25));
    let conversation = vec![said("user", "hi"), said("assistant", "Hello \u{1f41d}\n"), said("user", "and?")];
    assert_eq!(asked[1].prompt, Prompt::Chat(conversation));
}

#[test]
fn a_stream_is_the_series_of_events_around_one_text() {
    let answer = server(FinishReason::Stop).post(PATH, r#"{"input":"hi","stream":true}"#);
    let events = streamed(&answer);
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    let expected = [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ];
    assert_eq!(names, expected);
    for (at, (name, data)) in events.iter().enumerate() {
        assert_eq!((data["type"].as_str(), data["sequence_number"].as_u64()), (Some(name.as_str()), Some(at as u64)));
    }
    let text = "Hello \u{1f41d}\n";
    let of = |at: usize| &events[at].1;
    assert_eq!(
        (of(0)["response"]["status"].clone(), of(0)["response"]["output"].clone()),
        (json!("in_progress"), json!([]))
    );
    assert_eq!((&of(4)["delta"], &of(5)["delta"]), (&json!("Hello"), &json!(" \u{1f41d}\n")));
    assert_eq!((&of(6)["text"], &of(7)["part"]["text"]), (&json!(text), &json!(text)));
    assert_eq!(of(8)["item"]["content"][0]["text"], text);
    let last = &of(9)["response"];
    assert_eq!((&last["output"][0], &last["usage"]["total_tokens"]), (&of(8)["item"], &json!(8)));
    assert_eq!((&last["id"], &of(4)["item_id"]), (&of(0)["response"]["id"], &of(8)["item"]["id"]));
    assert_eq!(last["skep"]["finish"], "stop");
}

#[test]
fn what_the_limit_of_tokens_cut_is_incomplete() {
    let server = server(FinishReason::Length);
    let whole = server.post(PATH, r#"{"input":"hi"}"#).json();
    assert_eq!(
        (&whole["status"], &whole["incomplete_details"]["reason"]),
        (&json!("incomplete"), &json!("max_output_tokens"))
    );
    let events = streamed(&server.post(PATH, r#"{"input":"hi","stream":true}"#));
    let (name, data) = events.last().unwrap();
    assert_eq!((name.as_str(), &data["response"]["status"]), ("response.incomplete", &json!("incomplete")));
}

#[test]
fn a_stream_that_breaks_off_says_so() {
    let text = skep_node::Event::Text { text: "He".into(), token_index: 0 };
    let failure = GenerateError::Failed { reason: "no node is left".into() };
    let server = Server::start(Scripted::new(move |_| Script {
        events: vec![Ok(text.clone()), Err(failure.clone())],
        ..Script::default()
    }));
    let events = streamed(&server.post(PATH, r#"{"input":"hi","stream":true}"#));
    let (name, data) = events.last().unwrap();
    assert_eq!((name.as_str(), &data["response"]["status"]), ("response.failed", &json!("failed")));
    let message = data["response"]["error"]["message"].as_str().unwrap();
    assert!(message.contains("no node is left"), "{message}");
}

#[test]
fn what_cannot_be_honoured_is_refused_by_name() {
    let server = server(FinishReason::Stop);
    let item = |value: Value| json!({"input": [value]});
    for (body, param) in [
        (json!({}), "input"),
        (json!({"input": []}), "input"),
        (json!({"input": 7}), "input"),
        (item(json!({"type": "function_call_output", "call_id": "c", "output": "x"})), "input[0].type"),
        (
            item(json!({"role": "user", "content": [{"type": "input_image", "image_url": "x"}]})),
            "input[0].content[0].type",
        ),
        (item(json!({"role": "user", "content": [{"type": "text", "text": "x"}]})), "input[0].content[0].type"),
        (json!({"input": "hi", "store": true}), "store"),
        (json!({"input": "hi", "previous_response_id": "resp_1"}), "previous_response_id"),
        (json!({"input": "hi", "conversation": {}}), "conversation"),
        (json!({"input": "hi", "background": true}), "background"),
        (json!({"input": "hi", "tools": [{"type": "web_search"}]}), "tools"),
        (json!({"input": "hi", "text": {"format": {"type": "json_object"}}}), "text"),
        (json!({"input": "hi", "reasoning": {"effort": "high"}}), "reasoning"),
        (json!({"input": "hi", "truncation": "auto"}), "truncation"),
        (json!({"input": "hi", "metadata": "x"}), "metadata"),
        (json!({"input": "hi", "max_tokens": 3}), "max_tokens"),
        (json!({"input": "hi", "max_output_tokens": 0}), "max_output_tokens"),
        (json!({"input": "hi", "messages": []}), "messages"),
    ] {
        let answer = server.post(PATH, &body.to_string());
        assert_eq!(answer.status, 400, "{body}: {}", answer.body);
        let (got, _, message) = answer.error();
        assert_eq!(got, param, "{body}: {message}");
        assert!(message.contains("\nhint: "), "{message}");
    }
    assert!(server.backend.requests.lock().unwrap().is_empty());
}
