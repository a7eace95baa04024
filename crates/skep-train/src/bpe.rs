//! Learns a SentencePiece-style BPE vocabulary with byte fallback from a text.
//!
//! The vocabulary is: `<unk>`, `<s>`, `</s>`, the 256 byte tokens, the control tokens asked for, every character of the text in
//! order of its code point, then the merged pieces in the order in which they were learnt. A piece's score is minus its rank,
//! so that the encoder merges in the order of learning; the encoder itself is `skep_model::Tokenizer`.
//!
//! A piece never spans two *words*. A word is a stretch of letters and apostrophes, or a stretch of other characters, each
//! with the space before it if there is one. The most frequent pair is merged first, among equals the smaller pair of texts.

use crate::TrainError;
use skep_model::{Array, Metadata, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Id of the token that begins a text.
pub const BOS: u32 = 1;
/// Id of the token that ends a speech.
pub const EOS: u32 = 2;
/// Id of the first control token beyond the usual three; 256 byte tokens lie between.
pub const FIRST_CONTROL: u32 = 259;

/// How SentencePiece writes a space.
const SPACE: char = '▁';

/// A vocabulary that has been learnt: text, score and GGUF type of each token.
#[derive(Clone, Debug, PartialEq)]
pub struct Vocabulary {
    texts: Vec<String>,
    scores: Vec<f32>,
    kinds: Vec<i32>,
}

impl Vocabulary {
    /// Learns a vocabulary of exactly `size` tokens from `text`; `controls` become control tokens from [`FIRST_CONTROL`] on.
    ///
    /// # Errors
    /// [`TrainError::Text`] when the text has too few different pieces, or too many characters, for `size` tokens.
    pub fn learn(text: &str, size: usize, controls: &[&str]) -> Result<Self, TrainError> {
        let mut vocabulary = Self { texts: Vec::new(), scores: Vec::new(), kinds: Vec::new() };
        vocabulary.push("<unk>".into(), 0.0, 2);
        vocabulary.push("<s>".into(), 0.0, 3);
        vocabulary.push("</s>".into(), 0.0, 3);
        (0..256).for_each(|byte| vocabulary.push(format!("<0x{byte:02X}>"), 0.0, 6));
        controls.iter().for_each(|text| vocabulary.push((*text).into(), 0.0, 3));
        let characters: BTreeSet<char> = text.chars().map(|c| if c == ' ' { SPACE } else { c }).collect();
        // Single characters are never merged into, so their score only has to be the lowest.
        characters.iter().for_each(|c| vocabulary.push(c.to_string(), -1e6, 1));
        let wanted = size
            .checked_sub(vocabulary.texts.len())
            .ok_or_else(|| TrainError::Text(format!("{} characters do not fit {size} tokens", characters.len())))?;
        let merges = merges(text, wanted);
        if merges.len() < wanted {
            return Err(TrainError::Text(format!("it gives only {} of {wanted} merged pieces", merges.len())));
        }
        for (rank, piece) in merges.into_iter().enumerate() {
            vocabulary.push(piece, -(rank as f32), 1);
        }
        Ok(vocabulary)
    }

    fn push(&mut self, text: String, score: f32, kind: i32) {
        self.texts.push(text);
        self.scores.push(score);
        self.kinds.push(kind);
    }

    /// The tokens' texts, by id.
    pub fn texts(&self) -> &[String] {
        &self.texts
    }

    /// Adds the `tokenizer.ggml.*` entries that describe this vocabulary.
    pub fn describe(&self, metadata: &mut Metadata) {
        let mut set = |key: &str, value| drop(metadata.insert(format!("tokenizer.ggml.{key}"), value));
        set("model", Value::String("llama".into()));
        set("tokens", Value::Array(Array::String(self.texts.clone())));
        set("scores", Value::Array(Array::F32(self.scores.clone())));
        set("token_type", Value::Array(Array::I32(self.kinds.clone())));
        set("bos_token_id", Value::U32(BOS));
        set("eos_token_id", Value::U32(EOS));
        set("unknown_token_id", Value::U32(0));
        set("add_bos_token", Value::Bool(true));
        set("add_eos_token", Value::Bool(false));
        set("add_space_prefix", Value::Bool(false));
    }
}

/// The different words of `text` and how often each occurs.
fn words(text: &str) -> BTreeMap<String, u64> {
    let letter = |c: char| c.is_alphabetic() || c == '\'';
    let mut counts = BTreeMap::new();
    let mut word = String::new();
    let mut before: Option<char> = None;
    for c in text.chars() {
        let joins = match before {
            Some(' ') => c != ' ',
            Some(b) => c != ' ' && letter(b) == letter(c),
            None => true,
        };
        if !joins {
            *counts.entry(std::mem::take(&mut word)).or_insert(0) += 1;
        }
        word.push(if c == ' ' { SPACE } else { c });
        before = Some(c);
    }
    if !word.is_empty() {
        *counts.entry(word).or_insert(0) += 1;
    }
    counts
}

/// Most different pieces that are counted: their pairs are counted in a square table.
const MOST_PIECES: usize = 4096;

/// Up to `wanted` pieces in the order of learning; fewer when no pair occurs twice any more.
fn merges(text: &str, wanted: usize) -> Vec<String> {
    // Parts of words are numbered: first the characters, then what is merged. Two pairs of parts may spell the same piece;
    // it has one number.
    let mut numbers: BTreeMap<String, usize> = BTreeMap::new();
    let mut spelt: Vec<String> = Vec::new();
    let mut number_of = |part: String, spelt: &mut Vec<String>| {
        *numbers.entry(part).or_insert_with_key(|part| {
            spelt.push(part.clone());
            spelt.len() - 1
        })
    };
    let mut words: Vec<(Vec<usize>, u64)> = words(text)
        .into_iter()
        .map(|(word, n)| (word.chars().map(|c| number_of(c.to_string(), &mut spelt)).collect(), n))
        .collect();
    let characters = spelt.len();
    let most = (characters + wanted).min(MOST_PIECES);
    let mut counts = vec![0u64; most * most];
    while spelt.len() < most {
        counts.fill(0);
        for (word, n) in &words {
            for pair in word.windows(2) {
                counts[pair[0] * most + pair[1]] += n;
            }
        }
        let pair = (0..counts.len()).max_by(|a, b| {
            let spelling = |i: usize| (&spelt[i / most], &spelt[i % most]);
            // Only counts that are not zero belong to parts that exist.
            counts[*a]
                .cmp(&counts[*b])
                .then_with(|| if counts[*a] == 0 { a.cmp(b) } else { spelling(*b).cmp(&spelling(*a)) })
        });
        let Some(pair) = pair.filter(|pair| counts[*pair] >= 2) else { break };
        let (left, right) = (pair / most, pair % most);
        let joined = number_of(format!("{}{}", spelt[left], spelt[right]), &mut spelt);
        words.iter_mut().for_each(|(word, _)| merge_in(word, left, right, joined));
    }
    spelt.split_off(characters)
}

/// Replaces every `left`, `right` of a word by `joined`, from the left.
fn merge_in(word: &mut Vec<usize>, left: usize, right: usize, joined: usize) {
    let mut i = 0;
    while i + 1 < word.len() {
        if word[i] == left && word[i + 1] == right {
            word[i] = joined;
            word.remove(i + 1);
        }
        i += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use skep_model::Tokenizer;

    const TEXT: &str = "the cat sat on the mat,\nand the other cat sat\non that other mat. the end, the end.\n";

    fn tokenizer() -> Tokenizer {
        let mut metadata = Metadata::new();
        Vocabulary::learn(TEXT, 290, &["<|user|>"]).unwrap().describe(&mut metadata);
        Tokenizer::from_metadata(&metadata).unwrap()
    }

    #[test]
    fn frequent_pieces_are_learnt_in_order() {
        let vocabulary = Vocabulary::learn(TEXT, 290, &["<|user|>"]).unwrap();
        assert_eq!(vocabulary.texts().len(), 290);
        assert_eq!(vocabulary.texts()[FIRST_CONTROL as usize], "<|user|>");
        assert_eq!(merges(TEXT, 5), ["th", "at", "the", "▁the", "nd"]);
        assert_eq!(tokenizer().encode(" the cat", true, true).unwrap().len(), 3);
    }

    #[test]
    fn a_text_that_is_too_small_or_too_rich_is_refused() {
        assert!(matches!(Vocabulary::learn("abc", 300, &[]), Err(TrainError::Text(_))));
        assert!(matches!(Vocabulary::learn(TEXT, 262, &[]), Err(TrainError::Text(_))));
    }

    proptest! {
        #[test]
        fn every_text_survives_the_round_trip(text in "[a-z ,.\\n’é▁\\u{1F600}]{0,40}") {
            // The sign for a space is the one character that a SentencePiece vocabulary cannot tell from a space.
            let text = text.replace('▁', " ");
            let tokenizer = tokenizer();
            let ids = tokenizer.encode(&text, false, false).unwrap();
            prop_assert_eq!(tokenizer.decode(&ids), text);
        }
    }
}
