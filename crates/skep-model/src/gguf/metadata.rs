//! The key-value pairs of a GGUF header.

use crate::ModelError;
use std::collections::BTreeMap;

/// One metadata value. Arrays keep their elements packed, so a value never takes much more memory than it takes file.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "each variant is the GGUF type of the same name")]
pub enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    U64(u64),
    I64(i64),
    F32(f32),
    F64(f64),
    Bool(bool),
    String(String),
    Array(Array),
}

/// An array of one type. Arrays of arrays are not in use and are refused.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "each variant is the GGUF type of the same name")]
pub enum Array {
    U8(Vec<u8>),
    I8(Vec<i8>),
    U16(Vec<u16>),
    I16(Vec<i16>),
    U32(Vec<u32>),
    I32(Vec<i32>),
    U64(Vec<u64>),
    I64(Vec<i64>),
    F32(Vec<f32>),
    F64(Vec<f64>),
    Bool(Vec<bool>),
    String(Vec<String>),
}

/// The metadata of a model, by key.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metadata {
    values: BTreeMap<String, Value>,
}

impl Metadata {
    /// No entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `key`; returns the value it replaces.
    pub fn insert(&mut self, key: impl Into<String>, value: Value) -> Option<Value> {
        self.values.insert(key.into(), value)
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    /// All entries, sorted by key.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.values.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// A text, if the key is present.
    ///
    /// # Errors
    /// [`ModelError::Metadata`] when the value is of another type; the same holds for the other typed getters.
    pub fn text(&self, key: &str) -> Result<Option<&str>, ModelError> {
        self.typed(key, "a string", |value| if let Value::String(text) = value { Some(text.as_str()) } else { None })
    }

    /// A non-negative integer of any width.
    ///
    /// # Errors
    /// See [`Metadata::text`].
    pub fn integer(&self, key: &str) -> Result<Option<u64>, ModelError> {
        self.typed(key, "a non-negative integer", |value| match *value {
            Value::U8(n) => Some(n.into()),
            Value::U16(n) => Some(n.into()),
            Value::U32(n) => Some(n.into()),
            Value::U64(n) => Some(n),
            Value::I8(n) => n.try_into().ok(),
            Value::I16(n) => n.try_into().ok(),
            Value::I32(n) => n.try_into().ok(),
            Value::I64(n) => n.try_into().ok(),
            _ => None,
        })
    }

    /// A float; a 64-bit one is rounded to 32.
    ///
    /// # Errors
    /// See [`Metadata::text`].
    pub fn float(&self, key: &str) -> Result<Option<f32>, ModelError> {
        self.typed(key, "a float", |value| match *value {
            Value::F32(x) => Some(x),
            Value::F64(x) => Some(x as f32),
            _ => None,
        })
    }

    /// A truth value.
    ///
    /// # Errors
    /// See [`Metadata::text`].
    pub fn boolean(&self, key: &str) -> Result<Option<bool>, ModelError> {
        self.typed(key, "a boolean", |value| if let Value::Bool(b) = *value { Some(b) } else { None })
    }

    /// An array of strings.
    ///
    /// # Errors
    /// See [`Metadata::text`].
    pub fn texts(&self, key: &str) -> Result<Option<&[String]>, ModelError> {
        self.typed(key, "an array of strings", |value| match value {
            Value::Array(Array::String(texts)) => Some(texts.as_slice()),
            _ => None,
        })
    }

    /// An array of 32-bit floats.
    ///
    /// # Errors
    /// See [`Metadata::text`].
    pub fn floats(&self, key: &str) -> Result<Option<&[f32]>, ModelError> {
        self.typed(key, "an array of floats", |value| match value {
            Value::Array(Array::F32(floats)) => Some(floats.as_slice()),
            _ => None,
        })
    }

    /// An array of 32-bit integers; unsigned ones must fit in the signed range.
    ///
    /// # Errors
    /// See [`Metadata::text`].
    pub fn integers(&self, key: &str) -> Result<Option<Vec<i32>>, ModelError> {
        self.typed(key, "an array of 32-bit integers", |value| match value {
            Value::Array(Array::I32(numbers)) => Some(numbers.clone()),
            Value::Array(Array::U32(numbers)) => numbers.iter().map(|n| i32::try_from(*n).ok()).collect(),
            _ => None,
        })
    }

    fn typed<'a, T>(
        &'a self,
        key: &str,
        expected: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, ModelError> {
        let Some(value) = self.values.get(key) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| ModelError::metadata(key, format!("is not {expected}")))
    }
}
