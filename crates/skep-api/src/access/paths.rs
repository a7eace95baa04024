//! What answers where keys are listed, made, revoked and exchanged.

use super::keys::{DAY_SECONDS, KeyView, KeysFault, MAX_LABEL, Scope, Terms};
use super::{CODE_SECONDS, Pass, unkept, wait};
use crate::backend::Backend;
use crate::error::ApiError;
use crate::listen::Caller;
use crate::options::{Options, SEE_LIST};
use crate::{Api, ApiConfig, body, routes};
use axum::Json;
use axum::extract::{Extension, Request, State};
use axum::http::StatusCode;
use qrcode::{Color, EcLevel, QrCode};
use serde_json::{Value, json};
use std::net::IpAddr;

/// The longest life that a key may be given, in days; one without an end is made by giving none.
const MAX_DAYS: u64 = 3650;
const MAX_REQUESTS: u64 = 60_000;
const MAX_TOKENS: u64 = 1 << 50;

/// `GET /skep/v1/keys`: the keys, and where other machines reach this one.
pub(crate) async fn list<B: Backend>(State(api): State<Api<B>>) -> Json<Value> {
    let places = places(&api).await;
    let (inner, now) = (api.config.keys.lock(), api.config.keys.now());
    Json(json!({"keys": inner.ring.list(now), "reached_at": places}))
}

/// `POST /skep/v1/keys`: makes a key, and tells it this once.
pub(crate) async fn add<B: Backend>(State(api): State<Api<B>>, request: Request) -> Result<Json<Value>, ApiError> {
    let mut options = Options::from_body(&body::read(request).await?)?;
    let terms = terms(&mut options)?;
    options.finish()?;
    let secret = skep_node::random_bytes();
    let made = changed(&api, move |keys| keys.lock().ring.add(terms, secret, keys.now())).await?;
    Ok(Json(told(made)))
}

/// `POST /skep/v1/keys/revoke`: ends a key.
pub(crate) async fn revoke<B: Backend>(State(api): State<Api<B>>, request: Request) -> Result<Json<Value>, ApiError> {
    let mut options = Options::from_body(&body::read(request).await?)?;
    let id = options.text("id")?.unwrap_or_default();
    options.finish()?;
    let asked = id.clone();
    let ended = changed(&api, move |keys| keys.lock().ring.revoke(&asked, keys.now())).await?;
    ended.map(|view| Json(json!({"revoked": view}))).ok_or_else(|| {
        let hint = "GET /skep/v1/keys lists the keys with their ids";
        ApiError::refuse(StatusCode::NOT_FOUND, format!("there is no key `{id}`"), hint).param("id").code("unknown_key")
    })
}

/// `POST /skep/v1/pair-code`: a code that a device exchanges for a key, as links to this machine's page and pictures of them.
pub(crate) async fn pair_code<B: Backend>(
    State(api): State<Api<B>>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let mut options = Options::from_body(&body::read(request).await?)?;
    let terms = terms(&mut options)?;
    options.finish()?;
    let places = places(&api).await;
    if places.is_empty() {
        let hint = "start it with `skep up --open`, so that other machines reach its page and its API";
        let sentence = "no other machine reaches this one";
        return Err(ApiError::refuse(StatusCode::CONFLICT, sentence, hint).code("not_open"));
    }
    let keys = &api.config.keys;
    let code = keys.lock().codes.make(terms, skep_node::random_bytes(), keys.now().steady_ms);
    let links = places.iter().map(|place| {
        let link = format!("{place}/#pair={code}");
        json!({"picture": picture(&link), "link": link})
    });
    Ok(Json(json!({"links": links.collect::<Vec<_>>(), "seconds": CODE_SECONDS})))
}

/// `POST /skep/v1/pair`: exchanges a code for a key. The one path that a stranger may ask something of.
pub(crate) async fn pair<B: Backend>(
    State(api): State<Api<B>>,
    Extension(Caller(from)): Extension<Caller>,
    Extension(pass): Extension<Pass>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let mut options = Options::from_body(&body::read(request).await?)?;
    let code = options.text("code")?.unwrap_or_default();
    options.finish()?;
    match api.config.keys.exchange(from.ip(), pass, &code, skep_node::random_bytes()) {
        Ok(made) => Ok(Json(told(made))),
        Err((error, units)) => {
            tokio::time::sleep(wait(units, api.config.patience.wrong_key)).await;
            Err(error)
        }
    }
}

/// Changes the keys beside the threads that answer: it writes to the disk.
async fn changed<B: Backend, T: Send + 'static>(
    api: &Api<B>,
    change: impl FnOnce(&super::Keys) -> Result<T, KeysFault> + Send + 'static,
) -> Result<T, ApiError> {
    let keys = api.config.keys.clone();
    let done = tokio::task::spawn_blocking(move || change(&keys)).await;
    let done = done.map_err(|fault| {
        ApiError::server(StatusCode::INTERNAL_SERVER_ERROR, "not_kept", fault.to_string(), "ask again")
    })?;
    done.map_err(|fault| unkept(&fault))
}

/// A key that was just made, with what its owner sees of it later.
fn told((key, view): (String, KeyView)) -> Value {
    json!({"key": key, "made": view})
}

fn terms(options: &mut Options) -> Result<Terms, ApiError> {
    let label = options.text("label")?.unwrap_or_default().trim().to_owned();
    if label.is_empty() || label.chars().count() > MAX_LABEL || label.chars().any(char::is_control) {
        let must = format!("must be a text of 1 to {MAX_LABEL} characters on one line");
        return Err(ApiError::invalid("label", must, "name the device or the program that the key is for"));
    }
    let scope = match options.text("scope")?.as_deref() {
        None | Some("use") => Scope::Use,
        Some("owner") => Scope::Owner,
        Some(_) => return Err(ApiError::invalid("scope", "must be `use` or `owner`", SEE_LIST)),
    };
    let days = options.integer("days", 1..=MAX_DAYS)?;
    let requests = options.integer("requests_per_minute", 1..=MAX_REQUESTS)?;
    Ok(Terms {
        label,
        scope,
        expires: days.map(|days| routes::now() + days * DAY_SECONDS),
        requests_per_minute: requests.and_then(|requests| u32::try_from(requests).ok()),
        tokens_per_day: options.integer("tokens_per_day", 1..=MAX_TOKENS)?,
    })
}

/// The same beside the threads that answer: the system may take its time to list its addresses.
async fn places<B: Backend>(api: &Api<B>) -> Vec<String> {
    let config = api.config.clone();
    tokio::task::spawn_blocking(move || reached_at(&config)).await.unwrap_or_default()
}

/// Where other machines reach this one, the likeliest first; nothing while they do not.
fn reached_at(config: &ApiConfig) -> Vec<String> {
    let Some(open) = &config.open else { return Vec::new() };
    let names = config.allowed_hosts.iter().map(|name| match name.contains(':') {
        true => format!("http://{name}"),
        false => format!("http://{name}:{}", open.port),
    });
    let addresses = (open.addresses)().into_iter().map(|address| match address {
        IpAddr::V4(address) => format!("http://{address}:{}", open.port),
        IpAddr::V6(address) => format!("http://[{address}]:{}", open.port),
    });
    names.chain(addresses).collect()
}

/// A link as the rows of a picture, `1` for a dark square.
fn picture(link: &str) -> Vec<String> {
    let Ok(code) = QrCode::with_error_correction_level(link, EcLevel::M) else { return Vec::new() };
    let squares = code.to_colors();
    let row = |row: &[Color]| row.iter().map(|square| square.select('1', '0')).collect();
    squares.chunks(code.width().max(1)).map(row).collect()
}
