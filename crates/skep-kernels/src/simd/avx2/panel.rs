//! A block of eight rows of weights, and its products with a tile of activation rows.

use super::unpack::{self, Rows};
use crate::quant::{Activations, SUM};
use std::arch::x86_64::*;
use std::mem::MaybeUninit;

/// `T` activation rows.
#[derive(Clone, Copy)]
pub(super) struct Tile<const T: usize> {
    quants: [*const i8; T],
    scales: [*const f32; T],
    sums: [*const i16; T],
    starts: [*const i32; T],
}

impl<const T: usize> Tile<T> {
    /// Rows `t..t + T`. The pointers are good while `x` is.
    pub(super) fn new(x: &Activations, t: usize) -> Self {
        let starts = x.starts.len() / x.rows();
        Self {
            quants: std::array::from_fn(|i| x.quants[(t + i) * x.k..][..x.k].as_ptr()),
            scales: std::array::from_fn(|i| x.scales[(t + i) * (x.k / x.block)..][..x.k / x.block].as_ptr()),
            sums: std::array::from_fn(|i| x.sums[(t + i) * (x.k / SUM)..][..x.k / SUM].as_ptr()),
            starts: std::array::from_fn(|i| x.starts[(t + i) * starts..][..starts].as_ptr()),
        }
    }

    /// The scale of block `b` of row `t` in every lane.
    ///
    /// # Safety
    /// b < blocks of a row.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn scale(&self, t: usize, b: usize) -> __m256 {
        // SAFETY: the caller's promise.
        _mm256_set1_ps(unsafe { *self.scales[t].add(b) })
    }

    /// The start number `i` of row `t` in every lane.
    ///
    /// # Safety
    /// i < starts of a row.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn start(&self, t: usize, i: usize) -> __m256i {
        // SAFETY: the caller's promise.
        _mm256_set1_epi32(unsafe { *self.starts[t].add(i) })
    }

    /// The sums number `i` and `i + 1` of row `t` in every lane.
    ///
    /// # Safety
    /// i + 2 ≤ sums of a row.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn sums(&self, t: usize, i: usize) -> __m256i {
        // SAFETY: the caller's promise; the read needs no alignment.
        _mm256_set1_epi32(unsafe { self.sums[t].add(i).cast::<i32>().read_unaligned() })
    }

    /// The four quants from `at` on of row `t` in every lane.
    ///
    /// # Safety
    /// at + 4 ≤ k.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn four(&self, t: usize, at: usize) -> __m256i {
        // SAFETY: the caller's promise; the read needs no alignment.
        _mm256_set1_epi32(unsafe { self.quants[t].add(at).cast::<i32>().read_unaligned() })
    }

    /// The products of `N` registers of unsigned weights and the quants from `from` on, summed to two numbers of 16 bits a
    /// lane. Each sums 2N products, so 254N times the largest weight must be less than 32768.
    ///
    /// # Safety
    /// from + 4N ≤ k.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn short_products<const N: usize>(&self, weights: &[__m256i; N], from: usize) -> [__m256i; T] {
        let mut sums = [_mm256_setzero_si256(); T];
        for (j, weights) in weights.iter().enumerate() {
            for (t, sum) in sums.iter_mut().enumerate() {
                // SAFETY: t < T; the rest is the caller's promise.
                let four = unsafe { self.four(t, from + 4 * j) };
                *sum = _mm256_add_epi16(*sum, _mm256_maddubs_epi16(*weights, four));
            }
        }
        sums
    }
}

/// A block of a panel: lane r of each register belongs to row r.
pub(super) trait Block: Sized {
    /// Weights of a row in one block.
    const WEIGHTS: usize;

    /// Writes block `b` of eight rows to `out`.
    ///
    /// # Safety
    /// The processor has AVX2 and F16C, and each row has more than `b` blocks.
    unsafe fn unpack(rows: &Rows, b: usize, out: &mut MaybeUninit<Self>);

    /// Adds the terms of block `b` to the running sums of the outputs.
    ///
    /// # Safety
    /// The processor has AVX2 and F16C, and the tile has more than `b` blocks.
    unsafe fn multiply<const T: usize>(&self, x: &Tile<T>, b: usize, sums: &mut [__m256; T]);
}

/// `sums[t] += f(integers[t]) * (d * scale)`.
///
/// # Safety
/// b < blocks of a row.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn add_terms<const T: usize>(x: &Tile<T>, b: usize, d: __m256, integers: &[__m256i; T], sums: &mut [__m256; T]) {
    for (t, (sum, integer)) in sums.iter_mut().zip(integers).enumerate() {
        // SAFETY: t < T; the rest is the caller's promise.
        let factor = _mm256_mul_ps(d, unsafe { x.scale(t, b) });
        *sum = _mm256_add_ps(*sum, _mm256_mul_ps(_mm256_cvtepi32_ps(*integer), factor));
    }
}

/// Q8_0 and, with `NIBBLES`, Q4_0, whose weights are 8 too large.
pub(super) struct Plain<const NIBBLES: bool> {
    weights: [__m256i; 8],
    d: __m256,
}

impl<const NIBBLES: bool> Block for Plain<NIBBLES> {
    const WEIGHTS: usize = 32;

    #[inline]
    #[target_feature(enable = "avx2,f16c")]
    unsafe fn unpack(rows: &Rows, b: usize, out: &mut MaybeUninit<Self>) {
        let (at, out) = (b * if NIBBLES { 18 } else { 34 }, out.as_mut_ptr());
        // SAFETY: the reads are of bytes of block b.
        unsafe {
            (*out).d = rows.halves(at);
            match NIBBLES {
                true => unpack::q4_0(rows, at + 2, &raw mut (*out).weights),
                false => unpack::q8_0(rows, at + 2, &raw mut (*out).weights),
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx2,f16c")]
    unsafe fn multiply<const T: usize>(&self, x: &Tile<T>, b: usize, sums: &mut [__m256; T]) {
        let (ones, mut integers) = (_mm256_set1_epi16(1), [_mm256_setzero_si256(); T]);
        // SAFETY: t < T, and b is a block of the tile.
        unsafe {
            if NIBBLES {
                // 8 · 254 · 15 is less than 2^15. A start is -128 times the sum of the quants.
                let products = x.short_products(&self.weights, 32 * b);
                for (t, integer) in integers.iter_mut().enumerate() {
                    let start = _mm256_srai_epi32::<4>(x.start(t, b));
                    *integer = _mm256_add_epi32(start, _mm256_madd_epi16(products[t], ones));
                }
            } else {
                for (j, weights) in self.weights.iter().enumerate() {
                    // The size of a weight times the quant with the weight's sign: 254 · 128 is less than 2^15.
                    let sizes = _mm256_abs_epi8(*weights);
                    for (t, integer) in integers.iter_mut().enumerate() {
                        let signed = _mm256_sign_epi8(x.four(t, 32 * b + 4 * j), *weights);
                        let products = _mm256_madd_epi16(_mm256_maddubs_epi16(sizes, signed), ones);
                        *integer = _mm256_add_epi32(*integer, products);
                    }
                }
            }
            add_terms(x, b, self.d, &integers, sums);
        }
    }
}

/// Q4_K and, with `FIVE`, Q5_K.
pub(super) struct Grouped<const FIVE: bool> {
    weights: [[__m256i; 8]; 8],
    /// Each scale twice a lane, as i16.
    scales: [__m256i; 8],
    /// Two minima a lane, as i16.
    minima: [__m256i; 4],
    d: __m256,
    dmin: __m256,
}

impl<const FIVE: bool> Block for Grouped<FIVE> {
    const WEIGHTS: usize = 256;

    #[inline]
    #[target_feature(enable = "avx2,f16c")]
    unsafe fn unpack(rows: &Rows, b: usize, out: &mut MaybeUninit<Self>) {
        let out = out.as_mut_ptr();
        let at = b * if FIVE { 176 } else { 144 };
        // SAFETY: the reads are of bytes of block b.
        unsafe {
            let [halves, packed @ ..] = rows.dwords(at);
            ((*out).scales, (*out).minima) = unpack::scales_and_minima(packed);
            ((*out).d, (*out).dmin) = unpack::two_halves(halves);
            match FIVE {
                true => unpack::q5_k(rows, at + 16, &raw mut (*out).weights),
                false => unpack::q4_k(rows, at + 16, &raw mut (*out).weights),
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx2,f16c")]
    unsafe fn multiply<const T: usize>(&self, x: &Tile<T>, b: usize, sums: &mut [__m256; T]) {
        let mut integers = [_mm256_setzero_si256(); T];
        let add = |integers: &mut [__m256i; T], products: [__m256i; T], scale| {
            for (integer, products) in integers.iter_mut().zip(products) {
                *integer = _mm256_add_epi32(*integer, _mm256_madd_epi16(products, scale));
            }
        };
        // SAFETY: t < T, and b is a block of the tile.
        unsafe {
            for (j, (weights, scale)) in self.weights.iter().zip(self.scales).enumerate() {
                let from = 256 * b + 32 * j;
                // 8 · 254 · 15 and 4 · 254 · 31 are less than 2^15.
                if FIVE {
                    for (half, weights) in weights.as_chunks::<4>().0.iter().enumerate() {
                        add(&mut integers, x.short_products(weights, from + 16 * half), scale);
                    }
                } else {
                    add(&mut integers, x.short_products(weights, from), scale);
                }
            }
            for (t, sum) in sums.iter_mut().enumerate() {
                let mut offset = _mm256_setzero_si256();
                for (j, minima) in self.minima.iter().enumerate() {
                    let products = _mm256_madd_epi16(*minima, x.sums(t, 8 * b + 2 * j));
                    offset = _mm256_add_epi32(offset, products);
                }
                let scale = x.scale(t, b);
                let positive = _mm256_mul_ps(_mm256_cvtepi32_ps(integers[t]), _mm256_mul_ps(self.d, scale));
                let negative = _mm256_mul_ps(_mm256_cvtepi32_ps(offset), _mm256_mul_ps(self.dmin, scale));
                *sum = _mm256_add_ps(*sum, _mm256_sub_ps(positive, negative));
            }
        }
    }
}

/// Q6_K. The weights are 32 too large.
pub(super) struct Signed {
    weights: [[__m256i; 4]; 16],
    /// Each scale twice a lane, as i16.
    scales: [__m256i; 16],
    d: __m256,
}

impl Block for Signed {
    const WEIGHTS: usize = 256;

    #[inline]
    #[target_feature(enable = "avx2,f16c")]
    unsafe fn unpack(rows: &Rows, b: usize, out: &mut MaybeUninit<Self>) {
        let out = out.as_mut_ptr();
        let at = b * 210;
        // SAFETY: the reads are of bytes of block b.
        unsafe {
            (*out).scales = unpack::signed_bytes(rows.dwords(at + 192));
            (*out).d = rows.halves(at + 208);
            unpack::q6_k(rows, at, &raw mut (*out).weights);
        }
    }

    #[inline]
    #[target_feature(enable = "avx2,f16c")]
    unsafe fn multiply<const T: usize>(&self, x: &Tile<T>, b: usize, sums: &mut [__m256; T]) {
        let mut integers = [_mm256_setzero_si256(); T];
        // SAFETY: t < T, and b is a block of the tile.
        unsafe {
            for (j, (weights, scale)) in self.weights.iter().zip(self.scales).enumerate() {
                let wide_scale = _mm256_srai_epi32::<16>(scale);
                for (t, integer) in integers.iter_mut().enumerate() {
                    let start = _mm256_mullo_epi32(x.start(t, 16 * b + j), wide_scale);
                    *integer = _mm256_add_epi32(*integer, start);
                }
                // 2 · 254 · 63 is less than 2^15.
                for (half, weights) in weights.as_chunks::<2>().0.iter().enumerate() {
                    let products = x.short_products(weights, 256 * b + 16 * j + 8 * half);
                    for (integer, products) in integers.iter_mut().zip(products) {
                        *integer = _mm256_add_epi32(*integer, _mm256_madd_epi16(products, scale));
                    }
                }
            }
            add_terms(x, b, self.d, &integers, sums);
        }
    }
}
