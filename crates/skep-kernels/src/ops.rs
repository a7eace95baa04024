//! The kernels that callers use: each takes an [`Isa`], checks shapes and runs the implementation of that instruction set.

use crate::{Isa, NonFinite, Q8_BLOCK, scalar};

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
    let mut out = [0.0];
    assert_eq!(w.len(), x.len(), "both sides of a dot product have the same length");
    let _ = isa;
    out[0] = scalar::dot_f32(w, x);
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
    let _ = isa;
    match w {
        Weights::F32(w) => {
            for (x, out) in x.chunks_exact(k).zip(out.chunks_exact_mut(rows)) {
                for (w, out) in w.chunks_exact(k).zip(out) {
                    *out = scalar::dot_f32(w, x);
                }
            }
        }
        Weights::F16(w) => {
            for (x, out) in x.chunks_exact(k).zip(out.chunks_exact_mut(rows)) {
                for (w, out) in w.chunks_exact(k).zip(out) {
                    *out = scalar::dot_f16(w, x);
                }
            }
        }
        Weights::Q8_0 { scales, quants } => {
            assert!(k.is_multiple_of(Q8_BLOCK) && scales.len() * Q8_BLOCK == quants.len(), "whole blocks");
            let blocks = k / Q8_BLOCK;
            let (mut x_scales, mut x_quants) = (vec![0.0; blocks], vec![0; k]);
            for (x, out) in x.chunks_exact(k).zip(out.chunks_exact_mut(rows)) {
                scalar::quantise_row(x, &mut x_scales, &mut x_quants)?;
                for ((w, s), out) in quants.chunks_exact(k).zip(scales.chunks_exact(blocks)).zip(out) {
                    *out = scalar::dot_q8(s, w, &x_scales, &x_quants);
                }
            }
        }
    }
    Ok(())
}

/// RMSNorm of one row into `out`: all three slices have the model's width.
pub fn rms_norm(isa: Isa, x: &[f32], gain: &[f32], eps: f32, out: &mut [f32]) {
    assert!(x.len() == gain.len() && x.len() == out.len(), "a norm keeps the width");
    let _ = isa;
    scalar::rms_norm(x, gain, eps, out);
}

/// Replaces `gate[i]` by `silu(gate[i]) * up[i]`.
pub fn swiglu(isa: Isa, gate: &mut [f32], up: &[f32]) {
    assert_eq!(gate.len(), up.len(), "a gate for each value");
    let _ = isa;
    scalar::swiglu(gate, up);
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
    let _ = isa;
    let heads = queries.chunks_exact(head_dim).zip(out.chunks_exact_mut(head_dim));
    for ((query, out), weights) in heads.zip(weights.chunks_exact_mut(positions)) {
        scalar::attention_head(query, keys, values, weights, out);
    }
}
