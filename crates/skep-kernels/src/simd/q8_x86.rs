//! Dot products of int8 blocks with AVX2 and with AVX-512 VNNI.
//!
//! Both multiply the absolute value of the weight by the activation with the weight's sign: `vpmaddubsw` and `vpdpbusd` want
//! one unsigned side. With both sides within ±127 the pair sums of `vpmaddubsw` stay at or below 32,258, so nothing
//! saturates, and `vpdpbusd` is exact in any case.

#![allow(clippy::needless_range_loop, reason = "the same indices walk accumulators and addresses")]

use super::Q8Task;
use std::arch::x86_64::*;

/// Runs `tile` over all outputs, `R` weight rows and `T` activation rows at a time, single ones at the edges.
macro_rules! tiled {
    ($task:ident, $out:ident, $tile:ident, $r:literal, $t:literal) => {{
        let rows = $task.rows();
        let n = $task.x_quants.len() / $task.k;
        let mut r = 0;
        while r < rows {
            let step = if r + $r <= rows { $r } else { 1 };
            let mut t = 0;
            while t < n {
                let wide = if t + $t <= n { $t } else { 1 };
                // SAFETY: rows r..r+step and t..t+wide exist; the caller vouches for the instructions and the shapes.
                unsafe {
                    match (step, wide) {
                        (1, 1) => $tile::<1, 1>($task, r, t, $out),
                        (1, _) => $tile::<1, $t>($task, r, t, $out),
                        (_, 1) => $tile::<$r, 1>($task, r, t, $out),
                        _ => $tile::<$r, $t>($task, r, t, $out),
                    }
                }
                t += wide;
            }
            r += step;
        }
    }};
}

/// All outputs with AVX2.
///
/// # Safety
/// The processor has AVX2 and `out` has one element for each pair of rows of `task`.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn avx2(task: &Q8Task<'_>, out: &mut [f32]) {
    tiled!(task, out, tile_avx2, 4, 2);
}

/// All outputs with AVX-512.
///
/// # Safety
/// The processor has AVX-512 F, BW, VL, DQ and VNNI and `out` has one element for each pair of rows of `task`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(super) unsafe fn avx512(task: &Q8Task<'_>, out: &mut [f32]) {
    tiled!(task, out, tile_avx512, 4, 4);
}

#[target_feature(enable = "avx2")]
unsafe fn tile_avx2<const R: usize, const T: usize>(task: &Q8Task<'_>, r0: usize, t0: usize, out: &mut [f32]) {
    let (k, blocks) = (task.k, task.k / 32);
    // Lanes 0 to 7 gather the even blocks, lanes 8 to 15 the odd ones.
    let mut acc = [[[_mm256_setzero_ps(); 2]; T]; R];
    for b in 0..blocks {
        for r in 0..R {
            // SAFETY: block b of row r0 + r exists, by the caller's promise and the checks of `Q8Task::new`.
            let (w, w_scale) = unsafe {
                let at = task.w_quants.as_ptr().add((r0 + r) * k + b * 32);
                (_mm256_loadu_si256(at.cast()), *task.w_scales.get_unchecked((r0 + r) * blocks + b))
            };
            let magnitude = _mm256_abs_epi8(w);
            for t in 0..T {
                // SAFETY: block b of row t0 + t exists, likewise.
                let (x, x_scale) = unsafe {
                    let at = task.x_quants.as_ptr().add((t0 + t) * k + b * 32);
                    (_mm256_loadu_si256(at.cast()), *task.x_scales.get_unchecked((t0 + t) * blocks + b))
                };
                let pairs = _mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(x, w));
                let sums = _mm256_cvtepi32_ps(_mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
                let product = _mm256_mul_ps(sums, _mm256_set1_ps(w_scale * x_scale));
                acc[r][t][b % 2] = _mm256_add_ps(acc[r][t][b % 2], product);
            }
        }
    }
    let rows = task.rows();
    for (r, acc) in acc.iter().enumerate() {
        for (t, [even, odd]) in acc.iter().enumerate() {
            out[(t0 + t) * rows + r0 + r] = halving_sum(_mm256_add_ps(*even, *odd));
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
unsafe fn tile_avx512<const R: usize, const T: usize>(task: &Q8Task<'_>, r0: usize, t0: usize, out: &mut [f32]) {
    let (k, blocks) = (task.k, task.k / 32);
    let mut acc = [[_mm512_setzero_ps(); T]; R];
    let spread = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
    for b in (0..blocks).step_by(2) {
        // Where the last pair is half a pair, the masked loads put zeros in its place: its lanes gain 0 * 0.
        let pair = b + 1 < blocks;
        let (bytes, floats): (__mmask64, __mmask8) = if pair { (u64::MAX, 3) } else { (u64::from(u32::MAX), 1) };
        for r in 0..R {
            // SAFETY: block b of row r0 + r exists and, where the masks reach that far, block b + 1 does too.
            let (w, w_scales) = unsafe {
                let at = task.w_quants.as_ptr().add((r0 + r) * k + b * 32);
                let scales = task.w_scales.as_ptr().add((r0 + r) * blocks + b);
                (_mm512_maskz_loadu_epi8(bytes, at), _mm_maskz_loadu_ps(floats, scales))
            };
            let magnitude = _mm512_abs_epi8(w);
            let negative = _mm512_movepi8_mask(w);
            for t in 0..T {
                // SAFETY: as above, for row t0 + t of the activations.
                let (x, x_scales) = unsafe {
                    let at = task.x_quants.as_ptr().add((t0 + t) * k + b * 32);
                    let scales = task.x_scales.as_ptr().add((t0 + t) * blocks + b);
                    (_mm512_maskz_loadu_epi8(bytes, at), _mm_maskz_loadu_ps(floats, scales))
                };
                let signed = _mm512_mask_sub_epi8(x, negative, _mm512_setzero_si512(), x);
                let sums = _mm512_cvtepi32_ps(_mm512_dpbusd_epi32(_mm512_setzero_si512(), magnitude, signed));
                let scales = _mm512_castps128_ps512(_mm_mul_ps(w_scales, x_scales));
                let product = _mm512_mul_ps(sums, _mm512_permutexvar_ps(spread, scales));
                acc[r][t] = _mm512_add_ps(acc[r][t], product);
            }
        }
    }
    let rows = task.rows();
    for (r, acc) in acc.iter().enumerate() {
        for (t, lanes) in acc.iter().enumerate() {
            let eight = _mm256_add_ps(_mm512_castps512_ps256(*lanes), _mm512_extractf32x8_ps::<1>(*lanes));
            out[(t0 + t) * rows + r0 + r] = halving_sum(eight);
        }
    }
}

/// The steps 4, 2 and 1 of the halving tree.
#[inline]
#[target_feature(enable = "avx2")]
fn halving_sum(eight: __m256) -> f32 {
    let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
}
