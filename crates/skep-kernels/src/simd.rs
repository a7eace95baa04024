//! The vector paths: the definitions of [`crate::scalar`] arranged for each instruction set, bit for bit the same.
//!
//! [`lanewise`] holds safe code over arrays of lanes that the compiler turns into vector instructions; this module compiles
//! it once for every instruction set. Int8 dot products are written with intrinsics, since their exact integer sums need
//! instructions that the compiler does not find by itself.

#![allow(unsafe_code, reason = "vector instructions that the processor was checked for")]

pub(crate) mod lanewise;
#[cfg(target_arch = "x86_64")]
mod q8_x86;

use crate::{Isa, NonFinite};

/// Compiles a function of [`lanewise`] once per instruction set and picks one at run time.
macro_rules! compiled_for_each_isa {
    ($(#[$doc:meta])* fn $name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)?) => {
        $(#[$doc])*
        pub(crate) fn $name(isa: Isa, $($argument: $type),*) $(-> $result)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,f16c")]
                fn avx2($($argument: $type),*) $(-> $result)? {
                    lanewise::$name($($argument),*)
                }
                #[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512vl,avx512dq")]
                fn avx512($($argument: $type),*) $(-> $result)? {
                    lanewise::$name($($argument),*)
                }
                match isa.usable() {
                    Isa::Scalar => {}
                    // SAFETY: `usable` gives only instruction sets that this processor has.
                    Isa::Avx2 => return unsafe { avx2($($argument),*) },
                    // SAFETY: as above.
                    Isa::Avx512 => return unsafe { avx512($($argument),*) },
                }
            }
            let _ = isa;
            lanewise::$name($($argument),*)
        }
    };
}

compiled_for_each_isa! {
    /// [`crate::scalar::rms_norm`].
    fn rms_norm(x: &[f32], gain: &[f32], eps: f32, out: &mut [f32])
}
compiled_for_each_isa! {
    /// [`crate::scalar::swiglu`].
    fn swiglu(gate: &mut [f32], up: &[f32])
}
compiled_for_each_isa! {
    /// Multiplies by the scale, then [`crate::scalar::exp_scores`].
    fn exp_scores(scores: &mut [f32], scale: f32)
}
compiled_for_each_isa! {
    /// [`crate::scalar::weighted_values`].
    fn weighted_values(weights: &[f32], values: &[f32], out: &mut [f32])
}
compiled_for_each_isa! {
    /// [`crate::scalar::quantise_row`].
    fn quantise_row(x: &[f32], scales: &mut [f32], quants: &mut [i8]) -> Result<(), NonFinite>
}
compiled_for_each_isa! {
    /// [`crate::f16_to_f32`] of every element.
    fn convert_f16(bits: &[u16], out: &mut [f32])
}

/// Rows of Q8_0 weights and of quantised activations: the shapes that [`dot_rows`] relies on, checked once.
pub(crate) struct Q8Task<'a> {
    k: usize,
    w_scales: &'a [f32],
    w_quants: &'a [i8],
    x_scales: &'a [f32],
    x_quants: &'a [i8],
}

impl<'a> Q8Task<'a> {
    /// Weights rows × k with rows × k/32 scales, activations n × k with n × k/32 scales.
    pub(crate) fn new(
        k: usize,
        (w_scales, w_quants): (&'a [f32], &'a [i8]),
        (x_scales, x_quants): (&'a [f32], &'a [i8]),
    ) -> Self {
        let whole = |scales: &[f32], quants: &[i8]| quants.len().is_multiple_of(k) && scales.len() * 32 == quants.len();
        assert!(k > 0 && k.is_multiple_of(32), "whole blocks of 32");
        assert!(whole(w_scales, w_quants) && whole(x_scales, x_quants), "a scale for each block of whole rows");
        Self { k, w_scales, w_quants, x_scales, x_quants }
    }

    fn rows(&self) -> usize {
        self.w_quants.len() / self.k
    }

    /// `out[t][r]` = [`crate::scalar::dot_q8`] of weight row r and activation row t.
    pub(crate) fn run(&self, isa: Isa, out: &mut [f32]) {
        let rows = self.rows();
        assert_eq!(out.len(), self.x_quants.len() / self.k * rows, "one output a pair of rows");
        #[cfg(target_arch = "x86_64")]
        match isa.usable() {
            Isa::Scalar => {}
            // SAFETY: `usable` gives only instruction sets that this processor has; `new` and the assertion above
            // checked that every row and output lies within its slice.
            Isa::Avx2 => return unsafe { q8_x86::avx2(self, out) },
            // SAFETY: as above.
            Isa::Avx512 => return unsafe { q8_x86::avx512(self, out) },
        }
        let _ = isa;
        let blocks = self.k / 32;
        for (i, out) in out.iter_mut().enumerate() {
            let (t, r) = (i / rows, i % rows);
            *out = crate::scalar::dot_q8(
                &self.w_scales[r * blocks..][..blocks],
                &self.w_quants[r * self.k..][..self.k],
                &self.x_scales[t * blocks..][..blocks],
                &self.x_quants[t * self.k..][..self.k],
            );
        }
    }
}
