//! Kernels over arrays of sixteen lanes, in safe code. Each is inlined into a function of every instruction set.

use crate::math::{exp_f32, f16_to_f32, silu_f32};
use crate::{LANES, NonFinite, PARTIAL, Q8_BLOCK};

type Lanes = [f32; LANES];

#[inline(always)]
fn halving_sum(mut lanes: Lanes) -> f32 {
    for step in [8, 4, 2, 1] {
        for lane in 0..step {
            lanes[lane] += lanes[lane + step];
        }
    }
    lanes[0]
}

/// Sum over 16 lanes of `f(x[i])`, then the halving tree.
#[inline(always)]
fn lane_sum(x: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let (chunks, tail) = x.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane += f(*x);
        }
    }
    for (lane, x) in lanes.iter_mut().zip(tail) {
        *lane += f(*x);
    }
    halving_sum(lanes)
}

#[inline(always)]
pub(crate) fn rms_norm(x: &[f32], gain: &[f32], eps: f32, out: &mut [f32]) {
    let r = 1.0 / (lane_sum(x, |x| x * x) / x.len() as f32 + eps).sqrt();
    for ((out, x), gain) in out.iter_mut().zip(x).zip(gain) {
        *out = (x * r) * gain;
    }
}

#[inline(always)]
pub(crate) fn swiglu(gate: &mut [f32], up: &[f32]) {
    for (gate, up) in gate.iter_mut().zip(up) {
        *gate = silu_f32(*gate) * up;
    }
}

#[inline(always)]
pub(crate) fn exp_scores(scores: &mut [f32], scale: f32) {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for chunk in scores.chunks_mut(LANES) {
        for (lane, score) in lanes.iter_mut().zip(chunk) {
            *score *= scale;
            *lane = if *score > *lane { *score } else { *lane };
        }
    }
    let max = lanes.into_iter().fold(f32::NEG_INFINITY, |max, lane| if lane > max { lane } else { max });
    for score in scores {
        *score = exp_f32(*score - max);
    }
}

#[inline(always)]
pub(crate) fn weighted_values(weights: &[f32], values: &[f32], out: &mut [f32]) {
    let sum = weights.chunks(PARTIAL).fold(0.0, |sum, part| sum + lane_sum(part, |weight| weight));
    let width = out.len();
    let mut from = 0;
    while from < width {
        let out = &mut out[from..];
        from += match out.len() {
            64.. => columns::<64>(weights, &values[from..], width, out),
            32.. => columns::<32>(weights, &values[from..], width, out),
            16.. => columns::<16>(weights, &values[from..], width, out),
            _ => columns::<1>(weights, &values[from..], width, out),
        };
    }
    for out in out {
        *out /= sum;
    }
}

/// Weighted sums of `N` columns of `values`, whose rows begin `width` apart; gives back `N`.
#[inline(always)]
fn columns<const N: usize>(weights: &[f32], values: &[f32], width: usize, out: &mut [f32]) -> usize {
    let mut total = [0.0; N];
    let mut rows = values.chunks(width);
    for part in weights.chunks(PARTIAL) {
        let mut partial = [0.0; N];
        for (weight, row) in part.iter().zip(&mut rows) {
            if let Some(row) = row.first_chunk::<N>() {
                for (partial, value) in partial.iter_mut().zip(row) {
                    *partial += weight * value;
                }
            }
        }
        for (total, partial) in total.iter_mut().zip(partial) {
            *total += partial;
        }
    }
    out[..N].copy_from_slice(&total);
    N
}

#[inline(always)]
pub(crate) fn quantise_row(x: &[f32], scales: &mut [f32], quants: &mut [i8]) -> Result<(), NonFinite> {
    // x * 0 is 0 or NaN, and a sum with a NaN is NaN.
    if lane_sum(x, |x| x * 0.0) != 0.0 {
        return Err(NonFinite);
    }
    let blocks = x.as_chunks::<Q8_BLOCK>().0.iter().zip(quants.as_chunks_mut::<Q8_BLOCK>().0);
    for ((x, quants), scale) in blocks.zip(scales) {
        let mut lanes = [0.0; LANES];
        for half in x.as_chunks::<LANES>().0 {
            for (lane, x) in lanes.iter_mut().zip(half) {
                *lane = if x.abs() > *lane { x.abs() } else { *lane };
            }
        }
        *scale = lanes.into_iter().fold(0.0, |amax, lane| if lane > amax { lane } else { amax }) / 127.0;
        if *scale == 0.0 {
            quants.fill(0);
            continue;
        }
        for (quant, x) in quants.iter_mut().zip(x) {
            *quant = (x / *scale).round_ties_even().clamp(-127.0, 127.0) as i8;
        }
    }
    Ok(())
}

#[inline(always)]
pub(crate) fn convert_f16(bits: &[u16], out: &mut [f32]) {
    for (out, bits) in out.iter_mut().zip(bits) {
        *out = f16_to_f32(*bits);
    }
}
