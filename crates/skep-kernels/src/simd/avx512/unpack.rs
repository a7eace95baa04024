//! From the bytes of sixteen rows to registers whose lane r belongs to row r.

use super::PANEL;
use std::arch::x86_64::*;

/// Sixteen rows of weights.
pub(super) struct Rows(pub(super) [*const u8; PANEL]);

impl Rows {
    /// The sixteen bytes at `at` of the rows i, i + 4, i + 8 and i + 12.
    ///
    /// # Safety
    /// Each row has the bytes.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn every_fourth(&self, i: usize, at: usize) -> __m512i {
        // SAFETY: the caller's promise; the reads need no alignment.
        unsafe {
            let low = _mm512_castsi128_si512(_mm_loadu_si128(self.0[i].add(at).cast()));
            let low = _mm512_inserti32x4::<1>(low, _mm_loadu_si128(self.0[i + 4].add(at).cast()));
            let low = _mm512_inserti32x4::<2>(low, _mm_loadu_si128(self.0[i + 8].add(at).cast()));
            _mm512_inserti32x4::<3>(low, _mm_loadu_si128(self.0[i + 12].add(at).cast()))
        }
    }

    /// The sixteen bytes at `at` of each row, as four registers of four neighbouring bytes a lane.
    ///
    /// # Safety
    /// Each row has the bytes.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn dwords(&self, at: usize) -> [__m512i; 4] {
        // Quarter g of register i holds row 4g + i: what is left is to transpose 4 × 4 within the quarters.
        // SAFETY: the caller's promise.
        let (a, b) = unsafe { (self.every_fourth(0, at), self.every_fourth(1, at)) };
        // SAFETY: as above.
        let (c, d) = unsafe { (self.every_fourth(2, at), self.every_fourth(3, at)) };
        let (ab, cd) = (_mm512_unpacklo_epi32(a, b), _mm512_unpacklo_epi32(c, d));
        let (ab_high, cd_high) = (_mm512_unpackhi_epi32(a, b), _mm512_unpackhi_epi32(c, d));
        [
            _mm512_unpacklo_epi64(ab, cd),
            _mm512_unpackhi_epi64(ab, cd),
            _mm512_unpacklo_epi64(ab_high, cd_high),
            _mm512_unpackhi_epi64(ab_high, cd_high),
        ]
    }

    /// The half at `at` of each row.
    ///
    /// # Safety
    /// Each row has the two bytes.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn halves(&self, at: usize) -> __m512 {
        let mut words = [0u64; PANEL / 4];
        for (word, rows) in words.iter_mut().zip(self.0.as_chunks::<4>().0) {
            for (i, row) in rows.iter().enumerate() {
                // SAFETY: the caller's promise; the read needs no alignment.
                *word |= u64::from(unsafe { row.add(at).cast::<u16>().read_unaligned() }) << (16 * i);
            }
        }
        let words = words.map(|word| word as i64);
        _mm512_cvtph_ps(_mm256_setr_epi64x(words[0], words[1], words[2], words[3]))
    }
}

/// The half in the low and the half in the high two bytes of each lane.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn two_halves(halves: __m512i) -> (__m512, __m512) {
    let low = _mm512_cvtepi32_epi16(halves);
    let high = _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(halves));
    (_mm512_cvtph_ps(low), _mm512_cvtph_ps(high))
}

/// The low and the high four bits of each byte.
#[inline]
#[target_feature(enable = "avx512f")]
fn nibbles(bytes: __m512i) -> (__m512i, __m512i) {
    let mask = _mm512_set1_epi8(15);
    (_mm512_and_si512(bytes, mask), _mm512_and_si512(_mm512_srli_epi32::<4>(bytes), mask))
}

/// # Safety
/// Each row has 32 bytes at `at`; `out` may be written.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn q8_0(rows: &Rows, at: usize, out: *mut [__m512i; 8]) {
    let (offset, out) = (_mm512_set1_epi8(-128), out.cast::<__m512i>());
    for c in 0..2 {
        // SAFETY: the caller's promise.
        let dwords = unsafe { rows.dwords(at.wrapping_add(16 * c)) };
        for (j, dword) in dwords.iter().enumerate() {
            // SAFETY: 4c + j < 8.
            unsafe { out.add(4 * c + j).write(_mm512_xor_si512(*dword, offset)) };
        }
    }
}

/// # Safety
/// Each row has 16 bytes at `at`; `out` may be written.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) unsafe fn q4_0(rows: &Rows, at: usize, out: *mut [__m512i; 8]) {
    // The weights are 8 too large and shall be 128 too large.
    let (offset, out) = (_mm512_set1_epi8(120), out.cast::<__m512i>());
    // SAFETY: the caller's promise.
    let dwords = unsafe { rows.dwords(at) };
    for (j, bytes) in dwords.iter().enumerate() {
        let (low, high) = nibbles(*bytes);
        // SAFETY: j < 4.
        unsafe {
            out.add(j).write(_mm512_add_epi8(low, offset));
            out.add(j + 4).write(_mm512_add_epi8(high, offset));
        }
    }
}

/// # Safety
/// Each row has 128 bytes at `at`; `out` may be written.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn q4_k(rows: &Rows, at: usize, out: *mut [[__m512i; 8]; 8]) {
    let out = out.cast::<__m512i>();
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
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) unsafe fn q5_k(rows: &Rows, at: usize, out: *mut [[__m512i; 8]; 8]) {
    let out = out.cast::<__m512i>();
    let sixteen = _mm512_set1_epi8(16);
    for half in 0..2 {
        // SAFETY: the caller's promise.
        let mut high = unsafe { rows.dwords(at.wrapping_add(16 * half)) };
        for c in 0..4 {
            // SAFETY: the caller's promise.
            let dwords = unsafe { rows.dwords(at.wrapping_add(32 + 32 * c + 16 * half)) };
            for (j, bytes) in dwords.iter().enumerate() {
                let (low, second) = nibbles(*bytes);
                // The two bits of sub-blocks 2c and 2c + 1 are the lowest of each byte now.
                let first_bit = _mm512_and_si512(_mm512_slli_epi32::<4>(high[j]), sixteen);
                let second_bit = _mm512_and_si512(_mm512_slli_epi32::<3>(high[j]), sixteen);
                high[j] = _mm512_srli_epi32::<2>(high[j]);
                let place = 16 * c + 4 * half + j;
                // SAFETY: place + 8 < 64.
                unsafe {
                    out.add(place).write(_mm512_or_si512(low, first_bit));
                    out.add(place + 8).write(_mm512_or_si512(second, second_bit));
                }
            }
        }
    }
}

/// # Safety
/// Each row has 192 bytes at `at`; `out` may be written.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn q6_k(rows: &Rows, at: usize, out: *mut [[__m512i; 4]; 16]) {
    let (mask, out) = (_mm512_set1_epi8(0x30), out.cast::<__m512i>());
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
                    0 => (_mm512_slli_epi32::<4>(high[j]), high[j]),
                    _ => (_mm512_slli_epi32::<2>(high[j]), _mm512_srli_epi32::<2>(high[j])),
                };
                let place = 32 * n + 4 * c + j;
                // SAFETY: place + 16 < 64.
                unsafe {
                    out.add(place).write(_mm512_or_si512(low, _mm512_and_si512(low_bits, mask)));
                    out.add(place + 16).write(_mm512_or_si512(last, _mm512_and_si512(last_bits, mask)));
                }
            }
        }
    }
}

/// Sixteen signed bytes of each row, each in a register of its own.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn signed_bytes(bytes: [__m512i; 4]) -> [__m512i; 16] {
    let mut out = [_mm512_setzero_si512(); 16];
    for (j, bytes) in bytes.into_iter().enumerate() {
        out[4 * j] = _mm512_srai_epi32::<24>(_mm512_slli_epi32::<24>(bytes));
        out[4 * j + 1] = _mm512_srai_epi32::<24>(_mm512_slli_epi32::<16>(bytes));
        out[4 * j + 2] = _mm512_srai_epi32::<24>(_mm512_slli_epi32::<8>(bytes));
        out[4 * j + 3] = _mm512_srai_epi32::<24>(bytes);
    }
    out
}

/// The eight scales of Q4_K and Q5_K as i32, and their eight minima as i16, two a lane, from the twelve packed bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn scales_and_minima([p, q, r]: [__m512i; 3]) -> ([__m512i; 8], [__m512i; 4]) {
    let (six, four) = (_mm512_set1_epi8(63), _mm512_set1_epi8(15));
    // The two high bits of each byte, at the places 4 and 5.
    let high = _mm512_set1_epi8(0x30);
    let (p_high, q_high) = (_mm512_srli_epi32::<2>(p), _mm512_srli_epi32::<2>(q));
    let (p_high, q_high) = (_mm512_and_si512(p_high, high), _mm512_and_si512(q_high, high));
    let scales = [_mm512_and_si512(p, six), _mm512_or_si512(_mm512_and_si512(r, four), p_high)];
    let last = _mm512_and_si512(_mm512_srli_epi32::<4>(r), four);
    let minima = [_mm512_and_si512(q, six), _mm512_or_si512(last, q_high)];
    let byte = _mm512_set1_epi32(255);
    let mut out = [_mm512_setzero_si512(); 8];
    for (j, scales) in scales.into_iter().enumerate() {
        out[4 * j] = _mm512_and_si512(scales, byte);
        out[4 * j + 1] = _mm512_and_si512(_mm512_srli_epi32::<8>(scales), byte);
        out[4 * j + 2] = _mm512_and_si512(_mm512_srli_epi32::<16>(scales), byte);
        out[4 * j + 3] = _mm512_srli_epi32::<24>(scales);
    }
    // Bytes (0, 1) and (2, 3) of each lane, widened.
    let lanes = _mm512_broadcast_i32x4(_mm_setr_epi32(0, 0x0004_0004, 0x0008_0008, 0x000c_000c));
    let first = _mm512_add_epi32(lanes, _mm512_set1_epi32(0x8001_8000_u32 as i32));
    let second = _mm512_add_epi32(lanes, _mm512_set1_epi32(0x8003_8002_u32 as i32));
    let minima = [
        _mm512_shuffle_epi8(minima[0], first),
        _mm512_shuffle_epi8(minima[0], second),
        _mm512_shuffle_epi8(minima[1], first),
        _mm512_shuffle_epi8(minima[1], second),
    ];
    (out, minima)
}
