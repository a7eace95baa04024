//! The hyper-parameters of a model, and the names and shapes of the tensors that follow from them.
//!
//! One architecture is known: `llama` (RMSNorm, rotary positions on interleaved pairs, grouped-query attention, SwiGLU).

use crate::{Gguf, Metadata, ModelError};

/// The hyper-parameters of a Llama model, checked for sanity.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// `general.name`, or `unnamed`.
    pub name: String,
    /// Number of transformer blocks.
    pub n_blocks: u32,
    /// Length of a row of activations.
    pub d_model: usize,
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads; divides `n_heads`.
    pub n_kv_heads: usize,
    /// Length of one head; even.
    pub head_dim: usize,
    /// Hidden length of the feed-forward network.
    pub d_ff: usize,
    /// Number of token ids.
    pub vocab: usize,
    /// Most positions the model was made for.
    pub context: usize,
    /// Added to the mean square in RMSNorm.
    pub rms_eps: f32,
    /// Base of the rotary frequencies.
    pub rope_theta: f32,
    /// Divisors of the `head_dim / 2` rotary frequencies (Llama 3.1 and later); empty when the file has none.
    pub rope_factors: Vec<f32>,
    /// Whether the output matrix is the embedding (the file has no `output.weight`).
    pub tied_head: bool,
}

/// Name and `[rows, cols]` of a tensor that a model must have.
pub type Expected = (String, [usize; 2]);

impl ModelConfig {
    /// Reads and checks the hyper-parameters of `gguf`. The tensors' own shapes are checked when they are loaded,
    /// against [`ModelConfig::block_tensors`].
    ///
    /// # Errors
    /// [`ModelError::Architecture`] for a family other than `llama`, [`ModelError::Metadata`] for a value that is
    /// absent, out of bounds or asks for something this version does not compute, [`ModelError::Tensor`] for a
    /// malformed `rope_freqs.weight`.
    pub fn from_gguf(gguf: &Gguf) -> Result<Self, ModelError> {
        let metadata = gguf.metadata();
        let architecture = metadata
            .text("general.architecture")?
            .ok_or_else(|| ModelError::metadata("general.architecture", "is absent"))?;
        if architecture != "llama" {
            return Err(ModelError::Architecture(architecture.to_owned()));
        }
        refuse_variants(metadata)?;
        let d_model = size(metadata, "llama.embedding_length", 1, 1 << 16, None)?;
        let n_heads = size(metadata, "llama.attention.head_count", 1, 1 << 12, None)?;
        let n_kv_heads = size(metadata, "llama.attention.head_count_kv", 1, 1 << 12, Some(n_heads))?;
        if !n_heads.is_multiple_of(n_kv_heads) {
            let reason = format!("is {n_kv_heads}, which does not divide the {n_heads} query heads");
            return Err(ModelError::metadata("llama.attention.head_count_kv", reason));
        }
        let head_dim = head_dim(metadata, d_model, n_heads)?;
        let config = Self {
            name: metadata.text("general.name")?.unwrap_or("unnamed").to_owned(),
            n_blocks: size(metadata, "llama.block_count", 1, 1 << 12, None)? as u32,
            d_model,
            n_heads,
            n_kv_heads,
            head_dim,
            d_ff: size(metadata, "llama.feed_forward_length", 1, 1 << 20, None)?,
            vocab: vocab(gguf)?,
            context: size(metadata, "llama.context_length", 1, 1 << 24, None)?,
            rms_eps: float(metadata, "llama.attention.layer_norm_rms_epsilon", 1e-12..=1e-1, None)?,
            rope_theta: float(metadata, "llama.rope.freq_base", 1.0..=1e12, Some(10_000.0))?,
            rope_factors: rope_factors(gguf, head_dim)?,
            tied_head: gguf.tensor("output.weight").is_none(),
        };
        Ok(config)
    }

    /// Length of a row of keys or of values: `n_kv_heads * head_dim`.
    pub fn d_kv(&self) -> usize {
        self.n_kv_heads * self.head_dim
    }

    /// Tensors of block `block`: attention norm, q, k, v, output, feed-forward norm, gate, up, down.
    pub fn block_tensors(&self, block: u32) -> [Expected; 9] {
        let d_q = self.n_heads * self.head_dim;
        let name = |part: &str| format!("blk.{block}.{part}.weight");
        [
            (name("attn_norm"), [1, self.d_model]),
            (name("attn_q"), [d_q, self.d_model]),
            (name("attn_k"), [self.d_kv(), self.d_model]),
            (name("attn_v"), [self.d_kv(), self.d_model]),
            (name("attn_output"), [self.d_model, d_q]),
            (name("ffn_norm"), [1, self.d_model]),
            (name("ffn_gate"), [self.d_ff, self.d_model]),
            (name("ffn_up"), [self.d_ff, self.d_model]),
            (name("ffn_down"), [self.d_model, self.d_ff]),
        ]
    }

    /// The embedding: one row a token.
    pub fn embedding_tensor(&self) -> Expected {
        ("token_embd.weight".into(), [self.vocab, self.d_model])
    }

    /// Final norm and output matrix; the latter is the embedding when [`ModelConfig::tied_head`] is set.
    pub fn head_tensors(&self) -> [Expected; 2] {
        let head = if self.tied_head { "token_embd.weight" } else { "output.weight" };
        [("output_norm.weight".into(), [1, self.d_model]), (head.into(), [self.vocab, self.d_model])]
    }

    /// Reads one expected tensor and checks its shape.
    ///
    /// # Errors
    /// As [`Gguf::read_tensor`], and [`ModelError::Tensor`] when its shape is not the expected one.
    pub fn read(gguf: &Gguf, (name, shape): &Expected) -> Result<crate::Tensor, ModelError> {
        let info = gguf.tensor(name).ok_or_else(|| ModelError::tensor(name, "is absent from the file"))?;
        let found = info.matrix_shape()?;
        if found != *shape {
            return Err(ModelError::tensor(name, format!("has shape {found:?}, expected {shape:?}")));
        }
        gguf.read_tensor(name)
    }

    /// Checks the whole tensor table without reading data: every expected tensor is there with its shape and a
    /// supported type, and no other tensor is (an unknown one, such as a bias, would change the results).
    ///
    /// # Errors
    /// [`ModelError::Tensor`] or [`ModelError::Quantisation`] for the first offender.
    pub fn check_tensors(&self, gguf: &Gguf) -> Result<(), ModelError> {
        let mut expected = std::collections::BTreeMap::from([self.embedding_tensor()]);
        expected.extend(self.head_tensors());
        for block in 0..self.n_blocks {
            // A hostile block count must not make this list longer than the file's own table.
            if expected.len() > gguf.tensors().len() {
                break;
            }
            expected.extend(self.block_tensors(block));
        }
        for (name, shape) in &expected {
            let info = gguf.tensor(name).ok_or_else(|| ModelError::tensor(name, "is absent from the file"))?;
            let found = info.matrix_shape()?;
            if found != *shape {
                return Err(ModelError::tensor(name, format!("has shape {found:?}, expected {shape:?}")));
            }
            if !info.dtype.is_supported() {
                return Err(ModelError::Quantisation { name: name.clone(), kind: info.dtype.name() });
            }
        }
        let unknown =
            gguf.tensors().iter().find(|info| !expected.contains_key(&info.name) && info.name != ROPE_FACTORS);
        unknown.map_or(Ok(()), |info| Err(ModelError::tensor(&info.name, "is not a part of a llama model")))
    }
}

const ROPE_FACTORS: &str = "rope_freqs.weight";

/// Refuses metadata that changes the computation in a way this version does not know.
fn refuse_variants(metadata: &Metadata) -> Result<(), ModelError> {
    for key in ["llama.expert_count", "llama.expert_used_count", "llama.attention.sliding_window"] {
        if metadata.integer(key)?.is_some_and(|n| n != 0) {
            return Err(ModelError::metadata(key, "is not supported yet"));
        }
    }
    for key in ["llama.attention.clamp_kqv", "llama.attention.max_alibi_bias", "llama.logit_scale"] {
        if metadata.float(key)?.is_some_and(|x| x != 0.0) {
            return Err(ModelError::metadata(key, "is not supported yet"));
        }
    }
    let key = "llama.rope.scaling.type";
    match metadata.text(key)? {
        None | Some("none") => {}
        Some(other) => return Err(ModelError::metadata(key, format!("is {other}, which is not supported yet"))),
    }
    let key = "llama.rope.scale_linear";
    match metadata.float(key)? {
        None | Some(1.0) => Ok(()),
        Some(other) => Err(ModelError::metadata(key, format!("is {other}, which is not supported yet"))),
    }
}

fn size(metadata: &Metadata, key: &str, least: u64, most: u64, default: Option<usize>) -> Result<usize, ModelError> {
    match (metadata.integer(key)?, default) {
        (Some(n), _) if (least..=most).contains(&n) => Ok(n as usize),
        (Some(n), _) => Err(ModelError::metadata(key, format!("is {n}, but must be from {least} to {most}"))),
        (None, Some(default)) => Ok(default),
        (None, None) => Err(ModelError::metadata(key, "is absent")),
    }
}

fn float(
    metadata: &Metadata,
    key: &str,
    range: std::ops::RangeInclusive<f32>,
    default: Option<f32>,
) -> Result<f32, ModelError> {
    let value = metadata.float(key)?.or(default).ok_or_else(|| ModelError::metadata(key, "is absent"))?;
    if range.contains(&value) {
        return Ok(value);
    }
    let reason = format!("is {value}, but must be from {:e} to {:e}", range.start(), range.end());
    Err(ModelError::metadata(key, reason))
}

fn head_dim(metadata: &Metadata, d_model: usize, n_heads: usize) -> Result<usize, ModelError> {
    let key = "llama.attention.key_length";
    let default = d_model.is_multiple_of(n_heads).then_some(d_model / n_heads);
    if metadata.get(key).is_none() && default.is_none() {
        let reason = format!("is {n_heads}, which does not divide the embedding length {d_model}");
        return Err(ModelError::metadata("llama.attention.head_count", reason));
    }
    let head_dim = size(metadata, key, 2, 1 << 12, default)?;
    if head_dim % 2 != 0 {
        return Err(ModelError::metadata(
            "llama.attention.head_count",
            format!("gives heads of odd length {head_dim}"),
        ));
    }
    for key in ["llama.attention.value_length", "llama.rope.dimension_count"] {
        let other = size(metadata, key, 0, 1 << 12, Some(head_dim))?;
        if other != head_dim {
            let reason = format!("is {other}, other than the head length {head_dim}, which is not supported yet");
            return Err(ModelError::metadata(key, reason));
        }
    }
    Ok(head_dim)
}

fn vocab(gguf: &Gguf) -> Result<usize, ModelError> {
    let rows = gguf.tensor("token_embd.weight").map(|info| info.matrix_shape()).transpose()?.map(|[rows, _]| rows);
    let tokens = gguf.metadata().texts("tokenizer.ggml.tokens")?.map(<[String]>::len);
    let key = "llama.vocab_size";
    let vocab = size(gguf.metadata(), key, 1, 1 << 22, rows.or(tokens))?;
    if rows.is_some_and(|rows| rows != vocab) {
        return Err(ModelError::metadata(key, format!("is {vocab}, but the embedding has {} rows", rows.unwrap_or(0))));
    }
    Ok(vocab)
}

fn rope_factors(gguf: &Gguf, head_dim: usize) -> Result<Vec<f32>, ModelError> {
    if gguf.tensor(ROPE_FACTORS).is_none() {
        return Ok(Vec::new());
    }
    let factors = ModelConfig::read(gguf, &(ROPE_FACTORS.to_owned(), [1, head_dim / 2]))?.to_f32();
    if factors.iter().any(|factor| *factor <= 0.0) {
        return Err(ModelError::tensor(ROPE_FACTORS, "holds a factor that is not positive"));
    }
    Ok(factors)
}
