//! The definition of every kernel as plain loops. The vector paths are tested against this module bit for bit.
//!
//! It is written to be read and to be ported: no unsafe code, one IEEE operation per operator, in the order written.

use crate::math::{bf16_to_f32, exp_f32, f16_to_f32, silu_f32, tanh_f32};
use crate::{AttentionShape, Format, LANES, PARTIAL};
use std::ops::Range;

/// The halving tree: lane l += lane l + 8, then + 4, + 2, + 1; the sum is lane 0.
pub fn halving_sum(mut lanes: [f32; LANES]) -> f32 {
    for step in [8, 4, 2, 1] {
        for lane in 0..step {
            lanes[lane] += lanes[lane + step];
        }
    }
    lanes[0]
}

/// The lane sum of some terms: 16 lanes, lane = i mod 16, then the halving tree.
pub fn lane_sum(terms: impl IntoIterator<Item = f32>) -> f32 {
    let mut lanes = [0.0; LANES];
    for (i, term) in terms.into_iter().enumerate() {
        lanes[i % LANES] += term;
    }
    halving_sum(lanes)
}

/// Lane sum of `w[i] * x[i]`.
pub fn dot_f32(w: &[f32], x: &[f32]) -> f32 {
    lane_sum(w.iter().zip(x).map(|(w, x)| w * x))
}

/// An activation row as a quantised format reads it: a scale for each block, a quant for each element.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantisedRow {
    /// One scale a block; NaN when an element of the block is not finite, so that the fault shows in every output.
    pub scales: Vec<f32>,
    /// -127 to 127.
    pub quants: Vec<i8>,
}

/// Quantises a row in blocks of `block` elements.
pub fn quantise(x: &[f32], block: usize) -> QuantisedRow {
    let (mut scales, mut quants) = (Vec::new(), Vec::new());
    for x in x.chunks_exact(block) {
        let largest = x.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
        let inverse = 127.0 / largest;
        if !x.iter().all(|x| x.is_finite()) {
            scales.push(f32::NAN);
            quants.extend(x.iter().map(|_| 0));
        } else if inverse == f32::INFINITY {
            scales.push(0.0);
            quants.extend(x.iter().map(|_| 0));
        } else {
            scales.push(largest / 127.0);
            quants.extend(x.iter().map(|x| (x * inverse).round_ties_even() as i8));
        }
    }
    QuantisedRow { scales, quants }
}

/// One output: a row of weights, as the file holds it, times an activation row.
pub fn dot(format: Format, w: &[u8], x: &[f32]) -> f32 {
    let blocks = w.chunks_exact(format.block_bytes());
    if format.block() == 1 {
        let mut value = [0.0];
        return lane_sum(blocks.zip(x).map(|(w, x)| {
            block_to_f32(format, w, &mut value);
            value[0] * x
        }));
    }
    let x = quantise(x, format.activation_block());
    let x_blocks = x.scales.iter().zip(x.quants.chunks_exact(format.activation_block()));
    let mut sum = 0.0;
    for (w, (x_scale, x)) in blocks.zip(x_blocks) {
        sum += block_term(format, w, *x_scale, x);
    }
    sum
}

/// What one block adds to an output.
pub(crate) fn block_term(format: Format, w: &[u8], x_scale: f32, x: &[i8]) -> f32 {
    let products = |w: &[i32], x: &[i8]| w.iter().zip(x).map(|(w, x)| w * i32::from(*x)).sum::<i32>();
    let mut quants = [0; 256];
    let quants = &mut quants[..format.block()];
    block_quants(format, w, quants);
    match format {
        Format::Q4_0 | Format::Q8_0 => products(quants, x) as f32 * (half(w, 0) * x_scale),
        Format::Q4_K | Format::Q5_K => {
            let (mut sum, mut minima) = (0, 0);
            for (j, (quants, x)) in quants.chunks_exact(32).zip(x.chunks_exact(32)).enumerate() {
                let (scale, minimum) = scale_and_minimum(&w[4..16], j);
                sum += scale * products(quants, x);
                minima += minimum * x.iter().map(|x| i32::from(*x)).sum::<i32>();
            }
            sum as f32 * (half(w, 0) * x_scale) - minima as f32 * (half(w, 2) * x_scale)
        }
        Format::Q6_K => {
            let parts = quants.chunks_exact(16).zip(x.chunks_exact(16)).enumerate();
            let sum: i32 = parts.map(|(j, (quants, x))| i32::from(w[192 + j] as i8) * products(quants, x)).sum();
            sum as f32 * (half(w, 208) * x_scale)
        }
        Format::F32 | Format::F16 | Format::BF16 => 0.0,
    }
}

fn half(block: &[u8], at: usize) -> f32 {
    f16_to_f32(u16::from_le_bytes([block[at], block[at + 1]]))
}

/// Scale and minimum of sub-block `j` of a Q4_K or Q5_K block, from its twelve bytes of 6-bit numbers.
pub fn scale_and_minimum(packed: &[u8], j: usize) -> (i32, i32) {
    let (scale, minimum) = if j < 4 {
        (packed[j] & 63, packed[j + 4] & 63)
    } else {
        (packed[j + 4] & 15 | packed[j - 4] >> 6 << 4, packed[j + 4] >> 4 | packed[j] >> 6 << 4)
    };
    (i32::from(scale), i32::from(minimum))
}

/// The integer weights of one block, in the order of the row; for a format without integers, nothing.
fn block_quants(format: Format, w: &[u8], out: &mut [i32]) {
    for (i, out) in out.iter_mut().enumerate() {
        // Position within 64 elements of Q4_K and Q5_K, within 128 of Q6_K.
        let (c, l) = (i / 64, i % 64);
        let (n, m) = (i / 128, i % 128);
        *out = match format {
            Format::Q4_0 if i < 16 => i32::from(w[2 + i] & 15) - 8,
            Format::Q4_0 => i32::from(w[2 + i - 16] >> 4) - 8,
            Format::Q8_0 => i32::from(w[2 + i] as i8),
            Format::Q4_K => i32::from(w[16 + c * 32 + l % 32] >> (l / 32 * 4) & 15),
            Format::Q5_K => {
                let low = w[48 + c * 32 + l % 32] >> (l / 32 * 4) & 15;
                i32::from(low | (w[16 + l % 32] >> (i / 32) & 1) << 4)
            }
            Format::Q6_K => {
                let low = w[n * 64 + m % 64] >> (m / 64 * 4) & 15;
                i32::from(low | (w[128 + n * 32 + m % 32] >> (m / 32 * 2) & 3) << 4) - 32
            }
            Format::F32 | Format::F16 | Format::BF16 => 0,
        };
    }
}

/// The weights of one block as f32, as an embedding gives them.
pub fn block_to_f32(format: Format, w: &[u8], out: &mut [f32]) {
    let mut quants = [0; 256];
    let quants = &mut quants[..format.block()];
    block_quants(format, w, quants);
    for (i, (out, quant)) in out.iter_mut().zip(quants).enumerate() {
        let quant = *quant as f32;
        *out = match format {
            Format::F32 => f32::from_le_bytes([w[0], w[1], w[2], w[3]]),
            Format::F16 => half(w, 0),
            Format::BF16 => bf16_to_f32(u16::from_le_bytes([w[0], w[1]])),
            Format::Q4_0 | Format::Q8_0 => half(w, 0) * quant,
            Format::Q4_K | Format::Q5_K => {
                let (scale, minimum) = scale_and_minimum(&w[4..16], i / 32);
                (half(w, 0) * scale as f32) * quant - half(w, 2) * minimum as f32
            }
            Format::Q6_K => (half(w, 208) * f32::from(w[192 + i / 16] as i8)) * quant,
        };
    }
}

/// `out[i] = (x[i] * r) * gain[i]` with `r = 1 / sqrt(sum / len + eps)`, the sum of squares as in [`dot_f32`].
pub fn rms_norm(x: &[f32], gain: &[f32], eps: f32, out: &mut [f32]) {
    let r = 1.0 / (dot_f32(x, x) / x.len() as f32 + eps).sqrt();
    for ((out, x), gain) in out.iter_mut().zip(x).zip(gain) {
        *out = (x * r) * gain;
    }
}

/// `out[i] = (d[i] * r) * gain[i] + bias[i]` with `d[i] = x[i] - mean` and `r = 1 / sqrt(sum of d^2 / len + eps)`.
pub fn layer_norm(x: &[f32], gain: &[f32], bias: &[f32], eps: f32, out: &mut [f32]) {
    let mean = lane_sum(x.iter().copied()) / x.len() as f32;
    let centred: Vec<f32> = x.iter().map(|x| x - mean).collect();
    let r = 1.0 / (dot_f32(&centred, &centred) / x.len() as f32 + eps).sqrt();
    for (((out, d), gain), bias) in out.iter_mut().zip(&centred).zip(gain).zip(bias) {
        *out = (d * r) * gain + bias;
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

/// Attention of one query head over the positions `seen` of `keys` and `values` (positions × `head_dim` each).
pub fn attention_head(
    shape: &AttentionShape,
    seen: Range<usize>,
    query: &[f32],
    keys: &[f32],
    values: &[f32],
    out: &mut [f32],
) {
    let dim = query.len();
    let mut weights: Vec<f32> = keys[seen.start * dim..seen.end * dim]
        .chunks_exact(dim)
        .map(|key| {
            let score = dot_f32(key, query) * shape.scale;
            shape.softcap.map_or(score, |cap| cap * tanh_f32(score / cap))
        })
        .collect();
    exp_scores(&mut weights);
    // Parts are cut from position 0, so the first one may be seen only from its middle on.
    let first = seen.start / PARTIAL * PARTIAL;
    let mut padded = vec![0.0; seen.start - first];
    padded.append(&mut weights);
    weighted_values(&padded, &values[first * dim..seen.end * dim], out);
}
