//! The kernels that callers use. Each checks shapes, divides its outputs among the threads and runs the implementation of
//! the instruction set.

#![allow(unsafe_code, reason = "threads write disjoint columns of one matrix")]

use crate::gemm::{self, Mat, MatMut};
use crate::quant::{Activations, Columns};
use crate::threads::Parts;
use crate::{Cpu, Format, Isa, Matrix, scalar, simd};

/// Bytes of weights that a task reads. Nothing asks for a task's first rows ahead of time, so long tasks are faster; but at the
/// end of a product threads wait for the longest one that is left. So tasks are a share of what is left of the product, from a
/// long one at its beginning to a short one at its end.
const TASK_BYTES: std::ops::RangeInclusive<usize> = 64 * 1024..=1024 * 1024;
/// How many tasks each thread would take if those of this size went on.
const TASKS_LEFT: usize = 4;
/// Rows of weights that a task takes at a time; tiles are this wide.
const PANEL: usize = 16;

/// Sum of `w[i] * x[i]` as section 2 orders it. Both slices have the same length.
pub fn dot(isa: Isa, w: &[f32], x: &[f32]) -> f32 {
    assert_eq!(w.len(), x.len(), "both sides of a dot product have the same length");
    let mut out = [0.0];
    gemm::nt_with(isa, Mat::new(x, 1, x.len()), Mat::new(w, 1, x.len()), MatMut::new(&mut out, 1, 1));
    out[0]
}

/// `out[t][r] = dot(w[r], x[t])`: `x` is n × k, `out` is n × rows. Every output has the same bits for any n.
///
/// A NaN or an infinity in a row of `x` makes that row's outputs not finite, and no other row's.
///
/// # Panics
/// When the lengths do not fit together: the caller has checked shapes at load.
pub fn matmul(cpu: &Cpu, w: Matrix<'_>, x: &[f32], out: &mut [f32]) {
    matmuls(cpu, x, &mut [(w, out)]);
}

/// Several matrices of the same row length times the same activations, which are quantised once a format.
///
/// # Panics
/// As [`matmul`].
pub fn matmuls(cpu: &Cpu, x: &[f32], products: &mut [(Matrix<'_>, &mut [f32])]) {
    matmuls_with(cpu, x, products, simd::quantised_products);
}

/// [`matmul`] of a quantised matrix without the rules of order, whose bits are nobody's: to measure what the rules cost.
///
/// # Panics
/// As [`matmul`], and without AVX-512, which alone has such kernels.
#[cfg(all(feature = "unordered", target_arch = "x86_64"))]
pub fn matmul_unordered(cpu: &Cpu, w: Matrix<'_>, x: &[f32], out: &mut [f32]) {
    matmuls_with(cpu, x, &mut [(w, out)], |_, w, x, out| simd::unordered_products(w, x, out));
}

/// The outputs of some rows of a quantised matrix.
type QuantisedProducts = fn(Isa, Matrix<'_>, &Activations, &mut Columns);

fn matmuls_with(
    cpu: &Cpu,
    x: &[f32],
    products: &mut [(Matrix<'_>, &mut [f32])],
    quantised_products: QuantisedProducts,
) {
    let Some(k) = products.first().map(|(w, _)| w.k()) else { return };
    assert!(x.len().is_multiple_of(k), "whole rows of {k}");
    let n = x.len() / k;
    let mut tasks = Vec::new();
    let mut left: usize = products.iter().map(|(w, _)| w.bytes().len()).sum();
    let mut quantised: Vec<Activations> = Vec::new();
    for (w, out) in products.iter_mut() {
        assert!(w.k() == k && out.len() == n * w.rows(), "one output for each row of weights and of activations");
        let block = w.format().activation_block();
        if block > 1 && !quantised.iter().any(|done| done.block == block) {
            quantised.push(Activations::new(cpu, x, k, block));
        }
        let (parts, mut from) = (Parts::new(out), 0);
        while from < w.rows() {
            let bytes = (left / (TASKS_LEFT * cpu.workers().threads())).clamp(*TASK_BYTES.start(), *TASK_BYTES.end());
            let rows = (bytes / w.row_bytes().max(1)).max(1).next_multiple_of(PANEL).min(w.rows() - from);
            let task = w.slice(from..from + rows);
            left = left.saturating_sub(task.bytes().len());
            tasks.push((task, parts, w.rows(), from));
            from += rows;
        }
    }
    cpu.workers().run(tasks.len(), |i| {
        let (w, parts, stride, from) = tasks[i];
        // SAFETY: tasks have disjoint columns of outputs that are borrowed for this whole call.
        let mut out = unsafe { Columns::new(&parts, stride, from, w.rows()) };
        match quantised.iter().find(|x| x.block == w.format().activation_block()) {
            Some(x) => quantised_products(cpu.isa(), w, x, &mut out),
            None => float_products(cpu.isa(), w, x, &mut out),
        }
    });
}

/// Rows of weights that are converted together, then multiplied while they are in the first-level cache.
const FLOAT_ROWS: usize = 8;

fn float_products(isa: Isa, w: Matrix<'_>, x: &[f32], out: &mut Columns) {
    let (k, n) = (w.k(), out.rows());
    let mut converted = vec![0.0; FLOAT_ROWS.min(w.rows()) * k];
    let mut results = vec![0.0; n * FLOAT_ROWS];
    for from in (0..w.rows()).step_by(FLOAT_ROWS) {
        let rows = FLOAT_ROWS.min(w.rows() - from);
        let (converted, bytes) = (&mut converted[..rows * k], w.slice(from..from + rows).bytes());
        match w.format() {
            Format::F32 => simd::read_f32(isa, bytes, converted),
            Format::F16 => simd::convert_f16(isa, bytes, converted),
            _ => simd::convert_bf16(isa, bytes, converted),
        }
        let results = &mut results[..n * rows];
        gemm::nt_with(isa, Mat::new(x, n, k), Mat::new(converted, rows, k), MatMut::new(results, n, rows));
        for (t, results) in results.chunks_exact(rows).enumerate() {
            results.iter().enumerate().for_each(|(r, result)| out.set(t, from + r, *result));
        }
    }
}

/// RMSNorm of one row into `out`: all three slices have the model's width.
pub fn rms_norm(isa: Isa, x: &[f32], gain: &[f32], eps: f32, out: &mut [f32]) {
    assert!(x.len() == gain.len() && x.len() == out.len(), "a norm keeps the width");
    simd::rms_norm(isa, x, gain, eps, out);
}

/// LayerNorm of one row into `out`: all slices have the same length.
pub fn layer_norm(isa: Isa, x: &[f32], (gain, bias): (&[f32], &[f32]), eps: f32, out: &mut [f32]) {
    assert!(x.len() == gain.len() && x.len() == bias.len() && x.len() == out.len(), "a norm keeps the width");
    simd::layer_norm(isa, x, gain, bias, eps, out);
}

/// The non-linear function of a feed-forward network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x / (1 + exp(-x))`.
    Silu,
    /// GELU, approximated by tanh.
    GeluTanh,
    /// GELU by the error function.
    GeluErf,
}

/// Replaces each `x[i]` by `f(x[i])`.
pub fn activate(isa: Isa, f: Activation, x: &mut [f32]) {
    match f {
        Activation::Silu => simd::silu(isa, x),
        Activation::GeluTanh => simd::gelu_tanh(isa, x),
        Activation::GeluErf => simd::gelu_erf(isa, x),
    }
}

/// Replaces `gate[i]` by `f(gate[i]) * up[i]`.
pub fn gated(isa: Isa, f: Activation, gate: &mut [f32], up: &[f32]) {
    assert_eq!(gate.len(), up.len(), "a gate for each value");
    activate(isa, f, gate);
    simd::multiply(isa, gate, up);
}

/// Replaces each `x[i]` by `cap * tanh(x[i] / cap)`; `cap` is positive.
pub fn softcap(isa: Isa, cap: f32, x: &mut [f32]) {
    simd::softcap(isa, x, cap);
}

/// The `used` experts that a row's router `logits` choose and their weights, in ascending order of expert; section 5 says how.
///
/// Where a logit is NaN, so are the weights.
///
/// # Panics
/// When there are fewer than `used` logits.
pub fn route(logits: &[f32], used: usize) -> Vec<(usize, f32)> {
    let mut p = logits.to_vec();
    scalar::exp_scores(&mut p);
    let sum = scalar::lane_sum(p.iter().copied());
    p.iter_mut().for_each(|p| *p /= sum);
    let mut order: Vec<usize> = (0..p.len()).collect();
    // A stable sort leaves equals in ascending order.
    order.sort_by(|a, b| p[*b].total_cmp(&p[*a]));
    let mut chosen = order[..used].to_vec();
    chosen.sort_unstable();
    let weight = chosen.iter().fold(0.0, |sum, e| sum + p[*e]);
    chosen.into_iter().map(|e| (e, p[e] / weight)).collect()
}

/// `x[i] += y[i]`.
pub fn add(x: &mut [f32], y: &[f32]) {
    assert_eq!(x.len(), y.len(), "both sides of a sum have the same length");
    for (x, y) in x.iter_mut().zip(y) {
        *x += y;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_experts_are_used_in_ascending_order() {
        let chosen = route(&[1.0, 3.0, -2.0, 2.0], 2);
        assert_eq!(chosen.iter().map(|(e, _)| *e).collect::<Vec<_>>(), [1, 3]);
        let weight = 1.0 / (1.0 + (-1f32).exp());
        assert!((chosen[0].1 - weight).abs() < 1e-6 && (chosen[0].1 + chosen[1].1 - 1.0).abs() < 1e-6, "{chosen:?}");
    }

    #[test]
    fn of_equal_experts_the_lowest_are_used() {
        assert_eq!(route(&[0.5; 5], 2), [(0, 0.5), (1, 0.5)]);
        // Experts whose share is too small for a number are equals.
        assert_eq!(route(&[-200.0, -100.0, 0.0, -100.0], 2).iter().map(|(e, _)| *e).collect::<Vec<_>>(), [0, 2]);
        assert_eq!(route(&[f32::NAN, 1.0, f32::INFINITY], 2).len(), 2);
    }

    #[test]
    fn every_instruction_set_caps_alike() {
        let x: Vec<f32> = (-300..300).map(|i| i as f32 * 0.37).collect();
        let expected: Vec<u32> = x.iter().map(|x| (30.0 * crate::tanh_f32(x / 30.0)).to_bits()).collect();
        for isa in Isa::available() {
            let mut capped = x.clone();
            softcap(*isa, 30.0, &mut capped);
            assert!(capped.iter().map(|x| x.to_bits()).eq(expected.iter().copied()), "{isa}");
        }
    }
}
