//! Reads the body of a `POST` within bounds of size and time.

use crate::error::ApiError;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use futures_util::StreamExt;
use std::time::Duration;

/// The longest body, in bytes.
const MAX_BODY: usize = 4 << 20;
/// The longest one of whoever is not known: 256 strangers at once then hold 1 MiB, not 1 GiB.
const MAX_STRANGERS: usize = 4 << 10;
/// How many times as much of a longer one is still read and thrown away. A client that is cut off while it sends sees a broken connection in
/// place of the refusal.
const DRAIN: usize = 16;

/// How long a body may take and how long it may be, as the guard notes it on each request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyLimits {
    patience: Duration,
    most: usize,
}

impl BodyLimits {
    /// The limits of one who showed what the path asks for, or of a stranger where it asks for nothing.
    pub(crate) fn of(known: bool, patience: Duration) -> Self {
        Self { patience, most: if known { MAX_BODY } else { MAX_STRANGERS } }
    }
}

/// The body of a request whose type is JSON.
pub(crate) async fn read(request: Request) -> Result<Vec<u8>, ApiError> {
    if !is_json(request.headers()) {
        let sentence = "the body must be of type application/json";
        return Err(ApiError::refuse(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            sentence,
            "send the header `content-type: application/json`",
        )
        .code("unsupported_media_type"));
    }
    // A request that no guard saw is a stranger's.
    let limits = request.extensions().get().copied();
    let BodyLimits { patience, most } = limits.unwrap_or(BodyLimits::of(false, Duration::from_secs(30)));
    let reading = tokio::time::timeout(patience, collect(request, most));
    reading.await.unwrap_or_else(|_| {
        let sentence = format!("the body did not come within {} seconds", patience.as_secs_f32());
        Err(ApiError::refuse(StatusCode::REQUEST_TIMEOUT, sentence, "send it at once").code("timeout"))
    })
}

async fn collect(request: Request, most: usize) -> Result<Vec<u8>, ApiError> {
    let mut pieces = request.into_body().into_data_stream();
    let mut body = Vec::new();
    let mut length = 0;
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| {
            let sentence = format!("the body broke off: {error}");
            ApiError::refuse(StatusCode::BAD_REQUEST, sentence, "send it again").code("invalid_body")
        })?;
        length += piece.len();
        if length <= most {
            body.extend_from_slice(&piece);
        } else if length > most * DRAIN {
            break;
        }
    }
    if length > most {
        let sentence = format!("the body is longer than {most} bytes");
        let hint = "shorten the prompt; no model here holds that many tokens";
        return Err(ApiError::refuse(StatusCode::PAYLOAD_TOO_LARGE, sentence, hint).code("body_too_large"));
    }
    Ok(body)
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}
