//! Kernels over arrays of sixteen lanes, in safe code. Each is inlined into a function of every instruction set.

use crate::kv::{KvLayout, Side};
use crate::math::{bf16_to_f32, exp_f32, f16_to_f32, gelu_erf_f32, gelu_tanh_f32, silu_f32, tanh_f32};
use crate::quant::SUM;
use crate::{LANES, PARTIAL};

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
pub(crate) fn layer_norm(x: &[f32], gain: &[f32], bias: &[f32], eps: f32, out: &mut [f32]) {
    let mean = lane_sum(x, |x| x) / x.len() as f32;
    for (out, x) in out.iter_mut().zip(x) {
        *out = x - mean;
    }
    let r = 1.0 / (lane_sum(out, |x| x * x) / x.len() as f32 + eps).sqrt();
    for ((out, gain), bias) in out.iter_mut().zip(gain).zip(bias) {
        *out = (*out * r) * gain + bias;
    }
}

#[inline(always)]
pub(crate) fn silu(x: &mut [f32]) {
    x.iter_mut().for_each(|x| *x = silu_f32(*x));
}

#[inline(always)]
pub(crate) fn gelu_tanh(x: &mut [f32]) {
    x.iter_mut().for_each(|x| *x = gelu_tanh_f32(*x));
}

#[inline(always)]
pub(crate) fn gelu_erf(x: &mut [f32]) {
    x.iter_mut().for_each(|x| *x = gelu_erf_f32(*x));
}

#[inline(always)]
pub(crate) fn multiply(x: &mut [f32], y: &[f32]) {
    for (x, y) in x.iter_mut().zip(y) {
        *x *= y;
    }
}

#[inline(always)]
pub(crate) fn softcap(x: &mut [f32], cap: f32) {
    x.iter_mut().for_each(|x| *x = cap * tanh_f32(*x / cap));
}

#[inline(always)]
pub(crate) fn exp_scores(scores: &mut [f32], scale: f32, cap: f32) {
    for score in scores.iter_mut() {
        *score *= scale;
    }
    if cap > 0.0 {
        softcap(scores, cap);
    }
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for chunk in scores.chunks(LANES) {
        for (lane, score) in lanes.iter_mut().zip(chunk) {
            *lane = if *score > *lane { *score } else { *lane };
        }
    }
    let max = lanes.into_iter().fold(f32::NEG_INFINITY, |max, lane| if lane > max { lane } else { max });
    for score in scores {
        *score = exp_f32(*score - max);
    }
}

/// `out[d] += weights[t] * values[t][d]`, t in order; `values` is positions × `out.len()`.
#[inline(always)]
pub(crate) fn add_weighted(weights: &[f32], values: &[f32], out: &mut [f32]) {
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
}

/// Adds to `N` outputs, whose values begin `width` apart; gives back `N`.
#[inline(always)]
fn columns<const N: usize>(weights: &[f32], values: &[f32], width: usize, out: &mut [f32]) -> usize {
    let Some(out) = out.first_chunk_mut::<N>() else { return N };
    let mut sums = *out;
    for (weight, row) in weights.iter().zip(values.chunks(width)) {
        if let Some(row) = row.first_chunk::<N>() {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += weight * value;
            }
        }
    }
    *out = sums;
    N
}

/// Divides by the sum of the weights, which begin at the start of a part.
#[inline(always)]
pub(crate) fn divide_by_sum(weights: &[f32], out: &mut [f32]) {
    let sum = weights.chunks(PARTIAL).fold(0.0, |sum, part| sum + lane_sum(part, |weight| weight));
    for out in out {
        *out /= sum;
    }
}

#[inline(always)]
pub(crate) fn load_page(layout: &KvLayout, page: &[u8], head: usize, side: Side, out: &mut [f32]) {
    layout.load(page, head, side, out);
}

#[inline(always)]
pub(crate) fn quantise_row(
    x: &[f32],
    block: usize,
    quants: &mut [i8],
    scales: &mut [f32],
    sums: &mut [i16],
    starts: &mut [i32],
) {
    let blocks = x.chunks_exact(block).zip(quants.chunks_exact_mut(block));
    for ((x, quants), scale) in blocks.zip(scales) {
        let mut lanes = [0.0; LANES];
        for part in x.as_chunks::<LANES>().0 {
            for (lane, x) in lanes.iter_mut().zip(part) {
                *lane = if x.abs() > *lane { x.abs() } else { *lane };
            }
        }
        let largest = lanes.into_iter().fold(0.0, |largest, lane| if lane > largest { lane } else { largest });
        let inverse = 127.0 / largest;
        // x * 0 is 0 or NaN, and a sum with a NaN is NaN.
        let fault = lane_sum(x, |x| x * 0.0) != 0.0;
        if fault || inverse == f32::INFINITY {
            *scale = if fault { f32::NAN } else { 0.0 };
            quants.fill(0);
            continue;
        }
        *scale = largest / 127.0;
        for (quant, x) in quants.iter_mut().zip(x) {
            // The product is within ±127.0001, so nothing is cut; the conversion through i32 is the one that vectors have.
            *quant = (x * inverse).round_ties_even() as i32 as i8;
        }
    }
    let sum = |quants: &[i8]| quants.iter().map(|quant| i16::from(*quant)).sum::<i16>();
    for (out, quants) in sums.iter_mut().zip(quants.as_chunks::<SUM>().0) {
        *out = sum(quants);
    }
    if block == SUM {
        for (start, sum) in starts.iter_mut().zip(sums) {
            *start = -128 * i32::from(*sum);
        }
    } else {
        for (start, quants) in starts.iter_mut().zip(quants.as_chunks::<{ SUM / 2 }>().0) {
            *start = -32 * i32::from(sum(quants));
        }
    }
}

#[inline(always)]
pub(crate) fn read_f32(bytes: &[u8], out: &mut [f32]) {
    for (out, bytes) in out.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *out = f32::from_le_bytes(*bytes);
    }
}

#[inline(always)]
pub(crate) fn convert_f16(bytes: &[u8], out: &mut [f32]) {
    for (out, bytes) in out.iter_mut().zip(bytes.as_chunks::<2>().0) {
        *out = f16_to_f32(u16::from_le_bytes(*bytes));
    }
}

#[inline(always)]
pub(crate) fn convert_bf16(bytes: &[u8], out: &mut [f32]) {
    for (out, bytes) in out.iter_mut().zip(bytes.as_chunks::<2>().0) {
        *out = bf16_to_f32(u16::from_le_bytes(*bytes));
    }
}
