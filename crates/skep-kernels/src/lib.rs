//! RK-1: kernels that give the same bits on every CPU.

pub mod gemm;
mod isa;
mod math;
mod ops;
mod rope;
pub mod scalar;
mod simd;

pub use isa::{FloatEnvironmentError, Isa, check_float_environment};
pub use math::{EXP_HIGHEST, EXP_LOWEST, exp_f32, exp_f64, f16_to_f32, f32_to_f16, ln_f64, silu_f32, sin_cos_f64};
pub use ops::{Weights, add, attention, dot, matmul, rms_norm, swiglu};
pub use rope::{POSITION_LIMIT, rope_frequencies, rope_rotate, rope_table};

/// Virtual lanes of every reduction.
pub const LANES: usize = 16;
/// Elements of one Q8_0 block.
pub const Q8_BLOCK: usize = 32;
/// Positions of one partial sum of attention.
pub const PARTIAL: usize = 256;

/// An activation is NaN or infinite: the computation is faulty and must stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NonFinite;

impl std::fmt::Display for NonFinite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an activation is not a finite number")
    }
}

impl std::error::Error for NonFinite {}
