//! A block of sixteen rows of weights, and its products with a tile of activation rows.

use super::unpack::{self, Rows};
use crate::quant::{Activations, SUM};
use std::arch::x86_64::*;
use std::mem::MaybeUninit;

/// `T` activation rows, from some block on.
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
    #[target_feature(enable = "avx512f")]
    unsafe fn scale(&self, t: usize, b: usize) -> __m512 {
        // SAFETY: the caller's promise.
        _mm512_set1_ps(unsafe { *self.scales[t].add(b) })
    }

    /// The start number `i` of row `t` in every lane.
    ///
    /// # Safety
    /// i < starts of a row.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn start(&self, t: usize, i: usize) -> __m512i {
        // SAFETY: the caller's promise.
        _mm512_set1_epi32(unsafe { *self.starts[t].add(i) })
    }

    /// The sums number `i` and `i + 1` of row `t` in every lane.
    ///
    /// # Safety
    /// i + 2 ≤ sums of a row.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn sums(&self, t: usize, i: usize) -> __m512i {
        // SAFETY: the caller's promise; the read needs no alignment.
        _mm512_set1_epi32(unsafe { self.sums[t].add(i).cast::<i32>().read_unaligned() })
    }

    /// Adds the products of `N` registers of weights and the quants from `from` on.
    ///
    /// # Safety
    /// from + 4N ≤ k.
    #[inline]
    #[target_feature(enable = "avx512f,avx512vnni")]
    unsafe fn products<const N: usize>(&self, weights: &[__m512i; N], from: usize, sums: &mut [__m512i; T]) {
        for (j, weights) in weights.iter().enumerate() {
            for (t, sum) in sums.iter_mut().enumerate() {
                // SAFETY: the caller's promise; the read needs no alignment.
                let four = unsafe { self.quants[t].add(from).cast::<i32>().add(j).read_unaligned() };
                *sum = _mm512_dpbusd_epi32(*sum, *weights, _mm512_set1_epi32(four));
            }
        }
    }
}

/// `sum + a * b`, the product rounded first where the order of RK-1 is asked for.
#[inline]
#[target_feature(enable = "avx512f")]
fn plus_product<const ORDERED: bool>(sum: __m512, a: __m512, b: __m512) -> __m512 {
    if ORDERED { _mm512_add_ps(sum, _mm512_mul_ps(a, b)) } else { _mm512_fmadd_ps(a, b, sum) }
}

/// A block of a panel: lane r of each register belongs to row r.
pub(super) trait Block: Sized {
    /// Weights of a row in one block.
    const WEIGHTS: usize;

    /// Writes block `b` of sixteen rows to `out`.
    ///
    /// # Safety
    /// The processor has AVX-512 with VNNI, and each row has more than `b` blocks.
    unsafe fn unpack(rows: &Rows, b: usize, out: &mut MaybeUninit<Self>);

    /// Adds the terms of block `b` to the running sums of the outputs.
    ///
    /// # Safety
    /// The processor has AVX-512 with VNNI, and the tile has more than `b` blocks.
    unsafe fn multiply<const T: usize, const ORDERED: bool>(&self, x: &Tile<T>, b: usize, sums: &mut [__m512; T]);
}

/// Q8_0 and, with `NIBBLES`, Q4_0. The weights are 128 too large.
pub(super) struct Plain<const NIBBLES: bool> {
    weights: [__m512i; 8],
    d: __m512,
}

impl<const NIBBLES: bool> Block for Plain<NIBBLES> {
    const WEIGHTS: usize = 32;

    #[inline]
    #[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
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
    #[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    unsafe fn multiply<const T: usize, const ORDERED: bool>(&self, x: &Tile<T>, b: usize, sums: &mut [__m512; T]) {
        // SAFETY: t < T, and b is a block of the tile.
        unsafe {
            let mut integers = [_mm512_setzero_si512(); T];
            for (t, integer) in integers.iter_mut().enumerate() {
                *integer = x.start(t, b);
            }
            x.products(&self.weights, 32 * b, &mut integers);
            for (t, sum) in sums.iter_mut().enumerate() {
                let factor = _mm512_mul_ps(self.d, x.scale(t, b));
                *sum = plus_product::<ORDERED>(*sum, _mm512_cvtepi32_ps(integers[t]), factor);
            }
        }
    }
}

/// Q4_K and, with `FIVE`, Q5_K.
pub(super) struct Grouped<const FIVE: bool> {
    weights: [[__m512i; 8]; 8],
    scales: [__m512i; 8],
    /// Two minima a lane, as i16.
    minima: [__m512i; 4],
    d: __m512,
    dmin: __m512,
}

impl<const FIVE: bool> Block for Grouped<FIVE> {
    const WEIGHTS: usize = 256;

    #[inline]
    #[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
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
    #[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    unsafe fn multiply<const T: usize, const ORDERED: bool>(&self, x: &Tile<T>, b: usize, sums: &mut [__m512; T]) {
        let zeros = [_mm512_setzero_si512(); T];
        let mut integers = zeros;
        // SAFETY: t < T, and b is a block of the tile.
        unsafe {
            for (j, weights) in self.weights.iter().enumerate() {
                let mut products = zeros;
                x.products(weights, 256 * b + 32 * j, &mut products);
                for (integer, products) in integers.iter_mut().zip(products) {
                    *integer = _mm512_add_epi32(*integer, _mm512_mullo_epi32(products, self.scales[j]));
                }
            }
            for (t, sum) in sums.iter_mut().enumerate() {
                let mut offset = _mm512_setzero_si512();
                for (j, minima) in self.minima.iter().enumerate() {
                    offset = _mm512_dpwssd_epi32(offset, *minima, x.sums(t, 8 * b + 2 * j));
                }
                let scale = x.scale(t, b);
                let (positive, negative) = (_mm512_mul_ps(self.d, scale), _mm512_mul_ps(self.dmin, scale));
                let (weighted, offset) = (_mm512_cvtepi32_ps(integers[t]), _mm512_cvtepi32_ps(offset));
                *sum = if ORDERED {
                    let term = _mm512_sub_ps(_mm512_mul_ps(weighted, positive), _mm512_mul_ps(offset, negative));
                    _mm512_add_ps(*sum, term)
                } else {
                    _mm512_fnmadd_ps(offset, negative, _mm512_fmadd_ps(weighted, positive, *sum))
                };
            }
        }
    }
}

/// Q6_K. The weights are 32 too large.
pub(super) struct Signed {
    weights: [[__m512i; 4]; 16],
    scales: [__m512i; 16],
    d: __m512,
}

impl Block for Signed {
    const WEIGHTS: usize = 256;

    #[inline]
    #[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
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
    #[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    unsafe fn multiply<const T: usize, const ORDERED: bool>(&self, x: &Tile<T>, b: usize, sums: &mut [__m512; T]) {
        let mut integers = [_mm512_setzero_si512(); T];
        // SAFETY: t < T, and b is a block of the tile.
        unsafe {
            for (j, weights) in self.weights.iter().enumerate() {
                let mut products = [_mm512_setzero_si512(); T];
                for (t, product) in products.iter_mut().enumerate() {
                    *product = x.start(t, 16 * b + j);
                }
                x.products(weights, 256 * b + 16 * j, &mut products);
                for (integer, products) in integers.iter_mut().zip(products) {
                    *integer = _mm512_add_epi32(*integer, _mm512_mullo_epi32(products, self.scales[j]));
                }
            }
            for (t, sum) in sums.iter_mut().enumerate() {
                let factor = _mm512_mul_ps(self.d, x.scale(t, b));
                *sum = plus_product::<ORDERED>(*sum, _mm512_cvtepi32_ps(integers[t]), factor);
            }
        }
    }
}
