//! The kernels that callers use: each takes an [`Isa`], checks shapes and runs the implementation of that instruction set.

use crate::gemm::{self, Mat, MatMut};
use crate::{Isa, NonFinite, Q8_BLOCK, simd};

/// A weight matrix, rows × k, row-major.
#[derive(Debug, Clone, Copy)]
pub enum Weights<'a> {
    /// f32, used as they are.
    F32(&'a [f32]),
    /// The bits of IEEE halves.
    F16(&'a [u16]),
    /// Blocks of 32 int8 along k, none of them -128, each with a scale (the file's half, converted exactly).
    Q8_0 {
        /// rows × k/32.
        scales: &'a [f32],
        /// rows × k.
        quants: &'a [i8],
    },
}

impl Weights<'_> {
    /// Number of elements.
    fn len(&self) -> usize {
        match self {
            Self::F32(w) => w.len(),
            Self::F16(w) => w.len(),
            Self::Q8_0 { quants, .. } => quants.len(),
        }
    }
}

/// Sum of `w[i] * x[i]` in the normative order. Both slices have the same length.
pub fn dot(isa: Isa, w: &[f32], x: &[f32]) -> f32 {
    assert_eq!(w.len(), x.len(), "both sides of a dot product have the same length");
    let mut out = [0.0];
    rows_f32(isa, w, x.len(), x, &mut out);
    out[0]
}

/// `out[t][r] = dot(w[r], x[t])`: `x` is n × k, `out` is n × rows. Every output has the same bits for any n.
///
/// # Errors
/// [`NonFinite`] when the weights are Q8_0 and an activation is NaN or infinite.
///
/// # Panics
/// When the lengths do not fit together, or k is not a multiple of 32 for Q8_0: the caller has checked shapes at load.
pub fn matmul(isa: Isa, w: Weights<'_>, k: usize, x: &[f32], out: &mut [f32]) -> Result<(), NonFinite> {
    assert!(k > 0 && w.len().is_multiple_of(k) && x.len().is_multiple_of(k), "whole rows of {k}");
    let rows = w.len() / k;
    assert_eq!(out.len(), x.len() / k * rows, "one output for each row of weights and of activations");
    if rows == 0 {
        return Ok(());
    }
    match w {
        Weights::F32(w) => rows_f32(isa, w, k, x, out),
        Weights::F16(w) => rows_f16(isa, w, k, x, out),
        Weights::Q8_0 { scales, quants } => {
            let (mut x_scales, mut x_quants) = (vec![0.0; x.len() / Q8_BLOCK], vec![0; x.len()]);
            let rows = x_scales.chunks_mut((k / Q8_BLOCK).max(1)).zip(x_quants.chunks_mut(k));
            for (x, (scales, quants)) in x.chunks_exact(k).zip(rows) {
                simd::quantise_row(isa, x, scales, quants)?;
            }
            simd::Q8Task::new(k, (scales, quants), (&x_scales, &x_quants)).run(isa, out);
        }
    }
    Ok(())
}

fn rows_f32(isa: Isa, w: &[f32], k: usize, x: &[f32], out: &mut [f32]) {
    let (rows, n) = (w.len() / k.max(1), x.len() / k.max(1));
    gemm::nt_with(isa, Mat::new(x, n, k), Mat::new(w, rows, k), MatMut::new(out, n, rows));
}

/// Rows of halves that are converted together, then multiplied while they are in the first-level cache.
const F16_ROWS: usize = 8;

fn rows_f16(isa: Isa, w: &[u16], k: usize, x: &[f32], out: &mut [f32]) {
    let (rows, n) = (w.len() / k, x.len() / k);
    let mut converted = vec![0.0; F16_ROWS * k];
    for (i, w) in w.chunks(F16_ROWS * k).enumerate() {
        let converted = &mut converted[..w.len()];
        simd::convert_f16(isa, w, converted);
        let here = converted.len() / k;
        let out = MatMut::strided(&mut out[i * F16_ROWS..], n, here, rows);
        gemm::nt_with(isa, Mat::new(x, n, k), Mat::new(converted, here, k), out);
    }
}

/// RMSNorm of one row into `out`: all three slices have the model's width.
pub fn rms_norm(isa: Isa, x: &[f32], gain: &[f32], eps: f32, out: &mut [f32]) {
    assert!(x.len() == gain.len() && x.len() == out.len(), "a norm keeps the width");
    simd::rms_norm(isa, x, gain, eps, out);
}

/// Replaces `gate[i]` by `silu(gate[i]) * up[i]`.
pub fn swiglu(isa: Isa, gate: &mut [f32], up: &[f32]) {
    assert_eq!(gate.len(), up.len(), "a gate for each value");
    simd::swiglu(isa, gate, up);
}

/// `x[i] += y[i]`.
pub fn add(x: &mut [f32], y: &[f32]) {
    assert_eq!(x.len(), y.len(), "both sides of a sum have the same length");
    for (x, y) in x.iter_mut().zip(y) {
        *x += y;
    }
}

/// Attention of the query heads that share one key-value head, for one query position that sees all given positions.
///
/// `queries` and `out` are heads × `head_dim`; `keys` and `values` are positions × `head_dim`, at least one position.
/// `weights` is scratch that grows to heads × positions and holds the unnormalised softmax weights afterwards.
pub fn attention(
    isa: Isa,
    head_dim: usize,
    queries: &[f32],
    keys: &[f32],
    values: &[f32],
    weights: &mut Vec<f32>,
    out: &mut [f32],
) {
    assert!(head_dim > 0 && queries.len().is_multiple_of(head_dim), "whole heads of {head_dim}");
    assert!(!keys.is_empty() && keys.len().is_multiple_of(head_dim), "whole positions of {head_dim}");
    assert!(keys.len() == values.len() && queries.len() == out.len(), "keys as values, outputs as queries");
    let positions = keys.len() / head_dim;
    weights.clear();
    weights.resize(queries.len() / head_dim * positions, 0.0);
    rows_f32(isa, keys, head_dim, queries, weights);
    let scale = 1.0 / (head_dim as f32).sqrt();
    for (weights, out) in weights.chunks_exact_mut(positions).zip(out.chunks_exact_mut(head_dim)) {
        simd::exp_scores(isa, weights, scale);
        simd::weighted_values(isa, weights, values, out);
    }
}
