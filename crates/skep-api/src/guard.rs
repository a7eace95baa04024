//! Keeps other web sites from using a server that trusts whoever can reach it.
//!
//! A page of another site can make a browser send requests here. These checks together refuse all of them:
//! - `Host` must be an IP address, `localhost` or a name from [`ApiConfig::allowed_hosts`](crate::ApiConfig::allowed_hosts).
//!   A site that points its own name at this machine (DNS rebinding) is caught by this.
//! - `Origin`, which browsers add to requests between sites, must name the same host and port as `Host`.
//! - `Sec-Fetch-Site`, which browsers of today add to all requests, must not name another site; but a link to the page may be followed.
//! - A `POST` must be `application/json`, which a browser sends to another site only after asking; the question is answered
//!   without any CORS header, that is, with no.

use crate::access::{self, Need, Pass};
use crate::body::BodyLimits;
use crate::error::ApiError;
use crate::listen::Caller;
use crate::{Api, page};
use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::{IpAddr, Ipv6Addr};

/// Refuses a request that another site may have made, and marks every answer as not to be guessed about.
pub(crate) async fn guard<B>(State(api): State<Api<B>>, mut request: Request, next: Next) -> Response {
    let mut response = match admit(&api, &request) {
        Ok(pass) => {
            request.extensions_mut().insert(pass);
            request.extensions_mut().insert(BodyLimits::of(pass.is_known(), api.config.patience.body));
            next.run(request).await
        }
        Err((error, units)) => {
            tokio::time::sleep(access::wait(units, api.config.patience.wrong_key)).await;
            error.into_response()
        }
    };
    api.stats.answered(response.status().as_u16());
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Who asks, if they may; else why not, and how long they are to wait for that.
fn admit<B>(api: &Api<B>, request: &Request) -> Result<Pass, (ApiError, u32)> {
    let need = access::needed(request.method(), request.uri().path(), page::is_file);
    check(request.headers(), &api.config.allowed_hosts, need).map_err(|error| (error, 0))?;
    // A connection that nobody knows anything of is from elsewhere.
    let from = request.extensions().get::<Caller>().map_or(IpAddr::from([0u8; 4]), |caller| caller.0.ip());
    api.config.keys.admit(from, request.headers(), need)
}

fn check(headers: &HeaderMap, allowed: &[String], need: Need) -> Result<(), ApiError> {
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
        _ => check_site(headers, need),
    }
}

/// Browsers say where a request comes from even where they send no `Origin`, as with pictures and scripts. Following a link to the page is
/// all that another site may make them do.
fn check_site(headers: &HeaderMap, need: Need) -> Result<(), ApiError> {
    let said = |name: &str| headers.get(name).map(|value| value.as_bytes());
    let follows = need == Need::Nothing && said("sec-fetch-mode") == Some(b"navigate");
    match said("sec-fetch-site") {
        None | Some(b"none" | b"same-origin") => Ok(()),
        Some(_) if follows => Ok(()),
        Some(_) => {
            let hint = "only the page that this server itself serves may use it from a browser";
            let sentence = "requests from pages of other sites are not answered";
            Err(ApiError::refuse(StatusCode::FORBIDDEN, sentence, hint).code("origin_not_allowed"))
        }
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
    // Nothing but a name and a port: other readers may take what is left over for something else.
    if authority.port().map_or(host != name, |port| host != format!("{name}:{port}")) {
        return false;
    }
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
            "[::1]x",
            "127.0.0.1:",
            "127.0.0.1:80:80",
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
