//! Every instruction set gives the bits of the scalar definition, on any shape and on extreme values.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;
use skep_kernels::{Isa, NonFinite, PARTIAL, Weights, attention, dot, f32_to_f16, matmul, rms_norm, scalar, swiglu};

/// Numbers of any size: ordinary ones, subnormal ones, signed zeros and ones whose products nearly overflow.
fn numbers(n: usize) -> impl Strategy<Value = Vec<f32>> {
    any::<u64>().prop_map(move |seed| {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 32) as u32
        };
        let number = |_| {
            let unit = (next() >> 8) as f32 / (1u32 << 23) as f32 - 1.0;
            match next() >> 28 {
                0 => unit * 1e18,
                1 => unit * 1e-19,
                2 => f32::from_bits(next() & 0x80ff_ffff),
                3 => unit.signum() * 0.0,
                _ => unit * 4.0,
            }
        };
        (0..n).map(number).collect()
    })
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Weights rows × k and activations n × k.
fn product() -> impl Strategy<Value = (usize, usize, usize, Vec<f32>, Vec<f32>)> {
    (1usize..20, 1usize..12, 1usize..100)
        .prop_flat_map(|(rows, n, k)| (Just(rows), Just(n), Just(k), numbers(rows * k), numbers(n * k)))
}

/// As [`product`] with int8 blocks.
fn int8_product() -> impl Strategy<Value = (usize, usize, usize, Vec<f32>, Vec<i8>, Vec<f32>)> {
    (1usize..14, 1usize..12, 1usize..6).prop_flat_map(|(rows, n, blocks)| {
        let quant = |x: f32| if x.abs() > 4.0 { x.signum() as i8 * 127 } else { (x * 31.75) as i8 };
        let quants = numbers(rows * blocks * 32).prop_map(move |x| x.into_iter().map(quant).collect::<Vec<i8>>());
        let scales = prop::collection::vec(prop_oneof![5 => -0.1f32..0.1, 1 => -6e4f32..6e4], rows * blocks);
        (Just(rows), Just(n), Just(blocks * 32), scales, quants, numbers(n * blocks * 32))
    })
}

fn quantised(x: &[f32]) -> (Vec<f32>, Vec<i8>) {
    let (mut scales, mut quants) = (vec![0.0; x.len() / 32], vec![0; x.len()]);
    scalar::quantise_row(x, &mut scales, &mut quants).unwrap();
    (scales, quants)
}

proptest! {
    #[test]
    fn products_of_floats((rows, n, k, w, x) in product()) {
        let expected: Vec<f32> =
            (0..n * rows).map(|i| scalar::dot_f32(&w[i % rows * k..][..k], &x[i / rows * k..][..k])).collect();
        let halves: Vec<u16> = w.iter().map(|w| f32_to_f16(w.clamp(-6e4, 6e4))).collect();
        let expected_f16: Vec<f32> =
            (0..n * rows).map(|i| scalar::dot_f16(&halves[i % rows * k..][..k], &x[i / rows * k..][..k])).collect();
        for isa in Isa::available() {
            let mut out = vec![f32::NAN; n * rows];
            matmul(*isa, Weights::F32(&w), k, &x, &mut out).unwrap();
            prop_assert_eq!(bits(&out), bits(&expected), "f32 {}", isa);
            matmul(*isa, Weights::F16(&halves), k, &x, &mut out).unwrap();
            prop_assert_eq!(bits(&out), bits(&expected_f16), "f16 {}", isa);
            prop_assert_eq!(dot(*isa, &w[..k], &x[..k]).to_bits(), expected[0].to_bits());
        }
    }

    #[test]
    fn products_of_int8((rows, n, k, scales, quants, x) in int8_product()) {
        let blocks = k / 32;
        let expected: Vec<f32> = (0..n * rows)
            .map(|i| {
                let (x_scales, x_quants) = quantised(&x[i / rows * k..][..k]);
                let r = i % rows;
                scalar::dot_q8(&scales[r * blocks..][..blocks], &quants[r * k..][..k], &x_scales, &x_quants)
            })
            .collect();
        for isa in Isa::available() {
            let mut out = vec![f32::NAN; n * rows];
            matmul(*isa, Weights::Q8_0 { scales: &scales, quants: &quants }, k, &x, &mut out).unwrap();
            prop_assert_eq!(bits(&out), bits(&expected), "{}", isa);
        }
    }

    #[test]
    fn norms_and_gates((x, gain) in (1usize..100).prop_flat_map(|n| (numbers(n), numbers(n))), eps in 1e-6f32..1e-3) {
        let (mut norm, mut gate) = (vec![0.0; x.len()], x.clone());
        scalar::rms_norm(&x, &gain, eps, &mut norm);
        scalar::swiglu(&mut gate, &gain);
        for isa in Isa::available() {
            let (mut out, mut gated) = (vec![f32::NAN; x.len()], x.clone());
            rms_norm(*isa, &x, &gain, eps, &mut out);
            swiglu(*isa, &mut gated, &gain);
            prop_assert_eq!(bits(&out), bits(&norm), "norm {}", isa);
            prop_assert_eq!(bits(&gated), bits(&gate), "gate {}", isa);
        }
    }

    #[test]
    fn attention_over_any_number_of_positions(
        (heads, dim, positions, queries, keys, values) in
            (1usize..4, prop_oneof![1usize..20, Just(32), Just(48), Just(64), Just(128)], prop_oneof![1usize..40, 250usize..270])
                .prop_flat_map(|(heads, dim, positions)| {
                    let small = |n| numbers(n).prop_map(|x| x.into_iter().map(|x| x.clamp(-3.0, 3.0)).collect::<Vec<f32>>());
                    (Just(heads), Just(dim), Just(positions), small(heads * dim), small(positions * dim), numbers(positions * dim))
                })
    ) {
        let mut expected = vec![0.0; heads * dim];
        let mut weights = vec![0.0; positions];
        for (query, out) in queries.chunks_exact(dim).zip(expected.chunks_exact_mut(dim)) {
            scalar::attention_head(query, &keys, &values, &mut weights, out);
        }
        for isa in Isa::available() {
            let (mut scratch, mut out) = (Vec::new(), vec![f32::NAN; heads * dim]);
            attention(*isa, dim, &queries, &keys, &values, &mut scratch, &mut out);
            prop_assert_eq!(bits(&out), bits(&expected), "{}", isa);
            prop_assert_eq!(bits(&scratch[(heads - 1) * positions..]), bits(&weights), "{}", isa);
        }
    }
}

#[test]
fn many_parts_of_attention_are_combined_in_order() {
    let (dim, positions) = (32, 3 * PARTIAL + 17);
    let value = |i: usize| ((i * 7919 % 1013) as f32 / 506.0 - 1.0) * f32::from_bits(((120 + i % 8) as u32) << 23);
    let queries: Vec<f32> = (0..2 * dim).map(value).collect();
    let keys: Vec<f32> = (0..positions * dim).map(|i| value(i + 5)).collect();
    let values: Vec<f32> = (0..positions * dim).map(|i| value(i + 11)).collect();
    let mut expected = vec![0.0; 2 * dim];
    let mut weights = vec![0.0; positions];
    for (query, out) in queries.chunks_exact(dim).zip(expected.chunks_exact_mut(dim)) {
        scalar::attention_head(query, &keys, &values, &mut weights, out);
    }
    for isa in Isa::available() {
        let (mut scratch, mut out) = (Vec::new(), vec![0.0; 2 * dim]);
        attention(*isa, dim, &queries, &keys, &values, &mut scratch, &mut out);
        assert_eq!(bits(&out), bits(&expected), "{isa}");
    }
}

#[test]
fn the_extreme_int8_products_do_not_saturate() {
    for (w, x) in [(127i8, 1.0f32), (-127, 1.0), (127, -1.0), (-127, -1.0)] {
        let (quants, x) = (vec![w; 96], vec![x; 96]);
        for isa in Isa::available() {
            let mut out = [0.0];
            matmul(*isa, Weights::Q8_0 { scales: &[1.0; 3], quants: &quants }, 96, &x, &mut out).unwrap();
            assert!((out[0] - f32::from(w) * x[0] * 96.0).abs() < 0.01, "{isa}: {}", out[0]);
        }
    }
}

#[test]
fn a_fault_does_not_hide_in_quantisation() {
    for fault in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut x = [0.5; 64];
        x[40] = fault;
        for isa in Isa::available() {
            let result = matmul(*isa, Weights::Q8_0 { scales: &[1.0; 2], quants: &[1; 64] }, 64, &x, &mut [0.0]);
            assert_eq!(result, Err(NonFinite));
        }
    }
}

#[test]
fn a_nan_score_reaches_the_output_of_attention() {
    for isa in Isa::available() {
        let mut keys = vec![0.1; 40 * 16];
        keys[5 * 16] = f32::NAN;
        let (mut scratch, mut out) = (Vec::new(), vec![0.0; 16]);
        attention(*isa, 16, &[1.0; 16], &keys, &vec![1.0; 40 * 16], &mut scratch, &mut out);
        assert!(out[0].is_nan(), "{isa}");
    }
}
