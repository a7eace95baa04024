//! SentencePiece BPE (`tokenizer.ggml.model` = `llama`): spaces become `▁`, characters are merged to the known piece of
//! the highest score, and a character without a piece becomes its bytes.

use super::merge::merge;
use super::vocab::{Kind, Vocab};
use crate::{Metadata, ModelError};

const SCORES: &str = "tokenizer.ggml.scores";
const SPACE: &str = "▁";

pub(super) struct SentencePiece {
    /// Merge priority of each piece; greater first.
    priority: Vec<i64>,
    /// The token of each byte, if the vocabulary has byte tokens.
    byte_ids: Box<[Option<u32>; 256]>,
    unknown: Option<u32>,
    pub(super) add_space_prefix: bool,
}

/// What bytes a piece prints.
pub(super) fn bytes_of(text: &str, kind: Kind) -> Result<Vec<u8>, String> {
    match kind {
        Kind::Byte => byte_of(text).map(|byte| vec![byte]).ok_or_else(|| format!("`{text}` is not of the form <0x41>")),
        // What a template's author defined is taken literally.
        Kind::UserDefined => Ok(text.as_bytes().to_vec()),
        _ => Ok(text.replace(SPACE, " ").into_bytes()),
    }
}

fn byte_of(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    (digits.len() == 2).then(|| u8::from_str_radix(digits, 16).ok())?
}

impl SentencePiece {
    pub(super) fn read(metadata: &Metadata, vocab: &Vocab) -> Result<Self, ModelError> {
        let scores = metadata.floats(SCORES)?.ok_or_else(|| ModelError::metadata(SCORES, "is absent"))?;
        if scores.len() != vocab.len() {
            let reason = format!("has {} entries for {} tokens", scores.len(), vocab.len());
            return Err(ModelError::metadata(SCORES, reason));
        }
        if scores.iter().any(|score| score.is_nan()) {
            return Err(ModelError::metadata(SCORES, "holds a value that is not a number"));
        }
        // A normaliser (as of T5 models) would change the text before the merges.
        let key = "tokenizer.ggml.precompiled_charsmap";
        if metadata.get(key).is_some() {
            return Err(ModelError::metadata(key, "is not supported yet"));
        }
        let mut byte_ids = Box::new([None; 256]);
        for (id, (text, kind)) in vocab.texts.iter().zip(&vocab.kinds).enumerate() {
            if let (Kind::Byte, Some(byte)) = (kind, byte_of(text)) {
                byte_ids[usize::from(byte)] = Some(id as u32);
            }
        }
        let unknown = vocab.special(metadata, "unknown_token_id")?;
        let unknown = unknown.or_else(|| vocab.kinds.iter().position(|kind| *kind == Kind::Unknown).map(|i| i as u32));
        if unknown.is_none() && byte_ids.contains(&None) {
            return Err(ModelError::metadata(
                "tokenizer.ggml.tokens",
                "has neither all byte tokens nor an unknown token",
            ));
        }
        Ok(Self {
            priority: scores.iter().map(|score| order(*score)).collect(),
            byte_ids,
            unknown,
            add_space_prefix: metadata.boolean("tokenizer.ggml.add_space_prefix")?.unwrap_or(true),
        })
    }

    /// Appends the ids of `text`, which begins a new stretch when `first` is set.
    pub(super) fn encode(&self, vocab: &Vocab, text: &str, first: bool, ids: &mut Vec<u32>) {
        let prefix = if first && self.add_space_prefix { SPACE } else { "" };
        let text = format!("{prefix}{}", text.replace(' ', SPACE));
        let starts = text.char_indices().map(|(start, c)| (start as u32, (start + c.len_utf8()) as u32));
        let characters: Vec<(u32, u32)> = starts.collect();
        let piece = |(start, end): (u32, u32)| vocab.ordinary.get(&text[start as usize..end as usize]).copied();
        let merged = merge(&characters, |left, right| {
            let joined = (left.0, right.1);
            piece(joined).map(|id| (self.priority[id as usize], joined))
        });
        for range in merged {
            match piece(range) {
                Some(id) => ids.push(id),
                None => self.fall_back(&text.as_bytes()[range.0 as usize..range.1 as usize], ids),
            }
        }
    }

    fn fall_back(&self, bytes: &[u8], ids: &mut Vec<u32>) {
        let as_bytes: Option<Vec<u32>> = bytes.iter().map(|byte| self.byte_ids[usize::from(*byte)]).collect();
        match as_bytes {
            Some(bytes) => ids.extend(bytes),
            None => ids.extend(self.unknown),
        }
    }
}

/// An integer that orders as the float does.
fn order(score: f32) -> i64 {
    // Adding zero makes -0 equal to 0.
    let bits = (score + 0.0).to_bits() as i32;
    i64::from(if bits < 0 { bits ^ i32::MAX } else { bits })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_order_as_floats() {
        let scores = [f32::NEG_INFINITY, -3.5, -1.0, -1e-30, 0.0, 1e-30, 2.0];
        assert!(scores.windows(2).all(|pair| order(pair[0]) < order(pair[1])));
        assert_eq!(order(-0.0), order(0.0));
    }

    #[test]
    fn byte_pieces() {
        assert_eq!(byte_of("<0x0A>"), Some(10));
        assert_eq!(byte_of("<0xA>"), None);
        assert_eq!(byte_of("A"), None);
    }
}
