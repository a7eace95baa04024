//! Keeps other web sites from using a server that trusts whoever can reach it.
//!
//! A page of another site can make a browser send requests here. Three checks together refuse all of them:
//! - `Host` must be an IP address, `localhost` or a name from [`ApiConfig::allowed_hosts`](crate::ApiConfig::allowed_hosts).
//!   A site that points its own name at this machine (DNS rebinding) is caught by this.
//! - `Origin`, which browsers add to requests between sites, must name the same host and port as `Host`.
//! - A `POST` must be `application/json`, which a browser sends to another site only after asking; the question is answered
//!   without any CORS header, that is, with no.

use crate::Api;
use crate::error::ApiError;
use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::{IpAddr, Ipv6Addr};

/// Refuses a request that another site may have made, and marks every answer as not to be guessed about.
pub(crate) async fn guard<B>(State(api): State<Api<B>>, request: Request, next: Next) -> Response {
    let mut response = match check(request.headers(), &api.config.allowed_hosts) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn check(headers: &HeaderMap, allowed: &[String]) -> Result<(), ApiError> {
    let host = single(headers, &header::HOST)?.unwrap_or("");
    if !is_trusted(host, allowed) {
        let sentence = format!("the host `{host}` is not a name of this server");
        let hint = "open it by its IP address or as localhost, or allow this name";
        return Err(ApiError::refuse(StatusCode::FORBIDDEN, sentence, hint).code("host_not_allowed"));
    }
    match single(headers, &header::ORIGIN)? {
        Some(origin) if !is_same(origin, host) => {
            let sentence = format!("requests from pages of `{origin}` are not answered");
            let hint = "only the page that this server itself serves may use it from a browser";
            Err(ApiError::refuse(StatusCode::FORBIDDEN, sentence, hint).code("origin_not_allowed"))
        }
        _ => Ok(()),
    }
}

/// The value of a header that may stand once.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, ApiError> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().map(|value| value.to_str().unwrap_or("?"));
    match values.next() {
        None => Ok(value),
        Some(_) => {
            let sentence = format!("the header `{name}` is given twice");
            Err(ApiError::refuse(StatusCode::BAD_REQUEST, sentence, "send it once"))
        }
    }
}

fn is_trusted(host: &str, allowed: &[String]) -> bool {
    let Some(authority) = authority(host) else { return false };
    let name = authority.host();
    let v6 = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    v6.map_or_else(|| name.parse::<IpAddr>().is_ok(), |address| address.parse::<Ipv6Addr>().is_ok())
        || name.eq_ignore_ascii_case("localhost")
        || allowed.iter().any(|allowed| name.eq_ignore_ascii_case(allowed) || host.eq_ignore_ascii_case(allowed))
}

fn authority(host: &str) -> Option<Authority> {
    // A user name before the host would make other readers see another host than this one.
    if host.contains('@') { None } else { host.parse().ok() }
}

fn is_same(origin: &str, host: &str) -> bool {
    origin.split_once("://").is_some_and(|(_, origin)| origin.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_localhost_and_allowed_names_are_hosts() {
        let allowed = ["hive.lan".to_owned()];
        for host in
            ["127.0.0.1", "127.0.0.1:80", "192.168.1.7:4680", "[::1]:4680", "localhost:1", "LOCALHOST", "hive.lan:80"]
        {
            assert!(is_trusted(host, &allowed), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:4680",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "a@127.0.0.1",
            "[x]",
            "?",
        ] {
            assert!(!is_trusted(host, &allowed), "{host}");
        }
    }

    #[test]
    fn an_origin_is_the_same_only_with_host_and_port() {
        assert!(is_same("http://127.0.0.1:4680", "127.0.0.1:4680"));
        assert!(is_same("https://hive.lan", "HIVE.lan"));
        for origin in ["null", "http://127.0.0.1", "http://127.0.0.1:4681", "http://evil.example", "127.0.0.1:4680"] {
            assert!(!is_same(origin, "127.0.0.1:4680"), "{origin}");
        }
    }
}
