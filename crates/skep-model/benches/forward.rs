//! Time of decoding and of reading a prompt on the real model: `cargo bench -p skep-model`.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "criterion's macros make undocumented functions; a bench may panic"
)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use skep_kernels::Isa;
use skep_model::{Gguf, Span};
use skep_types::BlockRange;

fn forward(criterion: &mut Criterion) {
    for file in ["f32", "q8_0"] {
        let Some(path) = skep_testkit::shared_data(&format!("llm/stories3M/stories3M-{file}.gguf")) else { return };
        let gguf = Gguf::open(&path).unwrap();
        for isa in Isa::available() {
            let span = Span::load(&gguf, BlockRange::new(0, 6).unwrap()).unwrap().with_isa(*isa).unwrap();
            let tokens: Vec<u32> = (0..128).map(|i| i * 31 % 4096).collect();
            let prompt = span.embed(&tokens).unwrap();
            let mut group = criterion.benchmark_group("model");
            group.throughput(Throughput::Elements(1));
            let mut cache = span.new_cache(span.blocks(), 256).unwrap();
            span.forward(&mut cache, &mut prompt.clone()).unwrap();
            group.bench_function(format!("decode/file={file}/position=128/isa={isa}"), |b| {
                b.iter(|| {
                    cache.truncate(128);
                    let mut row = span.embed(&[7]).unwrap();
                    span.forward(&mut cache, &mut row).unwrap();
                    span.logits(&row).unwrap()
                });
            });
            group.throughput(Throughput::Elements(128));
            group.bench_function(format!("prefill/file={file}/tokens=128/isa={isa}"), |b| {
                b.iter(|| {
                    cache.truncate(0);
                    span.forward(&mut cache, &mut prompt.clone()).unwrap();
                });
            });
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(std::time::Duration::from_millis(300))
        .measurement_time(std::time::Duration::from_secs(1));
    targets = forward
}
criterion_main!(benches);
