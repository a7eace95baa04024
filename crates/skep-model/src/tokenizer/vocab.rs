//! The tokens of a model: their texts, kinds and the bytes they stand for.

use crate::{Metadata, ModelError};
use std::collections::HashMap;

/// What a token is (`tokenizer.ggml.token_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Normal,
    Unknown,
    Control,
    UserDefined,
    Unused,
    Byte,
}

/// Texts and kinds by id, and ids by text.
pub(super) struct Vocab {
    pub(super) texts: Vec<String>,
    pub(super) kinds: Vec<Kind>,
    /// Ids of the tokens that ordinary text may become; control tokens, the unknown token and the byte tokens of a
    /// SentencePiece vocabulary are not among them, so no prompt can spell them.
    pub(super) ordinary: HashMap<String, u32>,
    /// Ids of all tokens; the last of equal texts wins, as in llama.cpp.
    pub(super) all: HashMap<String, u32>,
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

const TOKENS: &str = "tokenizer.ggml.tokens";
const TYPES: &str = "tokenizer.ggml.token_type";

impl Vocab {
    /// Reads the tokens; `bytes_of` says what bytes a token that prints stands for.
    pub(super) fn read(
        metadata: &Metadata,
        bytes_of: impl Fn(&str, Kind) -> Result<Vec<u8>, String>,
    ) -> Result<Self, ModelError> {
        let texts = metadata.texts(TOKENS)?.ok_or_else(|| ModelError::metadata(TOKENS, "is absent"))?.to_vec();
        if texts.is_empty() {
            return Err(ModelError::metadata(TOKENS, "is empty"));
        }
        let kinds = kinds(metadata, texts.len())?;
        let (mut ordinary, mut all) = (HashMap::new(), HashMap::new());
        let (mut bytes, mut ends) = (Vec::new(), Vec::with_capacity(texts.len()));
        for (id, (text, kind)) in texts.iter().zip(&kinds).enumerate() {
            all.insert(text.clone(), id as u32);
            if !matches!(kind, Kind::Control | Kind::Unknown | Kind::Byte) {
                ordinary.insert(text.clone(), id as u32);
            }
            // Control tokens and the unknown token print nothing.
            if !matches!(kind, Kind::Control | Kind::Unknown) {
                let fault = |reason| ModelError::metadata(TOKENS, format!("token {id} {reason}"));
                bytes.extend(bytes_of(text, *kind).map_err(fault)?);
            }
            ends.push(bytes.len());
        }
        Ok(Self { texts, kinds, ordinary, all, bytes, ends })
    }

    pub(super) fn len(&self) -> usize {
        self.texts.len()
    }

    /// The bytes that token `id` prints; empty for an id that is not in the vocabulary.
    pub(super) fn bytes(&self, id: u32) -> &[u8] {
        let id = id as usize;
        let Some(end) = self.ends.get(id) else { return &[] };
        let start = if id == 0 { 0 } else { self.ends[id - 1] };
        &self.bytes[start..*end]
    }

    /// A special id from the metadata, checked to be in the vocabulary.
    pub(super) fn special(&self, metadata: &Metadata, key: &str) -> Result<Option<u32>, ModelError> {
        let key = format!("tokenizer.ggml.{key}");
        match metadata.integer(&key)? {
            None => Ok(None),
            // Some converters write 2³²-1 for "none".
            Some(id) if id == u64::from(u32::MAX) => Ok(None),
            Some(id) if id < self.len() as u64 => Ok(Some(id as u32)),
            Some(id) => {
                let reason = format!("is {id}, but the vocabulary has {} tokens", self.len());
                Err(ModelError::metadata(&key, reason))
            }
        }
    }
}

fn kinds(metadata: &Metadata, n: usize) -> Result<Vec<Kind>, ModelError> {
    let Some(numbers) = metadata.integers(TYPES)? else { return Ok(vec![Kind::Normal; n]) };
    if numbers.len() != n {
        return Err(ModelError::metadata(TYPES, format!("has {} entries for {n} tokens", numbers.len())));
    }
    let kind = |number: &i32| match number {
        // 0 is "undefined", which every reader treats as an ordinary token.
        0 | 1 => Ok(Kind::Normal),
        2 => Ok(Kind::Unknown),
        3 => Ok(Kind::Control),
        4 => Ok(Kind::UserDefined),
        5 => Ok(Kind::Unused),
        6 => Ok(Kind::Byte),
        other => Err(ModelError::metadata(TYPES, format!("holds the unknown type {other}"))),
    };
    numbers.iter().map(kind).collect()
}
