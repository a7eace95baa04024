//! IEEE 754 binary16 to and from binary32, exactly and in plain integer arithmetic.

/// The value of a half-precision number, exactly.
pub fn f16_to_f32(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let exponent = u32::from(bits >> 10 & 0x1f);
    let mantissa = u32::from(bits & 0x3ff);
    match (exponent, mantissa) {
        (0, 0) => f32::from_bits(sign),
        // A subnormal is mantissa × 2⁻²⁴; both factors are exact in f32.
        (0, m) => f32::from_bits((m as f32 * f32::from_bits(0x3380_0000)).to_bits() | sign),
        (31, m) => f32::from_bits(sign | 0x7f80_0000 | m << 13),
        (e, m) => f32::from_bits(sign | (e + 112) << 23 | m << 13),
    }
}

/// The nearest half-precision number, ties to even; what is too large becomes an infinity.
pub fn f32_to_f16(value: f32) -> u16 {
    let bits = value.to_bits();
    let sign = (bits >> 16 & 0x8000) as u16;
    let magnitude = bits & 0x7fff_ffff;
    if magnitude > 0x7f80_0000 {
        return sign | 0x7e00;
    }
    // 65520 is half way between the largest half (65504) and the next that does not exist.
    if magnitude >= 0x477f_f000 {
        return sign | 0x7c00;
    }
    let exponent = (magnitude >> 23) as i32 - 127;
    if exponent < -25 {
        return sign;
    }
    let significand = u64::from(magnitude & 0x7f_ffff | 0x80_0000);
    // Bits to drop: 13 for a normal half, more for a subnormal one.
    let drop = if exponent >= -14 { 13 } else { (13 - 14 - exponent) as u32 };
    let kept = (significand >> drop) as u32;
    let rest = significand & ((1 << drop) - 1);
    let half = 1u64 << (drop - 1);
    let round = u32::from(rest > half || (rest == half && kept & 1 == 1));
    // A carry out of the significand raises the exponent by itself.
    let base = if exponent >= -14 { ((exponent + 14) as u32) << 10 } else { 0 };
    sign | (base + kept + round) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_half_round_trips() {
        for bits in 0..=u16::MAX {
            let value = f16_to_f32(bits);
            if value.is_nan() {
                assert!(f16_to_f32(f32_to_f16(value)).is_nan());
            } else {
                assert_eq!(f32_to_f16(value), bits, "{value}");
            }
        }
    }

    #[test]
    fn known_values() {
        for (bits, value) in
            [(0x3c00, 1.0), (0xc000, -2.0), (0x7bff, 65504.0), (0x0001, 5.960_464_5e-8), (0x3555, 0.333_251_95)]
        {
            assert_eq!(f16_to_f32(bits), value);
        }
        assert_eq!(f32_to_f16(65519.9), 0x7bff);
        assert_eq!(f32_to_f16(65520.0), 0x7c00);
        assert_eq!(f32_to_f16(2.980_232_2e-8), 0, "half of the least half ties to even, which is zero");
        assert_eq!(f32_to_f16(2.980_232_6e-8), 1);
    }

    proptest! {
        #[test]
        fn rounding_picks_the_nearest(value in -70000.0f32..70000.0) {
            let bits = f32_to_f16(value);
            let error = (f64::from(f16_to_f32(bits)) - f64::from(value)).abs();
            for neighbour in [bits.wrapping_sub(1), bits.wrapping_add(1)] {
                let other = f64::from(f16_to_f32(neighbour));
                if other.is_finite() && f16_to_f32(bits).is_finite() {
                    prop_assert!(error <= (other - f64::from(value)).abs());
                }
            }
        }
    }
}
