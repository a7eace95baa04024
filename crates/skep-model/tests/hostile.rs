//! Hostile files: a small valid model, broken in every way that is cheap to try. Each attempt must end in an error or in a
//! model that works, never in a panic, and never in memory that the file does not justify.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;
use skep_kernels::Format;
use skep_model::{
    Array, ChatTemplate, Gguf, Metadata, ModelConfig, ModelError, Span, Tensor, Tokenizer, Value, describe,
    encode_gguf, quantize_q8_0,
};
use skep_types::BlockRange;
use std::sync::LazyLock;

const TOKENS: [&str; 8] = ["<unk>", "<s>", "</s>", "▁", "a", "b", "ab", "▁ab"];

fn metadata() -> Metadata {
    let mut metadata = Metadata::new();
    let numbers = [
        ("llama.block_count", 2),
        ("llama.context_length", 16),
        ("llama.embedding_length", 32),
        ("llama.feed_forward_length", 64),
        ("llama.attention.head_count", 4),
        ("llama.attention.head_count_kv", 2),
        ("tokenizer.ggml.bos_token_id", 1),
        ("tokenizer.ggml.eos_token_id", 2),
    ];
    for (key, number) in numbers {
        metadata.insert(key, Value::U32(number));
    }
    metadata.insert("general.architecture", Value::String("llama".into()));
    metadata.insert("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5));
    metadata.insert("tokenizer.ggml.model", Value::String("llama".into()));
    metadata.insert("tokenizer.ggml.tokens", Value::Array(Array::String(TOKENS.map(str::to_owned).into())));
    metadata.insert("tokenizer.ggml.scores", Value::Array(Array::F32((0..8).map(|i| i as f32).collect())));
    metadata.insert("tokenizer.ggml.token_type", Value::Array(Array::I32(vec![2, 3, 3, 1, 1, 1, 1, 1])));
    let template = "{% for m in messages %}{{ m.role + m.content }}{% endfor %}";
    metadata.insert("tokenizer.chat_template", Value::String(template.into()));
    metadata
}

/// A model of two blocks that uses all three element types.
static MODEL: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let without_tensors = Gguf::from_bytes(encode_gguf(&metadata(), &[]).unwrap()).unwrap();
    let config = ModelConfig::from_gguf(&without_tensors).unwrap();
    let mut expected = vec![config.embedding_tensor(), config.head_tensors()[0].clone()];
    (0..config.n_blocks).for_each(|block| expected.extend(config.block_tensors(block)));
    let tensors = expected.into_iter().enumerate().map(|(i, (name, shape))| {
        let values: Vec<f32> = (0..shape[0] * shape[1]).map(|j| ((j * 7 + i) % 11) as f32 * 0.05 - 0.25).collect();
        let halves = values.iter().flat_map(|x| (if *x < 0.0 { 0xb400u16 } else { 0x3000 }).to_le_bytes());
        match i % 3 {
            _ if shape[0] == 1 => Tensor::from_f32(&name, shape, &values),
            0 => Tensor::new(&name, shape, Format::F16, halves.collect()),
            1 => Tensor::from_f32(&name, shape, &values),
            _ => Tensor::new(&name, shape, Format::Q8_0, quantize_q8_0(&values).unwrap()),
        }
        .unwrap()
    });
    encode_gguf(&metadata(), &tensors.collect::<Vec<_>>()).unwrap()
});

/// Bytes before the data of the first tensor.
static HEADER: LazyLock<usize> =
    LazyLock::new(|| Gguf::from_bytes(MODEL.clone()).unwrap().tensors()[0].offset as usize);

/// Everything that a node does with a file.
fn use_model(bytes: Vec<u8>) -> Result<(), ModelError> {
    let gguf = Gguf::from_bytes(bytes)?;
    let _ = describe(&gguf)?.to_string();
    for tensor in gguf.tensors() {
        let _ = gguf.read_tensor(&tensor.name);
    }
    if let Ok(tokenizer) = Tokenizer::from_gguf(&gguf) {
        let ids = tokenizer.encode("ab ab<s>é", true, true)?;
        let _ = tokenizer.decode(&ids);
    }
    if let Ok(Some(template)) = ChatTemplate::from_gguf(&gguf) {
        let _ = template.render(&[skep_model::Message { role: "user".into(), content: "a".into() }], true);
    }
    let config = ModelConfig::from_gguf(&gguf)?;
    let blocks = BlockRange::new(0, config.n_blocks).map_err(|error| ModelError::Input(error.to_string()))?;
    let span = Span::load(&gguf, blocks)?;
    let mut cache = span.new_cache(blocks, config.context.min(4))?;
    let mut rows = span.embed(&[0])?;
    span.forward(&mut cache, &mut rows)?;
    span.logits(&rows[..config.d_model]).map(drop)
}

/// The largest address space this process ever had, in bytes; `None` where the system does not tell.
fn peak_memory() -> Option<u64> {
    skep_testkit::process_memory("self", "VmPeak")
}

/// Writes the model to the folder that `SKEP_FUZZ_SEEDS` names, if it names one; `tools/fuzz` begins with it.
#[test]
fn the_seed_of_the_fuzzer() {
    assert!(use_model(MODEL.clone()).is_ok());
    if let Some(folder) = std::env::var_os("SKEP_FUZZ_SEEDS") {
        std::fs::write(std::path::Path::new(&folder).join("model"), &*MODEL).unwrap();
    }
}

#[test]
fn the_model_itself_works() {
    use_model(MODEL.clone()).unwrap();
}

#[test]
fn every_truncation_is_refused() {
    for len in 0..MODEL.len() {
        // In the data, the fault is the same at every length; a step keeps the test short.
        if len < *HEADER || len % 61 == 0 || len + 1 == MODEL.len() {
            assert!(Gguf::from_bytes(MODEL[..len].to_vec()).is_err(), "{len} bytes");
        }
    }
}

/// Every byte of the header, and every 64-bit number that may stand anywhere in it.
#[test]
fn no_broken_header_panics_or_takes_memory() {
    use_model(MODEL.clone()).unwrap();
    let before = peak_memory();
    let mut refused = 0;
    for at in 0..*HEADER {
        for value in [0, 1, 0x7f, 0x80, 0xff, MODEL[at] ^ 1, MODEL[at] ^ 0x20] {
            let mut bytes = MODEL.clone();
            bytes[at] = value;
            refused += u32::from(use_model(bytes).is_err());
        }
        for value in [u64::MAX, 1 << 63, (1 << 62) + 1, 1 << 40, 1 << 32, u64::from(u32::MAX), 1 << 22, 65_536] {
            let mut bytes = MODEL.clone();
            let end = (at + 8).min(bytes.len());
            bytes[at..end].copy_from_slice(&value.to_le_bytes()[..end - at]);
            refused += u32::from(use_model(bytes).is_err());
        }
    }
    assert!(refused > 10_000, "most of these files are broken, but only {refused} were refused");
    if let (Some(before), Some(after)) = (before, peak_memory()) {
        // The file has some 60 kB. The test runner's other threads and their arenas need room too.
        assert!(after - before < 1 << 30, "the peak grew by {} bytes", after - before);
    }
}

fn refusal(change: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut bytes = MODEL.clone();
    change(&mut bytes);
    use_model(bytes).unwrap_err().to_string()
}

/// Offset of the dimensions of `name` in the tensor table.
fn entry(name: &str) -> usize {
    let pattern = [&(name.len() as u64).to_le_bytes()[..], name.as_bytes()].concat();
    MODEL.windows(pattern.len()).position(|window| window == pattern).unwrap() + pattern.len()
}

#[test]
fn refusals_name_the_tensor_and_the_reason() {
    let name = "blk.1.attn_q.weight";
    let dims = entry(name) + 4;
    let set = |at: usize, value: u64| refusal(move |bytes| bytes[at..at + 8].copy_from_slice(&value.to_le_bytes()));
    assert!(
        set(dims + 8, u64::MAX).starts_with("tensor blk.1.attn_q.weight: the size of shape"),
        "overflowing product"
    );
    assert!(set(dims + 8, 1 << 40).contains("tensor blk.1.attn_q.weight: its "), "absurd size");
    assert!(set(dims + 20, 1 << 40).contains("reach past the end of the file"), "offset past the end");
    assert!(set(dims + 20, u64::MAX - 31).contains("reach past the end of the file"), "offset that overflows");
    assert!(set(dims + 20, 7).contains("is not a multiple of the alignment 32"));
    assert!(set(dims + 20, 0).contains("overlaps that of"));
    assert!(set(dims, 0).contains("has a dimension of 0"));
    assert_eq!(set(dims + 8, 31), format!("tensor {name}: has shape [31, 32], expected [32, 32]"));
    let renamed = refusal(|bytes| bytes[dims - 5] = b'x');
    assert!(renamed.ends_with("is absent from the file"), "{renamed}");
    let q4 = refusal(|bytes| bytes[entry("blk.0.ffn_down.weight") + 4 + 16] = 3);
    assert_eq!(q4, "quantisation Q4_1 of tensor blk.0.ffn_down.weight is not supported yet");
}

fn refused_metadata(key: &str, value: Value) -> String {
    let mut metadata = metadata();
    metadata.insert(key, value);
    let gguf = Gguf::from_bytes(encode_gguf(&metadata, &[]).unwrap()).unwrap();
    ModelConfig::from_gguf(&gguf).unwrap_err().to_string()
}

#[test]
fn senseless_hyper_parameters_are_refused_by_name() {
    let refused = |key: &str, number: u32, expected: &str| {
        let error = refused_metadata(key, Value::U32(number));
        assert!(error.starts_with(&format!("metadata {key}: ")) && error.contains(expected), "{error}");
    };
    refused("llama.block_count", 0, "is 0, but must be from 1 to 4096");
    refused("llama.block_count", u32::MAX, "is 4294967295");
    refused("llama.attention.head_count", 6, "does not divide");
    refused("llama.attention.head_count_kv", 3, "does not divide");
    refused("llama.rope.dimension_count", 9, "is 9, but must be from 1 to 8");
    refused("llama.rope.dimension_count", 3, "is 3, an odd number");
    refused("llama.attention.value_length", 4, "other than that of keys, 8");
    refused("llama.expert_shared_count", 1, "is not supported yet");
    let experts = refused_metadata("llama.expert_count", Value::U32(8));
    assert_eq!(experts, "metadata llama.expert_used_count: is absent");
    assert_eq!(
        refused_metadata("general.architecture", Value::String("mamba".into())),
        "architecture mamba is not supported yet: this version runs llama, qwen2, qwen3, qwen3moe, gemma, gemma2, gemma3, \
         phi3, bert, vit"
    );
    let key = "llama.rope.scaling.type";
    assert!(refused_metadata(key, Value::String("yarn".into())).contains("is yarn, which is not supported yet"));
    let key = "llama.attention.layer_norm_rms_epsilon";
    assert!(refused_metadata(key, Value::F32(f32::NAN)).contains("is NaN"));
    assert!(refused_metadata(key, Value::U32(1)).contains("is not a float"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn random_damage_never_panics(
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in proptest::option::of((any::<prop::sample::Index>(), 0usize..40)),
    ) {
        let mut bytes = MODEL.clone();
        for (at, value) in damage {
            let len = bytes.len();
            bytes[at.index(len)] = value;
        }
        if let Some((at, n)) = cut {
            let at = at.index(bytes.len());
            bytes.drain(at..(at + n).min(bytes.len()));
        }
        let _ = use_model(bytes);
    }

    #[test]
    fn any_bytes_after_the_magic_are_read_or_refused(version in 2u32..4, bytes: Vec<u8>) {
        let file = [&b"GGUF"[..], &version.to_le_bytes(), &bytes].concat();
        let _ = use_model(file);
    }

    #[test]
    fn any_sentencepiece_vocabulary_encodes_or_is_refused(
        tokens in proptest::collection::vec("[ab▁<>x0-9A-F]{0,6}|.", 1..12),
        types in proptest::collection::vec(-1i32..8, 1..12),
        scores in proptest::collection::vec(any::<f32>(), 1..12),
        text: String,
    ) {
        let mut metadata = Metadata::new();
        let n = tokens.len().min(types.len()).min(scores.len());
        metadata.insert("tokenizer.ggml.model", Value::String("llama".into()));
        metadata.insert("tokenizer.ggml.tokens", Value::Array(Array::String(tokens[..n].to_vec())));
        metadata.insert("tokenizer.ggml.token_type", Value::Array(Array::I32(types[..n].to_vec())));
        metadata.insert("tokenizer.ggml.scores", Value::Array(Array::F32(scores[..n].to_vec())));
        if let Ok(tokenizer) = Tokenizer::from_metadata(&metadata) {
            let ids = tokenizer.encode(&text, true, true).unwrap();
            prop_assert!(ids.iter().all(|id| (*id as usize) < n));
        }
    }

    #[test]
    fn any_template_renders_or_is_refused(source in "(\\{%|%\\}|\\{\\{|\\}\\}|if|for|set|x|messages|in|end|\\||\\+|\\*|9|[ -~]){0,20}") {
        if let Ok(template) = ChatTemplate::new(&source, "<s>", "</s>") {
            let _ = template.render(&[], true);
        }
    }
}
