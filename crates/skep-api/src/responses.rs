//! `/v1/responses`, the part of it that a server without tools and without a memory can honour: text in, text out, whole or streamed.
//!
//! - `input` is a text, or messages whose content is a text or parts of the types `input_text` and `output_text`; `instructions` become
//!   the first message, of the role `system`. The message of an earlier answer may be sent back as it came.
//! - Nothing is stored: `store` is `false` in every answer, and `previous_response_id` is refused by name, as are tools.
//! - A stream is OpenAI's series of named events around one message with one part of text: `response.created`, `response.in_progress`,
//!   `response.output_item.added`, `response.content_part.added`, `response.output_text.delta` for each piece,
//!   `response.output_text.done`, `response.content_part.done`, `response.output_item.done`, and `response.completed`, or
//!   `response.incomplete` where the limit of tokens ended it. A failure on the way is `response.failed`.

use crate::answer::{Head, Skep};
use crate::error::ApiError;
use crate::messages;
use crate::options::{Options, SEE_LIST};
use crate::request::{Ask, NO_TOOLS, ONE_TEXT, count, finish, is_plain_text};
use crate::stream::{Form, Written};
use axum::body::Bytes;
use serde_json::{Value, json};
use skep_node::{ChatMessage, FinishReason, Prompt, Summary};

/// What the id of an answer begins with.
pub(crate) const PREFIX: &str = "resp_";

const STORED: &str = "this server stores nothing: leave it out, and send the whole conversation as `input`";

/// What an answer repeats of its request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Echo {
    instructions: Option<String>,
    max_output_tokens: Option<u32>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    metadata: Option<Value>,
}

/// The body of `POST /v1/responses`.
pub(crate) fn read(body: &[u8]) -> Result<(Ask, Echo), ApiError> {
    let mut options = Options::from_body(body)?;
    let instructions = options.text("instructions")?;
    let mut conversation = match options.required("input")? {
        Value::String(text) => vec![ChatMessage { role: "user".into(), content: text }],
        list => messages::items(list)?,
    };
    if let Some(text) = &instructions {
        conversation.insert(0, ChatMessage { role: "system".into(), content: text.clone() });
    }
    let max_output_tokens = count(&mut options, "max_output_tokens")?;
    options.only("tools", |value| value.as_array().is_some_and(Vec::is_empty), NO_TOOLS)?;
    options.only("tool_choice", |value| value == "none" || value == "auto", NO_TOOLS)?;
    options.only("parallel_tool_calls", Value::is_boolean, NO_TOOLS)?;
    options.only("max_tool_calls", Value::is_number, NO_TOOLS)?;
    options.only("store", |value| value == false, STORED)?;
    for field in ["previous_response_id", "conversation", "prompt"] {
        options.only(field, |_| false, STORED)?;
    }
    options.only("background", |value| value == false, "answers come while the client waits: leave it out")?;
    options.only(
        "truncation",
        |value| value == "disabled",
        "a text that is too long is refused, not cut: leave it out",
    )?;
    options.only("text", is_text_only, "only {\"format\":{\"type\":\"text\"}} is: leave it out")?;
    options.only("reasoning", is_no_reasoning, ONE_TEXT)?;
    options.only("include", |value| value.as_array().is_some_and(Vec::is_empty), ONE_TEXT)?;
    options.only("top_logprobs", |value| value == 0, ONE_TEXT)?;
    options.only("service_tier", |value| value == "auto" || value == "default", ONE_TEXT)?;
    for field in ["safety_identifier", "prompt_cache_key"] {
        options.only(field, Value::is_string, SEE_LIST)?;
    }
    let metadata = options.take("metadata");
    if metadata.as_ref().is_some_and(|labels| !labels.is_object()) {
        return Err(ApiError::invalid("metadata", "must be an object", SEE_LIST));
    }
    let ask = finish(options, Prompt::Chat(conversation), max_output_tokens)?;
    let sampling = &ask.request.sampling;
    let [temperature, top_p] = [sampling.temperature, sampling.top_p].map(|number| Some(as_sent(number)));
    Ok((ask, Echo { instructions, max_output_tokens, temperature, top_p, metadata }))
}

/// The shortest number that is this one as `f32`, as the client wrote it: 0.7, not 0.699999988.
fn as_sent(number: f32) -> f64 {
    number.to_string().parse().unwrap_or_else(|_| f64::from(number))
}

fn is_text_only(value: &Value) -> bool {
    value.as_object().is_some_and(|text| {
        text.iter().all(|(name, value)| value.is_null() || name == "format" && is_plain_text(value))
    })
}

fn is_no_reasoning(value: &Value) -> bool {
    value.as_object().is_some_and(|options| options.values().all(|value| value.is_null() || value == "none"))
}

/// An answer, whole or as events.
pub(crate) struct Response {
    head: Head,
    echo: Echo,
    /// All text so far.
    text: String,
    /// Events so far.
    events: u64,
}

impl Response {
    pub(crate) fn new(head: Head, echo: Echo) -> Self {
        Self { head, echo, text: String::new(), events: 0 }
    }

    /// The JSON of an answer that comes as a whole.
    pub(crate) fn whole(mut self, text: String, summary: &Summary) -> Result<Vec<u8>, serde_json::Error> {
        self.text = text;
        serde_json::to_vec(&self.ended(summary)?)
    }

    fn message_id(&self) -> String {
        format!("msg_{}", self.head.id.strip_prefix(PREFIX).unwrap_or(&self.head.id))
    }

    fn part(&self) -> Value {
        json!({"type": "output_text", "text": self.text, "annotations": [], "logprobs": []})
    }

    fn message(&self, status: &str, parts: &[Value]) -> Value {
        json!({
            "type": "message", "id": self.message_id(), "status": status, "role": "assistant", "content": parts,
        })
    }

    /// The answer with what it has come to.
    fn object(&self, status: &str, output: &[Value], usage: Value) -> Value {
        let Echo { instructions, max_output_tokens, temperature, top_p, metadata } = &self.echo;
        let why = if status == "incomplete" { json!({"reason": "max_output_tokens"}) } else { Value::Null };
        json!({
            "id": self.head.id, "object": "response", "created_at": self.head.created, "status": status,
            "background": false, "error": null, "incomplete_details": why, "instructions": instructions,
            "max_output_tokens": max_output_tokens, "max_tool_calls": null, "model": self.head.model,
            "output": output, "parallel_tool_calls": true, "previous_response_id": null,
            "reasoning": {"effort": null, "summary": null}, "service_tier": "default", "store": false,
            "temperature": temperature, "text": {"format": {"type": "text"}}, "tool_choice": "auto", "tools": [],
            "top_logprobs": 0, "top_p": top_p, "truncation": "disabled", "usage": usage, "user": null,
            "metadata": metadata.clone().unwrap_or_else(|| json!({})),
        })
    }

    /// The answer at its end, with how it came about under `skep`.
    fn ended(&self, summary: &Summary) -> Result<Value, serde_json::Error> {
        let status = status(summary.finish);
        let (input, output) = (summary.prompt_tokens, summary.completion_tokens);
        let usage = json!({
            "input_tokens": input, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": output,
            "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": input.saturating_add(output),
        });
        let mut object = self.object(status, &[self.message(status, &[self.part()])], usage);
        object["skep"] = serde_json::to_value(Skep { seed: self.head.seed, summary })?;
        Ok(object)
    }

    fn event(&mut self, kind: &str, mut data: Value) -> Result<Bytes, serde_json::Error> {
        data["type"] = kind.into();
        data["sequence_number"] = self.events.into();
        self.events += 1;
        let mut bytes = format!("event: {kind}\ndata: ").into_bytes();
        serde_json::to_writer(&mut bytes, &data)?;
        bytes.extend_from_slice(b"\n\n");
        Ok(bytes.into())
    }

    /// An event about the one part of the one message.
    fn of_part(&mut self, kind: &str, mut data: Value) -> Result<Bytes, serde_json::Error> {
        data["item_id"] = self.message_id().into();
        data["output_index"] = 0.into();
        data["content_index"] = 0.into();
        self.event(kind, data)
    }
}

impl Form for Response {
    fn begin(&mut self) -> Written {
        let begun = self.object("in_progress", &[], Value::Null);
        let item = self.message("in_progress", &[]);
        let part = self.part();
        Ok(vec![
            self.event("response.created", json!({"response": begun}))?,
            self.event("response.in_progress", json!({"response": begun}))?,
            self.event("response.output_item.added", json!({"output_index": 0, "item": item}))?,
            self.of_part("response.content_part.added", json!({"part": part}))?,
        ])
    }

    fn text(&mut self, text: &str) -> Written {
        self.text.push_str(text);
        Ok(vec![self.of_part("response.output_text.delta", json!({"delta": text, "logprobs": []}))?])
    }

    fn done(&mut self, summary: &Summary) -> Written {
        let (text, part, object) = (self.text.clone(), self.part(), self.ended(summary)?);
        let status = status(summary.finish);
        let item = self.message(status, std::slice::from_ref(&part));
        Ok(vec![
            self.of_part("response.output_text.done", json!({"text": text, "logprobs": []}))?,
            self.of_part("response.content_part.done", json!({"part": part}))?,
            self.event("response.output_item.done", json!({"output_index": 0, "item": item}))?,
            self.event(&format!("response.{status}"), json!({"response": object}))?,
        ])
    }

    fn fail(&mut self, error: ApiError) -> Written {
        let body = serde_json::to_value(error.body())?;
        let mut object = self.object("failed", &[], Value::Null);
        object["error"] = json!({"code": "server_error", "message": body["error"]["message"]});
        Ok(vec![self.event("response.failed", json!({"response": object}))?])
    }
}

fn status(finish: FinishReason) -> &'static str {
    match finish {
        FinishReason::Stop => "completed",
        FinishReason::Length => "incomplete",
    }
}
