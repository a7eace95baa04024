//! A model whose blocks are most of its file, for tests of what is fetched.

#![allow(dead_code, reason = "each test file uses its own part")]

use skep_kernels::Format;
use skep_model::{Array, Metadata, ModelError, Tensor, Value, encode_gguf, quantize_q8_0};

pub const BLOCKS: u32 = 6;
const D_MODEL: usize = 512;
const D_FF: usize = 1536;
const VOCAB: usize = 6000;

/// A Llama of six blocks of 3.6 MB with weights drawn at random, and a vocabulary of 6,000 tokens.
pub fn six_blocks() -> Result<Vec<u8>, ModelError> {
    let mut tensors =
        vec![("token_embd.weight".to_owned(), [VOCAB, D_MODEL]), ("output.weight".into(), [VOCAB, D_MODEL])];
    tensors.push(("output_norm.weight".into(), [1, D_MODEL]));
    for block in 0..BLOCKS {
        for part in ["attn_norm", "ffn_norm"] {
            tensors.push((format!("blk.{block}.{part}.weight"), [1, D_MODEL]));
        }
        for part in ["attn_q", "attn_k", "attn_v", "attn_output"] {
            tensors.push((format!("blk.{block}.{part}.weight"), [D_MODEL, D_MODEL]));
        }
        for (part, shape) in [("gate", [D_FF, D_MODEL]), ("up", [D_FF, D_MODEL]), ("down", [D_MODEL, D_FF])] {
            tensors.push((format!("blk.{block}.ffn_{part}.weight"), shape));
        }
    }
    let mut state = 1u32;
    let tensors = tensors.into_iter().map(|(name, shape)| {
        let mut draw = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 1.6e8 - 0.05
        };
        let values: Vec<f32> = (0..shape[0] * shape[1]).map(|_| draw()).collect();
        match shape[0] {
            1 => Tensor::from_f32(&name, shape, &values),
            _ => Tensor::new(&name, shape, Format::Q8_0, quantize_q8_0(&values)?),
        }
    });
    encode_gguf(&metadata(), &tensors.collect::<Result<Vec<_>, _>>()?)
}

fn metadata() -> Metadata {
    let mut metadata = Metadata::new();
    metadata.insert("general.architecture", Value::String("llama".into()));
    metadata.insert("general.name", Value::String("six blocks".into()));
    let template = "{% for message in messages %}{{ message.content }}{% endfor %}";
    metadata.insert("tokenizer.chat_template", Value::String(template.into()));
    let numbers = [
        ("block_count", BLOCKS),
        ("embedding_length", D_MODEL as u32),
        ("attention.head_count", 8),
        ("attention.head_count_kv", 8),
        ("feed_forward_length", D_FF as u32),
        ("context_length", 512),
    ];
    for (key, number) in numbers {
        metadata.insert(format!("llama.{key}"), Value::U32(number));
    }
    metadata.insert("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5));
    metadata.insert("tokenizer.ggml.model", Value::String("llama".into()));
    let token = |i: usize| match i {
        0 => ("<unk>".to_owned(), 2),
        1 => ("<s>".into(), 3),
        2 => ("</s>".into(), 3),
        3..259 => (format!("<0x{:02X}>", i - 3), 6),
        _ => (format!("token{i}"), 1),
    };
    let tokens = (0..VOCAB).map(|i| token(i).0).collect();
    metadata.insert("tokenizer.ggml.tokens", Value::Array(Array::String(tokens)));
    metadata.insert("tokenizer.ggml.scores", Value::Array(Array::F32(vec![0.0; VOCAB])));
    metadata.insert("tokenizer.ggml.token_type", Value::Array(Array::I32((0..VOCAB).map(|i| token(i).1).collect())));
    metadata.insert("tokenizer.ggml.bos_token_id", Value::U32(1));
    metadata.insert("tokenizer.ggml.eos_token_id", Value::U32(2));
    metadata
}
