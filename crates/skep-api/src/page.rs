//! The page, as its build left it in `page/dist`: embedded, so that the binary needs no file beside it.

use crate::error::ApiError;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Response};
use rust_embed::{EmbeddedFile, RustEmbed};

#[derive(RustEmbed)]
#[folder = "page/dist"]
#[allow_missing = true]
struct Dist;

/// What a browser lets the page do: load from here, talk to here, and nothing else.
const POLICY: &str =
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// Served at `/` by a build without the page.
const WITHOUT: &str = "<!doctype html><meta charset=\"utf-8\"><title>Skep</title><p>This build of Skep has no page. Its API is at <a href=\"/v1/models\">/v1</a>.</p>";

/// Whether a file of the page is at a path.
pub(crate) fn is_file(path: &str) -> bool {
    path == "/" || path.strip_prefix('/').is_some_and(|path| Dist::get(path).is_some())
}

/// The file at the request's path; `/` is `index.html`, and nothing else falls back to it.
pub(crate) fn file(uri: &Uri, headers: &HeaderMap) -> Response {
    let path = match uri.path().trim_start_matches('/') {
        "" => "index.html",
        path => path,
    };
    let mut response = match Dist::get(path) {
        Some(file) => found(path, file, headers),
        None if path == "index.html" => Html(WITHOUT).into_response(),
        None => return not_found(uri),
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// The answer to a path where nothing is.
pub(crate) fn not_found(uri: &Uri) -> Response {
    let sentence = format!("there is nothing at {}", uri.path());
    ApiError::refuse(StatusCode::NOT_FOUND, sentence, "the API is under /v1, the page at /")
        .code("not_found")
        .into_response()
}

fn found(path: &str, file: EmbeddedFile, asked: &HeaderMap) -> Response {
    let hash: String = file.metadata.sha256_hash()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    let tag = format!("\"{hash}\"");
    // The build puts a hash of the content into the names under assets/, so what such a name stands for never changes.
    let cache = if path.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
    let known = asked.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let headers = [(header::ETAG, tag), (header::CACHE_CONTROL, cache.to_owned())];
    if known {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    (headers, [(header::CONTENT_TYPE, content_type(path))], file.data).into_response()
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "txt" | "md" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
