//! RK-1: kernels that give the same bits on every CPU.
//!
//! This text is normative. Another implementation, in any language and for any processor, conforms when it gives the bits
//! that this text prescribes; `tests/golden.rs` holds inputs and digests of outputs to test it with. [`scalar`] is the same
//! text as plain loops. The vector paths of this crate ([`Isa`]) are arrangements of it and are tested against it.
//!
//! # 1. Numbers
//!
//! All values are IEEE 754 binary32 (f32) unless f64, i8 or i32 is said. Each `+ - * /` and `sqrt` is one IEEE operation,
//! rounded to nearest, ties to even, in the order written. A product that is then added is rounded first: never a fused
//! multiply-add, never a reassociation, never more precision in between (no x87). Subnormal numbers are neither read nor
//! written as zero. Every thread that computes checks this environment when it starts ([`check_float_environment`]).
//!
//! Threads, tiles and batches divide outputs among themselves, never the terms of one output. So an output has the same bits
//! for every number of threads, rows at a time, chunks of a prompt and machines.
//!
//! A NaN or an infinity in a row of activations is a fault: the computation stops with an error and gives no result. The bits
//! of a NaN are not prescribed. Weights are finite. Where an index of a largest value is asked for, ties go to the lowest.
//!
//! # 2. Sums
//!
//! A *lane sum* of terms `t[0..K]` has 16 accumulators, each +0 at the start. For i = 0, 1, … K-1:
//! `acc[i mod 16] = acc[i mod 16] + t[i]`. Then the *halving tree*: for h = 8, 4, 2, 1, for l in 0..h:
//! `acc[l] = acc[l] + acc[l + h]`. The sum is `acc[0]`.
//!
//! *Padding.* An accumulator that starts at +0 can never become -0: in this rounding a sum is -0 only when both terms are.
//! Adding +0 or -0 therefore never changes it, and an implementation may treat K as a multiple of 16 by appending terms that
//! are zeros of either sign.
//!
//! # 3. Products of a matrix and a row
//!
//! A weight matrix has rows of length K. Output r for the activation row x is `dot(w[r], x)`.
//!
//! - **F32**: the lane sum of `w[i] * x[i]`.
//! - **F16**: each weight converted to the f32 of equal value (always exact, subnormal halves included), then as F32.
//! - **Q8_0**: K is a multiple of 32. Block b of a row holds 32 weights `qw` in -127..=127 (a file with -128 is refused) and
//!   the scale `sw[b]`, the file's half as f32. Activations are quantised per block: `amax` = the largest `|x[i]|`,
//!   `sx[b] = amax / 127`; if `sx[b]` is 0 every `qx` is 0, else `qx = clamp(round_ties_even(x[i] / sx[b]), -127, 127)`.
//!   Group j in 0..8 of block b is the exact integer `g = Σ qw[4j+m] * qx[4j+m]` over m in 0..4 (`|g|` ≤ 64,516, so its
//!   conversion to f32 is exact too). With 16 accumulators from +0, for b in order and j in 0..8:
//!   `acc[(b mod 2) * 8 + j] = acc[(b mod 2) * 8 + j] + g * (sw[b] * sx[b])`. Then the halving tree. An odd number of blocks
//!   may be padded by a block of zeros. Quantising a NaN or an infinity is a fault.
//!
//! A row of an embedding is its weights as f32: F32 as it is, F16 converted, Q8_0 `sw[b] * qw`, one rounding.
//!
//! # 4. Elementary functions
//!
//! No C library is called: libraries differ. Constants are given by their bits.
//!
//! **exp (f32).** +0 if x < -87; +infinity if x > 88. Else `n = round_ties_even(x * 0x3fb8aa3b)`,
//! `r = (x - n * 0x3f318000) - n * 0xb95e8083`, `q = (((c6 * r + c5) * r + c4) * r + c3) * r + 0.5` with c3 = `0x3e2aaa6e`,
//! c4 = `0x3d2aaa8c`, c5 = `0x3c0905f1`, c6 = `0x3ab688be`; `y = ((r * r) * q + r) + 1`; the result is `y * 2^n`. It is never
//! subnormal, exact at 0, and within 2e-7 of the true value, relatively.
//!
//! **silu**: `x / (1 + exp(-x))`.
//!
//! **exp (f64)**, for |x| < 700: `n = round_ties_even(x * L)`, L the f64 nearest to log2 e;
//! `r = (x - n * 0x3fe62e42fee00000) - n * 0x3dea39ef35793c76`; s = 1, then for i = 14, 13, … 1: `s = 1 + s * r / i` (the
//! product, then the quotient); the result is `s * 2^n`.
//!
//! **ln (f64)**, for normal x > 0: `x = 2^n * m` with 1 ≤ m < 2; if m > the f64 nearest to √2, m = m / 2 and n = n + 1.
//! `s = (m - 1) / (m + 1)`, `z = s * s`, u = 0, then for i = 29, 27, … 1: `u = u * z + 1 / i`; the result is
//! `n * LN2 + (2 * s) * u`, LN2 the f64 nearest to ln 2.
//!
//! **sin, cos (f64)**, for 0 ≤ x < 2^20: `n = round_ties_even(x * P)`, P the f64 nearest to 2/π;
//! `r = ((x - n * 0x3ff921fb54400000) - n * 0x3dd0b4611a600000) - n * 0x3ba3198a2e037073`; `z = r * r`; s = c = 1, then for
//! i = 20, 18, … 2: `s = 1 - (s * z) / (i * (i + 1))`, `c = 1 - (c * z) / ((i - 1) * i)`; then `s = s * r`. By n mod 4 the
//! pair (sin, cos) is (s, c), (c, -s), (-s, -c), (-c, s).
//!
//! # 5. Parts of a block
//!
//! **RMSNorm** of a row of width K: `S` = lane sum of `x[i] * x[i]`; `r = 1 / sqrt(S / K + eps)`; `y[i] = (x[i] * r) * gain[i]`.
//!
//! **RoPE.** Pair i of a head of width D turns by `position * f[i]` radians, in f64:
//! `f[i] = exp(-((2i) / D) * ln(theta)) / factor[i]`, factor 1 where the model has none. Its cos and sin are rounded to f32
//! once. Adjacent elements are a pair (the layout of GGUF): `a' = a * cos - b * sin`, `b' = a * sin + b * cos`.
//! Positions are below 2^20 and so are the angles.
//!
//! **Attention** of one query head at position p over keys and values of positions 0..=p, all of width D. Query head h of H
//! reads key-value head `h / (H / G)` of G, rounded down. `score[t] = dot(key[t], query) * (1 / sqrt(D))`; m = the largest score,
//! exactly; `e[t] = exp(score[t] - m)`. Positions are cut into parts of 256 from position 0. Within a part, `l` is the lane
//! sum of `e[t]` (the lane counts from the part's start), and for each d, `o[d]` starts at +0 and gains `e[t] * value[t][d]`
//! for t in order. L and O\[d\] start at +0 and gain the parts' `l` and `o[d]` in order. The output is `O[d] / L`.
//!
//! **SwiGLU**: `silu(gate[i]) * up[i]`. **Residual**: `x[i] + y[i]`, the stream first.
//!
//! # 6. Unsafe code
//!
//! This is the only crate of the house that may hold `unsafe`. It is confined to [`gemm`] and the private modules `isa` and
//! `simd`; every block says why it is sound, and no instruction runs that the processor was not checked for.

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
