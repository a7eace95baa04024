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
//! A weight matrix has rows of length K, stored in one of eight formats whose bytes are those of GGUF, little-endian; a half
//! or a bfloat16 is converted to the f32 of equal value. Output r for the activation row x is `dot(w[r], x)`.
//!
//! **F32, F16, BF16**: the lane sum of `w[i] * x[i]`.
//!
//! **Quantised formats.** A row is cut into blocks of B weights. Activations are quantised per block: `a` = the largest
//! `|x[i]|`, `inverse = 127 / a`. If `inverse` is infinite (a zero or tiny block), `sx = 0` and every `qx = 0`; else
//! `sx = a / 127` and `qx[i] = round_ties_even(x[i] * inverse)`, which is within ±127. The output starts at +0 and gains the
//! term of each block in order: `out = out + term`. Integer sums are exact in i32; `f(n)` is the f32 nearest to n, ties to even.
//!
//! - **Q8_0**, B = 32, 34 bytes: half `d`; 32 signed bytes `q`. Term: `f(Σ q[i] * qx[i]) * (d * sx)`.
//! - **Q4_0**, B = 32, 18 bytes: half `d`; 16 bytes, byte i holding weight i in its low and weight i + 16 in its high four bits,
//!   each 8 too large. Term: `f(Σ (q[i] - 8) * qx[i]) * (d * sx)`.
//! - **Q4_K**, B = 256, 144 bytes: half `d`, half `dmin`, 12 bytes `p`, 128 bytes of weights. Eight sub-blocks of 32 have a scale
//!   `sc` and a minimum `m`: for j < 4 `sc = p[j] & 63`, `m = p[j+4] & 63`; else `sc = p[j+4] & 15 | p[j-4] >> 6 << 4`,
//!   `m = p[j+4] >> 4 | p[j] >> 6 << 4`. Bytes 32c.. to 32c+31 hold sub-block 2c in their low and 2c+1 in their high four bits.
//!   Term: `f(Σj sc[j] * Σi q[i] * qx[i]) * (d * sx) - f(Σj m[j] * Σi qx[i]) * (dmin * sx)`, i over sub-block j.
//! - **Q5_K**, B = 256, 176 bytes: as Q4_K, with 32 bytes `h` between `p` and the weights; bit j of `h[i]` is the fifth bit, worth
//!   16, of weight i of sub-block j.
//! - **Q6_K**, B = 256, 210 bytes: 128 bytes `l`, 64 bytes `h`, 16 signed bytes `sc`, half `d`. Weight i of half n (i in 0..128):
//!   low four bits from `l[64n + i mod 64]`, its low part if i < 64, else its high part; next two bits from `h[32n + i mod 32]`,
//!   shifted right by `2 * (i / 32)`; the whole is 32 too large. Sub-block j holds weights 16j to 16j+15 of the block.
//!   Term: `f(Σj sc[j] * Σi (q[i] - 32) * qx[i]) * (d * sx)`.
//!
//! A row of an embedding is its weights as f32: F32, F16 and BF16 converted; Q8_0 and Q4_0 `d * q`; Q4_K and Q5_K
//! `(d * sc) * q - dmin * m`; Q6_K `(d * sc) * q`, with q the integer weight, its offset taken off.
//!
//! A single running sum, rather than lanes, is what lets a decoder work along a row and a tile across sixteen rows with the same
//! bits, and costs neither: one f32 operation per block is rare beside its integer products.
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
//! **silu**: `x / (1 + exp(-x))`. **tanh**: `1 - 2 / (exp(x + x) + 1)`.
//!
//! **gelu (tanh)**: `u = 0x3f4c422a * (x + 0x3d372713 * ((x * x) * x))`, `x / (1 + exp(-(u + u)))`.
//!
//! **erf**: `t = 1 / (1 + 0x3ea7ba05 * |x|)`, `p = ((((a5 * t + a4) * t + a3) * t + a2) * t + a1) * t` with a1 = `0x3e827906`,
//! a2 = `0xbe91a98e`, a3 = `0x3fb5f0e3`, a4 = `0xbfba00e3`, a5 = `0x3f87dc22`; `y = 1 - p * exp(-(x * x))`; the result is -y if
//! x < 0, else y. **gelu (erf)**: `(0.5 * x) * (1 + erf(x * 0x3f3504f3))`.
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
//! **LayerNorm**: `mean` = lane sum of `x[i]`, over K; `c[i] = x[i] - mean`; `r = 1 / sqrt(S / K + eps)` with S the lane sum of
//! `c[i] * c[i]`; `y[i] = (c[i] * r) * gain[i] + bias[i]`.
//!
//! **RoPE.** Pair i of a head, of which D elements turn, turns by `position * f[i]` radians, in f64:
//! `f[i] = exp(-((2i) / D) * ln(theta)) / factor[i]`, factor 1 where the model has none. Its cos and sin, times the model's
//! magnitude where it has one (an f32), are rounded to f32 once. A pair is elements (2i, 2i + 1) in Llama models as GGUF lays them out, (i, i + D/2) in the others:
//! `a' = a * cos - b * sin`, `b' = a * sin + b * cos`. Positions are below 2^20 and so are the angles.
//!
//! **Keys and values** are kept as f32, as halves (rounded to nearest, ties to even; a value that becomes infinite is a fault)
//! or as Q8: quantised per head in blocks of 32 as activations are, and read as `sx * qx`. Attention reads what is kept.
//!
//! **Attention** of one query head over keys and values of width D at the positions that it sees: 0..=p, of these only the last W
//! if the block has a window W; all positions of the text in an encoder. Query head h of H reads key-value head `h / (H / G)` of
//! G, rounded down. `s[t] = dot(key[t], query) * scale`, `scale` = `1 / sqrt(D)` unless the model has its own; with a cap C,
//! `s[t] = C * tanh(s[t] / C)`. m = the largest of them, exactly; `e[t] = exp(s[t] - m)`. Positions are cut into parts of 256
//! from position 0. Within a part, `l` is the lane sum of `e[t]` (the lane counts from the part's start), and for each d, `o[d]`
//! starts at +0 and gains `e[t] * value[t][d]` for t in order. L and O\[d\] start at +0 and gain the parts' `l` and `o[d]` in
//! order. The output is `O[d] / L`. Positions that are not seen add nothing.
//!
//! **Embedding of a placed text** (BERT): the rows of the token, of the first token type and of the position, summed in this order, then
//! LayerNorm. **Of a picture**: row 0 is the class's; row i the product of the patch matrix and patch i plus its bias; each plus its
//! position's. **Vector of a text**: the mean (the rows summed from +0 in order of position, over their number) or the first row, each
//! value over the square root of the lane sum of the squares, unless that is 0.
//!
//! **Gated units**: `f(gate[i]) * up[i]`. **Residual**: `x[i] + y[i]`, the stream first. **Bias** of a matrix: `y[i] + bias[i]`, y
//! its whole product. **Scaled embedding**: `x[i] * s`, s the f32 nearest to the square root of the width. **Capped logits**:
//! `C * tanh(y[i] / C)`.
//!
//! **Experts.** A row x has E router logits, `g = dot(router[e], x)`. m = the largest of them; `p[e] = exp(g[e] - m) / L` with L the
//! lane sum of the `exp`, e its index. The k experts of largest p are used, of equals the lowest. W starts at +0 and gains their p
//! in ascending order of e; the row's output y starts at +0 and gains `(p[e] / W) * y_e[i]` in the same order, y_e what the gated
//! unit of expert e gives for x.
//!
//! # 6. Unsafe code
//!
//! With `skep-map` this is the only crate of the house that may hold `unsafe`. It is confined to [`gemm`] and the private modules `isa`, `simd`,
//! `threads`, `quant`, `ops` and `attention`; every block says why it is sound, and no instruction runs that the processor was not checked for.

mod attention;
mod cpu;
mod format;
pub mod gemm;
mod isa;
mod kv;
mod math;
mod ops;
mod quant;
mod rope;
pub mod scalar;
mod simd;
mod threads;

pub use attention::{AttentionChunk, AttentionShape, attention};
pub use cpu::Cpu;
pub use format::{Format, Matrix, NonFiniteWeight};
pub use isa::{FloatEnvironmentError, Isa, check_float_environment};
pub use kv::{KvFormat, KvLayout, PAGE};
pub use math::{
    EXP_HIGHEST, EXP_LOWEST, bf16_to_f32, erf_f32, exp_f32, exp_f64, f16_to_f32, f32_to_f16, gelu_erf_f32,
    gelu_tanh_f32, ln_f64, silu_f32, sin_cos_f64, tanh_f32,
};
#[cfg(all(feature = "unordered", target_arch = "x86_64"))]
pub use ops::matmul_unordered;
pub use ops::{Activation, activate, add, dot, gated, layer_norm, matmul, matmuls, rms_norm, route, softcap};
pub use rope::{POSITION_LIMIT, rope_frequencies, rope_rotate, rope_rotate_halves, rope_table, rope_table_scaled};
pub use threads::Workers;

/// Virtual lanes of every lane sum.
pub const LANES: usize = 16;
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
