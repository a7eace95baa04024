//! One block over rows of several sessions: the same code for all families, which differ in the parts that a block has.
//!
//! For each row x at position p: `h = x + Wo attention(rope(Wq n), rope(Wk n), Wv n)` with `n = norm(x)`, then
//! `y = h + Wdown (f(Wgate m) * (Wup m))` with `m = norm(h)`. What a family adds or leaves out is in [`crate::Family`]; the
//! arithmetic of each part is in the normative text of `skep_kernels`.
//!
//! Matrices are applied to the rows of all sessions at once, attention to each session's own positions. What a row gives does
//! not depend on the rows beside it, so a session whose row is faulty fails alone.

use crate::block::{Block, Experts, FeedForward, Linear, Norm, Norms};
use crate::config::{NormKind, Rope, RopePairs};
use crate::span::is_finite;
use crate::{KvCache, ModelConfig, ModelError, Tensor};
use skep_kernels::{
    Activation, AttentionChunk, AttentionShape, Cpu, Matrix, activate, add, attention, gated, layer_norm, matmul,
    matmuls, rms_norm, rope_frequencies, rope_rotate, rope_rotate_halves, rope_table_scaled, route,
};
use std::ops::Range;

/// Rows of one session in a pass, at the positions after those that its cache holds.
pub(crate) struct Part<'a> {
    pub(crate) cache: &'a mut KvCache,
    /// Which of the pass's rows.
    pub(crate) rows: Range<usize>,
    /// What is wrong with the session's rows, once something is.
    pub(crate) fault: Option<ModelError>,
}

/// Buffers of one pass, reused from block to block; all are rows × the width named.
struct Scratch {
    /// What goes into a sub-layer.
    normed: Vec<f32>,
    query: Vec<f32>,
    key: Vec<f32>,
    value: Vec<f32>,
    attended: Vec<f32>,
    /// What comes out of a sub-layer.
    projected: Vec<f32>,
    gate: Vec<f32>,
    up: Vec<f32>,
}

/// Frequencies and magnitude of one kind of block; no frequencies where nothing turns.
#[derive(Debug, Default)]
pub(crate) struct Rotation {
    frequencies: Vec<f64>,
    magnitude: f32,
}

impl Rotation {
    pub(crate) fn new(rope: Option<&Rope>) -> Self {
        let Some(rope) = rope else { return Self::default() };
        let factors = (!rope.factors.is_empty()).then_some(&rope.factors[..]);
        Self { frequencies: rope_frequencies(rope.dims, rope.theta, factors), magnitude: rope.magnitude }
    }

    /// The largest angle per position.
    pub(crate) fn fastest(&self) -> f64 {
        self.frequencies.iter().fold(0.0, |most: f64, f| most.max(*f))
    }

    /// (cos, sin) of each pair at each of the positions.
    fn tables(&self, positions: impl Iterator<Item = usize>) -> Vec<(f32, f32)> {
        positions.flat_map(|position| rope_table_scaled(&self.frequencies, position, self.magnitude)).collect()
    }
}

/// What all blocks of a span share.
pub(crate) struct Model<'a> {
    pub(crate) cpu: &'a Cpu,
    pub(crate) config: &'a ModelConfig,
    /// Of blocks without a window and of those with one.
    pub(crate) rotations: [&'a Rotation; 2],
    /// The shape of blocks without a window.
    pub(crate) attention: AttentionShape,
}

/// Elements that one task computes at least, so that waking a thread pays.
pub(crate) const GRAIN: usize = 8 * 1024;

/// Sends `rows` through `blocks`, those of the parts' caches, in place. Keys and values are written to the caches, which have room
/// for them; the caches' lengths are the caller's to raise. A part whose rows are or become faulty gets its fault; the others go on.
///
/// # Errors
/// When a tensor does not have its shape: never for a model that was loaded.
pub(crate) fn forward_pass(
    model: &Model<'_>,
    blocks: &[Block],
    parts: &mut [Part<'_>],
    rows: &mut [f32],
) -> Result<(), ModelError> {
    let config = model.config;
    let n = rows.len() / config.d_model;
    let d_ff = if config.experts.is_some() { 0 } else { config.d_ff };
    let mut scratch = Scratch {
        normed: vec![0.0; n * config.d_model],
        query: vec![0.0; n * config.d_query()],
        key: vec![0.0; n * config.d_kv()],
        value: vec![0.0; n * config.d_kv()],
        attended: vec![0.0; n * config.d_query()],
        projected: vec![0.0; n * config.d_model],
        gate: vec![0.0; n * d_ff],
        up: vec![0.0; n * d_ff],
    };
    let positions = || parts.iter().flat_map(|part| part.cache.len()..part.cache.len() + part.rows.len());
    let tables = model.rotations.map(|rotation| rotation.tables(positions()));
    let first = parts.first().map_or(0, |part| part.cache.blocks().start());
    for (i, block) in blocks.iter().enumerate() {
        let window = config.window_of(first + i as u32);
        let run = Run { model, block, shape: AttentionShape { window, ..model.attention } };
        run.project(rows, &mut scratch)?;
        run.turn(&tables[usize::from(window.is_some())], &mut scratch);
        run.attend(i, parts, &mut scratch);
        run.linear(&scratch.attended, &mut [(&block.output, &mut scratch.projected)])?;
        run.close(&block.attention_norms, rows, &mut scratch);
        run.enter(&block.ffn_norms, rows, &mut scratch);
        run.feed_forward(&mut scratch)?;
        run.close(&block.ffn_norms, rows, &mut scratch);
        for part in parts.iter_mut() {
            let own = &rows[part.rows.start * config.d_model..part.rows.end * config.d_model];
            if part.fault.is_none() && !is_finite(own) {
                let block = part.cache.blocks().start() + i as u32;
                part.fault = Some(ModelError::NonFinite(format!("the rows that leave block {block}")));
            }
        }
    }
    Ok(())
}

/// One norm of one row.
pub(crate) fn norm_row(cpu: &Cpu, config: &ModelConfig, norm: &Norm, row: &[f32], out: &mut [f32]) {
    match (config.family.norm, &norm.bias) {
        (NormKind::Layer, Some(bias)) => layer_norm(cpu.isa(), row, (&norm.gain, bias), config.norm_eps, out),
        _ => rms_norm(cpu.isa(), row, &norm.gain, config.norm_eps, out),
    }
}

/// One block at work on one pass.
struct Run<'a> {
    model: &'a Model<'a>,
    block: &'a Block,
    shape: AttentionShape,
}

impl Run<'_> {
    /// Calls `f(i, row)` for each row of `width` elements, shared among the threads.
    fn each_row(&self, out: &mut [f32], width: usize, f: impl Fn(usize, &mut [f32]) + Sync) {
        self.model.cpu.workers().for_parts(out, width, GRAIN / width.max(1), f);
    }

    fn norm(&self, rows: &[f32], norm: &Norm, out: &mut [f32]) {
        let Model { cpu, config, .. } = self.model;
        let width = config.d_model;
        self.each_row(out, width, |i, out| norm_row(cpu, config, norm, &rows[i * width..(i + 1) * width], out));
    }

    /// Products of one input with several matrices, and their biases.
    fn linear(&self, x: &[f32], products: &mut [(&Linear, &mut Vec<f32>)]) -> Result<(), ModelError> {
        let mut matrices = Vec::with_capacity(products.len());
        for (linear, out) in products.iter_mut() {
            matrices.push((linear.matrix.matrix()?, &mut out[..]));
        }
        matmuls(self.model.cpu, x, &mut matrices);
        for (linear, out) in products {
            if let Some(bias) = &linear.bias {
                self.each_row(out, bias.len(), |_, row| add(row, bias));
            }
        }
        Ok(())
    }

    /// What goes into a sub-layer.
    fn enter(&self, norms: &Norms, rows: &[f32], scratch: &mut Scratch) {
        match &norms.before {
            Some(norm) => self.norm(rows, norm, &mut scratch.normed),
            None => scratch.normed.copy_from_slice(rows),
        }
    }

    /// Adds what comes out of a sub-layer to the stream.
    fn close(&self, norms: &Norms, rows: &mut [f32], scratch: &mut Scratch) {
        let width = self.model.config.d_model;
        if let Some(norm) = &norms.after {
            self.norm(&scratch.projected, norm, &mut scratch.normed);
            std::mem::swap(&mut scratch.projected, &mut scratch.normed);
        }
        let projected = &scratch.projected;
        self.each_row(rows, width, |i, row| add(row, &projected[i * width..(i + 1) * width]));
        if let Some(norm) = &norms.residual {
            self.norm(rows, norm, &mut scratch.normed);
            rows.copy_from_slice(&scratch.normed);
        }
    }

    fn project(&self, rows: &[f32], scratch: &mut Scratch) -> Result<(), ModelError> {
        self.enter(&self.block.attention_norms, rows, scratch);
        let Block { query, key, value, .. } = self.block;
        let Scratch { normed, query: q, key: k, value: v, .. } = scratch;
        self.linear(normed, &mut [(query, q), (key, k), (value, v)])
    }

    /// Norms the heads of queries and keys, and turns them by their positions; `table` has each row's pairs.
    fn turn(&self, table: &[(f32, f32)], scratch: &mut Scratch) {
        let config = self.model.config;
        let pairs = config.rope.as_ref().map_or(0, |rope| rope.dims / 2);
        if pairs == 0 && self.block.head_norms.is_none() {
            return;
        }
        let sides = [(&mut scratch.query, config.d_query(), 0), (&mut scratch.key, config.d_kv(), 1)];
        for (rows, width, side) in sides {
            let gain = self.block.head_norms.as_ref().map(|gains| &gains[side]);
            self.each_row(rows, width, |i, row| {
                let table = &table[i * pairs..(i + 1) * pairs];
                let mut plain = vec![0.0; if gain.is_some() { config.head_dim } else { 0 }];
                for head in row.chunks_exact_mut(config.head_dim) {
                    if let Some(gain) = gain {
                        plain.copy_from_slice(head);
                        rms_norm(self.model.cpu.isa(), &plain, gain, config.norm_eps, head);
                    }
                    match config.family.rope {
                        RopePairs::None => {}
                        RopePairs::Adjacent => rope_rotate(&mut head[..2 * pairs], table),
                        RopePairs::Halves => rope_rotate_halves(head, table),
                    }
                }
            });
        }
    }

    /// Writes the keys and values of all rows, then lets each row attend to its session's positions.
    fn attend(&self, block: usize, parts: &mut [Part<'_>], scratch: &mut Scratch) {
        let (d_query, d_kv) = (self.model.config.d_query(), self.model.config.d_kv());
        for part in parts.iter_mut() {
            for row in part.rows.clone() {
                let position = part.cache.len() + row - part.rows.start;
                let (key, value) = (&scratch.key[row * d_kv..][..d_kv], &scratch.value[row * d_kv..][..d_kv]);
                if part.cache.store(block, position, key, value).is_err() && part.fault.is_none() {
                    let block = part.cache.blocks().start() + block as u32;
                    part.fault = Some(ModelError::NonFinite(format!("the keys and values of block {block}")));
                }
            }
        }
        let pages: Vec<_> = parts.iter().map(|part| part.cache.pages(block)).collect();
        let mut chunks = Vec::with_capacity(parts.len());
        let (mut queries, mut outs) = (&scratch.query[..], &mut scratch.attended[..]);
        for (part, pages) in parts.iter().zip(&pages) {
            let (own, rest) = queries.split_at(part.rows.len() * d_query);
            let (out, rest_out) = std::mem::take(&mut outs).split_at_mut(own.len());
            (queries, outs) = (rest, rest_out);
            chunks.push(AttentionChunk { first: part.cache.len(), queries: own, pages, out });
        }
        attention(self.model.cpu, &self.shape, &mut chunks);
    }

    fn feed_forward(&self, scratch: &mut Scratch) -> Result<(), ModelError> {
        let (f, isa, d_ff) = (self.model.config.family.activation, self.model.cpu.isa(), self.model.config.d_ff);
        let Scratch { normed, gate: hidden, up: wide, projected, .. } = scratch;
        let down = match &self.block.ffn {
            FeedForward::Experts(experts) => return self.experts(experts, f, normed, projected),
            FeedForward::Dense { gate: Some(gate), up, down } => {
                self.linear(normed, &mut [(gate, hidden), (up, wide)])?;
                self.each_row(hidden, d_ff, |i, gate| gated(isa, f, gate, &wide[i * d_ff..(i + 1) * d_ff]));
                down
            }
            FeedForward::Dense { gate: None, up, down } => {
                self.linear(normed, &mut [(up, hidden)])?;
                self.each_row(hidden, d_ff, |_, row| activate(isa, f, row));
                down
            }
        };
        self.linear(hidden, &mut [(down, projected)])
    }

    /// A mixture of experts: each expert runs once, over the rows that chose it. Experts run in ascending order, so each row gains
    /// their outputs in that order whichever rows are beside it.
    fn experts(&self, experts: &Experts, f: Activation, x: &[f32], out: &mut [f32]) -> Result<(), ModelError> {
        let (cpu, config) = (self.model.cpu, self.model.config);
        let (d_model, d_ff, count) = (config.d_model, config.d_ff, experts.count.count);
        let mut logits = vec![0.0; x.len() / d_model * count];
        matmul(cpu, experts.router.matrix()?, x, &mut logits);
        let mut chosen: Vec<Vec<(usize, f32)>> = vec![Vec::new(); count];
        for (row, logits) in logits.chunks_exact(count).enumerate() {
            route(logits, experts.count.used).into_iter().for_each(|(e, weight)| chosen[e].push((row, weight)));
        }
        out.fill(0.0);
        for (e, rows) in chosen.iter().enumerate().filter(|(_, rows)| !rows.is_empty()) {
            let gathered: Vec<f32> =
                rows.iter().flat_map(|(row, _)| &x[row * d_model..(row + 1) * d_model]).copied().collect();
            let (mut hidden, mut up) = (vec![0.0; rows.len() * d_ff], vec![0.0; rows.len() * d_ff]);
            let mut products =
                [(part(&experts.gate, e, d_ff)?, &mut hidden[..]), (part(&experts.up, e, d_ff)?, &mut up[..])];
            matmuls(cpu, &gathered, &mut products);
            self.each_row(&mut hidden, d_ff, |i, gate| gated(cpu.isa(), f, gate, &up[i * d_ff..(i + 1) * d_ff]));
            let mut results = gathered;
            matmul(cpu, part(&experts.down, e, d_model)?, &hidden, &mut results);
            for ((row, weight), result) in rows.iter().zip(results.chunks_exact(d_model)) {
                let out = &mut out[row * d_model..(row + 1) * d_model];
                out.iter_mut().zip(result).for_each(|(out, y)| *out += weight * y);
            }
        }
        Ok(())
    }
}

/// The matrix of expert `e`, of `rows` rows.
fn part(all: &Tensor, e: usize, rows: usize) -> Result<Matrix<'_>, ModelError> {
    Ok(all.matrix()?.slice(e * rows..(e + 1) * rows))
}
