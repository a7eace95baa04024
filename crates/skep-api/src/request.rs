//! Reads the bodies of `/v1/chat/completions` and `/v1/completions`. Every option is honoured, or refused by name; an option
//! that this server has no way to honour is accepted only with a value that asks for what happens anyway.

use crate::error::ApiError;
use crate::messages;
use crate::options::{Options, SEE_LIST, brief};
use serde_json::Value;
use skep_model::SamplingParams;
use skep_node::{GenerateRequest, Prompt};
use std::hash::{BuildHasher, RandomState};

/// The most stop texts of a request.
const MAX_STOPS: usize = 4;
/// Seeds that are drawn here stay below this, so that a client that keeps numbers as `f64` can send them back.
const SEED_BITS: u32 = 53;

pub(crate) const ONE_TEXT: &str = "this server writes one plain text per request: leave it out";
pub(crate) const NO_TOOLS: &str = "tools are not supported here: leave it out";

/// A request that has been understood.
pub(crate) struct Ask {
    /// What the gateway is asked.
    pub(crate) request: GenerateRequest,
    /// Whether the answer comes piece by piece.
    pub(crate) stream: bool,
    /// Whether a stream ends with a piece that holds the usage.
    pub(crate) include_usage: bool,
}

/// The body of `POST /v1/chat/completions`.
pub(crate) fn chat(body: &[u8]) -> Result<Ask, ApiError> {
    let mut options = Options::from_body(body)?;
    let prompt = Prompt::Chat(messages::read(options.required("messages")?)?);
    let max_tokens = max_tokens(&mut options)?;
    options.only("logprobs", |value| value == false, ONE_TEXT)?;
    options.only("top_logprobs", |value| value == 0, ONE_TEXT)?;
    options.only("response_format", is_plain_text, "only {\"type\":\"text\"} is: leave it out")?;
    options.only("modalities", |value| *value == serde_json::json!(["text"]), ONE_TEXT)?;
    options.only("reasoning_effort", |value| value == "none", ONE_TEXT)?;
    for field in ["tools", "functions"] {
        options.only(field, |value| value.as_array().is_some_and(Vec::is_empty), NO_TOOLS)?;
    }
    for field in ["tool_choice", "function_call"] {
        options.only(field, |value| value == "none" || value == "auto", NO_TOOLS)?;
    }
    options.only("parallel_tool_calls", Value::is_boolean, NO_TOOLS)?;
    options.only("store", |value| value == false, "this server stores nothing: leave it out")?;
    // Labels of stored answers, of a customer's users and of cached prompts. Nothing here is stored, metered or shared.
    options.only("metadata", Value::is_object, SEE_LIST)?;
    for field in ["safety_identifier", "prompt_cache_key"] {
        options.only(field, Value::is_string, SEE_LIST)?;
    }
    options.only("service_tier", |value| value == "auto" || value == "default", ONE_TEXT)?;
    for field in ["audio", "prediction", "web_search_options", "verbosity", "prompt_cache_retention"] {
        options.only(field, |_| false, ONE_TEXT)?;
    }
    finish(options, prompt, max_tokens)
}

/// The body of `POST /v1/completions`.
pub(crate) fn completion(body: &[u8]) -> Result<Ask, ApiError> {
    let mut options = Options::from_body(body)?;
    let prompt = text_prompt(options.required("prompt")?)?;
    let max_tokens = count(&mut options, "max_tokens")?;
    options.only("echo", |value| value == false, "the prompt is not repeated: leave it out")?;
    options.only("suffix", |value| value == "", "text is only continued, not filled in: leave it out")?;
    options.only("best_of", |value| value == 1, ONE_TEXT)?;
    options.only("logprobs", |_| false, ONE_TEXT)?;
    finish(options, prompt, max_tokens)
}

/// What both kinds of request have in common, and the refusal of everything else.
pub(crate) fn finish(mut options: Options, prompt: Prompt, max_tokens: Option<u32>) -> Result<Ask, ApiError> {
    let model = options.text("model")?;
    let stop = stops(options.take("stop"))?;
    let sampling = sampling(&mut options)?;
    // The range keeps the time between two tokens, which is its inverse, between a millisecond and ten seconds.
    let pace = options.number("pace", 0.1..=1000.0)?.map(|rate| rate as f32);
    let stream = options.flag("stream")?;
    let include_usage = match options.take("stream_options") {
        None => false,
        Some(_) if !stream => {
            return Err(ApiError::invalid("stream_options", "is only allowed with `stream`: true", "leave it out"));
        }
        Some(value) => stream_options(value)?,
    };
    options.only("n", |value| value == 1, "this server writes one answer per request: ask again for another")?;
    options.only("logit_bias", |value| value.as_object().is_some_and(serde_json::Map::is_empty), ONE_TEXT)?;
    options.only("user", Value::is_string, "it must be a string")?;
    options.finish()?;
    Ok(Ask { request: GenerateRequest { model, prompt, max_tokens, stop, sampling, pace }, stream, include_usage })
}

pub(crate) fn is_plain_text(value: &Value) -> bool {
    value.as_object().is_some_and(|format| format.len() == 1 && format.get("type").is_some_and(|kind| kind == "text"))
}

fn stream_options(value: Value) -> Result<bool, ApiError> {
    let mut options = Options::inner("stream_options", value)?;
    let include_usage = options.flag("include_usage")?;
    options.only("include_obfuscation", |value| value == false, "events are not padded: leave it out")?;
    options.finish()?;
    Ok(include_usage)
}

pub(crate) fn count(options: &mut Options, field: &'static str) -> Result<Option<u32>, ApiError> {
    let number = options.integer(field, 1..=u64::from(u32::MAX))?;
    // The range was checked just above, so nothing is cut.
    Ok(number.map(|number| number as u32))
}

/// The limit under its two names.
fn max_tokens(options: &mut Options) -> Result<Option<u32>, ApiError> {
    let old = count(options, "max_tokens")?;
    let new = count(options, "max_completion_tokens")?;
    match (old, new) {
        (Some(old), Some(new)) if old != new => {
            Err(ApiError::invalid("max_tokens", "contradicts `max_completion_tokens`", "send one of the two"))
        }
        (old, new) => Ok(new.or(old)),
    }
}

/// The prompt of a completion: a text, token ids, or an array that holds one of these.
fn text_prompt(value: Value) -> Result<Prompt, ApiError> {
    const HINT: &str = "send a string or an array of token ids; for several prompts, send several requests";
    let wrong = || ApiError::invalid("prompt", "must be one text or one array of token ids", HINT);
    match value {
        Value::String(text) => Ok(Prompt::Text(text)),
        Value::Array(mut list) => match list.as_slice() {
            [] => Err(ApiError::invalid("prompt", "is empty", HINT)),
            [Value::String(_) | Value::Array(_)] => match list.pop() {
                Some(Value::String(text)) => Ok(Prompt::Text(text)),
                Some(Value::Array(ids)) if !ids.is_empty() => tokens(&ids).ok_or_else(wrong),
                _ => Err(wrong()),
            },
            _ => tokens(&list).ok_or_else(wrong),
        },
        _ => Err(wrong()),
    }
}

fn tokens(ids: &[Value]) -> Option<Prompt> {
    let ids: Option<Vec<u32>> = ids.iter().map(|id| id.as_u64().and_then(|id| u32::try_from(id).ok())).collect();
    ids.map(Prompt::Tokens)
}

/// One stop text or up to four.
fn stops(value: Option<Value>) -> Result<Vec<String>, ApiError> {
    const HINT: &str = "send a string, or an array of up to 4 strings";
    let list = match value {
        None => return Ok(Vec::new()),
        Some(Value::Array(list)) => list,
        Some(one) => vec![one],
    };
    if list.len() > MAX_STOPS {
        return Err(ApiError::invalid(
            "stop",
            format!("holds {} texts, and at most {MAX_STOPS} are allowed", list.len()),
            HINT,
        ));
    }
    list.into_iter()
        .map(|value| match value {
            Value::String(text) if !text.is_empty() => Ok(text),
            other => Err(ApiError::invalid(
                "stop",
                format!("must hold texts that are not empty, not {}", brief(&other)),
                HINT,
            )),
        })
        .collect()
}

/// How tokens are drawn. The defaults are OpenAI's: temperature 1 and everything else off. Without a seed, one is drawn.
fn sampling(options: &mut Options) -> Result<SamplingParams, ApiError> {
    Ok(SamplingParams {
        temperature: options.number("temperature", 0.0..=2.0)?.unwrap_or(1.0) as f32,
        top_p: options.number("top_p", 0.0..=1.0)?.unwrap_or(1.0) as f32,
        top_k: options.integer("top_k", 0..=u64::from(u32::MAX))?.unwrap_or(0) as u32,
        min_p: options.number("min_p", 0.0..=1.0)?.unwrap_or(0.0) as f32,
        repetition_penalty: options.number("repetition_penalty", 0.01..=100.0)?.unwrap_or(1.0) as f32,
        presence_penalty: options.number("presence_penalty", -2.0..=2.0)?.unwrap_or(0.0) as f32,
        frequency_penalty: options.number("frequency_penalty", -2.0..=2.0)?.unwrap_or(0.0) as f32,
        seed: match options.integer("seed", 0..=u64::MAX)? {
            Some(seed) => seed,
            None => random() >> (u64::BITS - SEED_BITS),
        },
        ..SamplingParams::default()
    })
}

/// A number that nobody can foretell: the standard library seeds its hash maps with the system's random source.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(0u8)
}
