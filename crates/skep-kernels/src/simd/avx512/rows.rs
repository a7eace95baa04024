//! One activation row times a matrix: four rows of weights at a time, read from end to end as they lie in memory.
//!
//! A step takes the next 128 or 256 weights of each of the four rows, sums their products exactly, and brings the four sums
//! together in one register, so that the running sums of four outputs advance by one f32 operation a block.

use crate::Matrix;
mod super_blocks;

use crate::quant::{Activations, Columns};
use std::arch::x86_64::*;

pub(super) use super_blocks::{Grouped, Signed};

/// Rows of weights at a time.
const ROWS: usize = 4;
/// How far behind the four rows the bytes are that are asked for: the next four's last row is needed soon, too.
const AHEAD: usize = 4096;

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

/// The blocks of an activation row that do not fill a step, and zeros, which add nothing (section 2 of the normative text).
struct Ends {
    quants: [i8; 128],
    scales: [f32; 4],
    starts: [i32; 4],
}

/// Bytes of the longest step of several blocks.
const STEP_BYTES: usize = 4 * 34;

impl Ends {
    fn new(row: &Row<'_>, block: usize, whole: usize) -> Self {
        let mut ends = Self { quants: [0; 128], scales: [0.0; 4], starts: [0; 4] };
        let count = row.scales.len() - whole;
        ends.quants[..count * block].copy_from_slice(&row.quants[whole * block..]);
        ends.scales[..count].copy_from_slice(&row.scales[whole..]);
        if count > 0 {
            ends.starts[..count].copy_from_slice(&row.starts[whole..whole + count]);
        }
        ends
    }
}

/// `out[0][r]` for every row of `w`, whose format is that of `S`.
#[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(super) fn run<S: Step, const ORDERED: bool>(w: Matrix<'_>, x: &Activations, out: &mut Columns) {
    let (block, bytes) = (w.format().block(), w.format().block_bytes());
    let blocks = w.k() / block;
    let (steps, step_bytes) = (blocks / S::BLOCKS, S::BLOCKS * bytes);
    let row = Row { quants: &x.quants[..x.k], scales: &x.scales[..blocks], sums: &x.sums, starts: &x.starts };
    let whole = steps * S::BLOCKS;
    let ends = Ends::new(&row, block, whole);
    let last = Row { quants: &ends.quants, scales: &ends.scales, sums: &[], starts: &ends.starts };
    for first in (0..w.rows()).step_by(ROWS) {
        // Places past the last row repeat it, and their outputs are dropped.
        let rows: [*const u8; ROWS] = std::array::from_fn(|r| w.row((first + r).min(w.rows() - 1)).as_ptr());
        let mut sums = [_mm512_setzero_ps(); ROWS + 1];
        // What follows these rows is what is read next: every step asks for as much of it as it takes itself.
        let ahead = rows[0].wrapping_add(ROWS * w.row_bytes() + AHEAD);
        for s in 0..steps {
            for line in (0..ROWS * step_bytes).step_by(64) {
                _mm_prefetch::<_MM_HINT_T1>(ahead.wrapping_add(s * ROWS * step_bytes + line).cast());
            }
            // SAFETY: these are whole rows of this format and as many activations; the processor is the caller's promise.
            unsafe { S::step::<ORDERED>(&rows, &row, s, &mut sums) };
        }
        if whole < blocks {
            let mut weights = [[0; STEP_BYTES]; ROWS];
            for (r, end) in weights.iter_mut().enumerate() {
                let from = &w.row((first + r).min(w.rows() - 1))[whole * bytes..];
                end[..from.len()].copy_from_slice(from);
            }
            // SAFETY: the ends have the blocks of a step.
            unsafe { S::step::<ORDERED>(&weights.each_ref().map(|end| end.as_ptr()), &last, 0, &mut sums) };
        }
        let mut lanes = [0.0; ROWS];
        // SAFETY: the array has four elements.
        unsafe { _mm_storeu_ps(lanes.as_mut_ptr(), outputs::<S, ORDERED>(&sums)) };
        let count = ROWS.min(w.rows() - first);
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

/// Q4_0: four blocks of a row in a register. They are 36 words of 16 bits: a scale and eight words of weights, four times.
pub(super) struct Nibbles;

impl Nibbles {
    /// Where the words of weights are in two loads, the second of which begins four words after the first.
    const WEIGHTS: [i16; 32] = {
        let (mut words, mut i) = ([0; 32], 0);
        while i < 32 {
            let word = 9 * (i / 8) + 1 + i % 8;
            words[i as usize] = if word < 32 { word } else { word - 4 + 32 };
            i += 1;
        }
        words
    };
    /// Where the scales of two rows are, `even` and `even + 1`, if each has a load: word 4b + r is that of block b of row r.
    const fn scales(even: usize) -> [i16; 32] {
        let (mut words, mut b) = ([0; 32], 0);
        while b < 4 {
            words[4 * b + even] = 9 * b as i16;
            words[4 * b + even + 1] = 9 * b as i16 + 32;
            b += 1;
        }
        words
    }
    const SCALES: [[i16; 32]; 2] = [Self::scales(0), Self::scales(2)];
}

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
            let weights = _mm512_loadu_si512(Self::WEIGHTS.as_ptr().cast());
            let words = [0, 1, 2, 3].map(|r: usize| _mm512_loadu_si512(rows[r].add(at).cast()));
            let mut products = [_mm512_setzero_si512(); ROWS];
            for r in 0..ROWS {
                let last = _mm512_loadu_si512(rows[r].add(at + 8).cast());
                let nibbles = _mm512_permutex2var_epi16(words[r], weights, last);
                let high = _mm512_and_si512(_mm512_srli_epi16::<4>(nibbles), low);
                let sum = _mm512_dpbusd_epi32(products[r], _mm512_and_si512(nibbles, low), x_low);
                products[r] = _mm512_dpbusd_epi32(sum, high, x_high);
            }
            let [first, second] = Self::SCALES.map(|words| _mm512_loadu_si512(words.as_ptr().cast()));
            let first = _mm512_permutex2var_epi16(words[0], first, words[1]);
            let second = _mm512_permutex2var_epi16(words[2], second, words[3]);
            let scales = _mm512_mask_blend_epi16(0b1100_1100_1100_1100, first, second);
            // Nibbles are 8 too large; the start numbers take off 128 a weight.
            let starts = _mm512_srai_epi32::<4>(spread_starts(x.starts.as_ptr().add(4 * s)));
            let integers = _mm512_add_epi32(sum_of_fours(&products), starts);
            let scales = _mm512_cvtph_ps(_mm512_castsi512_si256(scales));
            add_four_blocks::<ORDERED>(sums, integers, scales, x.scales.as_ptr().add(4 * s));
        }
    }
}
