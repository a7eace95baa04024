//! Published vectors of RK-1: inputs from a fixed integer generator and digests of the outputs' bits.
//!
//! Another implementation passes when its outputs hash to the values here. `tools/rk1_vectors.py`, written from the normative
//! text alone, does.
//!
//! - Generator: the 64-bit state s begins as the seed; each draw sets `s = s * 6364136223846793005 + 1442695040888963407`
//!   (mod 2^64) and yields the top 32 bits. A number is `((draw >> 8) as f32) / 2^23 - 1`, times `2^e` with
//!   `e = (next draw >> 29) - 4`, so from -8 to 8 with many exponents. An int8 is `(draw >> 8) mod 255 - 127`.
//! - Digest: 64-bit FNV-1a over the outputs' f32 bits as little-endian bytes, outputs in the order stated.
//!   Start `0xcbf29ce484222325`; for each byte: xor, then multiply by `0x100000001b3`.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use skep_kernels::{
    Isa, Weights, attention, exp_f32, f16_to_f32, matmul, rms_norm, rope_frequencies, rope_rotate, rope_table,
    silu_f32, swiglu,
};

struct Generator(u64);

impl Generator {
    fn draw(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 32) as u32
    }

    fn number(&mut self) -> f32 {
        let unit = (self.draw() >> 8) as f32 / 8_388_608.0 - 1.0;
        let exponent = (self.draw() >> 29) + 123;
        unit * f32::from_bits(exponent << 23)
    }

    fn numbers(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.number()).collect()
    }

    fn quants(&mut self, n: usize) -> Vec<i8> {
        (0..n).map(|_| (((self.draw() >> 8) % 255) as i16 - 127) as i8).collect()
    }
}

fn digest(values: &[f32]) -> u64 {
    let bytes = values.iter().flat_map(|value| value.to_bits().to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn check(name: &str, isa: Isa, outputs: &[f32], expected: u64) {
    let found = digest(outputs);
    assert_eq!(found, expected, "{name} on {isa}: digest 0x{found:016x}");
}

/// Seed 1: weights 7 × 100, then activations 5 × 100. Outputs activation by activation.
#[test]
fn product_f32() {
    let mut generator = Generator(1);
    let (w, x) = (generator.numbers(700), generator.numbers(500));
    for isa in Isa::available() {
        let mut out = vec![0.0; 35];
        matmul(*isa, Weights::F32(&w), 100, &x, &mut out).unwrap();
        check("f32 product", *isa, &out, 0x132b_10f5_05b1_6a8e);
    }
}

/// Seed 2: 7 × 100 halves, each the low 16 bits of a draw with bit 14 cleared; then activations 5 × 100.
#[test]
fn product_f16() {
    let mut generator = Generator(2);
    let w: Vec<u16> = (0..700).map(|_| generator.draw() as u16 & 0xbfff).collect();
    let x = generator.numbers(500);
    for isa in Isa::available() {
        let mut out = vec![0.0; 35];
        matmul(*isa, Weights::F16(&w), 100, &x, &mut out).unwrap();
        check("f16 product", *isa, &out, 0xd6b8_9cc4_5462_69a0);
    }
}

/// Seed 3: 7 × 160 int8 weights, 7 × 5 scales, then activations 5 × 160 (an odd number of blocks).
#[test]
fn product_q8_0() {
    let mut generator = Generator(3);
    let (quants, scales, x) = (generator.quants(1120), generator.numbers(35), generator.numbers(800));
    for isa in Isa::available() {
        let mut out = vec![0.0; 35];
        matmul(*isa, Weights::Q8_0 { scales: &scales, quants: &quants }, 160, &x, &mut out).unwrap();
        check("q8_0 product", *isa, &out, 0x9578_c56c_30f6_1207);
    }
}

/// Seed 4: a row of 100, a gain of 100, eps 1e-5. Outputs: the norm, then silu(row) * gain.
#[test]
fn norm_and_gate() {
    let mut generator = Generator(4);
    let (x, gain) = (generator.numbers(100), generator.numbers(100));
    for isa in Isa::available() {
        let (mut norm, mut gate) = (vec![0.0; 100], x.clone());
        rms_norm(*isa, &x, &gain, 1e-5, &mut norm);
        swiglu(*isa, &mut gate, &gain);
        check("norm", *isa, &norm, 0x7fea_9227_9ebd_5d7c);
        check("gate", *isa, &gate, 0x4a8f_5c80_1d2a_042e);
    }
}

/// Seed 5: 2 query heads × 48, keys 600 × 48, values 600 × 48. Outputs 2 × 48.
#[test]
fn attention_of_two_heads() {
    let mut generator = Generator(5);
    let (queries, keys, values) = (generator.numbers(96), generator.numbers(600 * 48), generator.numbers(600 * 48));
    let queries: Vec<f32> = queries.into_iter().map(|x| x * 0.0625).collect();
    for isa in Isa::available() {
        let mut out = vec![0.0; 96];
        attention(*isa, 48, &queries, &keys, &values, &mut Vec::new(), &mut out);
        check("attention", *isa, &out, 0xe84f_7ca7_1abe_ed64);
    }
}

/// Seed 6: a row of two heads of 64 turned at positions 0, 1, 511 and 131071, theta 10000 and 500000; outputs in that order.
#[test]
fn rotation() {
    let row = Generator(6).numbers(128);
    let mut outputs = Vec::new();
    for theta in [10_000.0, 500_000.0] {
        let frequencies = rope_frequencies(64, theta, None);
        for position in [0, 1, 511, 131_071] {
            let mut turned = row.clone();
            rope_rotate(&mut turned, &rope_table(&frequencies, position));
            outputs.extend(turned);
        }
    }
    check("rotation", Isa::Scalar, &outputs, 0x0c2a_34b4_65f2_c790);
}

/// exp and silu of k / 64 for k from -6400 to 6400 (exp beyond its limits included), and every finite half as f32.
#[test]
fn functions() {
    let points = || (-6400..=6400).map(|k| k as f32 / 64.0);
    check("exp", Isa::Scalar, &points().map(exp_f32).collect::<Vec<_>>(), 0x8ad5_60b4_0f5f_47ed);
    check("silu", Isa::Scalar, &points().map(silu_f32).collect::<Vec<_>>(), 0x2445_bad9_f44b_19d5);
    let halves = (0..=u16::MAX).filter(|bits| bits & 0x7c00 != 0x7c00).map(f16_to_f32);
    check("halves", Isa::Scalar, &halves.collect::<Vec<_>>(), 0xaf41_7771_d363_a145);
}

#[test]
fn the_generator_is_the_published_one() {
    let mut generator = Generator(1);
    assert_eq!([generator.draw(), generator.draw(), generator.draw()], [1_817_669_548, 2_187_888_307, 2_784_682_393]);
}
