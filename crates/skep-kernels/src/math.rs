//! Elementary functions in basic arithmetic: `exp` in f32; `sin`, `cos`, `exp` and `ln` in f64 for RoPE; f16 to f32.
//!
//! Nothing here calls a C library, whose results differ from platform to platform. Every `+`, `-`, `*` and `/` is one
//! IEEE operation in the order written, never fused.

use std::f64::consts::{FRAC_2_PI, LN_2, LOG2_E, SQRT_2};

/// Below this `exp_f32` is exactly +0, so that no result is ever subnormal.
pub const EXP_LOWEST: f32 = -87.0;
/// Above this `exp_f32` is +infinity.
pub const EXP_HIGHEST: f32 = 88.0;

const LOG2_E_F32: f32 = f32::from_bits(0x3fb8_aa3b);
const LN2_HIGH: f32 = f32::from_bits(0x3f31_8000);
const LN2_LOW: f32 = f32::from_bits(0xb95e_8083);
/// Coefficients of r^2, r^3, r^4, r^5, r^6.
const EXP_POLYNOMIAL: [f32; 5] = [
    0.5,
    f32::from_bits(0x3e2a_aa6e),
    f32::from_bits(0x3d2a_aa8c),
    f32::from_bits(0x3c09_05f1),
    f32::from_bits(0x3ab6_88be),
];

const ERF_P: f32 = f32::from_bits(0x3ea7_ba05);
/// Coefficients of t to t^5.
const ERF_POLYNOMIAL: [f32; 5] = [
    f32::from_bits(0x3e82_7906),
    f32::from_bits(0xbe91_a98e),
    f32::from_bits(0x3fb5_f0e3),
    f32::from_bits(0xbfba_00e3),
    f32::from_bits(0x3f87_dc22),
];

/// e^x in f32, as the crate's normative text defines it; relative error below 2e-7.
///
/// Exactly 1 at ±0, +0 below [`EXP_LOWEST`], +infinity above [`EXP_HIGHEST`], NaN for NaN.
#[inline(always)]
pub fn exp_f32(x: f32) -> f32 {
    let n = (x * LOG2_E_F32).round_ties_even();
    let r = (x - n * LN2_HIGH) - n * LN2_LOW;
    let [c2, c3, c4, c5, c6] = EXP_POLYNOMIAL;
    let q = (((c6 * r + c5) * r + c4) * r + c3) * r + c2;
    let y = ((r * r) * q + r) + 1.0;
    // Outside the limits n may be anything; the result is then not used. Without early returns this becomes vector code.
    let power = f32::from_bits(((n as i32).wrapping_add(127) as u32) << 23);
    if x < EXP_LOWEST {
        0.0
    } else if x > EXP_HIGHEST {
        f32::INFINITY
    } else {
        y * power
    }
}

/// x / (1 + e^(-x)) in f32.
#[inline(always)]
pub fn silu_f32(x: f32) -> f32 {
    x / (1.0 + exp_f32(-x))
}

/// The usual approximation of GELU by tanh, `x / (1 + e^(-2u))` with `u = 0x3f4c422a * (x + 0x3d372713 * x^3)`.
#[inline(always)]
pub fn gelu_tanh_f32(x: f32) -> f32 {
    let u = f32::from_bits(0x3f4c_422a) * (x + f32::from_bits(0x3d37_2713) * ((x * x) * x));
    x / (1.0 + exp_f32(-(u + u)))
}

/// GELU by the error function, `(x / 2) * (1 + erf(x / sqrt 2))`.
#[inline(always)]
pub fn gelu_erf_f32(x: f32) -> f32 {
    (0.5 * x) * (1.0 + erf_f32(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// The error function by formula 7.1.26 of Abramowitz and Stegun; absolute error below 6e-7 in f32.
#[inline(always)]
pub fn erf_f32(x: f32) -> f32 {
    let [a1, a2, a3, a4, a5] = ERF_POLYNOMIAL;
    let t = 1.0 / (1.0 + ERF_P * x.abs());
    let polynomial = ((((a5 * t + a4) * t + a3) * t + a2) * t + a1) * t;
    let y = 1.0 - polynomial * exp_f32(-(x * x));
    if x < 0.0 { -y } else { y }
}

/// The hyperbolic tangent, `1 - 2 / (e^(2x) + 1)`.
#[inline(always)]
pub fn tanh_f32(x: f32) -> f32 {
    1.0 - 2.0 / (exp_f32(x + x) + 1.0)
}

/// The f32 that equals a bfloat16 exactly, from its bits.
#[inline(always)]
pub fn bf16_to_f32(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// The f32 that equals an IEEE half exactly, from the half's bits.
#[inline(always)]
pub fn f16_to_f32(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let magnitude = u32::from(bits & 0x7fff) << 13;
    // Zero and the subnormal halves are fraction * 2^-24, which is exact in f32; shifted bits hold fraction * 2^13.
    let small = (magnitude >> 13) as f32 * f32::from_bits(0x3380_0000);
    let rebias = if magnitude >= 0x0f80_0000 { 0x7000_0000 } else { 0x3800_0000 };
    let value = if magnitude < 0x0080_0000 { small.to_bits() } else { magnitude + rebias };
    f32::from_bits(value | sign)
}

/// The half nearest to an f32, ties to even; too large values become infinity.
pub fn f32_to_f16(value: f32) -> u16 {
    let bits = value.to_bits();
    let sign = (bits >> 16) as u16 & 0x8000;
    let magnitude = bits & 0x7fff_ffff;
    if magnitude > 0x7f80_0000 {
        return sign | 0x7e00;
    }
    // 65520 is the midpoint between the largest half and the first that does not fit.
    if magnitude >= 0x477f_f000 {
        return sign | 0x7c00;
    }
    if magnitude < 0x3880_0000 {
        // A subnormal half counts units of 2^-24; scaling by 2^24 is exact.
        let units = f32::from_bits(magnitude) * f32::from_bits(0x4b80_0000);
        return sign | units.round_ties_even() as u16;
    }
    let rounded = magnitude + 0x0fff + (magnitude >> 13 & 1);
    sign | ((rounded - 0x3800_0000) >> 13) as u16
}

/// e^x in f64 by x = n ln 2 + r and the Taylor series of r to degree 14. For `|x| < 700`.
pub fn exp_f64(x: f64) -> f64 {
    // The high part has 32 significant bits, so that its product with any n here is exact.
    const HIGH: f64 = f64::from_bits(0x3fe6_2e42_fee0_0000);
    const LOW: f64 = f64::from_bits(0x3dea_39ef_3579_3c76);
    let n = (x * LOG2_E).round_ties_even();
    let r = (x - n * HIGH) - n * LOW;
    let mut sum = 1.0;
    let mut i = 14.0;
    while i > 0.0 {
        sum = 1.0 + sum * r / i;
        i -= 1.0;
    }
    sum * f64::from_bits(((n as i64 + 1023) as u64) << 52)
}

/// Natural logarithm in f64 of a positive normal number, by x = 2^n m and the series of 2 artanh((m-1)/(m+1)).
pub fn ln_f64(x: f64) -> f64 {
    let bits = x.to_bits();
    let mut n = (bits >> 52) as i64 - 1023;
    let mut m = f64::from_bits(bits & 0x000f_ffff_ffff_ffff | 1023 << 52);
    if m > SQRT_2 {
        m *= 0.5;
        n += 1;
    }
    let s = (m - 1.0) / (m + 1.0);
    let z = s * s;
    let mut sum = 0.0;
    let mut i = 29.0;
    while i > 0.0 {
        sum = sum * z + 1.0 / i;
        i -= 2.0;
    }
    n as f64 * LN_2 + 2.0 * s * sum
}

/// (sin x, cos x) in f64 for `0 <= x < 2^20`: x = n pi/2 + r with pi/2 in three parts, then the Taylor series of r.
pub fn sin_cos_f64(x: f64) -> (f64, f64) {
    // Each of the first two parts has 33 significant bits, so that its product with n < 2^20 is exact.
    const FIRST: f64 = f64::from_bits(0x3ff9_21fb_5440_0000);
    const SECOND: f64 = f64::from_bits(0x3dd0_b461_1a60_0000);
    const THIRD: f64 = f64::from_bits(0x3ba3_198a_2e03_7073);
    let n = (x * FRAC_2_PI).round_ties_even();
    let r = ((x - n * FIRST) - n * SECOND) - n * THIRD;
    let z = r * r;
    let (mut sin, mut cos) = (1.0, 1.0);
    let mut i = 20.0;
    while i > 0.0 {
        sin = 1.0 - sin * z / (i * (i + 1.0));
        cos = 1.0 - cos * z / ((i - 1.0) * i);
        i -= 2.0;
    }
    sin *= r;
    match n as i64 & 3 {
        0 => (sin, cos),
        1 => (cos, -sin),
        2 => (-sin, -cos),
        _ => (-cos, sin),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn exp_is_close_to_the_true_value(x in -87.0f32..88.0) {
            let truth = f64::from(x).exp();
            prop_assert!((f64::from(exp_f32(x)) / truth - 1.0).abs() < 2e-7, "{x}");
        }

        #[test]
        fn f64_functions_are_close_to_the_true_values(x in -600.0f64..600.0, angle in 0.0f64..1_000_000.0, y in 1e-9f64..1e9) {
            prop_assert!((exp_f64(x) / x.exp() - 1.0).abs() < 1e-15 * 4.0);
            prop_assert!((ln_f64(y) - y.ln()).abs() < 1e-14);
            let (sin, cos) = sin_cos_f64(angle);
            prop_assert!((sin - angle.sin()).abs() < 1e-15 && (cos - angle.cos()).abs() < 1e-15, "{angle}");
        }

        #[test]
        fn a_half_is_the_nearest(value in -70000.0f32..70000.0, tiny in -1e-4f32..1e-4) {
            for value in [value, tiny] {
                let half = f32_to_f16(value);
                let error = (f64::from(f16_to_f32(half)) - f64::from(value)).abs();
                for neighbour in [half.wrapping_sub(1), half.wrapping_add(1)] {
                    let other = f16_to_f32(neighbour);
                    if other.is_finite() && f16_to_f32(half).is_finite() {
                        prop_assert!(error <= (f64::from(other) - f64::from(value)).abs());
                    }
                }
            }
        }
    }

    #[test]
    fn every_half_survives_the_round_trip() {
        for bits in 0..=u16::MAX {
            let value = f16_to_f32(bits);
            if !value.is_nan() {
                assert_eq!(f32_to_f16(value), bits);
            }
        }
    }

    #[test]
    fn the_edges_of_exp() {
        assert_eq!(exp_f32(0.0).to_bits(), 1f32.to_bits());
        assert_eq!(exp_f32(-0.0).to_bits(), 1f32.to_bits());
        assert_eq!(exp_f32(-87.1).to_bits(), 0);
        assert!(exp_f32(EXP_LOWEST) >= f32::MIN_POSITIVE);
        assert_eq!(exp_f32(88.1), f32::INFINITY);
        assert!(exp_f32(EXP_HIGHEST).is_finite());
        assert!(exp_f32(f32::NAN).is_nan());
        assert_eq!(exp_f32(f32::NEG_INFINITY), 0.0);
        assert_eq!(silu_f32(-1000.0), 0.0);
        assert_eq!(silu_f32(1000.0), 1000.0);
    }
}
