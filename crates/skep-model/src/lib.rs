//! GGUF, tokenizers, chat templates, the forward pass of a span of blocks, the seeded sampler.

mod config;
mod error;
mod forward;
mod gguf;
mod identity;
mod inspect;
mod kv;
mod sampler;
mod span;
mod template;
mod tokenizer;
mod write;

pub use config::{Expected, ModelConfig};
pub use error::ModelError;
pub use gguf::{Array, DType, Gguf, Metadata, Tensor, TensorData, TensorInfo, Value};
pub use identity::model_id;
pub use inspect::{ModelDescription, Shape, Share, TensorDescription, TokenizerDescription, describe};
pub use kv::KvCache;
pub use sampler::{Candidate, SamplingParams, top_candidates};
pub use span::Span;
pub use template::{ChatTemplate, Message};
pub use tokenizer::{Decoder, MAX_TEXT_BYTES, Tokenizer};
pub use write::{encode_gguf, quantize_q8_0, write_gguf};
