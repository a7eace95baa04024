//! From the bytes of eight rows to registers whose lane r belongs to row r.

use super::PANEL;
use std::arch::x86_64::*;

/// Eight rows of weights.
pub(super) struct Rows(pub(super) [*const u8; PANEL]);

impl Rows {
    /// The sixteen bytes at `at` of the rows i and i + 4.
    ///
    /// # Safety
    /// Each row has the bytes.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn every_fourth(&self, i: usize, at: usize) -> __m256i {
        // SAFETY: the caller's promise; the reads need no alignment.
        unsafe {
            let low = _mm256_castsi128_si256(_mm_loadu_si128(self.0[i].add(at).cast()));
            _mm256_inserti128_si256::<1>(low, _mm_loadu_si128(self.0[i + 4].add(at).cast()))
        }
    }

    /// The sixteen bytes at `at` of each row, as four registers of four neighbouring bytes a lane.
    ///
    /// # Safety
    /// Each row has the bytes.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn dwords(&self, at: usize) -> [__m256i; 4] {
        // Half g of register i holds row 4g + i: what is left is to transpose 4 × 4 within the halves.
        // SAFETY: the caller's promise.
        let (a, b) = unsafe { (self.every_fourth(0, at), self.every_fourth(1, at)) };
        // SAFETY: as above.
        let (c, d) = unsafe { (self.every_fourth(2, at), self.every_fourth(3, at)) };
        let (ab, cd) = (_mm256_unpacklo_epi32(a, b), _mm256_unpacklo_epi32(c, d));
        let (ab_high, cd_high) = (_mm256_unpackhi_epi32(a, b), _mm256_unpackhi_epi32(c, d));
        [
            _mm256_unpacklo_epi64(ab, cd),
            _mm256_unpackhi_epi64(ab, cd),
            _mm256_unpacklo_epi64(ab_high, cd_high),
            _mm256_unpackhi_epi64(ab_high, cd_high),
        ]
    }

    /// The half at `at` of each row.
    ///
    /// # Safety
    /// Each row has the two bytes.
    #[inline]
    #[target_feature(enable = "avx2,f16c")]
    pub(super) unsafe fn halves(&self, at: usize) -> __m256 {
        // SAFETY: the caller's promise; the read needs no alignment.
        let halves: [i16; PANEL] = self.0.map(|row| unsafe { row.add(at).cast::<i16>().read_unaligned() });
        let [a, b, c, d, e, f, g, h] = halves;
        _mm256_cvtph_ps(_mm_setr_epi16(a, b, c, d, e, f, g, h))
    }
}

/// The half in the low and the half in the high two bytes of each lane.
#[inline]
#[target_feature(enable = "avx2,f16c")]
pub(super) fn two_halves(halves: __m256i) -> (__m256, __m256) {
    let low = _mm256_and_si256(halves, _mm256_set1_epi32(0xffff));
    let packed = _mm256_packus_epi32(low, _mm256_srli_epi32::<16>(halves));
    // Packing works within halves of the register, so the quarters are low, high, low, high.
    let packed = _mm256_permute4x64_epi64::<0b11_01_10_00>(packed);
    (_mm256_cvtph_ps(_mm256_castsi256_si128(packed)), _mm256_cvtph_ps(_mm256_extracti128_si256::<1>(packed)))
}

/// The low and the high four bits of each byte.
#[inline]
#[target_feature(enable = "avx2")]
fn nibbles(bytes: __m256i) -> (__m256i, __m256i) {
    let mask = _mm256_set1_epi8(15);
    (_mm256_and_si256(bytes, mask), _mm256_and_si256(_mm256_srli_epi32::<4>(bytes), mask))
}

/// # Safety
/// Each row has 32 bytes at `at`; `out` may be written.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn q8_0(rows: &Rows, at: usize, out: *mut [__m256i; 8]) {
    let out = out.cast::<[__m256i; 4]>();
    // SAFETY: the caller's promise.
    unsafe {
        out.write(rows.dwords(at));
        out.add(1).write(rows.dwords(at + 16));
    }
}

/// # Safety
/// Each row has 16 bytes at `at`; `out` may be written.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn q4_0(rows: &Rows, at: usize, out: *mut [__m256i; 8]) {
    let out = out.cast::<__m256i>();
    // SAFETY: the caller's promise.
    let dwords = unsafe { rows.dwords(at) };
    for (j, bytes) in dwords.iter().enumerate() {
        let (low, high) = nibbles(*bytes);
        // SAFETY: j < 4.
        unsafe {
            out.add(j).write(low);
            out.add(j + 4).write(high);
        }
    }
}

/// # Safety
/// Each row has 128 bytes at `at`; `out` may be written.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn q4_k(rows: &Rows, at: usize, out: *mut [[__m256i; 8]; 8]) {
    let out = out.cast::<__m256i>();
    for c in 0..8 {
        // SAFETY: the caller's promise.
        let dwords = unsafe { rows.dwords(at.wrapping_add(16 * c)) };
        for (j, bytes) in dwords.iter().enumerate() {
            let (low, high) = nibbles(*bytes);
            let place = c / 2 * 16 + c % 2 * 4 + j;
            // SAFETY: place + 8 < 64.
            unsafe {
                out.add(place).write(low);
                out.add(place + 8).write(high);
            }
        }
    }
}

/// # Safety
/// Each row has 160 bytes at `at`; `out` may be written.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn q5_k(rows: &Rows, at: usize, out: *mut [[__m256i; 8]; 8]) {
    let out = out.cast::<__m256i>();
    let sixteen = _mm256_set1_epi8(16);
    for half in 0..2 {
        // SAFETY: the caller's promise.
        let mut high = unsafe { rows.dwords(at.wrapping_add(16 * half)) };
        for c in 0..4 {
            // SAFETY: the caller's promise.
            let dwords = unsafe { rows.dwords(at.wrapping_add(32 + 32 * c + 16 * half)) };
            for (j, bytes) in dwords.iter().enumerate() {
                let (low, second) = nibbles(*bytes);
                // The two bits of sub-blocks 2c and 2c + 1 are the lowest of each byte now.
                let first_bit = _mm256_and_si256(_mm256_slli_epi32::<4>(high[j]), sixteen);
                let second_bit = _mm256_and_si256(_mm256_slli_epi32::<3>(high[j]), sixteen);
                high[j] = _mm256_srli_epi32::<2>(high[j]);
                let place = 16 * c + 4 * half + j;
                // SAFETY: place + 8 < 64.
                unsafe {
                    out.add(place).write(_mm256_or_si256(low, first_bit));
                    out.add(place + 8).write(_mm256_or_si256(second, second_bit));
                }
            }
        }
    }
}

/// # Safety
/// Each row has 192 bytes at `at`; `out` may be written.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn q6_k(rows: &Rows, at: usize, out: *mut [[__m256i; 4]; 16]) {
    let (mask, out) = (_mm256_set1_epi8(0x30), out.cast::<__m256i>());
    for part in 0..4 {
        let (n, odd) = (part / 2, part % 2);
        // SAFETY: the caller's promise.
        let high = unsafe { rows.dwords(at.wrapping_add(128 + 32 * n + 16 * odd)) };
        for second in 0..2 {
            let c = 2 * second + odd;
            // SAFETY: the caller's promise.
            let dwords = unsafe { rows.dwords(at.wrapping_add(64 * n + 16 * c)) };
            for (j, bytes) in dwords.iter().enumerate() {
                let (low, last) = nibbles(*bytes);
                let (low_bits, last_bits) = match second {
                    0 => (_mm256_slli_epi32::<4>(high[j]), high[j]),
                    _ => (_mm256_slli_epi32::<2>(high[j]), _mm256_srli_epi32::<2>(high[j])),
                };
                let place = 32 * n + 4 * c + j;
                // SAFETY: place + 16 < 64.
                unsafe {
                    out.add(place).write(_mm256_or_si256(low, _mm256_and_si256(low_bits, mask)));
                    out.add(place + 16).write(_mm256_or_si256(last, _mm256_and_si256(last_bits, mask)));
                }
            }
        }
    }
}

/// For each lane, byte `low` of the lane as the first and byte `high` as the second number of 16 bits, at the lower byte of
/// the number or, with `TOP`, at the upper; the other byte is 0.
#[inline]
#[target_feature(enable = "avx2")]
fn two_bytes<const TOP: bool>(bytes: __m256i, low: i32, high: i32) -> __m256i {
    let first = if TOP {
        0x0080 | 0x80_0000 | low << 8 | high << 24
    } else {
        0x8000 | 0x8000_0000_u32 as i32 | low | high << 16
    };
    // The first byte of each of four lanes, at each place where a byte is taken.
    let step = if TOP { 0x0400_0400 } else { 0x0004_0004 };
    let shuffle = _mm_setr_epi32(first, first + step, first + 2 * step, first + 3 * step);
    _mm256_shuffle_epi8(bytes, _mm256_broadcastsi128_si256(shuffle))
}

/// Sixteen signed bytes of each row, each in a register of its own, twice a lane as i16.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn signed_bytes(bytes: [__m256i; 4]) -> [__m256i; 16] {
    std::array::from_fn(|j| {
        let byte = (j % 4) as i32;
        _mm256_srai_epi16::<8>(two_bytes::<true>(bytes[j / 4], byte, byte))
    })
}

/// The eight scales of Q4_K and Q5_K, each twice a lane, and their eight minima, two a lane, all as i16, from the twelve
/// packed bytes.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn scales_and_minima([p, q, r]: [__m256i; 3]) -> ([__m256i; 8], [__m256i; 4]) {
    let (six, four) = (_mm256_set1_epi8(63), _mm256_set1_epi8(15));
    // The two high bits of each byte, at the places 4 and 5.
    let high = _mm256_set1_epi8(0x30);
    let p_high = _mm256_and_si256(_mm256_srli_epi32::<2>(p), high);
    let q_high = _mm256_and_si256(_mm256_srli_epi32::<2>(q), high);
    let scales = [_mm256_and_si256(p, six), _mm256_or_si256(_mm256_and_si256(r, four), p_high)];
    let last = _mm256_and_si256(_mm256_srli_epi32::<4>(r), four);
    let minima = [_mm256_and_si256(q, six), _mm256_or_si256(last, q_high)];
    let scale = |j: usize| two_bytes::<false>(scales[j / 4], (j % 4) as i32, (j % 4) as i32);
    let two_minima = |j: usize| two_bytes::<false>(minima[j / 2], (j % 2 * 2) as i32, (j % 2 * 2) as i32 + 1);
    (std::array::from_fn(scale), std::array::from_fn(two_minima))
}
