//! The description of files that run and of files that do not.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use skep_model::{Gguf, Metadata, Tensor, Value, describe, encode_gguf, model_id};
use skep_testkit::shared_data;

#[test]
fn a_real_model_is_described() {
    let Some(path) = shared_data("llm/stories3M/stories3M-q8_0.gguf") else { return };
    let description = describe(&Gguf::open(&path).unwrap()).unwrap();
    assert_eq!(description.id, model_id(&path).unwrap());
    assert_eq!(description.refusal, None);
    let shape = description.shape.clone().unwrap();
    assert_eq!((shape.n_blocks, shape.d_model, shape.n_heads, shape.n_kv_heads), (6, 192, 6, 2));
    assert_eq!((shape.d_ff, shape.vocab, shape.context, shape.tied_head), (512, 4096, 512, true));
    let tokenizer = description.tokenizer.clone().unwrap();
    assert_eq!(
        (tokenizer.kind, tokenizer.bos.as_deref(), tokenizer.eos.as_deref()),
        ("llama", Some("<s>"), Some("</s>"))
    );
    assert_eq!((description.blocks.len(), description.tensors.len()), (6, 56));
    let total: u64 = description.blocks.values().map(|share| share.bytes).sum();
    let by_type: u64 = description.quantisations.values().map(|share| share.bytes).sum();
    assert_eq!(total + description.outside_blocks.bytes, by_type);
    assert_eq!(description.quantisations.keys().copied().collect::<Vec<_>>(), ["F32", "Q8_0"]);
    let json = serde_json::to_value(&description).unwrap();
    assert_eq!(json["tensors"][0]["shape"], serde_json::json!([4096, 192]));
    assert_eq!(json["tensors"][0]["type"], "Q8_0");
    assert_eq!(json["blocks"]["5"]["tensors"], 9);
    let text = description.to_string();
    assert!(text.contains("blocks        6, of 192 activations and 512 hidden\n"), "{text}");
    assert!(text.contains("runs here     yes\n"), "{text}");
}

#[test]
fn a_model_that_does_not_run_is_described_with_the_reason() {
    let mut metadata = Metadata::new();
    metadata.insert("general.architecture", Value::String("mamba\u{1b}[31m".into()));
    let tensor = Tensor::from_f32("blk.7.x", [1, 2], &[1.0, 2.0]).unwrap();
    let description = describe(&Gguf::from_bytes(encode_gguf(&metadata, &[tensor]).unwrap()).unwrap()).unwrap();
    let refusal = description.refusal.clone().unwrap();
    assert!(refusal.contains("is not supported yet: this version runs llama, "), "{refusal}");
    assert_eq!(description.shape, None);
    assert_eq!(description.blocks[&7].bytes, 8);
    let text = description.to_string();
    assert!(text.contains("runs here     no: architecture mamba"), "{text}");
    assert!(!text.contains('\u{1b}'), "a hostile name must not drive the terminal");
}
