//! Every instruction set and every number of threads gives the bits of the scalar definition, on any shape and on extreme
//! values.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{Random, bits, cpus};
use proptest::prelude::*;
use skep_kernels::{
    Activation, Cpu, Format, Isa, Matrix, activate, add, dot, gated, gelu_erf_f32, gelu_tanh_f32, layer_norm, matmul,
    matmuls, rms_norm, scalar, silu_f32,
};

/// Products of every row of weights with every row of activations, by the definition.
fn expected(w: Matrix<'_>, x: &[f32]) -> Vec<f32> {
    let rows = |x| (0..w.rows()).map(move |r| scalar::dot(w.format(), w.row(r), x));
    x.chunks_exact(w.k()).flat_map(rows).collect()
}

fn product(cpu: &Cpu, w: Matrix<'_>, x: &[f32]) -> Vec<f32> {
    let mut out = vec![f32::NAN; x.len() / w.k() * w.rows()];
    matmul(cpu, w, x, &mut out);
    out
}

fn check(w: Matrix<'_>, x: &[f32]) {
    let expected = bits(&expected(w, x));
    for cpu in cpus() {
        let threads = cpu.workers().threads();
        assert!(bits(&product(cpu, w, x)) == expected, "{w:?}, {} activations, {}, {threads}", x.len(), cpu.isa());
    }
}

/// A row length that the format can hold.
fn row_length(format: Format, size: usize) -> usize {
    match format.block() {
        1 => size,
        32 => size.div_ceil(16) * 32,
        block => size.div_ceil(40) * block,
    }
}

proptest! {
    #[test]
    fn products_of_every_format(
        rows in prop_oneof![1usize..9, 1usize..71],
        n in prop_oneof![1usize..9, 1usize..40],
        size in 1usize..121,
        seed in any::<u64>(),
    ) {
        let mut random = Random(seed);
        for format in Format::ALL {
            let k = row_length(format, size);
            let w = random.weights(format, rows * k / format.block());
            let x = random.activations(n * k);
            check(Matrix::new(format, rows, k, &w).unwrap(), &x);
        }
    }

    #[test]
    fn dots_and_norms_and_sums(n in 1usize..100, eps in 1e-6f32..1e-3, seed in any::<u64>()) {
        let mut random = Random(seed);
        let (x, gain, bias) = (random.numbers(n), random.numbers(n), random.numbers(n));
        let (mut rms, mut layer) = (vec![0.0; n], vec![0.0; n]);
        scalar::rms_norm(&x, &gain, eps, &mut rms);
        scalar::layer_norm(&x, &gain, &bias, eps, &mut layer);
        let sum: Vec<f32> = x.iter().zip(&gain).map(|(x, y)| x + y).collect();
        for isa in Isa::available() {
            prop_assert_eq!(bits(&[dot(*isa, &x, &gain)]), bits(&[scalar::dot_f32(&x, &gain)]));
            let mut out = vec![f32::NAN; n];
            rms_norm(*isa, &x, &gain, eps, &mut out);
            prop_assert_eq!(bits(&out), bits(&rms), "rms norm {}", isa);
            layer_norm(*isa, &x, (&gain, &bias), eps, &mut out);
            prop_assert_eq!(bits(&out), bits(&layer), "layer norm {}", isa);
        }
        let mut out = x.clone();
        add(&mut out, &gain);
        prop_assert_eq!(bits(&out), bits(&sum));
    }

    #[test]
    fn activations_and_gates(n in 1usize..100, seed in any::<u64>()) {
        let mut random = Random(seed);
        let (x, up) = (random.numbers(n), random.numbers(n));
        let functions = [
            (Activation::Silu, silu_f32 as fn(f32) -> f32),
            (Activation::GeluTanh, gelu_tanh_f32),
            (Activation::GeluErf, gelu_erf_f32),
        ];
        for (kind, f) in functions {
            let plain: Vec<f32> = x.iter().map(|x| f(*x)).collect();
            let times: Vec<f32> = plain.iter().zip(&up).map(|(x, y)| x * y).collect();
            for isa in Isa::available() {
                let mut out = x.clone();
                activate(*isa, kind, &mut out);
                prop_assert_eq!(bits(&out), bits(&plain), "{:?} {}", kind, isa);
                let mut out = x.clone();
                gated(*isa, kind, &mut out, &up);
                prop_assert_eq!(bits(&out), bits(&times), "gate {:?} {}", kind, isa);
            }
        }
        let (mut gate, mut out) = (x.clone(), x);
        scalar::swiglu(&mut gate, &up);
        gated(Isa::detect(), Activation::Silu, &mut out, &up);
        prop_assert_eq!(bits(&out), bits(&gate));
    }
}

/// The shapes of the property above are one task each; these are many.
#[test]
fn matrices_of_many_tasks() {
    let mut random = Random(7);
    for format in Format::ALL {
        for (rows, k, n) in [(70, 8192, 2), (150, 4096, 1), (131, 2048, 5)] {
            let w: Vec<u8> = random.weights(format, rows * k / format.block());
            let x = random.small(n * k);
            check(Matrix::new(format, rows, k, &w).unwrap(), &x);
        }
    }
}

#[test]
fn many_activation_rows() {
    let mut random = Random(8);
    for format in Format::ALL {
        for n in [31, 48, 70, 129] {
            let w = random.weights(format, 35 * 512 / format.block());
            let x = random.activations(n * 512);
            check(Matrix::new(format, 35, 512, &w).unwrap(), &x);
        }
    }
}

#[test]
fn several_matrices_of_different_formats_at_once() {
    let mut random = Random(9);
    let (k, n) = (768, 6);
    let x = random.activations(n * k);
    let weights = Format::ALL.map(|format| (format, random.weights(format, 20 * k / format.block())));
    for cpu in cpus() {
        let mut outs = vec![vec![f32::NAN; n * 20]; weights.len()];
        let matrices = weights.iter().map(|(format, w)| Matrix::new(*format, 20, k, w).unwrap());
        let mut products: Vec<_> = matrices.zip(outs.iter_mut().map(Vec::as_mut_slice)).collect();
        matmuls(cpu, &x, &mut products);
        for ((format, w), out) in weights.iter().zip(&outs) {
            let expected = expected(Matrix::new(*format, 20, k, w).unwrap(), &x);
            assert_eq!(bits(out), bits(&expected), "{format} {}", cpu.isa());
        }
    }
}

/// The largest products of each sign, for which sums of pairs in 16 bits would saturate.
#[test]
fn extreme_products_do_not_saturate() {
    for format in Format::ALL {
        let k = row_length(format, 80);
        for byte in [0x00, 0x7f, 0x80, 0x81, 0xff, 0x0f, 0xf0, 0x3f, 0xc0] {
            for x in [3.0, -3.0, f32::MAX, -f32::MAX] {
                let mut w = vec![byte; 17 * format.row_bytes(k).unwrap()];
                for block in w.chunks_exact_mut(format.block_bytes()) {
                    // Scales of one, and of 2 for the minima; all of a float's bytes are its scale.
                    match format {
                        Format::F32 => block.copy_from_slice(&1f32.to_le_bytes()),
                        Format::F16 | Format::BF16 => block.copy_from_slice(&[byte, 0x3c]),
                        Format::Q4_0 | Format::Q8_0 => block[..2].copy_from_slice(&[0, 0x3c]),
                        Format::Q4_K | Format::Q5_K => block[..4].copy_from_slice(&[0, 0x3c, 0, 0x40]),
                        Format::Q6_K => block[208..].copy_from_slice(&[0, 0x3c]),
                    }
                }
                for n in [1, 5, 16] {
                    check(Matrix::new(format, 17, k, &w).unwrap(), &vec![x; n * k]);
                }
            }
        }
    }
}

#[test]
fn a_fault_spoils_the_outputs_of_its_own_row_only() {
    let mut random = Random(10);
    for format in Format::ALL {
        let k = row_length(format, 90);
        let w = random.weights(format, 21 * k / format.block());
        let w = Matrix::new(format, 21, k, &w).unwrap();
        for fault in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for n in [1, 4, 19] {
                let sound = random.small(n * k);
                let mut x = sound.clone();
                let bad = random.draw() as usize % n;
                x[bad * k + random.draw() as usize % k] = fault;
                let expected = expected(w, &sound);
                for cpu in cpus() {
                    for (t, out) in product(cpu, w, &x).chunks_exact(21).enumerate() {
                        match t == bad {
                            true => assert!(out.iter().all(|y| !y.is_finite()), "{format} {}", cpu.isa()),
                            false => assert_eq!(bits(out), bits(&expected[t * 21..][..21]), "{format} {}", cpu.isa()),
                        }
                    }
                }
            }
        }
    }
}
