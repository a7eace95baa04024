//! Byte-level BPE (`tokenizer.ggml.model` = `gpt2`): words are written in 256 printable characters that stand for bytes,
//! then neighbours are merged in the order of the list of merges.

use super::merge::merge;
use super::pretokenize::PreTokenizer;
use super::vocab::{Kind, Vocab};
use crate::{Metadata, ModelError};
use std::collections::HashMap;

const MERGES: &str = "tokenizer.ggml.merges";

pub(super) struct ByteLevel {
    pub(super) pre: PreTokenizer,
    /// The token of each byte. Bytes that UTF-8 never uses may lack one.
    byte_ids: Box<[Option<u32>; 256]>,
    /// Rank and result of each pair that merges.
    merges: HashMap<(u32, u32), (u32, u32)>,
}

/// The printable character that stands for a byte in token texts: the byte itself where it prints in Latin-1, else the
/// next character from U+0100 on.
fn character_of(byte: u8) -> char {
    match byte {
        b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff => char::from(byte),
        0..=0x20 => shifted(u32::from(byte)),
        0x7f..=0xa0 => shifted(u32::from(byte) - 0x7f + 33),
        0xad => shifted(67),
    }
}

fn shifted(n: u32) -> char {
    char::from_u32(0x100 + n).unwrap_or(char::REPLACEMENT_CHARACTER)
}

fn byte_of(character: char) -> Option<u8> {
    match u32::from(character) {
        n @ 0x100..=0x120 => Some((n - 0x100) as u8),
        n @ 0x121..=0x142 => Some((n - 0x121 + 0x7f) as u8),
        0x143 => Some(0xad),
        n => u8::try_from(n).ok().filter(|byte| character_of(*byte) == character),
    }
}

/// What bytes a token prints. A text outside the alphabet is taken literally.
pub(super) fn bytes_of(text: &str, kind: Kind) -> Result<Vec<u8>, String> {
    let bytes: Option<Vec<u8>> = text.chars().map(byte_of).collect();
    Ok(match (kind, bytes) {
        (Kind::UserDefined, _) | (_, None) => text.as_bytes().to_vec(),
        (_, Some(bytes)) => bytes,
    })
}

impl ByteLevel {
    pub(super) fn read(metadata: &Metadata, vocab: &Vocab) -> Result<Self, ModelError> {
        let pre = PreTokenizer::named(metadata.text("tokenizer.ggml.pre")?.unwrap_or("default"))?;
        let mut byte_ids = Box::new([None; 256]);
        for byte in 0..=255u8 {
            let id = vocab.ordinary.get(character_of(byte).encode_utf8(&mut [0; 4]) as &str).copied();
            let in_utf8 = !matches!(byte, 0xc0 | 0xc1 | 0xf5..);
            if id.is_none() && in_utf8 {
                return Err(ModelError::metadata(
                    "tokenizer.ggml.tokens",
                    format!("has no token for the byte {byte:#04x}"),
                ));
            }
            byte_ids[usize::from(byte)] = id;
        }
        let list = metadata.texts(MERGES)?.ok_or_else(|| ModelError::metadata(MERGES, "is absent"))?;
        let mut merges = HashMap::with_capacity(list.len());
        for (rank, entry) in list.iter().enumerate() {
            let ids = entry.split_once(' ').and_then(|(left, right)| {
                let id = |text: &str| vocab.ordinary.get(text).copied();
                Some(((id(left)?, id(right)?), id(&format!("{left}{right}"))?))
            });
            let (pair, joined) = ids.ok_or_else(|| {
                ModelError::metadata(MERGES, format!("entry {rank} `{entry}` does not join two tokens to a third"))
            })?;
            merges.entry(pair).or_insert((rank as u32, joined));
        }
        Ok(Self { pre, byte_ids, merges })
    }

    /// Appends the ids of `text`.
    pub(super) fn encode(&self, vocab: &Vocab, text: &str, ids: &mut Vec<u32>) -> Result<(), ModelError> {
        for word in self.pre.split(&self.pre.normalised(text))? {
            if self.pre.ignore_merges {
                let written: String = word.bytes().map(character_of).collect();
                if let Some(id) = vocab.ordinary.get(&written) {
                    ids.push(*id);
                    continue;
                }
            }
            // A text is UTF-8, and every byte of UTF-8 has a token.
            let bytes: Vec<u32> = word.bytes().filter_map(|byte| self.byte_ids[usize::from(byte)]).collect();
            ids.extend(merge(&bytes, |left, right| {
                self.merges.get(&(left, right)).map(|(rank, joined)| (-i64::from(*rank), *joined))
            }));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alphabet_is_that_of_gpt2() {
        for byte in 0..=255 {
            assert_eq!(byte_of(character_of(byte)), Some(byte), "{byte}");
        }
        assert_eq!(character_of(b' '), 'Ġ');
        assert_eq!(character_of(b'\n'), 'Ċ');
        assert_eq!(character_of(0xad), 'Ń');
        assert_eq!(byte_of('▁'), None);
        assert_eq!(byte_of(' '), None);
    }
}
