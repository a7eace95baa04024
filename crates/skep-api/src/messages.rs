//! Reads the messages of a chat.

use crate::error::ApiError;
use crate::options::{Options, brief};
use serde_json::Value;
use skep_node::ChatMessage;

const ROLES: &str = "use system, developer, user or assistant";
const TEXT_ONLY: &str = "this server reads text: send a string or parts of the form {\"type\":\"text\",\"text\":…}";

/// The messages of a request, at least one.
pub(crate) fn read(value: Value) -> Result<Vec<ChatMessage>, ApiError> {
    let Value::Array(list) = value else {
        return Err(ApiError::invalid("messages", "must be an array of messages", TEXT_ONLY));
    };
    if list.is_empty() {
        return Err(ApiError::invalid(
            "messages",
            "is empty",
            "send at least one message, for example {\"role\":\"user\",\"content\":\"hello\"}",
        ));
    }
    list.into_iter().enumerate().map(|(index, value)| message(&format!("messages[{index}]"), value)).collect()
}

fn message(at: &str, value: Value) -> Result<ChatMessage, ApiError> {
    let mut fields = Options::inner(at, value)?;
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
    let content = content(&name, fields.required("content")?)?;
    // What OpenAI's own answers carry, so that a client may send them back as they came.
    for field in ["tool_calls", "annotations"] {
        fields.only(
            field,
            |value| value.as_array().is_some_and(Vec::is_empty),
            "tools are not supported here: leave it out",
        )?;
    }
    for field in ["refusal", "audio", "function_call"] {
        fields.only(field, |_| false, TEXT_ONLY)?;
    }
    fields.finish()?;
    Ok(ChatMessage { role, content })
}

/// The text of a message. Several parts are lines of it.
fn content(at: &str, value: Value) -> Result<String, ApiError> {
    match value {
        Value::String(text) => Ok(text),
        Value::Array(parts) => {
            let texts: Result<Vec<_>, _> = parts
                .into_iter()
                .enumerate()
                .map(|(index, part_value)| part(&format!("{at}[{index}]"), part_value))
                .collect();
            Ok(texts?.join("\n"))
        }
        _ => Err(ApiError::invalid(at, "must be a string or an array of text parts", TEXT_ONLY)),
    }
}

fn part(at: &str, value: Value) -> Result<String, ApiError> {
    let mut fields = Options::inner(at, value)?;
    match fields.required("type")? {
        Value::String(kind) if kind == "text" => {}
        other => {
            let error = ApiError::invalid(
                fields.name("type"),
                format!("is {}, which is not supported here", brief(&other)),
                TEXT_ONLY,
            );
            return Err(error.code("unsupported_option"));
        }
    }
    let text = match fields.required("text")? {
        Value::String(text) => text,
        _ => return Err(ApiError::invalid(fields.name("text"), "must be a string", TEXT_ONLY)),
    };
    fields.finish()?;
    Ok(text)
}
