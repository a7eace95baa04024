//! Reads the options of a request one by one, by name. What nobody has read in the end is refused by name, so nothing that a
//! client asks for is ever ignored. `null` means absent, as OpenAI's clients use it.

use crate::error::ApiError;
use axum::http::StatusCode;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;
use std::ops::RangeInclusive;

/// The hint of every refusal that the list of options explains.
pub(crate) const SEE_LIST: &str = "the API view of the page at / lists the options and their values";

/// A JSON object whose fields have not been read yet.
pub(crate) struct Options {
    fields: Map<String, Value>,
    /// Where the object stands in the request, such as `messages[0].`; empty for the request itself.
    path: String,
}

impl Options {
    /// The body of a request.
    pub(crate) fn from_body(body: &[u8]) -> Result<Self, ApiError> {
        let unique: Unique = serde_json::from_slice(body).map_err(|error| {
            let sentence = format!("the body is not a request in JSON: {error}");
            ApiError::refuse(StatusCode::BAD_REQUEST, sentence, "send one JSON object, each field once")
                .code("invalid_json")
        })?;
        Ok(Self { fields: unique.0, path: String::new() })
    }

    /// An object inside a request; `at` is its place, such as `messages[0]`.
    pub(crate) fn inner(at: &str, value: Value) -> Result<Self, ApiError> {
        match value {
            Value::Object(fields) => Ok(Self { fields, path: format!("{at}.") }),
            _ => Err(ApiError::invalid(at, "must be an object", SEE_LIST)),
        }
    }

    /// The full name of a field, as errors give it.
    pub(crate) fn name(&self, field: &str) -> String {
        format!("{}{field}", self.path)
    }

    /// A field of any kind.
    pub(crate) fn take(&mut self, field: &str) -> Option<Value> {
        self.fields.remove(field).filter(|value| !value.is_null())
    }

    /// A field that must be present.
    pub(crate) fn required(&mut self, field: &str) -> Result<Value, ApiError> {
        self.take(field)
            .ok_or_else(|| ApiError::invalid(self.name(field), "is required", SEE_LIST).code("missing_field"))
    }

    /// A field that must be present, where `null` says something of its own: none.
    pub(crate) fn required_or_null(&mut self, field: &str) -> Result<Option<Value>, ApiError> {
        match self.fields.remove(field) {
            Some(value) => Ok(Some(value).filter(|value| !value.is_null())),
            None => Err(ApiError::invalid(self.name(field), "is required", SEE_LIST).code("missing_field")),
        }
    }

    /// A number within `range`.
    pub(crate) fn number(&mut self, field: &str, range: RangeInclusive<f64>) -> Result<Option<f64>, ApiError> {
        let Some(value) = self.take(field) else { return Ok(None) };
        match value.as_f64().filter(|number| range.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => {
                let must = format!("must be a number from {} to {}, not {}", range.start(), range.end(), brief(&value));
                Err(ApiError::invalid(self.name(field), must, SEE_LIST))
            }
        }
    }

    /// A whole number within `range`.
    pub(crate) fn integer(&mut self, field: &str, range: RangeInclusive<u64>) -> Result<Option<u64>, ApiError> {
        let Some(value) = self.take(field) else { return Ok(None) };
        match value.as_u64().filter(|number| range.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => {
                let must =
                    format!("must be a whole number from {} to {}, not {}", range.start(), range.end(), brief(&value));
                Err(ApiError::invalid(self.name(field), must, SEE_LIST))
            }
        }
    }

    /// `true` or `false`; absent is `false`.
    pub(crate) fn flag(&mut self, field: &str) -> Result<bool, ApiError> {
        match self.take(field) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(value) => {
                let must = format!("must be true or false, not {}", brief(&value));
                Err(ApiError::invalid(self.name(field), must, SEE_LIST))
            }
        }
    }

    /// A text.
    pub(crate) fn text(&mut self, field: &str) -> Result<Option<String>, ApiError> {
        match self.take(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(value) => {
                let must = format!("must be a text, not {}", brief(&value));
                Err(ApiError::invalid(self.name(field), must, SEE_LIST))
            }
        }
    }

    /// A field that may only ask for what happens anyway; `anyway` tells such values.
    pub(crate) fn only(&mut self, field: &str, anyway: fn(&Value) -> bool, hint: &str) -> Result<(), ApiError> {
        match self.take(field) {
            Some(value) if !anyway(&value) => Err(ApiError::unsupported(self.name(field), hint)),
            _ => Ok(()),
        }
    }

    /// Refuses by name what nobody has read.
    pub(crate) fn finish(self) -> Result<(), ApiError> {
        match self.fields.keys().next() {
            None => Ok(()),
            Some(field) => Err(ApiError::unsupported(self.name(field), format!("leave it out; {SEE_LIST}"))),
        }
    }
}

/// A value as errors quote it: whole if it is short, else its beginning.
pub(crate) fn brief(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(40) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text,
    }
}

/// An object without a field that is given twice: of two values, one would be ignored.
struct Unique(Map<String, Value>);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields)
    }
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Unique;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Unique, A::Error> {
        let mut fields = Map::new();
        while let Some((field, value)) = access.next_entry::<String, Value>()? {
            if fields.contains_key(&field) {
                return Err(serde::de::Error::custom(format_args!("`{field}` is given twice")));
            }
            fields.insert(field, value);
        }
        Ok(Unique(fields))
    }
}
