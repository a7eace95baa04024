//! GGUF, tokenizers, chat templates, the forward pass of a span of blocks, the seeded sampler.

mod config;
mod error;
mod forward;
mod gguf;
mod half;
mod identity;
mod kv;
mod span;
mod tokenizer;
mod write;

pub use config::{Expected, ModelConfig};
pub use error::ModelError;
pub use gguf::{Array, DType, Gguf, Metadata, Tensor, TensorData, TensorInfo, Value};
pub use half::{f16_to_f32, f32_to_f16};
pub use identity::model_id;
pub use kv::KvCache;
pub use span::Span;
pub use tokenizer::{Decoder, MAX_TEXT_BYTES, Tokenizer};
pub use write::{encode_gguf, quantize_q8_0, write_gguf};
