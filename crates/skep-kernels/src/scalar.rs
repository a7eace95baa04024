//! The definition of every kernel as plain loops. The vector paths are tested against this module bit for bit.
//!
//! It is written to be read and to be ported: no unsafe code, one IEEE operation per operator, in the order written.

use crate::math::{exp_f32, f16_to_f32, silu_f32};
use crate::{LANES, NonFinite, PARTIAL, Q8_BLOCK};

/// The halving tree: lane l += lane l + 8, then + 4, + 2, + 1; the sum is lane 0.
pub fn halving_sum(mut lanes: [f32; LANES]) -> f32 {
    for step in [8, 4, 2, 1] {
        for lane in 0..step {
            lanes[lane] += lanes[lane + step];
        }
    }
    lanes[0]
}

/// Sum of `w[i] * x[i]` over 16 lanes, lane = i mod 16, then the halving tree.
pub fn dot_f32(w: &[f32], x: &[f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    for (i, (w, x)) in w.iter().zip(x).enumerate() {
        lanes[i % LANES] += w * x;
    }
    halving_sum(lanes)
}

/// As [`dot_f32`], the halves converted exactly.
pub fn dot_f16(w: &[u16], x: &[f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    for (i, (w, x)) in w.iter().zip(x).enumerate() {
        lanes[i % LANES] += f16_to_f32(*w) * x;
    }
    halving_sum(lanes)
}

/// Dot product of two rows of int8 blocks. Group j of block b is the exact sum of products 4j to 4j + 3 of that block;
/// it goes to lane (b mod 2) * 8 + j as `sum as f32 * (w_scale * x_scale)`.
pub fn dot_q8(w_scales: &[f32], w_quants: &[i8], x_scales: &[f32], x_quants: &[i8]) -> f32 {
    let mut lanes = [0.0; LANES];
    for (b, (w_scale, x_scale)) in w_scales.iter().zip(x_scales).enumerate() {
        let scale = w_scale * x_scale;
        for j in 0..8 {
            let from = b * Q8_BLOCK + 4 * j;
            let products = (from..from + 4).map(|i| i32::from(w_quants[i]) * i32::from(x_quants[i]));
            lanes[b % 2 * 8 + j] += products.sum::<i32>() as f32 * scale;
        }
    }
    halving_sum(lanes)
}

/// Quantises one activation row in blocks of 32: scale = amax / 127, quant = x / scale rounded to even, within ±127.
///
/// # Errors
/// [`NonFinite`] when an element is NaN or infinite: it has no quantised form, so it must not pass unnoticed.
pub fn quantise_row(x: &[f32], scales: &mut [f32], quants: &mut [i8]) -> Result<(), NonFinite> {
    for ((x, quants), scale) in x.chunks_exact(Q8_BLOCK).zip(quants.chunks_exact_mut(Q8_BLOCK)).zip(scales) {
        if !x.iter().all(|x| x.is_finite()) {
            return Err(NonFinite);
        }
        let amax = x.iter().fold(0.0f32, |amax, x| amax.max(x.abs()));
        *scale = amax / 127.0;
        for (quant, x) in quants.iter_mut().zip(x) {
            // A block so small that its scale rounds to zero is a block of zeros.
            *quant = if *scale == 0.0 { 0 } else { (x / *scale).round_ties_even().clamp(-127.0, 127.0) as i8 };
        }
    }
    Ok(())
}

/// `out[i] = (x[i] * r) * gain[i]` with `r = 1 / sqrt(sum / len + eps)`, the sum of squares as in [`dot_f32`].
pub fn rms_norm(x: &[f32], gain: &[f32], eps: f32, out: &mut [f32]) {
    let r = 1.0 / (dot_f32(x, x) / x.len() as f32 + eps).sqrt();
    for ((out, x), gain) in out.iter_mut().zip(x).zip(gain) {
        *out = (x * r) * gain;
    }
}

/// Replaces `gate[i]` by `silu(gate[i]) * up[i]`.
pub fn swiglu(gate: &mut [f32], up: &[f32]) {
    for (gate, up) in gate.iter_mut().zip(up) {
        *gate = silu_f32(*gate) * up;
    }
}

/// Replaces each score by `exp(score - max)`, the maximum being exact. The caller divides by the sum.
pub fn exp_scores(scores: &mut [f32]) {
    let max = scores.iter().fold(f32::NEG_INFINITY, |max, score| max.max(*score));
    for score in scores {
        *score = exp_f32(*score - max);
    }
}

/// Sum of the weights of all positions: 16 lanes and the halving tree within each part of 256, the parts in order.
pub fn sum_weights(weights: &[f32]) -> f32 {
    let mut total = 0.0;
    for part in weights.chunks(PARTIAL) {
        let mut lanes = [0.0; LANES];
        for (i, weight) in part.iter().enumerate() {
            lanes[i % LANES] += weight;
        }
        total += halving_sum(lanes);
    }
    total
}

/// `out[d] = (sum over t of weights[t] * values[t][d]) / sum`, positions in order within each part of 256 from +0, the
/// parts in order from +0. `values` is positions × `out.len()`.
pub fn weighted_values(weights: &[f32], values: &[f32], out: &mut [f32]) {
    let sum = sum_weights(weights);
    let width = out.len();
    for (d, out) in out.iter_mut().enumerate() {
        let mut total = 0.0;
        for (p, part) in weights.chunks(PARTIAL).enumerate() {
            let mut partial = 0.0;
            for (t, weight) in part.iter().enumerate() {
                partial += weight * values[(p * PARTIAL + t) * width + d];
            }
            total += partial;
        }
        *out = total / sum;
    }
}

/// Attention of one query head over all positions of `keys` and `values` (positions × `head_dim` each).
///
/// `weights` receives the unnormalised softmax weights, one a position.
pub fn attention_head(query: &[f32], keys: &[f32], values: &[f32], weights: &mut [f32], out: &mut [f32]) {
    let scale = 1.0 / (query.len() as f32).sqrt();
    for (weight, key) in weights.iter_mut().zip(keys.chunks_exact(query.len())) {
        *weight = dot_f32(key, query) * scale;
    }
    exp_scores(weights);
    weighted_values(weights, values, out);
}
