//! Speed of the kernels: `cargo bench -p skep-kernels`, or with a filter, `-- memory`, `-- decode/Q4_K`.
//!
//! Names are work/format/shape/instruction set/threads. A decode reads its weights from memory: it walks over copies of the
//! matrix that no cache holds, and its rate is in bytes of weights. Rates of the others are in multiplications (elements).

#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use skep_kernels::{
    Activation, AttentionChunk, AttentionShape, Cpu, Format, Isa, KvFormat, KvLayout, Matrix, PAGE, attention, gated,
    matmul,
};
use std::hint::black_box;

/// Rows × length of the matrices of a model of 1.1 billion weights.
const SHAPES: [(usize, usize); 3] = [(2048, 2048), (5632, 2048), (2048, 5632)];
/// More than any cache holds.
const BEYOND_CACHES: usize = 256 << 20;

fn values(n: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 7919 % 1013) as f32) / 506.0 - 1.0).collect()
}

/// Bytes whose halves are finite.
fn weights(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|i| (i * 7919 % 1013 % 59) as u8).collect()
}

/// The fastest instruction set with one and two threads, the others with one.
fn cpus() -> Vec<Cpu> {
    let best = Isa::detect();
    let mut cpus = vec![(best, 1), (best, 2)];
    cpus.extend(Isa::available().iter().filter(|isa| **isa != best).map(|isa| (*isa, 1)));
    cpus.into_iter().map(|(isa, threads)| Cpu::new(threads).expect("threads").with_isa(isa)).collect()
}

fn name(cpu: &Cpu, rows: usize, k: usize) -> String {
    format!("{rows}x{k}/{}/{}", cpu.isa(), cpu.workers().threads())
}

/// Reads 512 MiB: what memory gives to kernels that only read.
fn memory(criterion: &mut Criterion) {
    let buffer = vec![1u64; 64 << 20];
    let mut group = criterion.benchmark_group("memory");
    group.throughput(Throughput::Bytes(8 * buffer.len() as u64));
    for threads in [1, 2] {
        let cpu = Cpu::new(threads).expect("threads");
        let parts: Vec<&[u64]> = buffer.chunks(1 << 17).collect();
        group.bench_function(BenchmarkId::from_parameter(threads), |b| {
            b.iter(|| {
                cpu.workers().run(parts.len(), |i| {
                    black_box(parts[i].iter().fold(0u64, |sum, x| sum ^ x));
                });
            });
        });
    }
}

fn decode(criterion: &mut Criterion) {
    for format in Format::ALL {
        let mut group = criterion.benchmark_group(format!("decode/{format}"));
        for (rows, k) in SHAPES {
            let size = format.row_bytes(k).expect("whole blocks") * rows;
            let w = weights(BEYOND_CACHES.next_multiple_of(size));
            let (x, mut out) = (values(k), vec![0.0; rows]);
            group.throughput(Throughput::Bytes(size as u64));
            for cpu in cpus() {
                let mut copies = w.chunks_exact(size).cycle();
                group.bench_function(name(&cpu, rows, k), |b| {
                    b.iter(|| {
                        let copy = copies.next().and_then(|w| Matrix::new(format, rows, k, w)).expect("a matrix");
                        matmul(&cpu, copy, black_box(&x), &mut out);
                    });
                });
            }
        }
    }
}

fn batches(criterion: &mut Criterion) {
    for (work, n) in [("batch8", 8), ("prefill512", 512)] {
        for format in Format::ALL {
            let mut group = criterion.benchmark_group(format!("{work}/{format}"));
            for (rows, k) in SHAPES {
                let w = weights(format.row_bytes(k).expect("whole blocks") * rows);
                let w = Matrix::new(format, rows, k, &w).expect("a matrix");
                for cpu in cpus() {
                    // The definition is slow: a few rows show how slow.
                    let n = if cpu.isa() == Isa::Scalar { n.min(16) } else { n };
                    let (x, mut out) = (values(n * k), vec![0.0; n * rows]);
                    group.throughput(Throughput::Elements((rows * k * n) as u64));
                    group.bench_function(name(&cpu, rows, k), |b| {
                        b.iter(|| matmul(&cpu, w, black_box(&x), &mut out));
                    });
                }
            }
        }
    }
}

/// Attention of the last rows of a context: 32 query heads, 4 key-value heads of 64.
fn attentions(criterion: &mut Criterion) {
    for (rows, positions) in [(1usize, 1024usize), (512, 512)] {
        for format in [KvFormat::F32, KvFormat::F16, KvFormat::Q8] {
            let kv = KvLayout::new(format, 4, 64).expect("a layout");
            let shape = AttentionShape { heads: 32, kv, scale: 0.125, softcap: None, window: None, causal: true };
            let mut pages = vec![vec![0; kv.page_bytes()]; positions.div_ceil(PAGE)];
            let row = values(256);
            for t in 0..positions {
                kv.store(&mut pages[t / PAGE], t % PAGE, &row, &row).expect("finite numbers");
            }
            let pages: Vec<&[u8]> = pages.iter().map(Vec::as_slice).collect();
            let (queries, mut out) = (values(rows * 2048), vec![0.0; rows * 2048]);
            let mut group = criterion.benchmark_group(format!("attention{rows}/{format:?}"));
            let pairs: usize = (0..rows).map(|i| positions - i).sum();
            group.throughput(Throughput::Elements((pairs * 2 * 2048) as u64));
            for cpu in cpus() {
                group.bench_function(name(&cpu, rows, positions), |b| {
                    b.iter(|| {
                        let first = positions - rows;
                        let chunk = AttentionChunk { first, queries: &queries, pages: &pages, out: &mut out };
                        attention(&cpu, &shape, &mut [chunk]);
                    });
                });
            }
        }
    }
}

fn gates(criterion: &mut Criterion) {
    let (x, up) = (values(5632), values(5632));
    for isa in Isa::available() {
        let mut gate = x.clone();
        let mut group = criterion.benchmark_group("gate");
        group.throughput(Throughput::Elements(5632));
        group.bench_function(BenchmarkId::from_parameter(isa), |b| {
            b.iter(|| {
                gate.copy_from_slice(&x);
                gated(*isa, Activation::Silu, black_box(&mut gate), &up);
            });
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).warm_up_time(std::time::Duration::from_millis(200))
        .measurement_time(std::time::Duration::from_millis(600));
    targets = memory, decode, batches, attentions, gates
}
criterion_main!(benches);
