//! The vector paths: the definitions of [`crate::scalar`] arranged for each instruction set, bit for bit the same.
//!
//! [`lanewise`] holds safe code over arrays of lanes that the compiler turns into vector instructions; this module compiles
//! it once for every instruction set. Int8 dot products are written with intrinsics, since their exact integer sums need
//! instructions that the compiler does not find by itself.

#![allow(unsafe_code, reason = "vector instructions that the processor was checked for")]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub(crate) mod lanewise;
mod portable;

use crate::Isa;
use crate::Matrix;
use crate::gemm::{self, Mat, MatMut};
use crate::kv::{KvLayout, Side};
use crate::quant::{Activations, Columns};

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
    /// [`crate::scalar::layer_norm`].
    fn layer_norm(x: &[f32], gain: &[f32], bias: &[f32], eps: f32, out: &mut [f32])
}
compiled_for_each_isa! {
    /// [`crate::silu_f32`] of every element.
    fn silu(x: &mut [f32])
}
compiled_for_each_isa! {
    /// [`crate::gelu_tanh_f32`] of every element.
    fn gelu_tanh(x: &mut [f32])
}
compiled_for_each_isa! {
    /// [`crate::gelu_erf_f32`] of every element.
    fn gelu_erf(x: &mut [f32])
}
compiled_for_each_isa! {
    /// `x[i] *= y[i]`.
    fn multiply(x: &mut [f32], y: &[f32])
}
compiled_for_each_isa! {
    /// `cap * tanh(x[i] / cap)`.
    fn softcap(x: &mut [f32], cap: f32)
}
compiled_for_each_isa! {
    /// Scales and caps (0: no cap), then [`crate::scalar::exp_scores`].
    fn exp_scores(scores: &mut [f32], scale: f32, cap: f32)
}
compiled_for_each_isa! {
    /// `out[d] += weights[t] * values[t][d]`, t in order.
    fn add_weighted(weights: &[f32], values: &[f32], out: &mut [f32])
}
compiled_for_each_isa! {
    /// Divides by [`crate::scalar::sum_weights`].
    fn divide_by_sum(weights: &[f32], out: &mut [f32])
}
compiled_for_each_isa! {
    /// The first positions of one head of a page as f32.
    fn load_page(layout: &KvLayout, page: &[u8], head: usize, side: Side, out: &mut [f32])
}
compiled_for_each_isa! {
    /// [`crate::scalar::quantise`], and the rest of a row of [`Activations`].
    fn quantise_row(
        x: &[f32], block: usize, quants: &mut [i8], scales: &mut [f32], sums: &mut [i16], starts: &mut [i32]
    )
}
compiled_for_each_isa! {
    /// Little-endian f32.
    fn read_f32(bytes: &[u8], out: &mut [f32])
}
compiled_for_each_isa! {
    /// [`crate::f16_to_f32`] of every element.
    fn convert_f16(bytes: &[u8], out: &mut [f32])
}
compiled_for_each_isa! {
    /// [`crate::bf16_to_f32`] of every element.
    fn convert_bf16(bytes: &[u8], out: &mut [f32])
}

/// Products of rows of `keys` (positions × `dim`) with each query (lines × `dim`): `scores` is lines × positions.
pub(crate) fn dots(isa: Isa, keys: &[f32], dim: usize, queries: &[f32], scores: &mut [f32]) {
    let (positions, lines) = (keys.len() / dim, queries.len() / dim);
    let scores = MatMut::new(scores, lines, positions);
    gemm::nt_with(isa, Mat::new(queries, lines, dim), Mat::new(keys, positions, dim), scores);
}

/// [`crate::scalar::dot`] of every pair of rows of a quantised matrix and of activations.
pub(crate) fn quantised_products(isa: Isa, w: Matrix<'_>, x: &Activations, out: &mut Columns) {
    assert!(x.k == w.k() && x.block == w.format().activation_block() && out.rows() == x.rows(), "shapes that fit");
    match isa.usable() {
        // SAFETY: `usable` gives only instruction sets that this processor has.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { avx2::products(w, x, out) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => unsafe { avx512::products::<true>(w, x, out) },
        _ => portable::products(w, x, out),
    }
}

/// [`quantised_products`] without the rules of order: to measure what they cost. Only AVX-512 has such kernels.
#[cfg(all(feature = "unordered", target_arch = "x86_64"))]
pub(crate) fn unordered_products(w: Matrix<'_>, x: &Activations, out: &mut Columns) {
    assert!(x.k == w.k() && x.block == w.format().activation_block() && out.rows() == x.rows(), "shapes that fit");
    assert!(Isa::Avx512.usable() == Isa::Avx512, "a processor with AVX-512");
    // SAFETY: the processor has the instructions.
    unsafe { avx512::products::<false>(w, x, out) }
}
