//! The hyper-parameters of a model, and the names and shapes of the tensors that follow from them.

mod family;
mod ranges;
mod read;

pub(crate) use family::architectures;
pub use family::{Biases, Experts, FAMILIES, Family, Makes, NormKind, NormPlaces, Reads, RopePairs, Windows};

pub use ranges::byte_ranges;

use crate::{Gguf, ModelError, Vision};
use read::Keys;

/// The hyper-parameters of a model, checked for sanity.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// `general.name`, or `unnamed`.
    pub name: String,
    /// What the model has in common with all of its architecture.
    pub family: &'static Family,
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
    /// Hidden length of the feed-forward network, of one expert where there are experts.
    pub d_ff: usize,
    /// How many experts there are; `None` for a feed-forward network without experts.
    pub experts: Option<ExpertCount>,
    /// Number of token ids; 0 if the model reads none.
    pub vocab: usize,
    /// Number of token types; 0 where tokens have none.
    pub token_types: usize,
    /// How a picture is read; `None` if the model reads tokens.
    pub vision: Option<Vision>,
    /// How the rows of a text become one.
    pub pooling: Pooling,
    /// Most positions the model runs to.
    pub context: usize,
    /// Added to the mean square in norms.
    pub norm_eps: f32,
    /// Factor of attention scores.
    pub attention_scale: f32,
    /// Cap of attention scores.
    pub attention_cap: Option<f32>,
    /// Cap of logits.
    pub logit_cap: Option<f32>,
    /// How positions turn queries and keys; `None` where they do not.
    pub rope: Option<Rope>,
    /// The same in blocks that have a window.
    pub local_rope: Option<Rope>,
    /// How many positions a row sees in those blocks, itself counted.
    pub window: Option<usize>,
    /// Which blocks have a window.
    pub windowed: Vec<bool>,
    /// Which matrices of each block have a bias.
    pub biases: BiasedParts,
    /// Whether the output matrix is the embedding (the file has no `output.weight`).
    pub tied_head: bool,
}

/// How the rows of a whole text become one, where a vector is made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// Their mean.
    Mean,
    /// The first row.
    First,
}

/// A mixture of experts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpertCount {
    /// Experts of each block.
    pub count: usize,
    /// How many of them a row goes through.
    pub used: usize,
}

/// Rotary positions.
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// Elements of a head that turn, from the first; even.
    pub dims: usize,
    /// Base of the frequencies.
    pub theta: f32,
    /// Divisors of the `dims / 2` frequencies; empty for none.
    pub factors: Vec<f32>,
    /// Factor of all cosines and sines.
    pub magnitude: f32,
}

/// Which matrices of every block have a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BiasedParts {
    /// Query, key and value.
    pub qkv: bool,
    /// The output of attention.
    pub output: bool,
    /// The feed-forward network's.
    pub ffn: bool,
}

/// Name and `[rows, cols]` of a tensor that a model must have.
pub type Expected = (String, [usize; 2]);

const ROPE_FACTORS: &str = "rope_freqs.weight";
const ROPE_FACTORS_SHORT: &str = "rope_factors_short.weight";
const ROPE_FACTORS_LONG: &str = "rope_factors_long.weight";

impl ModelConfig {
    /// Reads and checks the hyper-parameters of `gguf`. The tensors' own shapes are checked when they are loaded,
    /// against [`ModelConfig::block_tensors`].
    ///
    /// # Errors
    /// [`ModelError::Architecture`] for a family other than [`FAMILIES`], [`ModelError::Metadata`] for a value that is
    /// absent, out of bounds or asks for something this version does not compute, [`ModelError::Tensor`] for a
    /// malformed tensor of rotary factors.
    pub fn from_gguf(gguf: &Gguf) -> Result<Self, ModelError> {
        let metadata = gguf.metadata();
        let architecture = metadata
            .text("general.architecture")?
            .ok_or_else(|| ModelError::metadata("general.architecture", "is absent"))?;
        let family = Family::of(architecture).ok_or_else(|| ModelError::Architecture(architecture.to_owned()))?;
        let keys = Keys { metadata, family };
        keys.refuse_variants()?;
        let d_model = keys.size("embedding_length", 1 << 16, None)?;
        let n_heads = keys.size("attention.head_count", 1 << 12, None)?;
        let n_kv_heads = keys.size("attention.head_count_kv", 1 << 12, Some(n_heads))?;
        if !n_heads.is_multiple_of(n_kv_heads) {
            let reason = format!("is {n_kv_heads}, which does not divide the {n_heads} query heads");
            return Err(keys.fault("attention.head_count_kv", reason));
        }
        let head_dim = keys.head_dim(d_model, n_heads)?;
        let n_blocks = keys.n_blocks()?;
        let (window, windowed) = keys.windows(n_blocks)?;
        let experts = keys.experts()?;
        // A mixture of experts may give the length of a network that it does not have.
        let d_ff = |key, default| keys.size(key, 1 << 20, default);
        let d_ff = match experts {
            None => d_ff("feed_forward_length", None)?,
            Some(_) => match keys.integer("expert_feed_forward_length")? {
                Some(_) => d_ff("expert_feed_forward_length", None)?,
                None => d_ff("feed_forward_length", None)?,
            },
        };
        let scaled = if family.scaled_by_width == Some(n_blocks as u32) { d_model / n_heads } else { head_dim };
        let [attention_cap, logit_cap] = keys.caps()?;
        let (rope, local_rope) = keys.ropes(gguf, head_dim)?.map(|[rope, local]| (rope, local)).unzip();
        Ok(Self {
            name: metadata.text("general.name")?.unwrap_or("unnamed").to_owned(),
            family,
            n_blocks: n_blocks as u32,
            d_model,
            n_heads,
            n_kv_heads,
            head_dim,
            d_ff,
            experts,
            vocab: keys.vocab(gguf)?,
            token_types: keys.token_types()?,
            vision: keys.vision()?,
            pooling: keys.pooling()?,
            context: keys.context(gguf)?,
            norm_eps: keys.norm_eps()?,
            attention_scale: 1.0 / (scaled as f32).sqrt(),
            attention_cap,
            logit_cap,
            rope,
            local_rope,
            window,
            windowed,
            biases: BiasedParts::of(gguf, family),
            tied_head: gguf.tensor("output.weight").is_none(),
        })
    }

    /// Length of a row of queries: `n_heads * head_dim`.
    pub fn d_query(&self) -> usize {
        self.n_heads * self.head_dim
    }

    /// Length of a row of keys or of values: `n_kv_heads * head_dim`.
    pub fn d_kv(&self) -> usize {
        self.n_kv_heads * self.head_dim
    }

    /// Factor of the embedding's rows.
    pub fn embedding_scale(&self) -> Option<f32> {
        self.family.scaled_embedding.then(|| (self.d_model as f32).sqrt())
    }

    /// How many positions a row sees in a block, itself counted; `None` for all.
    pub fn window_of(&self, block: u32) -> Option<usize> {
        self.window.filter(|_| self.windowed.get(block as usize) == Some(&true))
    }

    /// Tensors of block `block`.
    pub fn block_tensors(&self, block: u32) -> Vec<Expected> {
        let mut all = Vec::with_capacity(16);
        let mut push = |part: &str, shape| all.push((format!("blk.{block}.{part}"), shape));
        for part in self.family.block_norms() {
            push(&format!("{part}.weight"), [1, self.d_model]);
            if self.family.norm == NormKind::Layer {
                push(&format!("{part}.bias"), [1, self.d_model]);
            }
        }
        if self.family.head_norms {
            push("attn_q_norm.weight", [1, self.head_dim]);
            push("attn_k_norm.weight", [1, self.head_dim]);
        }
        for (part, rows, cols, bias) in self.matrices() {
            push(&format!("{part}.weight"), [rows, cols]);
            if bias {
                push(&format!("{part}.bias"), [1, rows]);
            }
        }
        all
    }

    /// Name, rows, columns and whether there is a bias of each matrix of a block.
    fn matrices(&self) -> Vec<(&'static str, usize, usize, bool)> {
        let (d_model, d_query, d_kv, d_ff) = (self.d_model, self.d_query(), self.d_kv(), self.d_ff);
        let BiasedParts { qkv, output, ffn } = self.biases;
        let mut all = match self.family.fused {
            true => vec![("attn_qkv", d_query + 2 * d_kv, d_model, qkv)],
            false => {
                vec![("attn_q", d_query, d_model, qkv), ("attn_k", d_kv, d_model, qkv), ("attn_v", d_kv, d_model, qkv)]
            }
        };
        all.push(("attn_output", d_model, d_query, output));
        if let Some(ExpertCount { count, .. }) = self.experts {
            all.extend([
                ("ffn_gate_inp", count, d_model, false),
                ("ffn_gate_exps", count * d_ff, d_model, false),
                ("ffn_up_exps", count * d_ff, d_model, false),
                ("ffn_down_exps", count * d_model, d_ff, false),
            ]);
            return all;
        }
        match (self.family.gated, self.family.fused) {
            (true, false) => all.extend([("ffn_gate", d_ff, d_model, ffn), ("ffn_up", d_ff, d_model, ffn)]),
            (true, true) => all.push(("ffn_up", 2 * d_ff, d_model, ffn)),
            (false, _) => all.push(("ffn_up", d_ff, d_model, ffn)),
        }
        all.push(("ffn_down", d_model, d_ff, ffn));
        all
    }

    /// The embedding: one row a token.
    pub fn embedding_tensor(&self) -> Expected {
        ("token_embd.weight".into(), [self.vocab, self.d_model])
    }

    /// Everything before the first block.
    pub fn entry_tensors(&self) -> Vec<Expected> {
        let row = |name: &str| (name.to_owned(), [1, self.d_model]);
        let positions = ("position_embd.weight".to_owned(), [self.context, self.d_model]);
        match (self.family.reads, &self.vision) {
            (Reads::PlacedTokens, _) => vec![
                self.embedding_tensor(),
                ("token_types.weight".into(), [self.token_types, self.d_model]),
                positions,
                row("token_embd_norm.weight"),
                row("token_embd_norm.bias"),
            ],
            (Reads::Patches, Some(vision)) => vec![
                ("patch_embd.weight".into(), [self.d_model, vision.d_patch()]),
                row("patch_embd.bias"),
                row("class_embd.weight"),
                positions,
            ],
            _ => vec![self.embedding_tensor()],
        }
    }

    /// Everything after the last block: the final norm and the output matrix, which is the embedding when
    /// [`ModelConfig::tied_head`] is set; nothing for embeddings of whole texts.
    pub fn head_tensors(&self) -> Vec<Expected> {
        let mut all = vec![("output_norm.weight".into(), [1, self.d_model])];
        if self.family.norm == NormKind::Layer {
            all.push(("output_norm.bias".into(), [1, self.d_model]));
        }
        let classes = self.vision.as_ref().map_or(0, |vision| vision.labels.len());
        match self.family.makes {
            Makes::Embedding => return Vec::new(),
            Makes::Classes => {
                all.push(("cls.output.weight".into(), [classes, self.d_model]));
                all.push(("cls.output.bias".into(), [1, classes]));
            }
            Makes::Logits if self.tied_head => all.push(self.embedding_tensor()),
            Makes::Logits => all.push(("output.weight".into(), [self.vocab, self.d_model])),
        }
        all
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
        let mut expected: std::collections::BTreeMap<_, _> = self.entry_tensors().into_iter().collect();
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
            if info.dtype.format().is_none() {
                return Err(ModelError::Quantisation { name: name.clone(), kind: info.dtype.name() });
            }
        }
        // These are read with the hyper-parameters.
        let factors = [ROPE_FACTORS, ROPE_FACTORS_SHORT, ROPE_FACTORS_LONG];
        let known = |name: &str| expected.contains_key(name) || self.rope.is_some() && factors.contains(&name);
        let unknown = gguf.tensors().iter().find(|info| !known(&info.name));
        let reason = || format!("is not a part of a {} model", self.family.architecture);
        unknown.map_or(Ok(()), |info| Err(ModelError::tensor(&info.name, reason())))
    }
}

impl BiasedParts {
    /// What the family asks for, and where it leaves the choice, what the first block has; all blocks are then the same.
    fn of(gguf: &Gguf, family: &Family) -> Self {
        let has = |part: &str| gguf.tensor(&format!("blk.0.{part}.bias")).is_some();
        let (qkv, up) = (if family.fused { "attn_qkv" } else { "attn_q" }, "ffn_up");
        match family.biases {
            Biases::None => Self { qkv: false, output: false, ffn: false },
            Biases::Optional => Self { qkv: has(qkv), output: has("attn_output"), ffn: has(up) },
            Biases::QueryKeyValue => Self { qkv: true, output: has("attn_output"), ffn: has(up) },
            Biases::All => Self { qkv: true, output: true, ffn: true },
        }
    }
}

impl Family {
    /// The norms of a block, over whole rows.
    fn block_norms(&self) -> &'static [&'static str] {
        match self.norms {
            NormPlaces::Before => &["attn_norm", "ffn_norm"],
            NormPlaces::BeforeAndAfter => &["attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"],
            NormPlaces::AfterResidual => &["attn_output_norm", "layer_output_norm"],
        }
    }
}
