//! The models of the owner's machine and of its network: which there are and whether they fit, and how they come and go.

use crate::backend::Backend;
use crate::error::ApiError;
use crate::options::Options;
use crate::{Api, body};
use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use skep_node::{CatalogueOrder, CatalogueView, OrderRefused, PullError};
use skep_types::ModelId;

/// `GET /skep/v1/models`.
pub(crate) async fn show<B: Backend>(State(api): State<Api<B>>) -> Result<Json<CatalogueView>, ApiError> {
    answer(api.backend.catalogue(None).await)
}

/// `POST /skep/v1/models`: pull, pause, resume, cancel or remove.
pub(crate) async fn order<B: Backend>(
    State(api): State<Api<B>>,
    request: Request,
) -> Result<Json<CatalogueView>, ApiError> {
    let mut options = Options::from_body(&body::read(request).await?)?;
    let command = options.required("command")?;
    let order = match command.as_str() {
        Some("pull") => CatalogueOrder::Pull {
            source: text(&mut options, "source", "is where the model comes from")?,
            name: options.text("name")?,
            id: options.text("id")?.map(|id| model(&id, "id")).transpose()?,
        },
        Some("pause") => CatalogueOrder::Pause(pull(&mut options)?),
        Some("resume") => CatalogueOrder::Resume(pull(&mut options)?),
        Some("cancel") => CatalogueOrder::Cancel(pull(&mut options)?),
        Some("remove") => {
            CatalogueOrder::Remove(model(&text(&mut options, "model", "is the id of the model")?, "model")?)
        }
        _ => {
            let must = "must be pull, pause, resume, cancel or remove";
            return Err(ApiError::invalid("command", must, "GET /skep/v1/models shows what there is"));
        }
    };
    options.finish()?;
    answer(api.backend.catalogue(Some(order)).await)
}

fn pull(options: &mut Options) -> Result<String, ApiError> {
    text(options, "pull", "is the id of the pull")
}

/// A text that must be present; `what` says what it is.
fn text(options: &mut Options, field: &str, what: &str) -> Result<String, ApiError> {
    let hint = format!("`{field}` {what}; GET /skep/v1/models shows what there is");
    let text = options.text(field)?;
    text.ok_or_else(|| ApiError::invalid(options.name(field), "is required", hint).code("missing_field"))
}

fn model(text: &str, field: &'static str) -> Result<ModelId, ApiError> {
    let fault = |error: skep_types::IdError| {
        ApiError::invalid(field, format!("is no id: {error}"), "GET /skep/v1/models lists the models with their ids")
    };
    text.parse().map_err(fault)
}

fn answer(told: Option<Result<CatalogueView, OrderRefused>>) -> Result<Json<CatalogueView>, ApiError> {
    match told {
        Some(Ok(view)) => Ok(Json(view)),
        Some(Err(refused)) => Err(refusal(&refused)),
        None => {
            let sentence = "this node keeps no models, because it is a part of a demo";
            Err(ApiError::refuse(StatusCode::NOT_FOUND, sentence, "`skep up` starts a node that does")
                .code("no_models"))
        }
    }
}

fn refusal(refused: &OrderRefused) -> ApiError {
    let (status, hint, code) = match refused {
        OrderRefused::Pull(PullError::Store(skep_node::StoreError::Absent(_))) => {
            (StatusCode::NOT_FOUND, "GET /skep/v1/models lists what is here", "model_not_found")
        }
        OrderRefused::Pull(fault @ (PullError::Url { .. } | PullError::Model { .. })) => {
            (StatusCode::BAD_REQUEST, fault.hint(), "invalid_value")
        }
        OrderRefused::Pull(fault) => (StatusCode::CONFLICT, fault.hint(), "not_possible"),
        OrderRefused::NoPull => (StatusCode::NOT_FOUND, "GET /skep/v1/models lists the pulls", "not_found"),
        OrderRefused::Full => (StatusCode::CONFLICT, "cancel one of them, or wait for one to end", "busy"),
        OrderRefused::Here(_) => (StatusCode::CONFLICT, "GET /skep/v1/models shows it", "not_possible"),
        OrderRefused::Serves(_) => {
            (StatusCode::CONFLICT, "start this node with another model: `skep up --model NAME`", "in_use")
        }
        OrderRefused::Ending => (StatusCode::SERVICE_UNAVAILABLE, "start it again", "failed"),
    };
    let error = ApiError::refuse(status, refused.to_string(), hint).code(code);
    match (refused, code) {
        (_, "invalid_value") => error.param("source"),
        (OrderRefused::NoPull, _) => error.param("pull"),
        (_, "model_not_found" | "in_use") => error.param("model"),
        _ => error,
    }
}
