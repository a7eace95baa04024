//! One activation row times a matrix: four rows of weights at a time, read from end to end as they lie in memory.
//!
//! A step takes the next 128 or 256 weights of each of the four rows, sums their products exactly, and brings the four sums
//! together in one register, so that the running sums of four outputs advance by one f32 operation a block. Decoding waits for
//! memory; this shape needs few enough instructions a byte not to make it wait longer.

use crate::quant::{Activations, Columns};
use crate::{Matrix, scalar};
use std::arch::x86_64::*;

/// Rows of weights at a time.
const ROWS: usize = 4;

/// An activation row.
pub(super) struct Row<'a> {
    quants: &'a [i8],
    scales: &'a [f32],
    sums: &'a [i16],
    starts: &'a [i32],
}

/// The sums of four outputs. In the order of RK-1 they are the first four elements. Without its rules a kernel keeps more of them
/// and brings them together at the end of the rows; that exists to measure what the rules cost.
type Sums = [__m512; ROWS + 1];

/// A format's way to take a step along four rows.
pub(super) trait Step {
    /// Blocks of one step.
    const BLOCKS: usize;

    /// Adds the terms of the blocks of step `s` to the sums of four outputs.
    ///
    /// # Safety
    /// The processor has AVX-512 with VNNI; each row of weights and the activations have the blocks of this step.
    unsafe fn step<const ORDERED: bool>(rows: &[*const u8; ROWS], x: &Row<'_>, s: usize, sums: &mut Sums);
}

/// `out[0][r]` for every row of `w`, whose format is that of `S`.
#[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(super) fn run<S: Step, const ORDERED: bool>(w: Matrix<'_>, x: &Activations, out: &mut Columns) {
    let (block, bytes) = (w.format().block(), w.format().block_bytes());
    let blocks = w.k() / block;
    let (steps, step_bytes) = (blocks / S::BLOCKS, S::BLOCKS * bytes);
    let row = Row { quants: &x.quants[..x.k], scales: &x.scales[..blocks], sums: &x.sums, starts: &x.starts };
    for first in (0..w.rows()).step_by(ROWS) {
        // Places past the last row repeat it, and their outputs are dropped.
        let rows: [*const u8; ROWS] = std::array::from_fn(|r| w.row((first + r).min(w.rows() - 1)).as_ptr());
        let mut sums = [_mm512_setzero_ps(); ROWS + 1];
        for s in 0..steps {
            for row in rows {
                for line in (0..step_bytes).step_by(64) {
                    _mm_prefetch::<_MM_HINT_T1>(row.wrapping_add(ROWS * w.row_bytes() + s * step_bytes + line).cast());
                }
            }
            // SAFETY: these are whole rows of this format and as many activations; the processor is the caller's promise.
            unsafe { S::step::<ORDERED>(&rows, &row, s, &mut sums) };
        }
        let mut lanes = [0.0; ROWS];
        // SAFETY: the array has four elements.
        unsafe { _mm_storeu_ps(lanes.as_mut_ptr(), outputs::<S, ORDERED>(&sums)) };
        let count = ROWS.min(w.rows() - first);
        for (r, lane) in lanes.iter_mut().enumerate().take(count) {
            let weights = w.row(first + r);
            for b in steps * S::BLOCKS..blocks {
                let quants = &row.quants[b * block..][..block];
                *lane += scalar::block_term(w.format(), &weights[b * bytes..][..bytes], row.scales[b], quants);
            }
        }
        out.set_row(0, first, &lanes[..count]);
    }
}

/// The sums of neighbouring pairs of pairs: 128-bit lane l of the result holds, for each of the four rows in turn, the sum
/// of the four elements of lane l of that row.
#[inline]
#[target_feature(enable = "avx512f")]
fn sum_of_fours(rows: &[__m512i; ROWS]) -> __m512i {
    let [a, b, c, d] = *rows;
    let ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    let cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd))
}

/// The sum of all elements of each row.
#[inline]
#[target_feature(enable = "avx2,avx512f")]
fn sum_of_all(rows: &[__m512i; ROWS]) -> __m128i {
    let fours = sum_of_fours(rows);
    let eights = _mm256_add_epi32(_mm512_castsi512_si256(fours), _mm512_extracti64x4_epi64::<1>(fours));
    _mm_add_epi32(_mm256_castsi256_si128(eights), _mm256_extracti128_si256::<1>(eights))
}

/// The halves at `at` of each of the rows, block by block `stride` bytes apart: lane 4b + r belongs to block b of row r.
///
/// # Safety
/// The bytes are the rows'.
#[inline]
#[target_feature(enable = "avx2,f16c,avx512f")]
unsafe fn scales_of_blocks(rows: &[*const u8; ROWS], at: usize, stride: usize) -> __m512 {
    // SAFETY: the caller's promise; the reads need no alignment.
    let half = |b: usize, r: usize| unsafe { rows[r].add(at + b * stride).cast::<i16>().read_unaligned() };
    let halves = _mm256_setr_epi16(
        half(0, 0),
        half(0, 1),
        half(0, 2),
        half(0, 3),
        half(1, 0),
        half(1, 1),
        half(1, 2),
        half(1, 3),
        half(2, 0),
        half(2, 1),
        half(2, 2),
        half(2, 3),
        half(3, 0),
        half(3, 1),
        half(3, 2),
        half(3, 3),
    );
    _mm512_cvtph_ps(halves)
}

/// Adds the terms of four blocks of four rows in the order of the blocks: `integers` and `scales` have lane 4b + r for block
/// b of row r.
///
/// # Safety
/// The processor has AVX-512, and `x_scales` points to four scales.
#[inline]
#[target_feature(enable = "avx2,avx512f,avx512dq")]
unsafe fn add_four_blocks<const ORDERED: bool>(
    sums: &mut Sums,
    integers: __m512i,
    scales: __m512,
    x_scales: *const f32,
) {
    let spread = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    // SAFETY: the caller's promise.
    let x = unsafe { _mm512_permutexvar_ps(spread, _mm512_castps128_ps512(_mm_loadu_ps(x_scales))) };
    let (integers, factors) = (_mm512_cvtepi32_ps(integers), _mm512_mul_ps(scales, x));
    if !ORDERED {
        sums[0] = _mm512_fmadd_ps(integers, factors, sums[0]);
        return;
    }
    let terms = _mm512_mul_ps(integers, factors);
    let mut sum = _mm_add_ps(_mm512_castps512_ps128(sums[0]), _mm512_castps512_ps128(terms));
    sum = _mm_add_ps(sum, _mm512_extractf32x4_ps::<1>(terms));
    sum = _mm_add_ps(sum, _mm512_extractf32x4_ps::<2>(terms));
    sums[0] = _mm512_castps128_ps512(_mm_add_ps(sum, _mm512_extractf32x4_ps::<3>(terms)));
}

/// The four outputs at the end of their rows.
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn outputs<S: Step, const ORDERED: bool>(sums: &Sums) -> __m128 {
    let first = _mm512_castps512_ps128(sums[0]);
    match (ORDERED, S::BLOCKS) {
        (true, _) => first,
        (false, 1) => {
            let rows = [0, 1, 2, 3].map(|r| _mm512_reduce_add_ps(sums[r]));
            // SAFETY: the array has four elements.
            _mm_add_ps(unsafe { _mm_loadu_ps(rows.as_ptr()) }, _mm512_castps512_ps128(sums[ROWS]))
        }
        (false, _) => {
            let second = _mm_add_ps(first, _mm512_extractf32x4_ps::<1>(sums[0]));
            let third = _mm_add_ps(second, _mm512_extractf32x4_ps::<2>(sums[0]));
            _mm_add_ps(third, _mm512_extractf32x4_ps::<3>(sums[0]))
        }
    }
}

/// Adds the term of one block to each of the four outputs: `integers` are the weighted sums of four rows, each spread over
/// sixteen elements, `factors` what they are worth, and `offsets` what is taken off.
#[inline]
#[target_feature(enable = "avx2,avx512f,avx512vl")]
fn add_block<const ORDERED: bool>(sums: &mut Sums, integers: &[__m512i; ROWS], factors: __m128, offsets: __m128) {
    if !ORDERED {
        let mut lanes = [0.0; ROWS];
        // SAFETY: the array has four elements.
        unsafe { _mm_storeu_ps(lanes.as_mut_ptr(), factors) };
        for ((sum, integers), factor) in sums.iter_mut().zip(integers).zip(lanes) {
            *sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(*integers), _mm512_set1_ps(factor), *sum);
        }
        sums[ROWS] = _mm512_sub_ps(sums[ROWS], _mm512_zextps128_ps512(offsets));
        return;
    }
    let term = _mm_sub_ps(_mm_mul_ps(_mm_cvtepi32_ps(sum_of_all(integers)), factors), offsets);
    sums[0] = _mm512_castps128_ps512(_mm_add_ps(_mm512_castps512_ps128(sums[0]), term));
}

/// Four start numbers, each in one element of every row's place: lane 4b + r holds number b.
///
/// # Safety
/// The pointer is to four numbers.
#[inline]
#[target_feature(enable = "avx512f,avx512vl")]
unsafe fn spread_starts(starts: *const i32) -> __m512i {
    let spread = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    // SAFETY: the caller's promise.
    _mm512_permutexvar_epi32(spread, _mm512_castsi128_si512(unsafe { _mm_loadu_si128(starts.cast()) }))
}

/// Q8_0: two blocks of a row in a register.
pub(super) struct Bytes;

impl Step for Bytes {
    const BLOCKS: usize = 4;

    #[inline]
    #[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    unsafe fn step<const ORDERED: bool>(rows: &[*const u8; ROWS], x: &Row<'_>, s: usize, sums: &mut Sums) {
        let (at, offset) = (s * 4 * 34, _mm512_set1_epi8(-128));
        // SAFETY: four blocks of weights and of activations begin here.
        unsafe {
            let quants = x.quants.as_ptr().add(128 * s);
            let pair = |from: *const u8| {
                let two = _mm512_castsi256_si512(_mm256_loadu_si256(from.cast()));
                // A weight plus 128, as an unsigned byte.
                _mm512_xor_si512(_mm512_inserti64x4::<1>(two, _mm256_loadu_si256(from.add(34).cast())), offset)
            };
            let (x0, x1) = (_mm512_loadu_si512(quants.cast()), _mm512_loadu_si512(quants.add(64).cast()));
            let zero = _mm512_setzero_si512();
            let (mut first, mut second) = ([zero; ROWS], [zero; ROWS]);
            for r in 0..ROWS {
                first[r] = _mm512_dpbusd_epi32(zero, pair(rows[r].add(at + 2)), x0);
                second[r] = _mm512_dpbusd_epi32(zero, pair(rows[r].add(at + 70)), x1);
            }
            // Each block has two lanes of four numbers a row.
            let (first, second) = (sum_of_fours(&first), sum_of_fours(&second));
            let even = _mm512_shuffle_i32x4::<0x88>(first, second);
            let odd = _mm512_shuffle_i32x4::<0xdd>(first, second);
            let integers = _mm512_add_epi32(_mm512_add_epi32(even, odd), spread_starts(x.starts.as_ptr().add(4 * s)));
            add_four_blocks::<ORDERED>(sums, integers, scales_of_blocks(rows, at, 34), x.scales.as_ptr().add(4 * s));
        }
    }
}

/// Q4_0: four blocks of a row in a register.
pub(super) struct Nibbles;

impl Step for Nibbles {
    const BLOCKS: usize = 4;

    #[inline]
    #[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    unsafe fn step<const ORDERED: bool>(rows: &[*const u8; ROWS], x: &Row<'_>, s: usize, sums: &mut Sums) {
        let (at, low) = (s * 4 * 18, _mm512_set1_epi8(15));
        // SAFETY: four blocks of weights and of activations begin here.
        unsafe {
            let quants = x.quants.as_ptr().add(128 * s);
            let (x0, x1) = (_mm512_loadu_si512(quants.cast()), _mm512_loadu_si512(quants.add(64).cast()));
            // The first and the second halves of the four blocks, as the low and the high nibbles hold them.
            let (x_low, x_high) = (_mm512_shuffle_i32x4::<0x88>(x0, x1), _mm512_shuffle_i32x4::<0xdd>(x0, x1));
            let mut products = [_mm512_setzero_si512(); ROWS];
            for r in 0..ROWS {
                let block = |b: usize| _mm_loadu_si128(rows[r].add(at + 2 + 18 * b).cast());
                let mut nibbles = _mm512_castsi128_si512(block(0));
                nibbles = _mm512_inserti32x4::<1>(nibbles, block(1));
                nibbles = _mm512_inserti32x4::<2>(nibbles, block(2));
                nibbles = _mm512_inserti32x4::<3>(nibbles, block(3));
                let high = _mm512_and_si512(_mm512_srli_epi16::<4>(nibbles), low);
                let sum = _mm512_dpbusd_epi32(products[r], _mm512_and_si512(nibbles, low), x_low);
                products[r] = _mm512_dpbusd_epi32(sum, high, x_high);
            }
            // Nibbles are 8 too large; the start numbers take off 128 a weight.
            let starts = _mm512_srai_epi32::<4>(spread_starts(x.starts.as_ptr().add(4 * s)));
            let integers = _mm512_add_epi32(sum_of_fours(&products), starts);
            add_four_blocks::<ORDERED>(sums, integers, scales_of_blocks(rows, at, 18), x.scales.as_ptr().add(4 * s));
        }
    }
}

/// Sixteen bits of each of two sub-blocks: element `first` of `scales` in the lower half, `second` in the upper.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn spread_two(scales: __m512i, first: i16, second: i16) -> __m512i {
    let halves = _mm512_inserti64x4::<1>(_mm512_set1_epi16(first), _mm256_set1_epi16(second));
    _mm512_permutexvar_epi16(halves, scales)
}

/// Q4_K and, with `FIVE`, Q5_K.
pub(super) struct Grouped<const FIVE: bool>;

impl<const FIVE: bool> Grouped<FIVE> {
    /// The weighted sum of one row's super-block, spread over the elements, and its eight minima as i16.
    ///
    /// # Safety
    /// A whole block is at `from`.
    #[inline]
    #[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn row(from: *const u8, x: &[__m512i; 4]) -> (__m512i, __m128i) {
        let low = _mm512_set1_epi8(15);
        // SAFETY: the bytes of the block; the reads need no alignment.
        let (a, b, c, nibbles) = unsafe {
            let packed = from.add(4).cast::<u32>();
            let (a, b, c) = (packed.read_unaligned(), packed.add(1).read_unaligned(), packed.add(2).read_unaligned());
            let weights = from.add(if FIVE { 48 } else { 16 });
            (a, b, c, [_mm512_loadu_si512(weights.cast()), _mm512_loadu_si512(weights.add(64).cast())])
        };
        let scales = u64::from(a & 0x3f3f_3f3f) | u64::from(c & 0x0f0f_0f0f | (a >> 6 & 0x0303_0303) << 4) << 32;
        let minima = u64::from(b & 0x3f3f_3f3f) | u64::from(c >> 4 & 0x0f0f_0f0f | (b >> 6 & 0x0303_0303) << 4) << 32;
        let scales = _mm512_castsi128_si512(_mm_cvtepu8_epi16(_mm_cvtsi64_si128(scales as i64)));
        let minima = _mm_cvtepu8_epi16(_mm_cvtsi64_si128(minima as i64));
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
        let mut sum = _mm512_setzero_si512();
        for (i, weights) in weights.into_iter().enumerate() {
            let first = (i / 2 * 4 + i % 2) as i16;
            sum = _mm512_dpwssd_epi32(sum, _mm512_maddubs_epi16(weights, x[i]), spread_two(scales, first, first + 2));
        }
        (sum, minima)
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
            // Sub-blocks 0 and 2, 1 and 3, 4 and 6, 5 and 7, as the low and the high nibbles hold them.
            let x_pairs = [
                _mm512_shuffle_i64x2::<0x44>(a, b),
                _mm512_shuffle_i64x2::<0xee>(a, b),
                _mm512_shuffle_i64x2::<0x44>(c, d),
                _mm512_shuffle_i64x2::<0xee>(c, d),
            ];
            let x_sums = _mm_loadu_si128(x.sums.as_ptr().add(8 * s).cast());
            let (mut integers, mut minima) = ([_mm512_setzero_si512(); ROWS], [_mm512_setzero_si512(); ROWS]);
            for r in 0..ROWS {
                let (sum, minimum) = Self::row(rows[r].add(at), &x_pairs);
                integers[r] = sum;
                minima[r] = _mm512_castsi128_si512(_mm_madd_epi16(minimum, x_sums));
            }
            let half = |r: usize| rows[r].add(at).cast::<i32>().read_unaligned();
            let halves = _mm_setr_epi32(half(0), half(1), half(2), half(3));
            let d = _mm_cvtph_ps(_mm_packus_epi32(_mm_and_si128(halves, _mm_set1_epi32(0xffff)), halves));
            let dmin = _mm_cvtph_ps(_mm_packus_epi32(_mm_srli_epi32::<16>(halves), halves));
            let scale = _mm_set1_ps(*x.scales.as_ptr().add(s));
            let minima = _mm512_castsi512_si128(sum_of_fours(&minima));
            let negative = _mm_mul_ps(_mm_cvtepi32_ps(minima), _mm_mul_ps(dmin, scale));
            add_block::<ORDERED>(sums, &integers, _mm_mul_ps(d, scale), negative);
        }
    }
}

/// Q6_K.
pub(super) struct Signed;

impl Signed {
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
            for part in 0..2 {
                let nibbles = if part == 0 { nibbles } else { _mm512_srli_epi16::<4>(nibbles) };
                let shift = 4 * part as i64;
                let shifts = _mm512_inserti64x4::<1>(_mm512_set1_epi64(shift), _mm256_set1_epi64x(shift + 2));
                let high = _mm512_slli_epi16::<4>(_mm512_and_si512(_mm512_srlv_epi64(bits, shifts), two));
                let weights = _mm512_or_si512(_mm512_and_si512(nibbles, low), high);
                let i = 2 * half + part;
                let first = _mm512_set1_epi16(4 * i as i16);
                // Eight pairs of weights a sub-block.
                let steps = _mm512_setr_epi64(
                    0,
                    0,
                    0x0001_0001_0001_0001,
                    0x0001_0001_0001_0001,
                    0x0002_0002_0002_0002,
                    0x0002_0002_0002_0002,
                    0x0003_0003_0003_0003,
                    0x0003_0003_0003_0003,
                );
                let scales = _mm512_permutexvar_epi16(_mm512_add_epi16(first, steps), scales);
                sum = _mm512_dpwssd_epi32(sum, _mm512_maddubs_epi16(weights, x[i]), scales);
            }
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
