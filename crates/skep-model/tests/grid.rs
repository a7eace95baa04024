//! The same bits over instruction set × threads × batch × chunk of a prompt × decode × stages × speculation, in all formats of
//! weights and of keys and values.
//!
//! Every row that leaves every stage is compared with what plain loops on one thread give for one session alone. Speculation is what
//! it does to a span: rows of guessed tokens go through it, some of them wrong, and are taken back.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{Draws, model};
use skep_kernels::{Cpu, Format, Isa, KvFormat};
use skep_model::{BatchItem, Gguf, KvCache, Span, SpanOptions};
use skep_types::BlockRange;
use std::sync::Arc;

const BLOCKS: u32 = 8;
const SESSIONS: usize = 64;
/// More than a page of keys and values.
const TOKENS: usize = 37;
const VOCAB: usize = 300;
const D_MODEL: usize = 256;

fn token(session: usize, position: usize) -> u32 {
    ((session * 53 + position * position * 7 + 11) % VOCAB) as u32
}

/// One way to compute.
#[derive(Debug, Clone, Copy)]
struct Way {
    isa: Isa,
    threads: usize,
    batch: usize,
    /// Rows of a session that go through a stage together; `TOKENS` for all.
    chunk: usize,
    stages: usize,
    speculate: bool,
}

fn stages(gguf: &Gguf, way: Way, kv: KvFormat) -> Vec<Span> {
    let cpu = Arc::new(Cpu::new(way.threads).unwrap().with_isa(way.isa));
    let bound = |i: usize| (BLOCKS as usize * i / way.stages) as u32;
    let range = |i| BlockRange::new(bound(i), bound(i + 1)).unwrap();
    (0..way.stages).map(|i| Span::load_with(gguf, range(i), SpanOptions { cpu: cpu.clone(), kv }).unwrap()).collect()
}

/// For each session, for each block, the rows that leave it: the definition's answer.
fn expected(gguf: &Gguf, kv: KvFormat) -> Vec<Vec<Vec<f32>>> {
    let way = Way { isa: Isa::Scalar, threads: 1, batch: 1, chunk: TOKENS, stages: BLOCKS as usize, speculate: false };
    let stages = stages(gguf, way, kv);
    let session = |session: usize| {
        let mut rows = stages[0].embed(&(0..TOKENS).map(|p| token(session, p)).collect::<Vec<_>>()).unwrap();
        let leave = |stage: &Span| {
            stage.forward(&mut stage.new_cache(stage.blocks(), TOKENS).unwrap(), &mut rows).unwrap();
            rows.clone()
        };
        stages.iter().map(leave).collect()
    };
    (0..SESSIONS).map(session).collect()
}

/// Runs the batch and gives the number of chunks compared.
fn compare(gguf: &Gguf, way: Way, kv: KvFormat, expected: &[Vec<Vec<f32>>], draws: &mut Draws) -> usize {
    let stages = stages(gguf, way, kv);
    let sessions: Vec<usize> = (0..way.batch).map(|i| (i * 29 + draws.below(SESSIONS)) % SESSIONS).collect();
    let new = |stage: &Span| -> Vec<KvCache> {
        sessions.iter().map(|_| stage.new_cache(stage.blocks(), TOKENS + 4).unwrap()).collect()
    };
    let mut caches: Vec<Vec<KvCache>> = stages.iter().map(new).collect();
    let (mut done, mut compared) = (0, 0);
    while done < TOKENS {
        let right = way.chunk.min(TOKENS - done);
        let wrong = if way.speculate { draws.below(4) } else { 0 };
        let guess = |session: usize, position: usize| match position < done + right {
            true => token(session, position),
            false => token(session + 1, position),
        };
        let tokens = |session: usize| (done..done + right + wrong).map(|p| guess(session, p)).collect::<Vec<_>>();
        let mut rows: Vec<Vec<f32>> = sessions.iter().map(|s| stages[0].embed(&tokens(*s)).unwrap()).collect();
        for (stage, caches) in stages.iter().zip(&mut caches) {
            let mut items: Vec<_> =
                caches.iter_mut().zip(&mut rows).map(|(cache, rows)| BatchItem { cache, rows }).collect();
            stage.forward_batch(&mut items).into_iter().for_each(|result| result.unwrap());
            for (session, rows) in sessions.iter().zip(&rows) {
                let block = stage.blocks().end() as usize - 1;
                let truth = &expected[*session][block][done * D_MODEL..(done + right) * D_MODEL];
                let same = truth.iter().zip(rows).all(|(a, b)| a.to_bits() == b.to_bits());
                assert!(same, "{way:?} {kv:?}: session {session}, rows {done}.. of block {block}");
                compared += 1;
            }
            caches.iter_mut().for_each(|cache| cache.truncate(done + right));
        }
        done += right;
    }
    compared
}

#[test]
fn no_way_to_compute_changes_a_bit() {
    let gguf = Gguf::from_bytes(model(BLOCKS, |i| Format::ALL[i % Format::ALL.len()])).unwrap();
    let mut draws = Draws(20);
    let mut compared = 0;
    for kv in [KvFormat::F16, KvFormat::Q8, KvFormat::F32] {
        let expected = expected(&gguf, kv);
        // Every instruction set with every number of threads and every chunk; the other dimensions take turns.
        let mut turn = 0;
        for isa in Isa::available() {
            for threads in [1, 2, 3, 7] {
                for chunk in [1, 5, 32, TOKENS] {
                    // The plain loops are slow, so they get the small batches.
                    let batches: &[usize] = if *isa == Isa::Scalar { &[1, 2, 3] } else { &[1, 4, 7, 13, 32, 64] };
                    let way = Way {
                        isa: *isa,
                        threads,
                        chunk,
                        batch: batches[turn % batches.len()],
                        stages: 1 + draws.below(BLOCKS as usize),
                        speculate: turn % 2 == 1,
                    };
                    compared += compare(&gguf, way, kv, &expected, &mut draws);
                    turn += 1;
                }
            }
        }
    }
    println!("{compared} chunks compared, 0 differ");
    assert!(compared >= 10_000, "only {compared} chunks were compared");
}
