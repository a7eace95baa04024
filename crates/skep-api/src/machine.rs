//! The owner's machine: what of it is lent, the owner's word, and the settings.

use crate::backend::Backend;
use crate::error::ApiError;
use crate::options::Options;
use crate::{Api, body};
use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use serde_json::{Value, json};
use skep_node::{MachineView, SetError, SettingsFault, SettingsView};
use skep_owner::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// The longest pause that ends by itself, in seconds: a year. For longer there is the one that does not.
const PAUSE_SECONDS_MAX: u64 = 366 * 86_400;

/// `GET /skep/v1/machine`.
pub(crate) async fn show<B: Backend>(State(api): State<Api<B>>) -> Result<Json<MachineView>, ApiError> {
    api.backend.machine().map(Json).ok_or_else(no_steward)
}

/// `POST /skep/v1/machine`: pause, resume or finish.
pub(crate) async fn command<B: Backend>(
    State(api): State<Api<B>>,
    request: Request,
) -> Result<Json<MachineView>, ApiError> {
    let mut options = Options::from_body(&body::read(request).await?)?;
    let asked = options.required("command")?;
    let seconds = options.integer("seconds", 1..=PAUSE_SECONDS_MAX)?;
    options.finish()?;
    let command = match (asked.as_str(), seconds) {
        (Some("pause"), seconds) => Command::Pause { until_ms: seconds.map(|seconds| now_ms() + seconds * 1000) },
        (Some("resume"), None) => Command::Resume,
        (Some("finish"), None) => Command::Finish,
        (Some("resume" | "finish"), Some(_)) => {
            return Err(ApiError::unsupported("seconds", "only a pause ends by itself"));
        }
        _ => {
            let must = "must be pause, resume or finish";
            return Err(ApiError::invalid("command", must, "a pause may have `seconds`, after which it ends"));
        }
    };
    api.backend.command(command).await.map(Json).ok_or_else(no_steward)
}

/// `GET /skep/v1/settings`.
pub(crate) async fn settings<B: Backend>(State(api): State<Api<B>>) -> Result<Json<Value>, ApiError> {
    api.backend.settings().map(shown).ok_or_else(no_steward)
}

/// `PUT /skep/v1/settings`: one setting, for now and in the file.
pub(crate) async fn set<B: Backend>(State(api): State<Api<B>>, request: Request) -> Result<Json<Value>, ApiError> {
    let mut options = Options::from_body(&body::read(request).await?)?;
    let key = options.required("key")?;
    let value = options.required_or_null("value")?;
    options.finish()?;
    let hint = "GET /skep/v1/settings lists the settings and what each takes";
    let key = key.as_str().ok_or_else(|| ApiError::invalid("key", "must be the name of a setting", hint))?;
    let text = match value {
        None => None,
        Some(Value::String(text)) => Some(text),
        Some(Value::Number(number)) => Some(number.to_string()),
        Some(Value::Bool(on)) => Some(on.to_string()),
        Some(_) => return Err(ApiError::invalid("value", "must be a text, a number, true or false", hint)),
    };
    let Some(changed) = api.backend.set(key, text.as_deref()).await else { return Err(no_steward()) };
    changed.map(shown).map_err(|error| match &error {
        SetError::Settings(SettingsFault::Refused(refused)) => {
            let param = if matches!(refused, skep_owner::SettingError::Misfit { .. }) { "value" } else { "key" };
            ApiError::refuse(StatusCode::BAD_REQUEST, error.to_string(), hint).param(param).code("invalid_value")
        }
        _ => ApiError::server(
            StatusCode::INTERNAL_SERVER_ERROR,
            "not_kept",
            error.to_string(),
            "the settings are as they were; may this program write there?",
        ),
    })
}

fn shown(settings: SettingsView) -> Json<Value> {
    // It is this program's own text, and a test reads it.
    let schema: Value = serde_json::from_str(&settings.schema).unwrap_or_default();
    Json(json!({"schema": schema, "values": settings.values, "file": settings.file}))
}

fn no_steward() -> ApiError {
    let sentence = "this node does not keep to limits of its owner, because all of it is this machine's own use";
    ApiError::refuse(StatusCode::NOT_FOUND, sentence, "`skep up` starts a node that does").code("no_limits")
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
