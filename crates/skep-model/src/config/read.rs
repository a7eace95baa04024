//! Reads and bounds the numbers of a model's metadata, whose keys begin with the architecture.

use super::family::{Experts, Family, Makes, NormKind, Reads, RopePairs, Windows};
use super::{ExpertCount, ModelConfig, Pooling, Rope};
use crate::{Array, Gguf, Metadata, ModelError, Value, Vision};
use std::ops::RangeInclusive;

/// The metadata of one model under its architecture's prefix.
pub(super) struct Keys<'a> {
    pub(super) metadata: &'a Metadata,
    pub(super) family: &'static Family,
}

impl Keys<'_> {
    pub(super) fn key(&self, key: &str) -> String {
        format!("{}.{key}", self.family.architecture)
    }

    pub(super) fn fault(&self, key: &str, reason: impl Into<String>) -> ModelError {
        ModelError::metadata(&self.key(key), reason)
    }

    pub(super) fn integer(&self, key: &str) -> Result<Option<u64>, ModelError> {
        self.metadata.integer(&self.key(key))
    }

    pub(super) fn size(&self, key: &str, most: u64, default: Option<usize>) -> Result<usize, ModelError> {
        match (self.integer(key)?, default) {
            (Some(n), _) if (1..=most).contains(&n) => Ok(n as usize),
            (Some(n), _) => Err(self.fault(key, format!("is {n}, but must be from 1 to {most}"))),
            (None, Some(default)) => Ok(default),
            (None, None) => Err(self.fault(key, "is absent")),
        }
    }

    pub(super) fn n_blocks(&self) -> Result<usize, ModelError> {
        self.size("block_count", 1 << 12, None)
    }

    pub(super) fn float(&self, key: &str, range: RangeInclusive<f32>) -> Result<Option<f32>, ModelError> {
        match self.metadata.float(&self.key(key))? {
            Some(value) if !range.contains(&value) => {
                let reason = format!("is {value}, but must be from {:e} to {:e}", range.start(), range.end());
                Err(self.fault(key, reason))
            }
            value => Ok(value),
        }
    }

    /// Caps of scores and of logits; 0 is none.
    pub(super) fn caps(&self) -> Result<[Option<f32>; 2], ModelError> {
        let read = |key, default| Ok(self.float(key, 0.0..=1e6)?.or(default).filter(|cap| *cap > 0.0));
        let [scores, logits] = self.family.caps;
        Ok([read("attn_logit_softcapping", scores)?, read("final_logit_softcapping", logits)?])
    }

    pub(super) fn norm_eps(&self) -> Result<f32, ModelError> {
        let key = match self.family.norm {
            NormKind::Rms => "attention.layer_norm_rms_epsilon",
            NormKind::Layer => "attention.layer_norm_epsilon",
        };
        self.float(key, 1e-12..=1e-1)?.ok_or_else(|| self.fault(key, "is absent"))
    }

    /// Refuses metadata that changes the computation in a way this version does not know.
    pub(super) fn refuse_variants(&self) -> Result<(), ModelError> {
        let key = "attention.causal";
        if self.metadata.boolean(&self.key(key))?.is_some_and(|causal| causal != self.family.causal) {
            return Err(
                self.fault(key, format!("is {}, other than in {} models", !self.family.causal, self.family.name))
            );
        }
        if self.metadata.boolean(&self.key("expert_weights_norm"))? == Some(false) {
            return Err(self.fault("expert_weights_norm", "is false, which is not supported yet"));
        }
        for (key, plain) in [("expert_shared_count", 0), ("leading_dense_block_count", 0), ("expert_gating_func", 1)] {
            if self.integer(key)?.is_some_and(|n| n != 0 && n != plain) {
                return Err(self.fault(key, "is not supported yet"));
            }
        }
        for key in ["attention.clamp_kqv", "attention.max_alibi_bias", "attention.scale"] {
            if self.float(key, f32::MIN..=f32::MAX)?.is_some_and(|x| x != 0.0) {
                return Err(self.fault(key, "is not supported yet"));
            }
        }
        for key in ["logit_scale", "residual_scale", "embedding_scale", "expert_weights_scale", "rope.scale_linear"] {
            match self.float(key, f32::MIN..=f32::MAX)? {
                None | Some(0.0 | 1.0) => {}
                Some(other) => return Err(self.fault(key, format!("is {other}, which is not supported yet"))),
            }
        }
        Ok(())
    }

    pub(super) fn head_dim(&self, d_model: usize, n_heads: usize) -> Result<usize, ModelError> {
        let key = "attention.key_length";
        let default = d_model.is_multiple_of(n_heads).then_some(d_model / n_heads);
        if self.integer(key)?.is_none() && default.is_none() {
            let reason = format!("is {n_heads}, which does not divide the embedding length {d_model}");
            return Err(self.fault("attention.head_count", reason));
        }
        let head_dim = self.size(key, 1 << 12, default)?;
        if head_dim % 2 != 0 {
            return Err(self.fault("attention.head_count", format!("gives heads of odd length {head_dim}")));
        }
        let key = "attention.value_length";
        match self.size(key, 1 << 12, Some(head_dim))? {
            n if n == head_dim => Ok(head_dim),
            n => {
                Err(self.fault(key, format!("is {n}, other than that of keys, {head_dim}, which is not supported yet")))
            }
        }
    }

    /// Which blocks have a window, and how long it is.
    pub(super) fn windows(&self, n_blocks: usize) -> Result<(Option<usize>, Vec<bool>), ModelError> {
        let (key, pattern) = ("attention.sliding_window", "attention.sliding_window_pattern");
        let window = match (self.integer(key)?, self.family.window) {
            (None, None) | (Some(0), _) => return Ok((None, vec![false; n_blocks])),
            (_, default) => self.size(key, 1 << 24, default)?,
        };
        let every = match (self.family.windows, self.metadata.get(&self.key(pattern))) {
            (Windows::Never, _) => return Err(self.fault(key, "is not supported yet")),
            (_, Some(Value::Array(Array::Bool(blocks)))) if blocks.len() == n_blocks => {
                return Ok((Some(window), blocks.clone()));
            }
            (_, Some(Value::Array(_))) => return Err(self.fault(pattern, "is not one truth value a block")),
            (Windows::AllButEvery(n), None) => n as usize,
            (Windows::All, None) => return Ok((Some(window), vec![true; n_blocks])),
            (_, Some(_)) => self.size(pattern, 1 << 12, None)?,
        };
        Ok((Some(window), (0..n_blocks).map(|block| block % every != every - 1).collect()))
    }

    pub(super) fn experts(&self) -> Result<Option<ExpertCount>, ModelError> {
        let key = "expert_count";
        let count = match (self.integer(key)?, self.family.experts) {
            (None | Some(0), Experts::Never | Experts::Optional) => return Ok(None),
            (Some(_), Experts::Never) => return Err(self.fault(key, "is not supported yet")),
            _ => self.size(key, 1 << 12, None)?,
        };
        let key = "expert_used_count";
        let used = self.size(key, count as u64, None)?;
        Ok(Some(ExpertCount { count, used }))
    }

    /// The rotations of blocks without a window and of those with one.
    pub(super) fn ropes(&self, gguf: &Gguf, head_dim: usize) -> Result<Option<[Rope; 2]>, ModelError> {
        if self.family.rope == RopePairs::None {
            return Ok(None);
        }
        let key = "rope.dimension_count";
        let dims = self.size(key, head_dim as u64, Some(head_dim))?;
        if dims % 2 != 0 {
            return Err(self.fault(key, format!("is {dims}, an odd number")));
        }
        let theta = self.float("rope.freq_base", 1.0..=1e12)?;
        let local_theta = self.float("rope.freq_base_swa", 1.0..=1e12)?;
        let (factors, magnitude) = self.factors(gguf, dims)?;
        let global = Rope { dims, theta: theta.unwrap_or(self.family.theta), factors, magnitude };
        let local = match local_theta.or(self.family.local_theta) {
            None => global.clone(),
            // What stretches the positions of a long text is not for a window.
            Some(theta) => Rope { dims, theta, factors: Vec::new(), magnitude: 1.0 },
        };
        Ok(Some([global, local]))
    }

    /// Divisors of the frequencies, empty for none, and the magnitude of the rotations.
    fn factors(&self, gguf: &Gguf, dims: usize) -> Result<(Vec<f32>, f32), ModelError> {
        let key = "rope.scaling.type";
        let kind = self.metadata.text(&self.key(key))?;
        match kind {
            None | Some("none" | "linear" | "longrope") => {}
            Some(other) => return Err(self.fault(key, format!("is {other}, which is not supported yet"))),
        }
        let read = |name: &str| -> Result<Option<Vec<f32>>, ModelError> {
            if gguf.tensor(name).is_none() {
                return Ok(None);
            }
            let factors = ModelConfig::read(gguf, &(name.to_owned(), [1, dims / 2]))?.to_f32()?;
            match factors.iter().all(|factor| *factor > 0.0) {
                true => Ok(Some(factors)),
                false => Err(ModelError::tensor(name, "holds a factor that is not positive")),
            }
        };
        let linear = self.float("rope.scaling.factor", 0.0..=1e6)?.filter(|n| *n > 0.0 && kind != Some("none"));
        let tensor = read(super::ROPE_FACTORS)?.or(read(super::ROPE_FACTORS_SHORT)?);
        let factors = match (tensor, linear) {
            (Some(factors), None | Some(1.0)) => factors,
            (None, Some(linear)) if linear != 1.0 => vec![linear; dims / 2],
            (None, _) => Vec::new(),
            (Some(_), Some(_)) => return Err(self.fault("rope.scaling.factor", "stands beside a tensor of factors")),
        };
        let magnitude = self.float("rope.scaling.attn_factor", 1e-3..=1e3)?.unwrap_or(1.0);
        Ok((factors, magnitude))
    }

    /// The positions that the model runs to. Where it has other frequencies for long texts, only the range of the short ones:
    /// which ones to use must not depend on how long a text will become.
    pub(super) fn context(&self, gguf: &Gguf) -> Result<usize, ModelError> {
        let context = self.size("context_length", 1 << 24, None)?;
        match gguf.tensor(super::ROPE_FACTORS_SHORT) {
            None => Ok(context),
            Some(_) => Ok(context.min(self.size("rope.scaling.original_context_length", 1 << 24, Some(context))?)),
        }
    }

    pub(super) fn token_types(&self) -> Result<usize, ModelError> {
        // The key has the tokenizer's prefix.
        let key = "tokenizer.ggml.token_type_count";
        match (self.family.reads, self.metadata.integer(key)?) {
            (Reads::PlacedTokens, None) => Ok(1),
            (Reads::PlacedTokens, Some(n)) if (1..=1 << 10).contains(&n) => Ok(n as usize),
            (Reads::PlacedTokens, Some(n)) => {
                Err(ModelError::metadata(key, format!("is {n}, but must be from 1 to 1024")))
            }
            _ => Ok(0),
        }
    }

    pub(super) fn vision(&self) -> Result<Option<Vision>, ModelError> {
        if self.family.reads != Reads::Patches {
            return Ok(None);
        }
        let vision = Vision::read(self.metadata)?;
        match self.integer("context_length")? {
            Some(n) if n == vision.positions() as u64 => Ok(Some(vision)),
            _ => Err(self.fault("context_length", format!("is not {}, the patches and one", vision.positions()))),
        }
    }

    pub(super) fn pooling(&self) -> Result<Pooling, ModelError> {
        let key = "pooling_type";
        match (self.family.makes, self.integer(key)?) {
            (Makes::Logits, None | Some(0)) => Ok(Pooling::First),
            (Makes::Embedding, Some(1)) => Ok(Pooling::Mean),
            (Makes::Embedding | Makes::Classes, Some(2)) => Ok(Pooling::First),
            (_, Some(n)) => Err(self.fault(key, format!("is {n}, which is not supported yet"))),
            (_, None) => Err(self.fault(key, "is absent")),
        }
    }

    pub(super) fn vocab(&self, gguf: &Gguf) -> Result<usize, ModelError> {
        if self.family.reads == Reads::Patches {
            return Ok(0);
        }
        let rows = gguf.tensor("token_embd.weight").map(|info| info.matrix_shape()).transpose()?.map(|[rows, _]| rows);
        let tokens = gguf.metadata().texts("tokenizer.ggml.tokens")?.map(<[String]>::len);
        let key = "vocab_size";
        let vocab = self.size(key, 1 << 22, rows.or(tokens))?;
        match rows {
            Some(rows) if rows != vocab => {
                Err(self.fault(key, format!("is {vocab}, but the embedding has {rows} rows")))
            }
            _ => Ok(vocab),
        }
    }
}
