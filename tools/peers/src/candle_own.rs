//! candle at its best: a Llama forward over its quantised products that shares one quantised input between products
//! where candle has a kernel for that, keeps the embedding quantised, and never repeats keys.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use candle_core::quantized::gguf_file::Content;
use candle_core::quantized::{QMatMul, QTensor};
use candle_core::{D, Device, Module, Tensor};
use candle_nn::kv_cache::KvCache;
use candle_nn::ops::{rms_norm, silu, softmax_last_dim};
use candle_nn::rotary_emb::rope_i;

use crate::measure::{Engine, likeliest};

struct Block {
    attn_norm: Tensor,
    /// Queries, keys, values.
    qkv: [Arc<QTensor>; 3],
    out: QMatMul,
    ffn_norm: Tensor,
    /// Gate, up.
    gate_up: [Arc<QTensor>; 2],
    down: QMatMul,
    cache: KvCache,
}

pub struct Own {
    embedding: Arc<QTensor>,
    blocks: Vec<Block>,
    norm: Tensor,
    output: QMatMul,
    heads: usize,
    kv_heads: usize,
    epsilon: f32,
    /// Rotary cosines and sines, `[context, head / 2]`.
    cos: Tensor,
    sin: Tensor,
    position: usize,
}

impl Own {
    pub fn load(path: &Path) -> Result<Self> {
        let mut file = File::open(path)?;
        let content = Content::read(&mut file)?;
        let value = |key: &str| content.metadata.get(key).with_context(|| format!("no {key}"));
        let number = |key: &str| Ok::<usize, anyhow::Error>(value(key)?.to_u32()? as usize);
        let heads = number("llama.attention.head_count")?;
        let half = number("llama.embedding_length")? / heads / 2;
        let context = number("llama.context_length")?;
        let base = value("llama.rope.freq_base").and_then(|base| Ok(base.to_f32()?)).unwrap_or(10_000.0);
        let mut get = |name: &str| content.tensor(&mut file, &format!("{name}.weight"), &Device::Cpu).map(Arc::new);
        let norm = |tensor: Arc<QTensor>| tensor.dequantize(&Device::Cpu);
        let mut blocks = Vec::new();
        for i in 0..number("llama.block_count")? {
            let mut get = |role: &str| get(&format!("blk.{i}.{role}"));
            blocks.push(Block {
                attn_norm: norm(get("attn_norm")?)?,
                qkv: [get("attn_q")?, get("attn_k")?, get("attn_v")?],
                out: QMatMul::from_arc(get("attn_output")?)?,
                ffn_norm: norm(get("ffn_norm")?)?,
                gate_up: [get("ffn_gate")?, get("ffn_up")?],
                down: QMatMul::from_arc(get("ffn_down")?)?,
                cache: KvCache::new(2, context),
            });
        }
        let steps: Vec<f32> = (0..half).map(|i| base.powf(-(i as f32) / half as f32)).collect();
        let positions = Tensor::arange(0.0, context as f32, &Device::Cpu)?.unsqueeze(1)?;
        let angles = positions.matmul(&Tensor::new(steps, &Device::Cpu)?.unsqueeze(0)?)?;
        Ok(Self {
            embedding: get("token_embd")?,
            blocks,
            norm: norm(get("output_norm")?)?,
            output: QMatMul::from_arc(get("output")?)?,
            heads,
            kv_heads: number("llama.attention.head_count_kv")?,
            epsilon: value("llama.attention.layer_norm_rms_epsilon")?.to_f32()?,
            cos: angles.cos()?,
            sin: angles.sin()?,
            position: 0,
        })
    }

    /// `tokens` is `[streams, length]`.
    fn feed(&mut self, tokens: Tensor) -> Result<Vec<u32>> {
        let (streams, length) = tokens.dims2()?;
        let mut x = self.embedding.embedding(&tokens)?;
        let (cos, sin) = (self.cos.narrow(0, self.position, length)?, self.sin.narrow(0, self.position, length)?);
        let mask = causal_mask(self.position, length)?;
        for block in &mut self.blocks {
            let inner = rms_norm(&x, &block.attn_norm, self.epsilon)?;
            let [q, k, v] = products(&block.qkv, &inner)?;
            let split = |x: &Tensor, heads| x.reshape((streams, length, heads, ()))?.transpose(1, 2)?.contiguous();
            let q = rope_i(&split(&q, self.heads)?, &cos, &sin)?;
            let k = rope_i(&split(&k, self.kv_heads)?, &cos, &sin)?;
            let (k, v) = block.cache.append(&k, &split(&v, self.kv_heads)?)?;
            let mixed = attend(&q, &k, &v, mask.as_ref())?;
            x = (x + block.out.forward(&mixed)?)?;
            let inner = rms_norm(&x, &block.ffn_norm, self.epsilon)?;
            let [gate, up] = products(&block.gate_up, &inner)?;
            x = (x + block.down.forward(&(silu(&gate)? * up)?)?)?;
        }
        self.position += length;
        let last = x.narrow(1, length - 1, 1)?.contiguous()?;
        let logits = self.output.forward(&rms_norm(&last, &self.norm, self.epsilon)?)?.squeeze(1)?;
        logits.to_vec2()?.iter().map(|row| likeliest(row)).collect()
    }
}

/// Products of one input, which is quantised once where candle can.
fn products<const N: usize>(weights: &[Arc<QTensor>; N], x: &Tensor) -> Result<[Tensor; N]> {
    let shared: Vec<&QTensor> = weights.iter().map(Arc::as_ref).collect();
    let products = match QTensor::gemv_fused_shared_lhs(&shared, x)? {
        Some(products) => products,
        None => {
            let each = weights.iter().map(|weight| QMatMul::from_arc(weight.clone())?.forward(x));
            each.collect::<candle_core::Result<_>>()?
        }
    };
    products.try_into().map_err(|_| anyhow::anyhow!("candle lost a product"))
}

/// Attention of new positions, `[streams, heads, length, head]`, to all of them: the query heads of a group are the rows of
/// one product, so that keys are never repeated. `mask` is `[length, all]`. Returns `[streams, length, heads × head]`.
fn attend(q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    let (streams, heads, length, head) = q.dims4()?;
    let (kv_heads, all) = (k.dim(1)?, k.dim(2)?);
    let q = (q.reshape((streams, kv_heads, (), head))? * (head as f64).powf(-0.5))?;
    let mut scores = q.matmul(&k.transpose(D::Minus2, D::Minus1)?)?;
    if let Some(mask) = mask {
        scores = scores.reshape(((), length, all))?.broadcast_add(mask)?.reshape((streams, kv_heads, (), all))?;
    }
    let mixed = softmax_last_dim(&scores)?.matmul(&v.contiguous()?)?.reshape((streams, heads, length, head))?;
    Ok(mixed.transpose(1, 2)?.reshape((streams, length, ()))?)
}

/// Zero where a new position may look, minus infinity at those after it. One new position may look at all.
fn causal_mask(before: usize, length: usize) -> Result<Option<Tensor>> {
    let hidden = |row: usize, column: usize| if column > before + row { f32::NEG_INFINITY } else { 0.0 };
    let all = before + length;
    let values: Vec<f32> = (0..length).flat_map(|row| (0..all).map(move |column| hidden(row, column))).collect();
    Ok(if length == 1 { None } else { Some(Tensor::from_vec(values, (length, all), &Device::Cpu)?) })
}

impl Engine for Own {
    fn vocabulary(&self) -> usize {
        self.embedding.shape().dims()[0]
    }

    /// The caches grow as they are filled.
    fn open(&mut self, _streams: usize, positions: usize) -> Result<()> {
        for block in &mut self.blocks {
            block.cache = KvCache::new(2, positions);
        }
        Ok(())
    }

    fn start(&mut self, prompts: &[Vec<u32>]) -> Result<Vec<u32>> {
        for block in &mut self.blocks {
            block.cache.reset();
        }
        self.position = 0;
        self.feed(Tensor::new(prompts.to_vec(), &Device::Cpu)?)
    }

    fn step(&mut self, tokens: &[u32]) -> Result<Vec<u32>> {
        self.feed(Tensor::new(tokens, &Device::Cpu)?.unsqueeze(1)?)
    }
}
