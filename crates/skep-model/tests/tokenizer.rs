//! Token ids against independent tokenizers.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;
use skep_model::{Array, Gguf, Metadata, Tokenizer, Value};
use skep_testkit::shared_data;

fn tokenizer(path: &std::path::Path) -> Tokenizer {
    Tokenizer::from_gguf(&Gguf::open(path).unwrap()).unwrap()
}

/// Every line of llama.cpp's vectors.
#[test]
fn ids_equal_the_published_vectors() {
    for name in ["ggml-vocab-llama-spm", "ggml-vocab-gpt-2"] {
        let Some(model) = shared_data(&format!("tokenizers/{name}.gguf")) else { return };
        let inputs = std::fs::read_to_string(model.with_extension("gguf.inp")).unwrap();
        let outputs = std::fs::read_to_string(model.with_extension("gguf.out")).unwrap();
        let tokenizer = tokenizer(&model);
        let inputs: Vec<&str> = inputs.split("\n__ggml_vocab_test__\n").collect();
        let outputs: Vec<&str> = outputs.lines().collect();
        assert_eq!(inputs.len() - 1, outputs.len(), "the last separator ends the file");
        for (input, output) in inputs.iter().zip(outputs) {
            let expected: Vec<u32> = output.split_whitespace().map(|id| id.parse().unwrap()).collect();
            assert_eq!(tokenizer.encode(input, false, false).unwrap(), expected, "{name}: {input:?}");
        }
    }
}

/// Recorded with Hugging Face `tokenizers` on the `tokenizer.json` beside each model: model, JSON string, ids.
#[test]
fn ids_equal_those_of_hugging_face() {
    for line in include_str!("tokenizer_golden.txt").lines() {
        let mut fields = line.split('\t');
        let (model, text) = (fields.next().unwrap(), fields.next().unwrap());
        let text: String = serde_json::from_str(text).unwrap();
        let expected: Vec<u32> = fields.filter(|id| !id.is_empty()).map(|id| id.parse().unwrap()).collect();
        let Some(path) = shared_data(&format!("llm/{model}/{model}-q8_0.gguf")) else { return };
        let tokenizer = tokenizer(&path);
        assert_eq!(tokenizer.encode(&text, false, true).unwrap(), expected, "{model}: {text:?}");
        let with_bos = tokenizer.encode(&text, true, true).unwrap();
        // A text that has the mark already, as chat templates write it, gets no second one.
        assert_eq!((with_bos[0], &with_bos[1..]), (1, expected.strip_prefix(&[1]).unwrap_or(&expected)));
        if !text.contains("<s>") && !text.is_empty() {
            let mut decoder = tokenizer.decoder();
            let mut streamed: String = expected.iter().map(|id| decoder.push(*id)).collect();
            streamed.push_str(&decoder.finish());
            assert_eq!(streamed, format!(" {text}").replace('▁', " "));
            assert_eq!(tokenizer.decode(&expected), streamed);
        }
    }
}

fn spm(pieces: &[(&str, f32, i32)]) -> Metadata {
    let mut metadata = Metadata::new();
    metadata.insert("tokenizer.ggml.model", Value::String("llama".into()));
    let texts = pieces.iter().map(|piece| piece.0.to_owned()).collect();
    metadata.insert("tokenizer.ggml.tokens", Value::Array(Array::String(texts)));
    metadata.insert("tokenizer.ggml.scores", Value::Array(Array::F32(pieces.iter().map(|piece| piece.1).collect())));
    metadata
        .insert("tokenizer.ggml.token_type", Value::Array(Array::I32(pieces.iter().map(|piece| piece.2).collect())));
    metadata.insert("tokenizer.ggml.bos_token_id", Value::U32(1));
    metadata.insert("tokenizer.ggml.eos_token_id", Value::U32(2));
    metadata
}

#[test]
fn prompts_cannot_spell_control_tokens() {
    let pieces = [
        ("<unk>", 0.0, 2),
        ("<s>", 0.0, 3),
        ("</s>", 0.0, 3),
        ("<|im_end|>", 0.0, 3),
        ("▁", -1.0, 1),
        ("<", -2.0, 1),
        ("s", -3.0, 1),
        (">", -4.0, 1),
        ("<s", -0.5, 1),
        ("<<<", 0.0, 4),
    ];
    let tokenizer = Tokenizer::from_metadata(&spm(&pieces)).unwrap();
    assert_eq!(tokenizer.encode("<s>", true, false).unwrap(), [1, 4, 8, 7]);
    assert_eq!(tokenizer.encode("<s>", false, true).unwrap(), [1]);
    assert_eq!(tokenizer.encode("<s>s", true, true).unwrap(), [1, 4, 6]);
    assert_eq!(tokenizer.encode("<s><s>s", false, true).unwrap(), [1, 1, 4, 6]);
    // The longest match wins, user-defined tokens match without being asked for, and the space comes again after them.
    assert_eq!(tokenizer.encode("s<<<s", false, false).unwrap(), [4, 6, 9, 4, 6]);
    // No byte tokens: an unknown character is the unknown token.
    assert_eq!(tokenizer.encode("é", false, false).unwrap(), [4, 0]);
    let ends: Vec<u32> = (0..10).filter(|id| tokenizer.is_end_of_generation(*id)).collect();
    assert_eq!(ends, [2, 3]);
    assert_eq!(tokenizer.decode(&[1, 4, 6, 9, 3, 2, 99]), " s<<<");
}

#[test]
fn inconsistent_vocabularies_are_refused_by_name() {
    let pieces = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3)];
    let refusal = |change: &dyn Fn(&mut Metadata)| {
        let mut metadata = spm(&pieces);
        change(&mut metadata);
        Tokenizer::from_metadata(&metadata).unwrap_err().to_string()
    };
    let set = |key: &'static str, value: Value| refusal(&move |metadata| drop(metadata.insert(key, value.clone())));
    assert_eq!(
        set("tokenizer.ggml.eos_token_id", Value::U32(3)),
        "metadata tokenizer.ggml.eos_token_id: is 3, but the vocabulary has 3 tokens"
    );
    assert_eq!(
        set("tokenizer.ggml.scores", Value::Array(Array::F32(vec![0.0]))),
        "metadata tokenizer.ggml.scores: has 1 entries for 3 tokens"
    );
    assert_eq!(
        set("tokenizer.ggml.token_type", Value::Array(Array::I32(vec![9, 1, 1]))),
        "metadata tokenizer.ggml.token_type: holds the unknown type 9"
    );
    assert_eq!(set("tokenizer.ggml.model", Value::String("t5".into())), "tokenizer t5 is not supported yet");
    assert_eq!(
        set("tokenizer.ggml.tokens", Value::Array(Array::String(vec![]))),
        "metadata tokenizer.ggml.tokens: is empty"
    );
}

/// A byte-level vocabulary: the 256 bytes, then the results of the merges, then a control token.
fn byte_level(pre: &str, merges: &[&str]) -> Metadata {
    let printable: Vec<u8> = (b'!'..=b'~').chain(0xa1..=0xac).chain(0xae..=0xff).collect();
    let mut tokens: Vec<String> = printable.iter().map(|byte| char::from(*byte).to_string()).collect();
    let others = (0..256u32 - tokens.len() as u32).map(|n| char::from_u32(0x100 + n).unwrap().to_string());
    tokens.extend(others);
    tokens.extend(merges.iter().map(|merge| merge.replace(' ', "")));
    tokens.push("<|eot_id|>".into());
    let mut types = vec![1; tokens.len()];
    *types.last_mut().unwrap() = 3;
    let mut metadata = Metadata::new();
    metadata.insert("tokenizer.ggml.model", Value::String("gpt2".into()));
    metadata.insert("tokenizer.ggml.pre", Value::String(pre.into()));
    metadata.insert("tokenizer.ggml.tokens", Value::Array(Array::String(tokens)));
    metadata.insert("tokenizer.ggml.token_type", Value::Array(Array::I32(types)));
    let merges = merges.iter().map(|merge| (*merge).to_owned()).collect();
    metadata.insert("tokenizer.ggml.merges", Value::Array(Array::String(merges)));
    metadata
}

#[test]
fn llama_3_takes_whole_words_before_merges() {
    let merges = ["h e", "l l", "e l", "Ġ he", "Ġhe ll"];
    let texts = |pre: &str, text: &str| {
        let tokenizer = Tokenizer::from_metadata(&byte_level(pre, &merges)).unwrap();
        let ids = tokenizer.encode(text, false, true).unwrap();
        assert_eq!(tokenizer.decode(&ids), text.replace("<|eot_id|>", ""));
        ids.iter().map(|id| tokenizer.token_text(*id).unwrap().to_owned()).collect::<Vec<_>>()
    };
    // `el` has no way to arise by merges in ` hell`, but alone it is a word.
    assert_eq!(texts("llama-bpe", " hell el<|eot_id|>"), ["Ġhell", "Ġ", "el", "<|eot_id|>"]);
    assert_eq!(texts("qwen2", "12 é\n"), ["1", "2", "Ġ", "Ã", "©", "Ċ"]);
    let tokenizer = Tokenizer::from_metadata(&byte_level("llama-bpe", &merges)).unwrap();
    assert!(tokenizer.is_end_of_generation(256 + 5));
    let error = Tokenizer::from_metadata(&byte_level("gpt-2", &["h e", "q zz"])).unwrap_err();
    assert!(error.to_string().contains("entry 1 `q zz` does not join two tokens"), "{error}");
}

#[test]
fn a_text_over_the_limit_is_refused() {
    let tokenizer = Tokenizer::from_metadata(&byte_level("gpt-2", &[])).unwrap();
    let error = tokenizer.encode(&"a".repeat(skep_model::MAX_TEXT_BYTES + 1), false, false).unwrap_err();
    assert_eq!(error.to_string(), "the text has 8388609 bytes, the limit is 8388608");
}

proptest! {
    #[test]
    fn any_text_comes_back(text: String) {
        for pre in ["gpt-2", "llama-bpe"] {
            let tokenizer = BYTE_LEVEL.iter().find(|(name, _)| *name == pre).map(|(_, tokenizer)| tokenizer).unwrap();
            let ids = tokenizer.encode(&text, false, false).unwrap();
            prop_assert_eq!(tokenizer.decode(&ids), text.clone());
        }
    }
}

static BYTE_LEVEL: std::sync::LazyLock<[(&str, Tokenizer); 2]> = std::sync::LazyLock::new(|| {
    let merges = ["h e", "l l", "Ġ a", "a b"];
    ["gpt-2", "llama-bpe"].map(|pre| (pre, Tokenizer::from_metadata(&byte_level(pre, &merges)).unwrap()))
});

/// Recorded with Hugging Face `tokenizers` on whole books: model, text, number of ids, first half of the BLAKE3 of the ids
/// as little-endian 32-bit numbers.
#[test]
fn ids_of_whole_books_equal_those_of_hugging_face() {
    let recorded = [
        ("llm/stories3M/stories3M-q8_0.gguf", "text/tinyshakespeare.txt", 461895, "95c447618bc2bfca"),
        ("llm/stories3M/stories3M-q8_0.gguf", "text/wikitext-2-valid.txt", 442974, "bcc1602d790531eb"),
        ("llm/stories3M/stories3M-q8_0.gguf", "text/names.txt", 149082, "f4cbec1dab3990a9"),
        ("llm/stories260K/stories260K-q8_0.gguf", "text/tinyshakespeare.txt", 693363, "3750fc11974765db"),
        ("llm/stories260K/stories260K-q8_0.gguf", "text/wikitext-2-valid.txt", 681806, "8d3cce14eca16855"),
        ("llm/stories260K/stories260K-q8_0.gguf", "text/names.txt", 185869, "529d2fa86494da16"),
        ("tokenizers/ggml-vocab-gpt-2.gguf", "text/tinyshakespeare.txt", 338025, "3d58e5747f643edd"),
        ("tokenizers/ggml-vocab-gpt-2.gguf", "text/wikitext-2-valid.txt", 258659, "70ae734d6775e06b"),
        ("tokenizers/ggml-vocab-gpt-2.gguf", "text/names.txt", 112408, "5e44b9e7431722cc"),
    ];
    for (model, text, count, hash) in recorded {
        let (Some(path), Some(book)) = (shared_data(model), shared_data(text)) else { return };
        let book = std::fs::read_to_string(book).unwrap();
        let ids = tokenizer(&path).encode(&book, false, true).unwrap();
        let bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
        let found = skep_types::ModelId::of(&bytes).to_string();
        assert_eq!((ids.len(), &found[..16]), (count, hash), "{model} {text}");
    }
}
