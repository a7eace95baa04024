//! Any text through a byte-level tokenizer: its tokens are the text again, or its composed form where the tokenizer composes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use skep_model::{Array, Metadata, Tokenizer, Value};
use std::sync::LazyLock;

/// The kinds of tokenizers, and whether they compose characters first.
const KINDS: [(&str, bool); 5] =
    [("default", false), ("gpt-2", false), ("llama-bpe", false), ("qwen2", true), ("smollm", false)];

static TOKENIZERS: LazyLock<Vec<(Tokenizer, bool)>> = LazyLock::new(|| {
    KINDS.iter().filter_map(|(pre, composes)| Some((byte_level(pre)?, *composes))).collect()
});

fn byte_level(pre: &str) -> Option<Tokenizer> {
    let printable = (b'!'..=b'~').chain(0xa1..=0xac).chain(0xae..=0xff).map(char::from);
    let others = (0x100..0x144).filter_map(char::from_u32);
    let mut tokens: Vec<String> = printable.chain(others).map(String::from).collect();
    let merges = ["h e", "Ġ a", "a b", "ab ab", "Ã ©"];
    tokens.extend(merges.iter().map(|merge| merge.replace(' ', "")));
    let mut metadata = Metadata::new();
    metadata.insert("tokenizer.ggml.model", Value::String("gpt2".into()));
    metadata.insert("tokenizer.ggml.pre", Value::String(pre.into()));
    metadata.insert("tokenizer.ggml.tokens", Value::Array(Array::String(tokens)));
    let merges = merges.iter().map(|merge| (*merge).to_owned()).collect();
    metadata.insert("tokenizer.ggml.merges", Value::Array(Array::String(merges)));
    Tokenizer::from_metadata(&metadata).ok()
}

fuzz_target!(|text: &str| {
    assert_eq!(TOKENIZERS.len(), 5);
    for (tokenizer, composes) in TOKENIZERS.iter() {
        let Ok(ids) = tokenizer.encode(text, true, true) else { return };
        let whole = tokenizer.decode(&ids);
        if *composes {
            // What is composed stays as it is.
            assert_eq!(tokenizer.encode(&whole, true, true).ok(), Some(ids.clone()));
        } else {
            assert_eq!(whole, text);
        }
        let mut decoder = tokenizer.decoder();
        let mut streamed: String = ids.iter().map(|id| decoder.push(*id)).collect();
        streamed.push_str(&decoder.finish());
        assert_eq!(streamed, whole);
    }
});
