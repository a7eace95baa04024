//! All parameters as one vector, and where each named tensor lies in it.
//!
//! One flat vector makes an optimiser step, a sum of gradients and a hash of the whole model one loop each.

use crate::{Shape, Stream, TrainError};
use std::ops::Range;

/// How a tensor begins and whether it decays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Token embedding, which is the output matrix too.
    Embedding,
    /// A matrix that reads the residual stream or a hidden row.
    Matrix,
    /// A matrix that adds to the residual stream; begins smaller, since `2 × n_blocks` of them add up.
    Residual,
    /// The gain of a norm; begins at one and never decays.
    Gain,
}

/// Name, `rows × cols` and place of one tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorSpec {
    /// Name in the GGUF file.
    pub name: String,
    /// Rows: outputs of a matrix, ids of the embedding, 1 of a gain.
    pub rows: usize,
    /// Columns: inputs of a matrix.
    pub cols: usize,
    /// Index of the first value.
    pub offset: usize,
    /// What it is.
    pub kind: Kind,
}

impl TensorSpec {
    /// Where its values lie.
    pub fn range(&self) -> Range<usize> {
        self.offset..self.offset + self.rows * self.cols
    }
}

/// The tensors of one block, as ranges of the flat vector.
#[derive(Clone, Debug)]
pub(crate) struct BlockRanges {
    pub attn_norm: Range<usize>,
    pub q: Range<usize>,
    pub k: Range<usize>,
    pub v: Range<usize>,
    pub o: Range<usize>,
    pub ffn_norm: Range<usize>,
    pub gate: Range<usize>,
    pub up: Range<usize>,
    pub down: Range<usize>,
}

/// The order of tensors in the flat vector: embedding, blocks, final norm.
#[derive(Clone, Debug)]
pub struct Layout {
    tensors: Vec<TensorSpec>,
    pub(crate) embedding: Range<usize>,
    pub(crate) blocks: Vec<BlockRanges>,
    pub(crate) final_norm: Range<usize>,
    len: usize,
}

impl Layout {
    /// The layout of a model of `shape`.
    ///
    /// # Errors
    /// [`TrainError::Shape`] when no model has that shape.
    pub fn new(shape: &Shape) -> Result<Self, TrainError> {
        shape.validate()?;
        let mut tensors: Vec<TensorSpec> = Vec::new();
        let mut len = 0;
        let mut place = |name: String, rows: usize, cols: usize, kind| {
            let tensor = TensorSpec { name, rows, cols, offset: len, kind };
            let range = tensor.range();
            len = range.end;
            tensors.push(tensor);
            range
        };
        let (d, ff) = (shape.d_model, shape.d_ff);
        let embedding = place("token_embd.weight".into(), shape.vocab, d, Kind::Embedding);
        let blocks = (0..shape.n_blocks)
            .map(|b| {
                let mut block =
                    |part: &str, rows, cols, kind| place(format!("blk.{b}.{part}.weight"), rows, cols, kind);
                BlockRanges {
                    attn_norm: block("attn_norm", 1, d, Kind::Gain),
                    q: block("attn_q", shape.d_q(), d, Kind::Matrix),
                    k: block("attn_k", shape.d_kv(), d, Kind::Matrix),
                    v: block("attn_v", shape.d_kv(), d, Kind::Matrix),
                    o: block("attn_output", d, shape.d_q(), Kind::Residual),
                    ffn_norm: block("ffn_norm", 1, d, Kind::Gain),
                    gate: block("ffn_gate", ff, d, Kind::Matrix),
                    up: block("ffn_up", ff, d, Kind::Matrix),
                    down: block("ffn_down", d, ff, Kind::Residual),
                }
            })
            .collect();
        let final_norm = place("output_norm.weight".into(), 1, d, Kind::Gain);
        Ok(Self { tensors, embedding, blocks, final_norm, len })
    }

    /// All tensors, in order.
    pub fn tensors(&self) -> &[TensorSpec] {
        &self.tensors
    }

    /// Number of parameters.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Never true: every shape has parameters.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Parameters to begin a run with: uniform, with a standard deviation of 1/√inputs for matrices, less for those that add to
    /// the residual stream, 0.04 for the embedding; gains are one.
    pub fn initial(&self, seed: u64) -> Vec<f32> {
        let mut values = Vec::with_capacity(self.len);
        for (i, tensor) in self.tensors.iter().enumerate() {
            let deviation = match tensor.kind {
                Kind::Embedding => 0.04,
                Kind::Matrix => 1.0 / (tensor.cols as f64).sqrt(),
                Kind::Residual => 1.0 / (tensor.cols as f64 * 2.0 * self.blocks.len() as f64).sqrt(),
                Kind::Gain => 0.0,
            };
            // A uniform number in ±a has the standard deviation a/√3.
            let amplitude = (deviation * 3f64.sqrt()) as f32;
            let mut stream = Stream::new(seed, "parameters", i as u64);
            values.extend((0..tensor.rows * tensor.cols).map(|_| match tensor.kind {
                Kind::Gain => 1.0,
                _ => stream.symmetric() * amplitude,
            }));
        }
        values
    }
}
