//! Reads the messages of a chat, and those of a response's input.

use crate::error::ApiError;
use crate::options::{Options, brief};
use serde_json::Value;
use skep_node::ChatMessage;

const ROLES: &str = "use system, developer, user or assistant";
const TEXT_ONLY: &str = "this server reads text: send a string or parts of the form {\"type\":\"text\",\"text\":…}";

/// Where messages stand, and what their parts are called.
struct Place {
    field: &'static str,
    parts: &'static [&'static str],
    /// Whether they may carry what the items of an answer do, so that these can be sent back.
    items: bool,
    hint: &'static str,
}

const CHAT: Place = Place { field: "messages", parts: &["text"], items: false, hint: TEXT_ONLY };
const INPUT: Place = Place {
    field: "input",
    parts: &["input_text", "output_text"],
    items: true,
    hint: "this server reads text: send a string or parts of the form {\"type\":\"input_text\",\"text\":…}",
};

/// The `messages` of a chat, at least one.
pub(crate) fn read(value: Value) -> Result<Vec<ChatMessage>, ApiError> {
    list(&CHAT, value)
}

/// The `input` of a response as a list of messages, at least one.
pub(crate) fn items(value: Value) -> Result<Vec<ChatMessage>, ApiError> {
    list(&INPUT, value)
}

fn list(place: &Place, value: Value) -> Result<Vec<ChatMessage>, ApiError> {
    let Value::Array(list) = value else {
        return Err(ApiError::invalid(place.field, "must be an array of messages", place.hint));
    };
    if list.is_empty() {
        return Err(ApiError::invalid(
            place.field,
            "is empty",
            "send at least one message, for example {\"role\":\"user\",\"content\":\"hello\"}",
        ));
    }
    let read = |(index, value)| message(place, &format!("{}[{index}]", place.field), value);
    list.into_iter().enumerate().map(read).collect()
}

fn message(place: &Place, at: &str, value: Value) -> Result<ChatMessage, ApiError> {
    let mut fields = Options::inner(at, value)?;
    if place.items {
        fields.only("type", |value| value == "message", place.hint)?;
        for field in ["id", "status"] {
            fields.only(field, Value::is_string, place.hint)?;
        }
    }
    let role = match fields.required("role")? {
        // OpenAI renamed the system role; templates of open models know the old name.
        Value::String(role) if role == "developer" => "system".to_owned(),
        Value::String(role) if matches!(role.as_str(), "system" | "user" | "assistant") => role,
        Value::String(role) if matches!(role.as_str(), "tool" | "function") => {
            let error =
                ApiError::invalid(fields.name("role"), format!("is `{role}`, and tools are not supported here"), ROLES);
            return Err(error.code("unsupported_option"));
        }
        other => {
            return Err(ApiError::invalid(
                fields.name("role"),
                format!("is {}, which is no role", brief(&other)),
                ROLES,
            ));
        }
    };
    let name = fields.name("content");
    let content = content(place, &name, fields.required("content")?)?;
    // What OpenAI's own answers carry, so that a client may send them back as they came.
    for field in ["tool_calls", "annotations"] {
        fields.only(
            field,
            |value| value.as_array().is_some_and(Vec::is_empty),
            "tools are not supported here: leave it out",
        )?;
    }
    for field in ["refusal", "audio", "function_call"] {
        fields.only(field, |_| false, place.hint)?;
    }
    fields.finish()?;
    Ok(ChatMessage { role, content })
}

/// The text of a message. Several parts are lines of it.
fn content(place: &Place, at: &str, value: Value) -> Result<String, ApiError> {
    match value {
        Value::String(text) => Ok(text),
        Value::Array(parts) => {
            let texts: Result<Vec<_>, _> = parts
                .into_iter()
                .enumerate()
                .map(|(index, part_value)| part(place, &format!("{at}[{index}]"), part_value))
                .collect();
            Ok(texts?.join("\n"))
        }
        _ => Err(ApiError::invalid(at, "must be a string or an array of text parts", place.hint)),
    }
}

fn part(place: &Place, at: &str, value: Value) -> Result<String, ApiError> {
    let mut fields = Options::inner(at, value)?;
    match fields.required("type")? {
        Value::String(kind) if place.parts.contains(&kind.as_str()) => {}
        other => {
            let error = ApiError::invalid(
                fields.name("type"),
                format!("is {}, which is not supported here", brief(&other)),
                place.hint,
            );
            return Err(error.code("unsupported_option"));
        }
    }
    let text = match fields.required("text")? {
        Value::String(text) => text,
        _ => return Err(ApiError::invalid(fields.name("text"), "must be a string", place.hint)),
    };
    if place.items {
        for field in ["annotations", "logprobs"] {
            fields.only(field, |value| value.as_array().is_some_and(Vec::is_empty), place.hint)?;
        }
    }
    fields.finish()?;
    Ok(text)
}
