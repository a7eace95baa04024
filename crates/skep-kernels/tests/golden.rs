//! Published vectors of RK-1: inputs from a fixed integer generator and digests of the outputs' bits.
//!
//! Another implementation passes when its outputs hash to the values here. `tools/rk1_vectors.py`, written from the normative
//! text alone, does.
//!
//! - Generator: the 64-bit state s begins as the seed; each draw sets `s = s * 6364136223846793005 + 1442695040888963407`
//!   (mod 2^64) and yields the top 32 bits. A number is `((draw >> 8) as f32) / 2^23 - 1`, times `2^e` with
//!   `e = (next draw >> 29) - 4`, so from -8 to 8 with many exponents. A byte is `draw >> 24`.
//! - Weights: a row of F32 is numbers; of BF16, the upper halves of numbers' bits (the two upper bytes of each); of any other
//!   format, bytes, after which the second byte of each half (an element, `d` or `dmin`) is and-ed with `0xbf`.
//! - Digest: 64-bit FNV-1a over the outputs' f32 bits as little-endian bytes, outputs in the order stated.
//!   Start `0xcbf29ce484222325`; for each byte: xor, then multiply by `0x100000001b3`.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use skep_kernels::{
    Activation, AttentionChunk, AttentionShape, Cpu, Format, Isa, KvFormat, KvLayout, Matrix, PAGE, attention, erf_f32,
    exp_f32, f16_to_f32, f32_to_f16, gated, gelu_erf_f32, gelu_tanh_f32, layer_norm, matmul, rms_norm,
    rope_frequencies, rope_rotate, rope_rotate_halves, rope_table, silu_f32, tanh_f32,
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

    fn weights(&mut self, format: Format, n: usize) -> Vec<u8> {
        match format {
            Format::F32 => return self.numbers(n).into_iter().flat_map(f32::to_le_bytes).collect(),
            Format::BF16 => {
                let upper = |x: f32| ((x.to_bits() >> 16) as u16).to_le_bytes();
                return self.numbers(n).into_iter().flat_map(upper).collect();
            }
            _ => {}
        }
        let size = format.block_bytes();
        let mut bytes: Vec<u8> = (0..n / format.block() * size).map(|_| (self.draw() >> 24) as u8).collect();
        for block in bytes.chunks_exact_mut(size) {
            match format {
                Format::Q6_K => block[209] &= 0xbf,
                Format::Q4_K | Format::Q5_K => {
                    block[1] &= 0xbf;
                    block[3] &= 0xbf;
                }
                _ => block[1] &= 0xbf,
            }
        }
        bytes
    }
}

fn digest(values: &[f32]) -> u64 {
    let bytes = values.iter().flat_map(|value| value.to_bits().to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn check(name: &str, isa: Isa, outputs: &[f32], expected: u64) {
    assert!(outputs.iter().all(|output| output.is_finite()), "{name} on {isa}");
    let found = digest(outputs);
    assert_eq!(found, expected, "{name} on {isa}: digest 0x{found:016x}");
}

fn cpus() -> impl Iterator<Item = Cpu> {
    Isa::available().iter().map(|isa| Cpu::new(2).unwrap().with_isa(*isa))
}

/// (Format, K, digest of the products, digest of the rows as f32).
const PRODUCTS: [(Format, usize, u64, u64); 8] = [
    (Format::F32, 100, 0x132b_10f5_05b1_6a8e, 0x5760_944b_1f67_731a),
    (Format::F16, 100, 0x4775_bd8d_8bf6_bd5d, 0x750b_1543_ea82_711a),
    (Format::BF16, 100, 0xe805_9ed0_96b8_1cf3, 0x1668_bc60_5a06_1a3e),
    (Format::Q4_0, 160, 0xf6d7_f394_af18_903e, 0x0914_ec73_582d_73ad),
    (Format::Q8_0, 160, 0x55e0_fe69_c517_fd21, 0x14fc_42fa_bbc8_02db),
    (Format::Q4_K, 768, 0x93c0_28b3_0dfa_2b1d, 0x6057_7d0b_1415_53ed),
    (Format::Q5_K, 768, 0x94d8_5dfc_eae5_86d6, 0x59e9_c06d_7825_443e),
    (Format::Q6_K, 768, 0x1608_0a1e_9821_b859, 0xb80d_9c7d_a437_5c02),
];

/// Seed 1 + place in the table: weights 7 × K, then activations 5 × K. Products activation by activation; then the seven rows
/// of weights as an embedding gives them.
#[test]
fn products_and_embeddings() {
    for (place, (format, k, products, rows)) in PRODUCTS.into_iter().enumerate() {
        let mut generator = Generator(1 + place as u64);
        let (w, x) = (generator.weights(format, 7 * k), generator.numbers(5 * k));
        let w = Matrix::new(format, 7, k, &w).unwrap();
        for cpu in cpus() {
            let mut out = vec![0.0; 35];
            matmul(&cpu, w, &x, &mut out);
            check(&format!("{format} product"), cpu.isa(), &out, products);
        }
        let mut out = vec![0.0; 7 * k];
        out.chunks_exact_mut(k).enumerate().for_each(|(i, out)| w.row_to_f32(i, out));
        check(&format!("{format} embedding"), Isa::Scalar, &out, rows);
    }
}

/// Seed 11: a row, a gain and a bias of 100 each, eps 1e-5. RMSNorm(row, gain), LayerNorm(row, gain, bias), and f(row) * gain.
#[test]
fn norms_and_gates() {
    let mut generator = Generator(11);
    let (x, gain, bias) = (generator.numbers(100), generator.numbers(100), generator.numbers(100));
    let gates = [
        (Activation::Silu, 0x1ecb_eacf_f585_485e),
        (Activation::GeluTanh, 0xc08c_7dc8_ad7d_66aa),
        (Activation::GeluErf, 0xd596_6e5c_8eaf_03c0),
    ];
    for isa in Isa::available() {
        let mut out = vec![0.0; 100];
        rms_norm(*isa, &x, &gain, 1e-5, &mut out);
        check("rms norm", *isa, &out, 0x3ef2_5fef_cf65_62eb);
        layer_norm(*isa, &x, (&gain, &bias), 1e-5, &mut out);
        check("layer norm", *isa, &out, 0x80a9_1b4d_f9d1_0e01);
        for (f, expected) in gates {
            let mut gate = x.clone();
            gated(*isa, f, &mut gate, &gain);
            check(&format!("gate {f:?}"), *isa, &gate, expected);
        }
    }
}

/// Seed 12: per position 64 numbers of keys (one key-value head), 64 of values, 600 positions; then queries of the last two
/// positions × 2 heads × 64, each times 2^-4. Outputs 2 × 2 × 64.
#[test]
fn attention_of_two_heads() {
    let causal = |format| {
        let kv = KvLayout::new(format, 1, 64).unwrap();
        AttentionShape { heads: 2, kv, scale: 0.125, softcap: None, window: None, causal: true }
    };
    let kinds = [
        ("f32", causal(KvFormat::F32), 0x61f0_ed6e_ea6f_ec7c),
        ("f16", causal(KvFormat::F16), 0xa998_5d3a_c44d_4082),
        ("q8", causal(KvFormat::Q8), 0x35ad_4b94_f395_e3c4),
        ("window 300", AttentionShape { window: Some(300), ..causal(KvFormat::F32) }, 0x6ef3_bb73_ddbe_13e7),
        ("cap 2", AttentionShape { softcap: Some(2.0), ..causal(KvFormat::F32) }, 0x0f9a_9285_5756_4450),
        ("encoder", AttentionShape { causal: false, ..causal(KvFormat::F32) }, 0x1019_7b50_0c28_26dd),
    ];
    for (name, shape, expected) in kinds {
        let mut generator = Generator(12);
        let mut pages = vec![vec![0; shape.kv.page_bytes()]; 600usize.div_ceil(PAGE)];
        for t in 0..600 {
            let (key, value) = (generator.numbers(64), generator.numbers(64));
            shape.kv.store(&mut pages[t / PAGE], t % PAGE, &key, &value).unwrap();
        }
        let queries: Vec<f32> = generator.numbers(256).into_iter().map(|x| x * 0.0625).collect();
        let pages: Vec<&[u8]> = pages.iter().map(Vec::as_slice).collect();
        for cpu in cpus() {
            let mut out = vec![0.0; 256];
            let chunk = AttentionChunk { first: 598, queries: &queries, pages: &pages, out: &mut out };
            attention(&cpu, &shape, &mut [chunk]);
            check(&format!("attention {name}"), cpu.isa(), &out, expected);
        }
    }
}

/// Seed 6: a row of two heads of 64 turned at positions 0, 1, 511 and 131071, theta 10000, then 500000, then 10000 with the
/// factors 1, 1.25, 1.5, … of the 32 pairs; outputs in that order. First all as adjacent pairs, then all as halves.
#[test]
fn rotations() {
    let row = Generator(6).numbers(128);
    let factors: Vec<f32> = (0..32).map(|i| 1.0 + i as f32 / 4.0).collect();
    let (mut pairs, mut halves) = (Vec::new(), Vec::new());
    for (theta, factors) in [(10_000.0, None), (500_000.0, None), (10_000.0, Some(factors.as_slice()))] {
        let frequencies = rope_frequencies(64, theta, factors);
        for position in [0, 1, 511, 131_071] {
            let table = rope_table(&frequencies, position);
            let mut turned = row.clone();
            rope_rotate(&mut turned, &table);
            pairs.extend(turned);
            let mut turned = row.clone();
            turned.chunks_exact_mut(64).for_each(|head| rope_rotate_halves(head, &table));
            halves.extend(turned);
        }
    }
    check("rotation of pairs", Isa::Scalar, &pairs, 0xbcd0_abe4_e404_5458);
    check("rotation of halves", Isa::Scalar, &halves, 0x636c_a4e3_c41c_2b02);
}

/// Functions of k / 64 for k from -6400 to 6400 (exp beyond its lower limit included, its infinities left out).
#[test]
fn functions() {
    let kinds = [
        ("exp", exp_f32 as fn(f32) -> f32, 0x5481_c15c_b9ca_cfed),
        ("silu", silu_f32, 0x2445_bad9_f44b_19d5),
        ("tanh", tanh_f32, 0xdae5_9ff8_9c27_aa56),
        ("erf", erf_f32, 0xe1ab_26be_3d71_e5b9),
        ("gelu tanh", gelu_tanh_f32, 0x337d_1b92_cddf_79ac),
        ("gelu erf", gelu_erf_f32, 0x16e1_4f07_7854_0586),
    ];
    for (name, f, expected) in kinds {
        let outputs: Vec<f32> = (-6400..=6400).map(|k| f(k as f32 / 64.0)).filter(|y| y.is_finite()).collect();
        check(name, Isa::Scalar, &outputs, expected);
    }
}

/// Every finite half as f32; then numbers of seed 13, 2000 of them times 2^-16 (subnormal halves among them) and 2000 times
/// 2^12, rounded to halves and back, those left out that become infinite.
#[test]
fn halves() {
    let halves = (0..=u16::MAX).filter(|bits| bits & 0x7c00 != 0x7c00).map(f16_to_f32);
    check("halves", Isa::Scalar, &halves.collect::<Vec<_>>(), 0xaf41_7771_d363_a145);
    let x = Generator(13).numbers(4000);
    let scaled = x.iter().enumerate().map(|(i, x)| if i < 2000 { x / 65536.0 } else { x * 4096.0 });
    let rounded = scaled.map(|x| f16_to_f32(f32_to_f16(x))).filter(|x| x.is_finite());
    check("rounded halves", Isa::Scalar, &rounded.collect::<Vec<_>>(), 0xc3a0_49f5_f0bb_f8a8);
}

#[test]
fn the_generator_is_the_published_one() {
    let mut generator = Generator(1);
    assert_eq!([generator.draw(), generator.draw(), generator.draw()], [1_817_669_548, 2_187_888_307, 2_784_682_393]);
}
