//! What the backend is asked, and what comes with the answer.

use crate::harness::Server;
use crate::scripted::{Script, Scripted};
use serde_json::json;
use skep_node::{ChatMessage, GenerateError, GenerateRequest, Prompt};

/// What the backend was asked after `body`.
fn asked(path: &str, body: serde_json::Value) -> GenerateRequest {
    let server = Server::start(Scripted::says(&["x"]));
    let answer = server.post(path, &body.to_string());
    assert_eq!(answer.status, 200, "{body}: {}", answer.body);
    let asked = server.backend.requests.lock().unwrap().pop().unwrap();
    // The seed that was used is told, so that the answer can be had again.
    assert_eq!(answer.json()["skep"]["seed"], asked.sampling.seed);
    asked
}

fn message(role: &str, content: &str) -> ChatMessage {
    ChatMessage { role: role.into(), content: content.into() }
}

#[test]
fn every_option_reaches_the_backend() {
    let request = asked(
        "/v1/chat/completions",
        json!({
            "model": "scripted/tiny",
            "messages": [
                {"role": "developer", "content": "be brief"},
                {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]},
                {"role": "assistant", "content": "", "refusal": null, "tool_calls": [], "annotations": []},
            ],
            "max_completion_tokens": 9, "stop": ["a", "b"], "seed": u64::MAX, "temperature": 0.5, "top_p": 0.25, "top_k": 40,
            "min_p": 0.125, "repetition_penalty": 1.5, "presence_penalty": -1.0, "frequency_penalty": 0.75,
            "pace": 12.5,
        }),
    );
    let messages = [message("system", "be brief"), message("user", "one\ntwo"), message("assistant", "")];
    assert_eq!(request.prompt, Prompt::Chat(messages.to_vec()));
    assert_eq!((request.model.as_deref(), request.max_tokens), (Some("scripted/tiny"), Some(9)));
    assert_eq!(request.pace, Some(12.5));
    assert_eq!(request.stop, ["a", "b"]);
    let sampling = request.sampling;
    assert_eq!((sampling.seed, sampling.temperature, sampling.top_p, sampling.top_k), (u64::MAX, 0.5, 0.25, 40));
    assert_eq!((sampling.min_p, sampling.repetition_penalty), (0.125, 1.5));
    assert_eq!((sampling.presence_penalty, sampling.frequency_penalty), (-1.0, 0.75));
}

#[test]
fn the_defaults_are_those_of_openai_and_each_answer_has_a_seed_of_its_own() {
    let body = json!({"prompt": "hi", "max_tokens": null, "stop": null, "seed": null, "suffix": null});
    let first = asked("/v1/completions", body.clone());
    assert_eq!((&first.prompt, &first.model, first.max_tokens), (&Prompt::Text("hi".into()), &None, None));
    assert!(first.stop.is_empty() && first.pace.is_none());
    let sampling = &first.sampling;
    assert_eq!((sampling.temperature, sampling.top_p, sampling.top_k, sampling.min_p), (1.0, 1.0, 0, 0.0));
    assert_eq!((sampling.repetition_penalty, sampling.presence_penalty, sampling.frequency_penalty), (1.0, 0.0, 0.0));
    assert!(sampling.seed < 1 << 53, "JavaScript could not send it back");
    assert_ne!(asked("/v1/completions", body).sampling.seed, sampling.seed);
}

#[test]
fn a_prompt_is_a_text_or_token_ids_also_inside_an_array() {
    let prompt = |value: serde_json::Value| asked("/v1/completions", json!({"prompt": value})).prompt;
    assert_eq!(prompt(json!("")), Prompt::Text(String::new()));
    assert_eq!(prompt(json!(["hi"])), Prompt::Text("hi".into()));
    assert_eq!(prompt(json!([1, 2])), Prompt::Tokens(vec![1, 2]));
    assert_eq!(prompt(json!([[1, 2]])), Prompt::Tokens(vec![1, 2]));
    let stop = asked("/v1/completions", json!({"prompt": "hi", "stop": "\n"})).stop;
    assert_eq!(stop, ["\n"]);
}

#[test]
fn route_and_timing_are_on_every_completion() {
    let server = Server::start(Scripted::says(&["x"]));
    for (path, prompt) in [
        ("/v1/chat/completions", r#""messages":[{"role":"user","content":"hi"}]"#),
        ("/v1/completions", r#""prompt":"hi""#),
    ] {
        let whole = server.post(path, &format!("{{{prompt}}}"));
        assert_eq!(whole.header("skep-route"), Some("0101010101[0..4],0202020202[4..8]"));
        let timing = "prefill;dur=12.250, total;dur=40.000, lap;dur=2.500, \
                      stage0;dur=1.500;desc=\"0101010101[0..4]\", stage1;dur=1.500;desc=\"0202020202[4..8]\"";
        assert_eq!(whole.header("skep-timing"), Some(timing));
        let stream = server.post(path, &format!("{{{prompt},\"stream\":true}}"));
        assert_eq!(stream.header("skep-route"), whole.header("skep-route"));
        let prefill = stream.header("skep-timing").unwrap().strip_prefix("prefill;dur=").unwrap();
        assert!(prefill.parse::<f64>().unwrap() > 0.0, "{prefill}");
    }
}

#[test]
fn what_the_gateway_refuses_has_a_status_of_its_own() {
    let cases = [
        (GenerateError::UnknownModel { asked: "gpt".into() }, 404, json!("model"), "model_not_found", None),
        (
            GenerateError::WrongModel { name: "m".into(), does: skep_node::Task::Embed, what: "write text" },
            400,
            json!("model"),
            "wrong_model",
            None,
        ),
        (GenerateError::PromptTooLong { prompt: 9, context: 8 }, 400, json!(null), "context_length_exceeded", None),
        (
            GenerateError::BadOption { option: "top_p", reason: "is 0".into() },
            400,
            json!("top_p"),
            "invalid_value",
            None,
        ),
        (GenerateError::NoRoute { block: 3 }, 503, json!(null), "no_route", Some("2")),
        (GenerateError::Busy { limit: 4 }, 429, json!(null), "busy", Some("1")),
        (GenerateError::Failed { reason: "gone".into() }, 502, json!(null), "failed", None),
    ];
    for (error, status, param, code, retry) in cases {
        // It is the same at once and as the first event, of a stream too: no header has been sent yet.
        let at_once = Script { refuse: Some(error.clone()), ..Script::default() };
        let later = Script { events: vec![Err(error.clone())], ..Script::default() };
        for script in [at_once, later] {
            let server = Server::start(Scripted::new(move |_| script.clone()));
            for body in [r#"{"prompt":"hi"}"#, r#"{"prompt":"hi","stream":true}"#] {
                let answer = server.post("/v1/completions", body);
                let (got_param, got_code, message) = answer.error();
                assert_eq!((answer.status, got_param, got_code), (status, param.clone(), json!(code)), "{error}");
                assert_eq!(answer.header("retry-after"), retry);
                assert!(message.starts_with(&format!("{error}\nhint: ")), "{message}");
            }
        }
    }
}
