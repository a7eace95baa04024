//! One Llama block over a chunk of rows.
//!
//! For each row x at position p: `h = x + Wo attention(rope(Wq n), rope(Wk n), Wv n)` with `n = norm(x)`, then
//! `y = h + Wdown (silu(Wgate m) * (Wup m))` with `m = norm(h)`. Query head i reads key-value head i / (heads / kv heads).
//! Rotary positions turn adjacent pairs of each head, as converters to GGUF lay out the query and key matrices.

use crate::kv::BlockCache;
use crate::span::{check_finite, weights};
use crate::{Gguf, KvCache, ModelConfig, ModelError, Tensor};
use skep_kernels::{Isa, add, attention, matmul, rms_norm, rope_rotate, rope_table, swiglu};

/// The weights of one block.
#[derive(Debug)]
pub(crate) struct Block {
    attention_norm: Vec<f32>,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    output: Tensor,
    ffn_norm: Vec<f32>,
    gate: Tensor,
    up: Tensor,
    down: Tensor,
}

impl Block {
    pub(crate) fn load(gguf: &Gguf, config: &ModelConfig, block: u32) -> Result<Self, ModelError> {
        let [attention_norm, query, key, value, output, ffn_norm, gate, up, down] = config.block_tensors(block);
        let read = |expected| ModelConfig::read(gguf, &expected);
        Ok(Self {
            attention_norm: read(attention_norm)?.to_f32(),
            query: read(query)?,
            key: read(key)?,
            value: read(value)?,
            output: read(output)?,
            ffn_norm: read(ffn_norm)?.to_f32(),
            gate: read(gate)?,
            up: read(up)?,
            down: read(down)?,
        })
    }

    pub(crate) fn resident_bytes(&self) -> u64 {
        let norms = (self.attention_norm.len() + self.ffn_norm.len()) as u64 * 4;
        let matrices = [&self.query, &self.key, &self.value, &self.output, &self.gate, &self.up, &self.down];
        norms + matrices.iter().map(|matrix| matrix.resident_bytes()).sum::<u64>()
    }
}

/// Buffers of one chunk, reused from block to block; all are rows × the width named.
struct Scratch {
    normed: Vec<f32>,
    query: Vec<f32>,
    key: Vec<f32>,
    value: Vec<f32>,
    attended: Vec<f32>,
    projected: Vec<f32>,
    gate: Vec<f32>,
    up: Vec<f32>,
    softmax: Vec<f32>,
}

/// Sends `rows`, at positions from `cache.len()` on, through `blocks` in place. Keys and values are appended to the
/// lists of the cache; its length is the caller's to raise.
pub(crate) fn forward_chunk(
    isa: Isa,
    config: &ModelConfig,
    frequencies: &[f64],
    blocks: &[Block],
    cache: &mut KvCache,
    rows: &mut [f32],
) -> Result<(), ModelError> {
    let n = rows.len() / config.d_model;
    let d_query = config.n_heads * config.head_dim;
    let mut scratch = Scratch {
        normed: vec![0.0; n * config.d_model],
        query: vec![0.0; n * d_query],
        key: vec![0.0; n * config.d_kv()],
        value: vec![0.0; n * config.d_kv()],
        attended: vec![0.0; n * d_query],
        projected: vec![0.0; n * config.d_model],
        gate: vec![0.0; n * config.d_ff],
        up: vec![0.0; n * config.d_ff],
        softmax: Vec::new(),
    };
    let pairs = config.head_dim / 2;
    let rotations: Vec<_> = (cache.len()..cache.len() + n).flat_map(|p| rope_table(frequencies, p)).collect();
    let first = cache.blocks().start();
    for (i, (block, entry)) in blocks.iter().zip(&mut cache.entries).enumerate() {
        let run = Run { isa, config, block };
        run.project(rows, &mut scratch)?;
        for (row, table) in rotations.chunks_exact(pairs).enumerate() {
            rope_rotate(&mut scratch.query[row * d_query..(row + 1) * d_query], table);
            rope_rotate(&mut scratch.key[row * config.d_kv()..(row + 1) * config.d_kv()], table);
        }
        run.attend(entry, &mut scratch);
        run.finish(rows, &mut scratch)?;
        check_finite(rows, || format!("the rows that leave block {}", first + i as u32))?;
    }
    Ok(())
}

/// One block at work on one chunk.
struct Run<'a> {
    isa: Isa,
    config: &'a ModelConfig,
    block: &'a Block,
}

impl Run<'_> {
    fn norm(&self, rows: &[f32], gain: &[f32], out: &mut [f32]) {
        let width = self.config.d_model;
        for (row, out) in rows.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
            rms_norm(self.isa, row, gain, self.config.rms_eps, out);
        }
    }

    fn matmul(&self, matrix: &Tensor, x: &[f32], out: &mut [f32]) -> Result<(), ModelError> {
        matmul(self.isa, weights(matrix), matrix.shape[1], x, out)
            .map_err(|_| ModelError::NonFinite(format!("the input of {}", matrix.name)))
    }

    fn project(&self, rows: &[f32], scratch: &mut Scratch) -> Result<(), ModelError> {
        self.norm(rows, &self.block.attention_norm, &mut scratch.normed);
        self.matmul(&self.block.query, &scratch.normed, &mut scratch.query)?;
        self.matmul(&self.block.key, &scratch.normed, &mut scratch.key)?;
        self.matmul(&self.block.value, &scratch.normed, &mut scratch.value)
    }

    /// Row by row: append its key and value, then attend over all positions up to it.
    fn attend(&self, entry: &mut BlockCache, scratch: &mut Scratch) {
        let (dim, d_kv) = (self.config.head_dim, self.config.d_kv());
        let group = self.config.n_heads / self.config.n_kv_heads * dim;
        let rows = scratch.key.chunks_exact(d_kv).zip(scratch.value.chunks_exact(d_kv));
        let mut heads = scratch.query.chunks_exact(group).zip(scratch.attended.chunks_exact_mut(group));
        for (key, value) in rows {
            for (i, (keys, values)) in entry.keys.iter_mut().zip(&mut entry.values).enumerate() {
                keys.extend_from_slice(&key[i * dim..(i + 1) * dim]);
                values.extend_from_slice(&value[i * dim..(i + 1) * dim]);
                if let Some((query, out)) = heads.next() {
                    attention(self.isa, dim, query, keys, values, &mut scratch.softmax, out);
                }
            }
        }
    }

    fn finish(&self, rows: &mut [f32], scratch: &mut Scratch) -> Result<(), ModelError> {
        self.matmul(&self.block.output, &scratch.attended, &mut scratch.projected)?;
        add(rows, &scratch.projected);
        self.norm(rows, &self.block.ffn_norm, &mut scratch.normed);
        self.matmul(&self.block.gate, &scratch.normed, &mut scratch.gate)?;
        self.matmul(&self.block.up, &scratch.normed, &mut scratch.up)?;
        swiglu(self.isa, &mut scratch.gate, &scratch.up);
        self.matmul(&self.block.down, &scratch.gate, &mut scratch.projected)?;
        add(rows, &scratch.projected);
        Ok(())
    }
}
