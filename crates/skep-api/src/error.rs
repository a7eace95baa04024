//! What goes wrong on the way to an answer, as HTTP says it.
//!
//! The body is `{"error":{"message","type","param","code"}}`, as OpenAI's clients expect it. The message is one sentence and, on a
//! line of its own, `hint: …` with what to do about it.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use skep_node::{GenerateError, Task};

/// The type of an error that the client can mend.
const INVALID: &str = "invalid_request_error";
/// The type of an error that the client cannot mend.
const SERVER: &str = "server_error";

/// A refusal or a failure. Boxed, because it is rare and results carry it everywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError(Box<Fault>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Fault {
    status: StatusCode,
    kind: &'static str,
    code: Option<&'static str>,
    param: Option<String>,
    sentence: String,
    hint: String,
    retry_after: Option<u32>,
}

/// The `error` object of a body or of an event.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorObject {
    message: String,
    #[serde(rename = "type")]
    kind: &'static str,
    param: Option<String>,
    code: Option<&'static str>,
}

/// What is sent: `{"error": …}`.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorBody {
    error: ErrorObject,
}

impl ApiError {
    /// A refusal of what the client sent, with the status, a sentence and a hint.
    pub(crate) fn refuse(status: StatusCode, sentence: impl Into<String>, hint: impl Into<String>) -> Self {
        Self(Box::new(Fault {
            status,
            kind: INVALID,
            code: None,
            param: None,
            sentence: sentence.into(),
            hint: hint.into(),
            retry_after: None,
        }))
    }

    /// A failure that the client has no part in.
    pub(crate) fn server(status: StatusCode, code: &'static str, sentence: String, hint: &str) -> Self {
        let mut error = Self::refuse(status, sentence, hint).code(code);
        error.0.kind = SERVER;
        error
    }

    /// An option that this server has no way to honour.
    pub(crate) fn unsupported(param: impl Into<String>, hint: impl Into<String>) -> Self {
        let param = param.into();
        Self::refuse(StatusCode::BAD_REQUEST, format!("`{param}` is not supported here"), hint)
            .param(param)
            .code("unsupported_option")
    }

    /// An option with a value that means nothing; `must` goes on after the option's name: "must be a number".
    pub(crate) fn invalid(param: impl Into<String>, must: impl AsRef<str>, hint: impl Into<String>) -> Self {
        let param = param.into();
        Self::refuse(StatusCode::BAD_REQUEST, format!("`{param}` {}", must.as_ref()), hint)
            .param(param)
            .code("invalid_value")
    }

    pub(crate) fn param(mut self, param: impl Into<String>) -> Self {
        self.0.param = Some(param.into());
        self
    }

    pub(crate) fn code(mut self, code: &'static str) -> Self {
        self.0.code = Some(code);
        self
    }

    /// Its code, or what stands for one that has none.
    pub(crate) fn code_or(&self, none: &'static str) -> &'static str {
        self.0.code.unwrap_or(none)
    }

    /// The body, which is also the event that ends a stream.
    pub(crate) fn body(self) -> ErrorBody {
        let Fault { kind, code, param, sentence, hint, .. } = *self.0;
        ErrorBody { error: ErrorObject { message: format!("{sentence}\nhint: {hint}"), kind, param, code } }
    }

    /// Too much of something for a while; `kind` is what OpenAI's clients look at: `requests` or `tokens`.
    pub(crate) fn limited(self, kind: &'static str, seconds: u64) -> Self {
        self.kind(kind).code("rate_limit_exceeded").retry_after(u32::try_from(seconds).unwrap_or(u32::MAX))
    }

    fn retry_after(mut self, seconds: u32) -> Self {
        self.0.retry_after = Some(seconds);
        self
    }

    fn kind(mut self, kind: &'static str) -> Self {
        self.0.kind = kind;
        self
    }
}

impl From<GenerateError> for ApiError {
    fn from(error: GenerateError) -> Self {
        let sentence = error.to_string();
        match error {
            GenerateError::UnknownModel { .. } => Self::refuse(
                StatusCode::NOT_FOUND,
                sentence,
                "GET /v1/models lists what is; leave `model` out to take the only one",
            )
            .param("model")
            .code("model_not_found"),
            GenerateError::PromptTooLong { .. } => {
                Self::refuse(StatusCode::BAD_REQUEST, sentence, "shorten the prompt or drop old messages")
                    .code("context_length_exceeded")
            }
            GenerateError::WrongModel { does, .. } => {
                let hint = match does {
                    Task::Generate => {
                        "ask /v1/chat/completions or /v1/completions; GET /v1/models says what each model does"
                    }
                    Task::Embed => "ask /v1/embeddings; GET /v1/models says what each model does",
                    Task::Classify => "ask /v1/images/classifications; GET /v1/models says what each model does",
                };
                Self::refuse(StatusCode::BAD_REQUEST, sentence, hint).param("model").code("wrong_model")
            }
            GenerateError::BadOption { option, .. } => {
                Self::refuse(StatusCode::BAD_REQUEST, sentence, crate::options::SEE_LIST)
                    .param(option)
                    .code("invalid_value")
            }
            GenerateError::NoRoute { .. } => Self::server(
                StatusCode::SERVICE_UNAVAILABLE,
                "no_route",
                sentence,
                "start a node that holds it, or wait until one comes back; GET /skep/v1/network shows who holds what",
            )
            .retry_after(2),
            GenerateError::Busy { .. } => {
                Self::server(StatusCode::TOO_MANY_REQUESTS, "busy", sentence, "ask again when one of them has ended")
                    .kind("rate_limit_error")
                    .retry_after(1)
            }
            GenerateError::NoAnswer { .. } => Self::refuse(
                StatusCode::NOT_FOUND,
                sentence,
                "an answer can be taken up within an hour, at the gateway that began it, if that was ended in the middle",
            )
            .code("no_answer"),
            GenerateError::Failed { .. } => Self::server(
                StatusCode::BAD_GATEWAY,
                "failed",
                sentence,
                "ask again; GET /skep/v1/network shows which nodes are left",
            ),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.0.status;
        let retry = self.0.retry_after;
        let mut response = (status, Json(self.body())).into_response();
        if let Some(seconds) = retry {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
