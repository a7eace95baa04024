//! GGUF, tokenizers, chat templates, the forward pass of a span of blocks, the seeded sampler.

mod block;
mod config;
mod digest;
mod ends;
mod error;
mod forward;
mod gguf;
mod identity;
mod inspect;
mod kv;
mod memory;
mod purpose;
mod sampler;
mod span;
mod template;
mod tokenizer;
mod vision;
mod write;

pub use config::{
    BiasedParts, Biases, Expected, ExpertCount, Experts, FAMILIES, Family, Makes, ModelConfig, NormKind, NormPlaces,
    Pooling, Reads, Rope, RopePairs, Windows, byte_ranges,
};
pub use digest::logits_digest;
pub use error::ModelError;
pub use gguf::{Array, DType, Gguf, Metadata, Tensor, TensorInfo, Value};
pub use identity::model_id;
pub use inspect::{ModelDescription, Shape, Share, TensorDescription, TokenizerDescription, describe};
pub use kv::{KvCache, Page};
pub use purpose::Purpose;
pub use sampler::{Candidate, SamplingParams, top_candidates};
pub use span::{BatchItem, PASS_ROWS, Span, SpanOptions};
pub use template::{ChatTemplate, Message};
pub use tokenizer::{Decoder, MAX_TEXT_BYTES, Tokenizer};
pub use vision::{MAX_PIXELS, MAX_SIDE, Picture, Vision};
pub use write::{encode_gguf, quantize_q8_0, write_gguf};
