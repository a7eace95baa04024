//! Time of the matrix kernels: `cargo bench -p skep-kernels`.

#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use skep_kernels::{Isa, Weights, attention, matmul, swiglu};
use std::hint::black_box;

fn values(n: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 7919 % 1013) as f32) / 506.0 - 1.0).collect()
}

fn products(criterion: &mut Criterion) {
    for (rows, k) in [(192usize, 192usize), (512, 192), (4096, 192), (4096, 4096)] {
        let floats = values(rows * k);
        let halves: Vec<u16> = floats.iter().map(|x| skep_kernels::f32_to_f16(*x)).collect();
        let quants: Vec<i8> = floats.iter().map(|x| (x * 127.0) as i8).collect();
        let scales = vec![0.01; rows * k / 32];
        let kinds = [
            ("f32", Weights::F32(&floats)),
            ("f16", Weights::F16(&halves)),
            ("q8_0", Weights::Q8_0 { scales: &scales, quants: &quants }),
        ];
        for (kind, weights) in kinds {
            let mut group = criterion.benchmark_group(format!("kernels::matmul_{kind}"));
            for n in [1usize, 32] {
                let (x, mut out) = (values(n * k), vec![0.0; n * rows]);
                group.throughput(Throughput::Elements((rows * k * n) as u64));
                for isa in Isa::available() {
                    let name = format!("rows={rows}/k={k}/n={n}/isa={isa}");
                    group.bench_function(BenchmarkId::from_parameter(name), |b| {
                        b.iter(|| matmul(*isa, weights, k, black_box(&x), &mut out));
                    });
                }
            }
        }
    }
}

fn others(criterion: &mut Criterion) {
    for isa in Isa::available() {
        let (mut gate, up) = (values(512), values(512));
        criterion.bench_function(&format!("kernels::swiglu/width=512/isa={isa}"), |b| {
            b.iter(|| swiglu(*isa, black_box(&mut gate), &up));
        });
        let (queries, keys, cached) = (values(96), values(32 * 200), values(32 * 200));
        let (mut weights, mut out) = (Vec::new(), vec![0.0; 96]);
        criterion.bench_function(&format!("kernels::attention/heads=3/dim=32/positions=200/isa={isa}"), |b| {
            b.iter(|| attention(*isa, 32, black_box(&queries), &keys, &cached, &mut weights, &mut out));
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(std::time::Duration::from_millis(300))
        .measurement_time(std::time::Duration::from_secs(1));
    targets = products, others
}
criterion_main!(benches);
