//! Attention gives the bits of the scalar definition: every instruction set, number of threads and format of keys and values,
//! with windows and caps, over several chunks and parts.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{Random, bits, cpus};
use proptest::prelude::*;
use skep_kernels::{
    AttentionChunk, AttentionShape, KvFormat, KvLayout, PAGE, PARTIAL, attention, f16_to_f32, f32_to_f16, scalar,
};

/// One session: its rows' queries, and the keys and values of all its positions in pages and as attention reads them.
struct Session {
    first: usize,
    queries: Vec<f32>,
    pages: Vec<Vec<u8>>,
    keys: Vec<f32>,
    values: Vec<f32>,
}

/// What remains of a row in its format.
fn kept(format: KvFormat, row: &[f32]) -> Vec<f32> {
    match format {
        KvFormat::F32 => row.to_vec(),
        KvFormat::F16 => row.iter().map(|x| f16_to_f32(f32_to_f16(*x))).collect(),
        KvFormat::Q8 => {
            let quantised = scalar::quantise(row, 32);
            let value = |(i, quant): (usize, &i8)| quantised.scales[i / 32] * f32::from(*quant);
            quantised.quants.iter().enumerate().map(value).collect()
        }
    }
}

impl Session {
    fn new(random: &mut Random, shape: &AttentionShape, first: usize, rows: usize) -> Self {
        let (width, kv_width) = (shape.heads * shape.kv.head_dim(), shape.kv.heads() * shape.kv.head_dim());
        let total = first + rows;
        let mut pages = vec![vec![0; shape.kv.page_bytes()]; total.div_ceil(PAGE)];
        let (keys, values) = (random.small(total * kv_width), random.small(total * kv_width));
        for (t, (keys, values)) in keys.chunks_exact(kv_width).zip(values.chunks_exact(kv_width)).enumerate() {
            shape.kv.store(&mut pages[t / PAGE], t % PAGE, keys, values).unwrap();
        }
        let kept = |x: &[f32]| -> Vec<f32> {
            x.chunks_exact(shape.kv.head_dim()).flat_map(|head| kept(shape.kv.format(), head)).collect()
        };
        Self { first, queries: random.small(rows * width), pages, keys: kept(&keys), values: kept(&values) }
    }

    /// Rows × heads × head_dim by the definition.
    fn expected(&self, shape: &AttentionShape) -> Vec<f32> {
        let dim = shape.kv.head_dim();
        let (width, kv_heads) = (shape.heads * dim, shape.kv.heads());
        let mut out = vec![0.0; self.queries.len()];
        let total = self.first + self.queries.len() / width;
        for (i, (query, out)) in self.queries.chunks_exact(dim).zip(out.chunks_exact_mut(dim)).enumerate() {
            let (row, head) = (i / shape.heads, i % shape.heads);
            let kv_head = head / (shape.heads / kv_heads);
            let of_head = |x: &[f32]| -> Vec<f32> {
                x.chunks_exact(kv_heads * dim).flat_map(|row| row[kv_head * dim..][..dim].to_vec()).collect()
            };
            let end = if shape.causal { self.first + row + 1 } else { total };
            let seen = end.saturating_sub(shape.window.unwrap_or(end))..end;
            scalar::attention_head(shape, seen, query, &of_head(&self.keys), &of_head(&self.values), out);
        }
        out
    }
}

fn check(shape: &AttentionShape, sessions: &[Session]) {
    let expected: Vec<Vec<u32>> = sessions.iter().map(|session| bits(&session.expected(shape))).collect();
    let pages: Vec<Vec<&[u8]>> = sessions.iter().map(|s| s.pages.iter().map(Vec::as_slice).collect()).collect();
    for cpu in cpus() {
        let mut outs: Vec<Vec<f32>> = sessions.iter().map(|session| vec![f32::NAN; session.queries.len()]).collect();
        let mut chunks: Vec<_> = sessions
            .iter()
            .zip(&pages)
            .zip(&mut outs)
            .map(|((s, pages), out)| AttentionChunk { first: s.first, queries: &s.queries, pages, out })
            .collect();
        attention(cpu, shape, &mut chunks);
        for (out, expected) in outs.iter().zip(&expected) {
            assert!(bits(out) == *expected, "{shape:?} {} {}", cpu.isa(), cpu.workers().threads());
        }
    }
}

const FORMATS: [KvFormat; 3] = [KvFormat::F32, KvFormat::F16, KvFormat::Q8];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn attention_of_every_kind(
        (kv_heads, group) in (1usize..4, 1usize..4),
        dim in prop_oneof![1usize..20, Just(32), Just(48), Just(64), Just(96), Just(128)],
        window in prop_oneof![Just(None), (1usize..300).prop_map(Some)],
        softcap in prop_oneof![Just(None), (0.5f32..50.0).prop_map(Some)],
        causal in prop_oneof![3 => Just(true), 1 => Just(false)],
        chunks in prop::collection::vec(
            (prop_oneof![Just(0usize), 0usize..40, 240usize..300], 1usize..20), 1..4),
        seed in any::<u64>(),
    ) {
        let mut random = Random(seed);
        for format in FORMATS {
            let Some(kv) = KvLayout::new(format, kv_heads, dim) else { continue };
            let scale = 1.0 / (dim as f32).sqrt();
            let shape = AttentionShape { heads: kv_heads * group, kv, scale, softcap, window, causal };
            let sessions: Vec<Session> =
                chunks.iter().map(|(first, rows)| Session::new(&mut random, &shape, *first, *rows)).collect();
            check(&shape, &sessions);
        }
    }
}

#[test]
fn many_parts_are_combined_in_order() {
    let mut random = Random(1);
    for format in FORMATS {
        for window in [None, Some(300), Some(2 * PARTIAL)] {
            let kv = KvLayout::new(format, 2, 64).unwrap();
            let shape = AttentionShape { heads: 4, kv, scale: 0.125, softcap: None, window, causal: true };
            let session = Session::new(&mut random, &shape, 3 * PARTIAL - 5, 17);
            check(&shape, &[session]);
        }
    }
}

#[test]
fn a_nan_reaches_the_outputs_that_see_it() {
    let kv = KvLayout::new(KvFormat::F32, 1, 16).unwrap();
    let shape = AttentionShape { heads: 1, kv, scale: 0.25, softcap: None, window: None, causal: true };
    let session = Session::new(&mut Random(2), &shape, 40, 3);
    let mut queries = session.queries.clone();
    queries[16 + 3] = f32::NAN;
    let pages: Vec<&[u8]> = session.pages.iter().map(Vec::as_slice).collect();
    let expected = session.expected(&shape);
    for cpu in cpus() {
        let mut out = vec![0.0; 48];
        attention(cpu, &shape, &mut [AttentionChunk { first: 40, queries: &queries, pages: &pages, out: &mut out }]);
        assert!(out[16..32].iter().all(|x| x.is_nan()), "{}", cpu.isa());
        assert_eq!(bits(&out[..16]), bits(&expected[..16]));
        assert_eq!(bits(&out[32..]), bits(&expected[32..]));
    }
}
