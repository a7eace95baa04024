//! WordPiece (`tokenizer.ggml.model` = `bert`), as uncased BERT models use it: a text is normalised and cut into words, and each
//! word is read from the left as the longest known pieces.
//!
//! Normalisation, in order: control characters, U+0000 and U+FFFD are dropped and every kind of space becomes one; each CJK
//! ideograph becomes a word of its own; accents are stripped (canonical decomposition, then no non-spacing marks); letters
//! become small. Words end at spaces, and every punctuation mark is a word. In the vocabulary a piece that begins a word has
//! `▁` before it, one that goes on has nothing; this is how converters to GGUF write `the` and `##ing`.

use super::vocab::{Kind, Vocab};
use crate::{Metadata, ModelError};
use icu_normalizer::DecomposingNormalizerBorrowed;
use icu_properties::CodePointMapData;
use icu_properties::props::GeneralCategory;

const BEGINS_WORD: &str = "▁";
/// A longer word, in characters, is unknown: the vocabulary holds none, and looking for one takes time with its square.
const MAX_WORD: usize = 100;

pub(super) struct WordPiece {
    unknown: u32,
    /// `[SEP]`, which ends a text.
    pub(super) separator: u32,
    /// `[CLS]`, which begins a text.
    pub(super) class: u32,
}

/// What bytes a piece prints.
pub(super) fn bytes_of(text: &str, _: Kind) -> Result<Vec<u8>, String> {
    Ok(text.replace(BEGINS_WORD, " ").into_bytes())
}

impl WordPiece {
    pub(super) fn read(metadata: &Metadata, vocab: &Vocab) -> Result<Self, ModelError> {
        let id = |keys: &[&str]| {
            for key in keys {
                if let Some(id) = vocab.special(metadata, key)? {
                    return Ok(id);
                }
            }
            Err(ModelError::metadata(&format!("tokenizer.ggml.{}", keys[0]), "is absent"))
        };
        Ok(Self {
            unknown: id(&["unknown_token_id"])?,
            // The format's own name for it has this spelling.
            separator: id(&["seperator_token_id", "eos_token_id"])?,
            class: id(&["cls_token_id", "bos_token_id"])?,
        })
    }

    /// Appends the ids of `text`.
    pub(super) fn encode(&self, vocab: &Vocab, text: &str, ids: &mut Vec<u32>) {
        for word in words(&normalise(text)) {
            self.word(vocab, word, ids);
        }
    }

    /// The pieces of one word, or the unknown token for the whole of it.
    fn word(&self, vocab: &Vocab, word: &str, ids: &mut Vec<u32>) {
        let before = ids.len();
        let ends: Vec<usize> = word.char_indices().map(|(at, c)| at + c.len_utf8()).collect();
        let (mut start, mut first) = (0, 0);
        while start < word.len() && ends.len() <= MAX_WORD {
            let prefix = if start == 0 { BEGINS_WORD } else { "" };
            let piece = (first..ends.len()).rev().find_map(|last| {
                let id = vocab.ordinary.get(&format!("{prefix}{}", &word[start..ends[last]]));
                id.map(|id| (last, *id))
            });
            let Some((last, id)) = piece else { break };
            ids.push(id);
            (start, first) = (ends[last], last + 1);
        }
        if start < word.len() {
            ids.truncate(before);
            ids.push(self.unknown);
        }
    }
}

/// The text as the vocabulary spells it.
fn normalise(text: &str) -> String {
    let mut spaced = String::with_capacity(text.len());
    for c in text.chars().filter(|c| !is_dropped(*c)) {
        if c.is_whitespace() {
            spaced.push(' ');
        } else if is_ideograph(c) {
            spaced.extend([' ', c, ' ']);
        } else {
            spaced.push(c);
        }
    }
    let marks = |c: &char| category(*c) != GeneralCategory::NonspacingMark;
    let decomposed = DecomposingNormalizerBorrowed::new_nfd().normalize_iter(spaced.chars());
    decomposed.filter(marks).flat_map(char::to_lowercase).collect()
}

/// Words and punctuation marks in order, without the spaces between them.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(char::is_whitespace).flat_map(|stretch| {
        let (mut rest, mut cut) = (stretch, Vec::new());
        while let Some(c) = rest.chars().next() {
            let end = if is_punctuation(c) { c.len_utf8() } else { rest.find(is_punctuation).unwrap_or(rest.len()) };
            let (word, after) = rest.split_at(end);
            cut.push(word);
            rest = after;
        }
        cut
    })
}

fn category(c: char) -> GeneralCategory {
    CodePointMapData::<GeneralCategory>::new().get(c)
}

fn is_dropped(c: char) -> bool {
    use GeneralCategory::{Control, Format, PrivateUse};
    let kept = matches!(c, '\t' | '\n' | '\r');
    !kept && (c == char::REPLACEMENT_CHARACTER || matches!(category(c), Control | Format | PrivateUse))
}

fn is_punctuation(c: char) -> bool {
    use GeneralCategory::{
        ClosePunctuation, ConnectorPunctuation, DashPunctuation, FinalPunctuation, InitialPunctuation, OpenPunctuation,
        OtherPunctuation,
    };
    c.is_ascii_punctuation()
        || matches!(
            category(c),
            ClosePunctuation
                | ConnectorPunctuation
                | DashPunctuation
                | FinalPunctuation
                | InitialPunctuation
                | OpenPunctuation
                | OtherPunctuation
        )
}

/// The blocks of CJK ideographs that BERT's authors list. Hangul and kana are written with spaces or in syllables and stay whole.
fn is_ideograph(c: char) -> bool {
    matches!(
        u32::from(c),
        0x4e00..=0x9fff
            | 0x3400..=0x4dbf
            | 0x20000..=0x2a6df
            | 0x2a700..=0x2b73f
            | 0x2b740..=0x2b81f
            | 0x2b920..=0x2ceaf
            | 0xf900..=0xfaff
            | 0x2f800..=0x2fa1f
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_spelt_plainly() {
        assert_eq!(normalise("Ñandú\u{200b}\tÅngström\u{0}"), "nandu angstrom");
        assert_eq!(normalise("東京tower"), " 東  京 tower");
        assert_eq!(normalise("ΣΑΣ İ"), "σασ i");
    }

    #[test]
    fn punctuation_stands_alone() {
        let cut: Vec<&str> = words(" isn't  «so»…$5 ").collect();
        assert_eq!(cut, ["isn", "'", "t", "«", "so", "»", "…", "$", "5"]);
    }
}
