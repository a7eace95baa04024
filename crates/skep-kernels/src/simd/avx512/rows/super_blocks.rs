//! The formats whose blocks have 256 weights in sub-blocks with scales of their own.

use super::{ROWS, Row, Step, Sums, add_block};
use std::arch::x86_64::*;

/// For each 16-bit place of two packed registers of sums, the sub-block that it belongs to, `first` being added: a 128-bit lane
/// has four places of the first register's sub-block and four of the second's.
const fn places(lanes: [[i16; 2]; 4], first: i16) -> [i16; 32] {
    let mut places = [0; 32];
    let mut i = 0;
    while i < 32 {
        places[i] = first + lanes[i / 8][i / 4 % 2];
        i += 1;
    }
    places
}

/// Adds the products of two registers of sums of four weights each, times the scales of their sub-blocks.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn plus_scaled(sum: __m512i, first: __m512i, second: __m512i, scales: __m512i, places: &[i16; 32]) -> __m512i {
    // SAFETY: the array has this size.
    let places = unsafe { _mm512_loadu_si512(places.as_ptr().cast()) };
    // Four products of weights below 64 and quants within ±127 fit in 16 bits.
    _mm512_dpwssd_epi32(sum, _mm512_packs_epi32(first, second), _mm512_permutexvar_epi16(places, scales))
}

/// Q4_K and, with `FIVE`, Q5_K.
pub(in crate::simd::avx512) struct Grouped<const FIVE: bool>;

impl<const FIVE: bool> Grouped<FIVE> {
    /// Of each row, for its first and its second pair of registers.
    const PLACES: [[[i16; 32]; 2]; ROWS] = {
        let (mut all, mut r) = ([[[0; 32]; 2]; ROWS], 0);
        while r < ROWS {
            let first = 8 * r as i16;
            all[r] = [places([[0, 1], [0, 1], [2, 3], [2, 3]], first), places([[4, 5], [4, 5], [6, 7], [6, 7]], first)];
            r += 1;
        }
        all
    };

    /// From the first sixteen bytes of four rows' super-blocks: the scales and the minima, as i16, eight a row.
    #[inline]
    #[target_feature(enable = "avx2,avx512f,avx512bw")]
    fn scales_and_minima(heads: __m512i) -> (__m512i, __m512i) {
        let lane = |a, b, c, d| _mm512_broadcast_i32x4(_mm_setr_epi32(a, b, c, d));
        // The twelve packed bytes are the dwords a, b, c; a and b hold the low numbers and the high bits of the high ones.
        let high = _mm512_srlv_epi32(_mm512_shuffle_epi32::<0b10_01_10_01>(heads), lane(0, 0, 2, 2));
        let low = _mm512_srlv_epi32(_mm512_shuffle_epi32::<0b11_11_11_11>(heads), lane(0, 0, 0, 4));
        let high = _mm512_and_si512(high, lane(0x3f3f_3f3f, 0x3f3f_3f3f, 0x3030_3030, 0x3030_3030));
        let low = _mm512_and_si512(low, lane(0, 0, 0x0f0f_0f0f, 0x0f0f_0f0f));
        let order = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15);
        let bytes = _mm512_permutexvar_epi32(order, _mm512_or_si512(high, low));
        let scales = _mm512_cvtepu8_epi16(_mm512_castsi512_si256(bytes));
        (scales, _mm512_cvtepu8_epi16(_mm512_extracti64x4_epi64::<1>(bytes)))
    }

    /// The weighted sum of row `r`'s super-block, spread over the elements.
    ///
    /// # Safety
    /// A whole block is at `from`.
    #[inline]
    #[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn row(from: *const u8, x: &[__m512i; 4], scales: __m512i, r: usize) -> __m512i {
        let low = _mm512_set1_epi8(15);
        // SAFETY: the bytes of the block; the reads need no alignment.
        let nibbles = unsafe {
            let weights = from.add(if FIVE { 48 } else { 16 });
            [_mm512_loadu_si512(weights.cast()), _mm512_loadu_si512(weights.add(64).cast())]
        };
        // Sub-blocks 0 and 2, 1 and 3, 4 and 6, 5 and 7.
        let mut weights = [
            _mm512_and_si512(nibbles[0], low),
            _mm512_and_si512(_mm512_srli_epi16::<4>(nibbles[0]), low),
            _mm512_and_si512(nibbles[1], low),
            _mm512_and_si512(_mm512_srli_epi16::<4>(nibbles[1]), low),
        ];
        if FIVE {
            // SAFETY: the 32 bytes of fifth bits, bit j for sub-block j.
            let bits = _mm512_broadcast_i64x4(unsafe { _mm256_loadu_si256(from.add(16).cast()) });
            for (i, weights) in weights.iter_mut().enumerate() {
                let first = (i / 2 * 4 + i % 2) as i64;
                let shifts = _mm512_inserti64x4::<1>(_mm512_set1_epi64(first), _mm256_set1_epi64x(first + 2));
                let bit = _mm512_and_si512(_mm512_srlv_epi64(bits, shifts), _mm512_set1_epi8(1));
                *weights = _mm512_or_si512(*weights, _mm512_slli_epi16::<4>(bit));
            }
        }
        let product = |i: usize| _mm512_dpbusd_epi32(_mm512_setzero_si512(), weights[i], x[i]);
        let [first, second] = &Self::PLACES[r];
        let sum = plus_scaled(_mm512_setzero_si512(), product(0), product(1), scales, first);
        plus_scaled(sum, product(2), product(3), scales, second)
    }
}

impl<const FIVE: bool> Step for Grouped<FIVE> {
    const BLOCKS: usize = 1;

    #[inline]
    #[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    unsafe fn step<const ORDERED: bool>(rows: &[*const u8; ROWS], x: &Row<'_>, s: usize, sums: &mut Sums) {
        let at = s * if FIVE { 176 } else { 144 };
        // SAFETY: one block of weights and of activations begins here.
        unsafe {
            let quants = x.quants.as_ptr().add(256 * s);
            let [a, b, c, d] = [0, 64, 128, 192].map(|at| _mm512_loadu_si512(quants.add(at).cast()));
            // In the order of the weights' sub-blocks.
            let x_pairs = [
                _mm512_shuffle_i64x2::<0x44>(a, b),
                _mm512_shuffle_i64x2::<0xee>(a, b),
                _mm512_shuffle_i64x2::<0x44>(c, d),
                _mm512_shuffle_i64x2::<0xee>(c, d),
            ];
            let head = |r: usize| _mm_loadu_si128(rows[r].add(at).cast());
            let mut heads = _mm512_castsi128_si512(head(0));
            heads = _mm512_inserti32x4::<1>(heads, head(1));
            heads = _mm512_inserti32x4::<2>(heads, head(2));
            heads = _mm512_inserti32x4::<3>(heads, head(3));
            let (scales, minima) = Self::scales_and_minima(heads);
            let x_sums = _mm512_broadcast_i32x4(_mm_loadu_si128(x.sums.as_ptr().add(8 * s).cast()));
            // Four sums of two minima a row, brought together.
            let offsets = _mm512_madd_epi16(minima, x_sums);
            let offsets = _mm512_add_epi32(offsets, _mm512_shuffle_epi32::<0b10_11_00_01>(offsets));
            let offsets = _mm512_add_epi32(offsets, _mm512_shuffle_epi32::<0b01_00_11_10>(offsets));
            let firsts = _mm512_setr_epi32(0, 4, 8, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
            let offsets = _mm512_castsi512_si128(_mm512_permutexvar_epi32(firsts, offsets));
            let halves = _mm512_castsi512_si128(_mm512_permutexvar_epi32(firsts, heads));
            let d = _mm_cvtph_ps(_mm_packus_epi32(_mm_and_si128(halves, _mm_set1_epi32(0xffff)), halves));
            let dmin = _mm_cvtph_ps(_mm_packus_epi32(_mm_srli_epi32::<16>(halves), halves));
            let mut integers = [_mm512_setzero_si512(); ROWS];
            for r in 0..ROWS {
                integers[r] = Self::row(rows[r].add(at), &x_pairs, scales, r);
            }
            let scale = _mm_set1_ps(*x.scales.as_ptr().add(s));
            let negative = _mm_mul_ps(_mm_cvtepi32_ps(offsets), _mm_mul_ps(dmin, scale));
            add_block::<ORDERED>(sums, &integers, _mm_mul_ps(d, scale), negative);
        }
    }
}

/// Q6_K.
pub(in crate::simd::avx512) struct Signed;

impl Signed {
    /// Of each half.
    const PLACES: [[i16; 32]; 2] =
        [places([[0, 4], [1, 5], [2, 6], [3, 7]], 0), places([[0, 4], [1, 5], [2, 6], [3, 7]], 8)];

    /// The weighted sum of one row's super-block, spread over the elements.
    ///
    /// # Safety
    /// A whole block is at `from`; `starts` are the block's sixteen start numbers.
    #[inline]
    #[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn row(from: *const u8, x: &[__m512i; 4], starts: __m512i) -> __m512i {
        let (low, two) = (_mm512_set1_epi8(15), _mm512_set1_epi8(3));
        // SAFETY: the bytes of the block; the reads need no alignment.
        let (packed, bits) = unsafe { (_mm_loadu_si128(from.add(192).cast()), from.add(128)) };
        let scales = _mm512_castsi256_si512(_mm256_cvtepi8_epi16(packed));
        // The weights are 32 too large.
        let mut sum = _mm512_mullo_epi32(_mm512_cvtepi8_epi32(packed), starts);
        for half in 0..2 {
            // SAFETY: 64 bytes of low parts and 32 of high parts of this half.
            let (nibbles, bits) = unsafe {
                let bits = _mm256_loadu_si256(bits.add(32 * half).cast());
                (_mm512_loadu_si512(from.add(64 * half).cast()), _mm512_broadcast_i64x4(bits))
            };
            let product = |part: usize| {
                let nibbles = if part == 0 { nibbles } else { _mm512_srli_epi16::<4>(nibbles) };
                let shift = 4 * part as i64;
                let shifts = _mm512_inserti64x4::<1>(_mm512_set1_epi64(shift), _mm256_set1_epi64x(shift + 2));
                let high = _mm512_slli_epi16::<4>(_mm512_and_si512(_mm512_srlv_epi64(bits, shifts), two));
                let weights = _mm512_or_si512(_mm512_and_si512(nibbles, low), high);
                _mm512_dpbusd_epi32(_mm512_setzero_si512(), weights, x[2 * half + part])
            };
            sum = plus_scaled(sum, product(0), product(1), scales, &Self::PLACES[half]);
        }
        sum
    }
}

impl Step for Signed {
    const BLOCKS: usize = 1;

    #[inline]
    #[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    unsafe fn step<const ORDERED: bool>(rows: &[*const u8; ROWS], x: &Row<'_>, s: usize, sums: &mut Sums) {
        let at = s * 210;
        // SAFETY: one block of weights and of activations begins here.
        unsafe {
            let quants = x.quants.as_ptr().add(256 * s);
            let x_parts = [0, 64, 128, 192].map(|at| _mm512_loadu_si512(quants.add(at).cast()));
            let starts = _mm512_loadu_si512(x.starts.as_ptr().add(16 * s).cast());
            let mut integers = [_mm512_setzero_si512(); ROWS];
            for r in 0..ROWS {
                integers[r] = Self::row(rows[r].add(at), &x_parts, starts);
            }
            let half = |r: usize| rows[r].add(at + 208).cast::<i16>().read_unaligned();
            let d = _mm_cvtph_ps(_mm_setr_epi16(half(0), half(1), half(2), half(3), 0, 0, 0, 0));
            let factor = _mm_mul_ps(d, _mm_set1_ps(*x.scales.as_ptr().add(s)));
            // Taking off +0 changes no number.
            add_block::<ORDERED>(sums, &integers, factor, _mm_setzero_ps());
        }
    }
}
