//! What answers at which path.

use crate::access::{self, Pass};
use crate::answer::{self, Head, Kind, Pieces};
use crate::backend::Backend;
use crate::error::ApiError;
use crate::options::Options;
use crate::request::{self, Ask};
use crate::responses::{self, Echo, Response as Responded};
use crate::stats::Operation;
use crate::stream::{Form, Stream, broken_off};
use crate::tally::{Asked, Tally};
use crate::{Api, body, catalogue, embeddings, images, machine, metrics, page};
use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Serialize;
use serde_json::{Value, json};
use skep_node::{
    Event, GenerateError, Generation, Hop, InviteRefused, MAX_INVITE_HOURS, ModelCard, NetworkView, Reach, RouteView,
    Summary, UnplugError,
};
use skep_types::MAX_INVITE_USES;
use std::fmt::Write;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

const ROUTE: HeaderName = HeaderName::from_static("skep-route");
const TIMING: HeaderName = HeaderName::from_static("skep-timing");

/// All paths.
pub(crate) fn routes<B: Backend>() -> axum::Router<Api<B>> {
    axum::Router::new()
        .route("/health", get(async || Json(json!({"status": "ok"}))))
        .route("/v1/models", get(models::<B>))
        .route("/v1/models/{*id}", get(model::<B>))
        .route("/v1/chat/completions", post(chat::<B>))
        .route("/v1/completions", post(completion::<B>))
        .route("/v1/responses", post(response::<B>))
        .route("/v1/embeddings", post(embeddings::<B>))
        .route("/v1/images/classifications", post(classification::<B>))
        .route("/skep/v1/network", get(network::<B>))
        .route("/skep/v1/route", get(route::<B>))
        .route("/skep/v1/answers/{id}", get(resume::<B>))
        .route("/skep/v1/invite", post(invite::<B>))
        .route("/skep/v1/reach", get(reach::<B>))
        .route("/skep/v1/members", get(members::<B>))
        .route("/skep/v1/remove", post(remove::<B>))
        .route("/skep/v1/unplug", post(unplug::<B>))
        .route("/skep/v1/machine", get(machine::show::<B>).post(machine::command::<B>))
        .route("/skep/v1/models", get(catalogue::show::<B>).post(catalogue::order::<B>))
        .route("/skep/v1/settings", get(machine::settings::<B>).put(machine::set::<B>))
        .route("/skep/v1/keys", get(access::paths::list::<B>).post(access::paths::add::<B>))
        .route("/skep/v1/keys/revoke", post(access::paths::revoke::<B>))
        .route("/skep/v1/pair-code", post(access::paths::pair_code::<B>))
        .route("/skep/v1/pair", post(access::paths::pair::<B>))
        .route("/metrics", get(metrics::show::<B>))
        .route("/v1/{*rest}", axum::routing::any(nothing))
        .route("/skep/{*rest}", axum::routing::any(nothing))
        .fallback(elsewhere)
        .method_not_allowed_fallback(wrong_method)
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

async fn nothing(request: Request) -> Response {
    page::not_found(request.uri())
}

async fn elsewhere(request: Request) -> Response {
    match *request.method() {
        Method::GET | Method::HEAD => page::file(request.uri(), request.headers()),
        _ => wrong_method(request).await.into_response(),
    }
}

async fn wrong_method(request: Request) -> ApiError {
    let sentence = format!("{} is not possible at {}", request.method(), request.uri().path());
    ApiError::refuse(StatusCode::METHOD_NOT_ALLOWED, sentence, "the header `allow` of this answer lists what is")
        .code("method_not_allowed")
}

/// A model, as `/v1/models` lists it: OpenAI's fields, and the card under `skep`.
#[derive(Serialize)]
struct ModelObject {
    id: String,
    object: &'static str,
    created: u64,
    owned_by: &'static str,
    skep: ModelCard,
}

impl ModelObject {
    fn new(card: ModelCard, created: u64) -> Self {
        Self { id: card.id.to_string(), object: "model", created, owned_by: "skep", skep: card }
    }
}

async fn models<B: Backend>(State(api): State<Api<B>>) -> Json<Value> {
    let data: Vec<_> = api.backend.models().into_iter().map(|card| ModelObject::new(card, api.started)).collect();
    Json(json!({"object": "list", "data": data}))
}

async fn model<B: Backend>(
    State(api): State<Api<B>>,
    Path(asked): Path<String>,
) -> Result<Json<ModelObject>, ApiError> {
    let found = api.backend.models().into_iter().find(|card| card.id.to_string() == asked || card.name == asked);
    let card = found.ok_or(GenerateError::UnknownModel { asked })?;
    Ok(Json(ModelObject::new(card, api.started)))
}

async fn network<B: Backend>(State(api): State<Api<B>>) -> Json<NetworkView> {
    Json(api.backend.network())
}

async fn route<B: Backend>(State(api): State<Api<B>>) -> Json<RouteView> {
    Json(api.backend.route())
}

/// What an invite is for if nobody says otherwise: the machines of a few friends, until tomorrow.
const INVITE_HOURS: u64 = 24;
const INVITE_USES: u64 = 8;

async fn invite<B: Backend>(State(api): State<Api<B>>, request: Request) -> Result<Json<Value>, ApiError> {
    let mut options = Options::from_body(&body::read(request).await?)?;
    let hours = options.integer("hours", 1..=MAX_INVITE_HOURS.into())?.unwrap_or(INVITE_HOURS);
    let uses = options.integer("uses", 1..=MAX_INVITE_USES.into())?.unwrap_or(INVITE_USES);
    options.finish()?;
    let invite = api.backend.invite(hours as u32, uses as u16).map_err(|refused| {
        let (status, hint) = match refused {
            InviteRefused::ThisMachineOnly => {
                (StatusCode::CONFLICT, "start it with `skep up --listen 0.0.0.0:7537`, so that other machines reach it")
            }
            InviteRefused::Elsewhere(_) => {
                (StatusCode::CONFLICT, "run `skep invite` on one of them: `skep members` lists them")
            }
            InviteRefused::Hours(_) | InviteRefused::Uses(_) => (StatusCode::BAD_REQUEST, "choose another number"),
        };
        ApiError::refuse(status, refused.to_string(), hint).code("no_invite")
    })?;
    let terms = &invite.terms;
    Ok(Json(json!({"link": invite.to_string(), "hours": hours, "uses": terms.uses, "expires": terms.expires})))
}

async fn reach<B: Backend>(State(api): State<Api<B>>) -> Json<Reach> {
    Json(api.backend.reach().await)
}

async fn members<B: Backend>(State(api): State<Api<B>>) -> Json<Value> {
    Json(json!({"members": api.backend.members()}))
}

async fn remove<B: Backend>(State(api): State<Api<B>>, request: Request) -> Result<Json<Value>, ApiError> {
    let node = named(request, "GET /skep/v1/members lists the members").await?;
    api.backend.remove(node).await.map_err(|refused| {
        let hint = "`skep members` shows who is what; run `skep remove` on a machine that may";
        ApiError::refuse(StatusCode::CONFLICT, refused.to_string(), hint).code("not_removed")
    })?;
    Ok(Json(json!({"removed": node})))
}

/// The id in a body that names one node and nothing else.
async fn named(request: Request, list: &'static str) -> Result<skep_types::NodeId, ApiError> {
    let mut options = Options::from_body(&body::read(request).await?)?;
    let asked = options.required("node")?;
    options.finish()?;
    let fault = |error: skep_types::IdError| ApiError::invalid("node", format!("is no id: {error}"), list);
    asked.as_str().unwrap_or("").parse().map_err(fault)
}

async fn unplug<B: Backend>(State(api): State<Api<B>>, request: Request) -> Result<Json<Value>, ApiError> {
    let node = named(request, "GET /skep/v1/network lists the nodes").await?;
    let error = match api.backend.unplug(node).await {
        Ok(()) => return Ok(Json(json!({"node": node}))),
        Err(error) => error,
    };
    let (status, hint, code) = match error {
        UnplugError::NotHere => (StatusCode::FORBIDDEN, "only `skep demo` can do this", "not_offered"),
        UnplugError::Unknown(_) => (StatusCode::NOT_FOUND, "GET /skep/v1/network lists the nodes", "unknown_node"),
    };
    Err(ApiError::refuse(status, error.to_string(), hint).code(code))
}

type Whoever = Extension<Pass>;

async fn chat<B: Backend>(
    State(api): State<Api<B>>,
    Extension(pass): Whoever,
    request: Request,
) -> Result<Response, ApiError> {
    let asked = Asked::now(pass, Operation::Chat);
    let ask = request::chat(&body::read(request).await?)?;
    answer(api, Kind::Chat, ask, asked).await
}

async fn completion<B: Backend>(
    State(api): State<Api<B>>,
    Extension(pass): Whoever,
    request: Request,
) -> Result<Response, ApiError> {
    let asked = Asked::now(pass, Operation::Text);
    let ask = request::completion(&body::read(request).await?)?;
    answer(api, Kind::Text, ask, asked).await
}

async fn embeddings<B: Backend>(
    State(api): State<Api<B>>,
    Extension(pass): Whoever,
    request: Request,
) -> Result<Response, ApiError> {
    let ask = embeddings::read(&body::read(request).await?, &api.backend.models())?;
    let made = api.encode(Asked::now(pass, Operation::Embeddings), ask.request).await?;
    let headers = headers(&route_header(&made.route), None, "application/json");
    Ok((headers, Json(embeddings::answer(made, ask.base64))).into_response())
}

async fn classification<B: Backend>(
    State(api): State<Api<B>>,
    Extension(pass): Whoever,
    request: Request,
) -> Result<Response, ApiError> {
    let ask = images::read(&body::read(request).await?)?;
    let made = api.encode(Asked::now(pass, Operation::Classification), ask.request).await?;
    let headers = headers(&route_header(&made.route), None, "application/json");
    Ok((headers, Json(images::answer(made, ask.top_k))).into_response())
}

async fn response<B: Backend>(
    State(api): State<Api<B>>,
    Extension(pass): Whoever,
    request: Request,
) -> Result<Response, ApiError> {
    let asked = Asked::now(pass, Operation::Chat);
    let (ask, echo) = responses::read(&body::read(request).await?)?;
    let (seed, stream) = (ask.request.sampling.seed, ask.stream);
    let (generation, tally) = api.generate(asked, ask.request).await?;
    let form = Responded::new(Head::new(responses::PREFIX, now(), seed, &generation), echo);
    if stream {
        streamed(form, generation, tally, asked.begun).await
    } else {
        collected(generation, tally, |text, summary| form.whole(text, summary)).await
    }
}

/// Asks the gateway and waits for the first event; the rest is streamed or collected. When the client hangs up, the server drops
/// this future or the body that it returned, and with it the [`Generation`].
async fn answer<B: Backend>(api: Api<B>, kind: Kind, ask: Ask, asked: Asked) -> Result<Response, ApiError> {
    let seed = ask.request.sampling.seed;
    let (generation, tally) = api.generate(asked, ask.request).await?;
    let head = Head::new(kind.prefix(), now(), seed, &generation);
    if ask.stream {
        return streamed(Pieces::new(kind, head, ask.include_usage), generation, tally, asked.begun).await;
    }
    collected(generation, tally, |text, summary| answer::whole(kind, &head, &text, summary)).await
}

/// `GET /skep/v1/answers/ID`: the rest of an answer that broke off when this gateway's process ended, as a stream whose first piece is all of
/// the text so far.
async fn resume<B: Backend>(
    State(api): State<Api<B>>,
    Extension(pass): Whoever,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let mut prefixes = Kind::ALL.map(|kind| (kind.prefix(), Some(kind))).into_iter().chain([(responses::PREFIX, None)]);
    let known = prefixes.find_map(|(prefix, kind)| Some((prefix, kind, id.strip_prefix(prefix)?.parse().ok()?)));
    let Some((prefix, kind, answer)) = known else {
        let hint = "the `id` of each piece of a stream, such as `chatcmpl-…`, is one";
        return Err(
            ApiError::refuse(StatusCode::NOT_FOUND, format!("`{id}` is no answer's id"), hint).code("no_answer")
        );
    };
    let resumed = api.backend.resume(answer).await?;
    let operation = if matches!(kind, Some(Kind::Text)) { Operation::Text } else { Operation::Chat };
    let asked = Asked::now(pass, operation);
    let tally = api.tally(asked, resumed.generation.model);
    let head = Head::new(prefix, resumed.created, resumed.seed, &resumed.generation);
    match kind {
        Some(kind) => streamed(Pieces::new(kind, head, false), resumed.generation, tally, asked.begun).await,
        None => streamed(Responded::new(head, Echo::default()), resumed.generation, tally, asked.begun).await,
    }
}

async fn streamed(
    form: impl Form + 'static,
    mut generation: Generation,
    tally: Tally,
    begun: Instant,
) -> Result<Response, ApiError> {
    let route = route_header(&generation.route);
    let first = generation.events.recv().await.unwrap_or_else(|| Err(broken_off()))?;
    let timing = format!("prefill;dur={:.3}", begun.elapsed().as_secs_f64() * 1000.0);
    let mut headers = headers(&route, Some(&timing), "text/event-stream");
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    let stream = Stream::new(form, generation, tally, first);
    Ok((headers, Body::from_stream(stream.events())).into_response())
}

/// Waits for the whole answer, which `write` turns into a body.
async fn collected(
    mut generation: Generation,
    mut tally: Tally,
    write: impl FnOnce(String, &Summary) -> Result<Vec<u8>, serde_json::Error>,
) -> Result<Response, ApiError> {
    let route = route_header(&generation.route);
    let (text, summary) = collect(&mut generation, &mut tally).await?;
    let body = write(text, &summary).map_err(|error| GenerateError::Failed { reason: error.to_string() })?;
    let headers = headers(&route, Some(&whole_timing(&summary)), "application/json");
    Ok((headers, body).into_response())
}

async fn collect(generation: &mut Generation, tally: &mut Tally) -> Result<(String, Box<Summary>), ApiError> {
    let mut whole = String::new();
    loop {
        let event = generation.events.recv().await.unwrap_or_else(|| Err(broken_off()));
        if !tally.take(&event) {
            return Err(access::over());
        }
        match event? {
            Event::Text { text, .. } => whole.push_str(&text),
            Event::Done(summary) => return Ok((whole, summary)),
        }
    }
}

fn headers(route: &str, timing: Option<&str>, content_type: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    for (name, text) in [(ROUTE, Some(route)), (TIMING, timing)] {
        // Both are made of hexadecimal digits, numbers and fixed words, which a header may hold.
        headers.extend(text.and_then(|text| HeaderValue::from_str(text).ok()).map(|value| (name, value)));
    }
    headers
}

/// `skep-route`: the stages of the chain, `3f2a91bc04[0..4],9b01c2d3e4[4..8]`.
fn route_header(route: &[Hop]) -> String {
    let hops: Vec<_> = route.iter().map(|hop| format!("{}[{}]", hop.node.short(), hop.blocks)).collect();
    hops.join(",")
}

/// `skep-timing` of an answer that is complete, with the time that each stage held its frames.
fn whole_timing(summary: &Summary) -> String {
    let mut timing = format!("prefill;dur={:.3}, total;dur={:.3}", summary.first_token_ms, summary.total_ms);
    if let Some(lap) = summary.lap_ms {
        // Writing to a String cannot fail.
        let _ = write!(timing, ", lap;dur={lap:.3}");
    }
    for (index, hop) in summary.hops.iter().enumerate() {
        let _ = write!(timing, ", stage{index};dur={:.3};desc=\"{}[{}]\"", hop.hold_ms, hop.node.short(), hop.blocks);
    }
    timing
}
