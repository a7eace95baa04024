//! Sixteen lanes in each instruction set.

use super::tile::{Lanes, Nt, Outer};
use crate::Isa;

/// Runs `task` with `isa`.
///
/// # Safety
/// The task's pointers must be valid for its shapes and the CPU must have `isa` (see [`Isa::usable`]).
pub(super) unsafe fn run_nt(isa: Isa, task: &Nt) {
    // SAFETY: the caller's promise is the same.
    unsafe {
        match isa {
            Isa::Scalar => task.run::<[f32; 16]>(),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => x86::nt_avx2(task),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => x86::nt_avx512(task),
            #[cfg(not(target_arch = "x86_64"))]
            _ => task.run::<[f32; 16]>(),
        }
    }
}

/// Runs `task` with `isa`.
///
/// # Safety
/// The task's pointers must be valid for its shapes and the CPU must have `isa` (see [`Isa::usable`]).
pub(super) unsafe fn run_outer(isa: Isa, task: &Outer) {
    // SAFETY: the caller's promise is the same.
    unsafe {
        match isa {
            Isa::Scalar => task.run::<[f32; 16]>(),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => x86::outer_avx2(task),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => x86::outer_avx512(task),
            #[cfg(not(target_arch = "x86_64"))]
            _ => task.run::<[f32; 16]>(),
        }
    }
}

impl Lanes for [f32; 16] {
    const TILE_VECS: usize = 1;
    const WIDE: bool = false;

    #[inline(always)]
    unsafe fn zero() -> Self {
        [0.0; 16]
    }

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: the caller owns 16 values at `p`; the read asks for no alignment.
        unsafe { p.cast::<Self>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        // SAFETY: the caller owns 16 values at `p`; the write asks for no alignment.
        unsafe { p.cast::<Self>().write_unaligned(self) }
    }

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        [x; 16]
    }

    #[inline(always)]
    unsafe fn plus_product(self, a: Self, b: Self) -> Self {
        std::array::from_fn(|l| self[l] + a[l] * b[l])
    }

    #[inline(always)]
    unsafe fn tree(mut self) -> f32 {
        for half in [8, 4, 2, 1] {
            for l in 0..half {
                self[l] += self[l + half];
            }
        }
        self[0]
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::super::tile::{Lanes, Nt, Outer};
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn nt_avx2(task: &Nt) {
        // SAFETY: the caller's promise is the same.
        unsafe { task.run::<Two256>() }
    }

    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn nt_avx512(task: &Nt) {
        // SAFETY: the caller's promise is the same.
        unsafe { task.run::<One512>() }
    }

    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn outer_avx2(task: &Outer) {
        // SAFETY: the caller's promise is the same.
        unsafe { task.run::<Two256>() }
    }

    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn outer_avx512(task: &Outer) {
        // SAFETY: the caller's promise is the same.
        unsafe { task.run::<One512>() }
    }

    /// Lanes 0–7 and 8–15.
    #[derive(Clone, Copy)]
    struct Two256(__m256, __m256);

    // SAFETY of every block below: the dispatcher checked the feature, and the caller owns 16 values at each pointer.
    impl Lanes for Two256 {
        const TILE_VECS: usize = 1;
        const WIDE: bool = false;

        #[inline(always)]
        unsafe fn zero() -> Self {
            // SAFETY: AVX2 is present.
            unsafe { Self(_mm256_setzero_ps(), _mm256_setzero_ps()) }
        }

        #[inline(always)]
        unsafe fn load(p: *const f32) -> Self {
            // SAFETY: AVX2 is present and 16 values lie at `p`.
            unsafe { Self(_mm256_loadu_ps(p), _mm256_loadu_ps(p.add(8))) }
        }

        #[inline(always)]
        unsafe fn store(self, p: *mut f32) {
            // SAFETY: AVX2 is present and 16 values lie at `p`.
            unsafe {
                _mm256_storeu_ps(p, self.0);
                _mm256_storeu_ps(p.add(8), self.1);
            }
        }

        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            // SAFETY: AVX2 is present.
            unsafe { Self(_mm256_set1_ps(x), _mm256_set1_ps(x)) }
        }

        #[inline(always)]
        unsafe fn plus_product(self, a: Self, b: Self) -> Self {
            // SAFETY: AVX2 is present.
            unsafe {
                Self(_mm256_add_ps(self.0, _mm256_mul_ps(a.0, b.0)), _mm256_add_ps(self.1, _mm256_mul_ps(a.1, b.1)))
            }
        }

        #[inline(always)]
        unsafe fn tree(self) -> f32 {
            // SAFETY: AVX2 is present.
            unsafe {
                let eight = _mm256_add_ps(self.0, self.1);
                let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
                let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
                _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
            }
        }
    }

    /// All sixteen lanes in one register.
    #[derive(Clone, Copy)]
    struct One512(__m512);

    impl Lanes for One512 {
        const TILE_VECS: usize = 4;
        const WIDE: bool = true;

        #[inline(always)]
        unsafe fn zero() -> Self {
            // SAFETY: AVX-512 is present.
            unsafe { Self(_mm512_setzero_ps()) }
        }

        #[inline(always)]
        unsafe fn load(p: *const f32) -> Self {
            // SAFETY: AVX-512 is present and 16 values lie at `p`.
            unsafe { Self(_mm512_loadu_ps(p)) }
        }

        #[inline(always)]
        unsafe fn store(self, p: *mut f32) {
            // SAFETY: AVX-512 is present and 16 values lie at `p`.
            unsafe { _mm512_storeu_ps(p, self.0) }
        }

        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            // SAFETY: AVX-512 is present.
            unsafe { Self(_mm512_set1_ps(x)) }
        }

        #[inline(always)]
        unsafe fn plus_product(self, a: Self, b: Self) -> Self {
            // SAFETY: AVX-512 is present.
            unsafe { Self(_mm512_add_ps(self.0, _mm512_mul_ps(a.0, b.0))) }
        }

        #[inline(always)]
        unsafe fn tree(self) -> f32 {
            let mut lanes = [0f32; 16];
            // SAFETY: AVX-512 is present and the array holds 16 values.
            unsafe {
                self.store(lanes.as_mut_ptr());
                lanes.tree()
            }
        }

        #[inline(always)]
        unsafe fn trees(v: [Self; 16]) -> [f32; 16] {
            let mut out = [0f32; 16];
            // Each level adds the halves of two vectors at once and keeps the results side by side: the first two levels
            // move whole quarters, the last two move lanes within them. Quarter q of `quad(g)` holds the four lanes that
            // are left of vector 4·q + g, so that the final order is 0..16.
            // SAFETY: AVX-512 is present and the array holds 16 values.
            unsafe {
                let a = two(quad([v[0], v[4], v[8], v[12]]), quad([v[1], v[5], v[9], v[13]]));
                let b = two(quad([v[2], v[6], v[10], v[14]]), quad([v[3], v[7], v[11], v[15]]));
                let even = _mm512_shuffle_ps::<0b10_00_10_00>(a, b);
                let odd = _mm512_shuffle_ps::<0b11_01_11_01>(a, b);
                _mm512_storeu_ps(out.as_mut_ptr(), _mm512_add_ps(even, odd));
            }
            out
        }
    }

    /// Two vectors to eight lanes each.
    #[inline(always)]
    unsafe fn eight(a: One512, b: One512) -> __m512 {
        // SAFETY: the caller checked for AVX-512.
        unsafe {
            let low = _mm512_shuffle_f32x4::<0b01_00_01_00>(a.0, b.0);
            let high = _mm512_shuffle_f32x4::<0b11_10_11_10>(a.0, b.0);
            _mm512_add_ps(low, high)
        }
    }

    /// Four vectors to four lanes each.
    #[inline(always)]
    unsafe fn quad(v: [One512; 4]) -> __m512 {
        // SAFETY: the caller checked for AVX-512.
        unsafe {
            let (a, b) = (eight(v[0], v[1]), eight(v[2], v[3]));
            let low = _mm512_shuffle_f32x4::<0b10_00_10_00>(a, b);
            let high = _mm512_shuffle_f32x4::<0b11_01_11_01>(a, b);
            _mm512_add_ps(low, high)
        }
    }

    /// Two times four vectors with four lanes each to two lanes each.
    #[inline(always)]
    unsafe fn two(a: __m512, b: __m512) -> __m512 {
        // SAFETY: the caller checked for AVX-512.
        unsafe {
            let low = _mm512_shuffle_ps::<0b01_00_01_00>(a, b);
            let high = _mm512_shuffle_ps::<0b11_10_11_10>(a, b);
            _mm512_add_ps(low, high)
        }
    }
}
