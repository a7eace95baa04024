//! Models with weights drawn at random: what is fetched and sent depends on their shape only.

#![allow(dead_code, reason = "each test file uses its own part")]

use skep_kernels::Format;
use skep_model::{Array, Metadata, ModelError, Tensor, Value, encode_gguf, quantize_q8_0};

pub const BLOCKS: u32 = 6;
const VOCAB: usize = 6000;

/// The shape of a Llama.
pub struct Shape {
    pub blocks: u32,
    /// Values of a row between blocks, of 4 bytes each.
    pub width: usize,
    pub hidden: usize,
}

/// A model whose six blocks of 3.6 MB are most of its file, and a vocabulary of 6,000 tokens.
pub fn six_blocks() -> Result<Vec<u8>, ModelError> {
    random(&Shape { blocks: BLOCKS, width: 512, hidden: 1536 })
}

/// A model of this shape, with a vocabulary of 6,000 tokens.
pub fn random(shape: &Shape) -> Result<Vec<u8>, ModelError> {
    let Shape { blocks, width, hidden } = *shape;
    let mut tensors = vec![("token_embd.weight".to_owned(), [VOCAB, width]), ("output.weight".into(), [VOCAB, width])];
    tensors.push(("output_norm.weight".into(), [1, width]));
    for block in 0..blocks {
        for part in ["attn_norm", "ffn_norm"] {
            tensors.push((format!("blk.{block}.{part}.weight"), [1, width]));
        }
        for part in ["attn_q", "attn_k", "attn_v", "attn_output"] {
            tensors.push((format!("blk.{block}.{part}.weight"), [width, width]));
        }
        for (part, shape) in [("gate", [hidden, width]), ("up", [hidden, width]), ("down", [width, hidden])] {
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
    encode_gguf(&metadata(shape), &tensors.collect::<Result<Vec<_>, _>>()?)
}

fn metadata(shape: &Shape) -> Metadata {
    let mut metadata = Metadata::new();
    let name = if shape.blocks == BLOCKS { "six blocks".to_owned() } else { format!("{} random blocks", shape.blocks) };
    metadata.insert("general.architecture", Value::String("llama".into()));
    metadata.insert("general.name", Value::String(name));
    let template = "{% for message in messages %}{{ message.content }}{% endfor %}";
    metadata.insert("tokenizer.chat_template", Value::String(template.into()));
    let numbers = [
        ("block_count", shape.blocks),
        ("embedding_length", shape.width as u32),
        ("attention.head_count", 8),
        ("attention.head_count_kv", 8),
        ("feed_forward_length", shape.hidden as u32),
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
