//! `/v1/embeddings`: reads the request and writes the answer.

use crate::error::ApiError;
use crate::options::{Options, SEE_LIST, brief};
use data_encoding::BASE64;
use serde::Serialize;
use serde_json::Value;
use skep_node::{EncodeInput, EncodeRequest, Encodings, MAX_INPUTS, ModelCard};

const INPUT: &str = "send a text, an array of token ids, or an array of up to 2048 of either";

/// A request that has been understood.
pub(crate) struct Ask {
    /// What the gateway is asked.
    pub(crate) request: EncodeRequest,
    /// Whether vectors are wanted as base64.
    pub(crate) base64: bool,
}

/// The body of a request, for one of `models`.
pub(crate) fn read(body: &[u8], models: &[ModelCard]) -> Result<Ask, ApiError> {
    let mut options = Options::from_body(body)?;
    let inputs = inputs(options.required("input")?)?;
    let model = options.text("model")?;
    let base64 = match options.text("encoding_format")?.as_deref() {
        None | Some("float") => false,
        Some("base64") => true,
        Some(other) => {
            let must = format!("must be \"float\" or \"base64\", not {}", brief(&other.into()));
            return Err(ApiError::invalid("encoding_format", must, SEE_LIST));
        }
    };
    let dimensions = options.integer("dimensions", 1..=u64::from(u32::MAX))?;
    options.only("user", Value::is_string, "it must be a string")?;
    options.finish()?;
    let known =
        |card: &&ModelCard| model.as_ref().is_none_or(|asked| card.id.to_string() == *asked || card.name == *asked);
    if let (Some(asked), Some(own)) = (dimensions, models.iter().find(known).and_then(|card| card.dimensions))
        && asked != u64::from(own)
    {
        let must = format!("must be {own}, the length of this model's vectors, not {asked}");
        return Err(ApiError::invalid("dimensions", must, "leave it out"));
    }
    Ok(Ask { request: EncodeRequest { model, inputs }, base64 })
}

/// One text or one array of ids, or an array of either.
fn inputs(value: Value) -> Result<Vec<EncodeInput>, ApiError> {
    let list = match value {
        Value::String(text) => return Ok(vec![EncodeInput::Text(text)]),
        Value::Array(list) => list,
        other => return Err(ApiError::invalid("input", format!("is {}", brief(&other)), INPUT)),
    };
    if list.is_empty() {
        return Err(ApiError::invalid("input", "is empty", INPUT));
    }
    if list.iter().all(Value::is_number) {
        return Ok(vec![tokens("input", &list)?]);
    }
    if list.len() > MAX_INPUTS {
        return Err(ApiError::invalid("input", format!("holds {} inputs", list.len()), INPUT));
    }
    let one = |(index, value): (usize, Value)| match value {
        Value::String(text) => Ok(EncodeInput::Text(text)),
        Value::Array(ids) => tokens(&format!("input[{index}]"), &ids),
        other => Err(ApiError::invalid(format!("input[{index}]"), format!("is {}", brief(&other)), INPUT)),
    };
    list.into_iter().enumerate().map(one).collect()
}

fn tokens(at: &str, ids: &[Value]) -> Result<EncodeInput, ApiError> {
    let ids: Option<Vec<u32>> = ids.iter().map(|id| id.as_u64().and_then(|id| u32::try_from(id).ok())).collect();
    let ids = ids.filter(|ids| !ids.is_empty());
    ids.map(EncodeInput::Tokens).ok_or_else(|| ApiError::invalid(at, "is not an array of token ids", INPUT))
}

/// The answer.
#[derive(Serialize)]
pub(crate) struct List {
    object: &'static str,
    data: Vec<Embedding>,
    model: String,
    usage: Usage,
}

#[derive(Serialize)]
struct Embedding {
    object: &'static str,
    index: usize,
    embedding: Vector,
}

/// Numbers, or their bytes as little-endian `f32` in base64, which is what OpenAI's own client asks for.
#[derive(Serialize)]
#[serde(untagged)]
enum Vector {
    Numbers(Vec<f32>),
    Base64(String),
}

/// Tokens that were read.
#[derive(Serialize)]
struct Usage {
    prompt_tokens: u32,
    total_tokens: u32,
}

pub(crate) fn answer(made: Encodings, base64: bool) -> List {
    let vector = |values: Vec<f32>| match base64 {
        true => {
            Vector::Base64(BASE64.encode(&values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>()))
        }
        false => Vector::Numbers(values),
    };
    let data = made.vectors.into_iter().enumerate();
    let data = data.map(|(index, values)| Embedding { object: "embedding", index, embedding: vector(values) });
    List {
        object: "list",
        data: data.collect(),
        model: made.model.to_string(),
        usage: Usage { prompt_tokens: made.prompt_tokens, total_tokens: made.prompt_tokens },
    }
}
