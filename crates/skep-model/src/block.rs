//! The weights of one block, whatever its family: parts that a family does not have are absent.

use crate::config::ExpertCount;
use crate::{Gguf, ModelConfig, ModelError, Tensor};
use std::collections::BTreeMap;

/// The weights of one block.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) attention_norms: Norms,
    pub(crate) query: Linear,
    pub(crate) key: Linear,
    pub(crate) value: Linear,
    /// Gains of the norms of each head of queries and keys.
    pub(crate) head_norms: Option<[Vec<f32>; 2]>,
    pub(crate) output: Linear,
    pub(crate) ffn_norms: Norms,
    pub(crate) ffn: FeedForward,
    bytes: u64,
}

/// Norms around attention or around a feed-forward network.
#[derive(Debug)]
pub(crate) struct Norms {
    /// Of what goes in.
    pub(crate) before: Option<Norm>,
    /// Of what comes out, before it is added to the stream.
    pub(crate) after: Option<Norm>,
    /// Of the stream, after the sum.
    pub(crate) residual: Option<Norm>,
}

/// The gain of a norm, and the bias of a LayerNorm.
#[derive(Debug)]
pub(crate) struct Norm {
    pub(crate) gain: Vec<f32>,
    pub(crate) bias: Option<Vec<f32>>,
}

/// A matrix and its bias.
#[derive(Debug)]
pub(crate) struct Linear {
    pub(crate) matrix: Tensor,
    pub(crate) bias: Option<Vec<f32>>,
}

#[derive(Debug)]
pub(crate) enum FeedForward {
    Dense { gate: Option<Linear>, up: Linear, down: Linear },
    Experts(Experts),
}

/// A mixture of experts; the matrices hold those of all experts, one below the other.
#[derive(Debug)]
pub(crate) struct Experts {
    pub(crate) count: ExpertCount,
    pub(crate) router: Tensor,
    pub(crate) gate: Tensor,
    pub(crate) up: Tensor,
    pub(crate) down: Tensor,
}

impl Block {
    pub(crate) fn load(gguf: &Gguf, config: &ModelConfig, block: u32) -> Result<Self, ModelError> {
        let prefix = format!("blk.{block}.");
        let mut parts = Parts { tensors: BTreeMap::new(), prefix, bytes: 0 };
        for expected in config.block_tensors(block) {
            let tensor = ModelConfig::read(gguf, &expected)?;
            parts.tensors.insert(expected.0, tensor);
        }
        let head_norms = match (parts.vector("attn_q_norm.weight")?, parts.vector("attn_k_norm.weight")?) {
            (Some(query), Some(key)) => Some([query, key]),
            _ => None,
        };
        let [query, key, value] = parts.query_key_value(config)?;
        Ok(Self {
            attention_norms: Norms {
                before: parts.norm("attn_norm")?,
                after: parts.norm("post_attention_norm")?,
                residual: parts.norm("attn_output_norm")?,
            },
            query,
            key,
            value,
            head_norms,
            output: parts.linear("attn_output")?,
            ffn_norms: Norms {
                before: parts.norm("ffn_norm")?,
                after: parts.norm("post_ffw_norm")?,
                residual: parts.norm("layer_output_norm")?,
            },
            ffn: parts.feed_forward(config)?,
            bytes: parts.bytes,
        })
    }

    /// Bytes of the matrices in the file, and of the vectors in memory.
    pub(crate) fn weight_bytes(&self) -> u64 {
        self.bytes
    }
}

/// The tensors of a block that have not found their place yet.
struct Parts {
    tensors: BTreeMap<String, Tensor>,
    prefix: String,
    bytes: u64,
}

impl Parts {
    fn take(&mut self, part: &str) -> Option<Tensor> {
        self.tensors.remove(&format!("{}{part}", self.prefix))
    }

    fn vector(&mut self, part: &str) -> Result<Option<Vec<f32>>, ModelError> {
        let vector = self.take(part).map(|tensor| tensor.to_f32()).transpose()?;
        self.bytes += vector.as_ref().map_or(0, |vector| vector.len() as u64 * 4);
        Ok(vector)
    }

    fn matrix(&mut self, part: &str) -> Result<Tensor, ModelError> {
        let name = format!("{part}.weight");
        let absent = || ModelError::tensor(&format!("{}{name}", self.prefix), "is absent from the file");
        let matrix = self.tensors.remove(&format!("{}{name}", self.prefix)).ok_or_else(absent)?;
        self.bytes += matrix.bytes().len() as u64;
        Ok(matrix)
    }

    fn norm(&mut self, part: &str) -> Result<Option<Norm>, ModelError> {
        let gain = self.vector(&format!("{part}.weight"))?;
        let bias = self.vector(&format!("{part}.bias"))?;
        Ok(gain.map(|gain| Norm { gain, bias }))
    }

    fn linear(&mut self, part: &str) -> Result<Linear, ModelError> {
        Ok(Linear { matrix: self.matrix(part)?, bias: self.vector(&format!("{part}.bias"))? })
    }

    /// The matrices that are one below the other in one tensor, with the rows that each has.
    fn fused<const N: usize>(&mut self, part: &str, rows: [usize; N]) -> Result<[Linear; N], ModelError> {
        let whole = self.linear(part)?;
        let mut from = 0;
        let mut cut = Vec::with_capacity(N);
        for rows in rows {
            let range = from..from + rows;
            from = range.end;
            let bias = whole.bias.as_ref().and_then(|bias| bias.get(range.clone())).map(<[f32]>::to_vec);
            cut.push(Linear { matrix: whole.matrix.rows(range)?, bias });
        }
        cut.try_into().map_err(|_| ModelError::tensor(part, "does not have its shape"))
    }

    fn query_key_value(&mut self, config: &ModelConfig) -> Result<[Linear; 3], ModelError> {
        match config.family.fused {
            true => self.fused("attn_qkv", [config.d_query(), config.d_kv(), config.d_kv()]),
            false => Ok([self.linear("attn_q")?, self.linear("attn_k")?, self.linear("attn_v")?]),
        }
    }

    fn feed_forward(&mut self, config: &ModelConfig) -> Result<FeedForward, ModelError> {
        if let Some(count) = config.experts {
            return Ok(FeedForward::Experts(Experts {
                count,
                router: self.matrix("ffn_gate_inp")?,
                gate: self.matrix("ffn_gate_exps")?,
                up: self.matrix("ffn_up_exps")?,
                down: self.matrix("ffn_down_exps")?,
            }));
        }
        let (gate, up) = match (config.family.gated, config.family.fused) {
            (true, true) => {
                let [gate, up] = self.fused("ffn_up", [config.d_ff, config.d_ff])?;
                (Some(gate), up)
            }
            (true, false) => (Some(self.linear("ffn_gate")?), self.linear("ffn_up")?),
            (false, _) => (None, self.linear("ffn_up")?),
        };
        Ok(FeedForward::Dense { gate, up, down: self.linear("ffn_down")? })
    }
}
