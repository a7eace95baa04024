//! Small random models in any format.

#![allow(dead_code, reason = "each test uses a part")]

use skep_kernels::Format;
use skep_model::{Array, Gguf, Metadata, ModelConfig, Tensor, Value, encode_gguf, quantize_q8_0};

/// Draws of a linear congruential generator.
pub struct Draws(pub u64);

impl Draws {
    /// The next 32 bits.
    pub fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 32) as u32
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() as usize) % n
    }
}

/// Bytes of a matrix whose integers are any and whose scales are small halves.
fn any_blocks(format: Format, elements: usize, draws: &mut Draws) -> Vec<u8> {
    if format == Format::Q8_0 {
        let values: Vec<f32> = (0..elements).map(|_| (draws.next() >> 8) as f32 / 1.6e8 - 0.05).collect();
        return quantize_q8_0(&values).unwrap();
    }
    let mut bytes: Vec<u8> =
        (0..elements / format.block() * format.block_bytes()).map(|_| draws.next() as u8).collect();
    for block in bytes.chunks_exact_mut(format.block_bytes()) {
        let scale = (0x0c00 + (draws.next() & 0x3ff) as u16).to_le_bytes();
        match format {
            // Around 2^-6, of either sign.
            Format::F32 => block[3] = 0x3c | block[3] & 0x80,
            Format::F16 => block[1] = 0x24 | block[1] & 0x83,
            Format::BF16 => block[1] = 0x3c | block[1] & 0x80,
            Format::Q4_0 => block[..2].copy_from_slice(&scale.map(|byte| byte | (byte & 0x0c) << 1)),
            Format::Q6_K => block[208..].copy_from_slice(&[scale[0], 0x00]),
            _ => {
                block[..2].copy_from_slice(&[scale[0], scale[1] & 3 | 4]);
                block[2..4].copy_from_slice(&[scale[1], 0x08]);
            }
        }
    }
    bytes
}

/// A Llama model of `blocks` blocks whose i-th matrix has the format `format(i)`.
pub fn model(blocks: u32, format: impl Fn(usize) -> Format) -> Vec<u8> {
    let mut metadata = Metadata::new();
    metadata.insert("general.architecture", Value::String("llama".into()));
    for (key, value) in [
        ("block_count", blocks),
        ("embedding_length", 256),
        ("attention.head_count", 8),
        ("attention.head_count_kv", 2),
        ("feed_forward_length", 256),
        ("context_length", 512),
    ] {
        metadata.insert(format!("llama.{key}"), Value::U32(value));
    }
    metadata.insert("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5));
    metadata.insert("tokenizer.ggml.tokens", Value::Array(Array::String((0..300).map(|i| format!("t{i}")).collect())));
    let empty = Gguf::from_bytes(encode_gguf(&metadata, &[]).unwrap()).unwrap();
    let config = ModelConfig::from_gguf(&empty).unwrap();
    let mut expected = vec![config.embedding_tensor(), config.head_tensors()[0].clone()];
    (0..config.n_blocks).for_each(|block| expected.extend(config.block_tensors(block)));
    let mut draws = Draws(7);
    let tensor = |(i, (name, shape)): (usize, (String, [usize; 2]))| match shape[0] {
        1 => Tensor::from_f32(&name, shape, &vec![0.75; shape[1]]).unwrap(),
        _ => Tensor::new(&name, shape, format(i), any_blocks(format(i), shape[0] * shape[1], &mut draws)).unwrap(),
    };
    let tensors: Vec<Tensor> = expected.into_iter().enumerate().map(tensor).collect();
    encode_gguf(&metadata, &tensors).unwrap()
}
