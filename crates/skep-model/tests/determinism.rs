//! The same bits for every chunking, split into spans and instruction set, on the real model in f32 and q8_0.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use skep_kernels::Isa;
use skep_model::{Gguf, Span};
use skep_testkit::shared_data;
use skep_types::BlockRange;

const PROMPT: usize = 40;
const VOCAB: u32 = 4096;

fn tokens() -> Vec<u32> {
    (0..PROMPT as u32).map(|i| (i * i * 31 + 403) % VOCAB).collect()
}

fn spans(gguf: &Gguf, parts: u32, isa: Isa) -> Vec<Span> {
    let blocks = skep_model::ModelConfig::from_gguf(gguf).unwrap().n_blocks;
    let bound = |i| blocks * i / parts;
    (0..parts)
        .map(|i| Span::load(gguf, BlockRange::new(bound(i), bound(i + 1)).unwrap()).unwrap().with_isa(isa).unwrap())
        .collect()
}

/// Bits of the logits at the last position, after all tokens went through `spans` in chunks of `chunk`.
fn logits(spans: &[Span], tokens: &[u32], chunk: usize) -> Vec<u32> {
    let mut caches: Vec<_> = spans.iter().map(|span| span.new_cache(span.blocks(), tokens.len()).unwrap()).collect();
    let mut last = Vec::new();
    for part in tokens.chunks(chunk) {
        let mut rows = spans[0].embed(part).unwrap();
        for (span, cache) in spans.iter().zip(&mut caches) {
            span.forward(cache, &mut rows).unwrap();
        }
        let end = spans.last().unwrap();
        last = end.logits(&rows[rows.len() - end.config().d_model..]).unwrap();
    }
    last.into_iter().map(f32::to_bits).collect()
}

#[test]
fn chunking_splitting_and_instruction_set_change_no_bit() {
    for file in ["f32", "q8_0"] {
        let Some(path) = shared_data(&format!("llm/stories3M/stories3M-{file}.gguf")) else { return };
        let gguf = Gguf::open(&path).unwrap();
        let tokens = tokens();
        let expected = logits(&spans(&gguf, 1, Isa::Scalar), &tokens, PROMPT);
        for isa in Isa::available() {
            for parts in [1, 2, 3, 4, 6] {
                let spans = spans(&gguf, parts, *isa);
                for chunk in [1, 7, 32, PROMPT] {
                    assert!(logits(&spans, &tokens, chunk) == expected, "{file} {isa} {parts} spans chunk {chunk}");
                }
            }
        }
    }
}

#[test]
fn a_part_of_a_span_computes_what_a_smaller_span_computes() {
    let Some(path) = shared_data("llm/stories3M/stories3M-f32.gguf") else { return };
    let gguf = Gguf::open(&path).unwrap();
    let whole = Span::load(&gguf, BlockRange::new(0, 6).unwrap()).unwrap();
    let part = BlockRange::new(2, 5).unwrap();
    let small = Span::load(&gguf, part).unwrap();
    let rows = whole.embed(&tokens()).unwrap();
    let (mut a, mut b) = (rows.clone(), rows);
    whole.forward(&mut whole.new_cache(part, 64).unwrap(), &mut a).unwrap();
    small.forward(&mut small.new_cache(part, 64).unwrap(), &mut b).unwrap();
    assert!(a.iter().map(|x| x.to_bits()).eq(b.iter().map(|x| x.to_bits())));
}

#[test]
fn a_truncated_cache_repeats_itself() {
    let Some(path) = shared_data("llm/stories3M/stories3M-q8_0.gguf") else { return };
    let gguf = Gguf::open(&path).unwrap();
    let span = Span::load(&gguf, BlockRange::new(0, 6).unwrap()).unwrap();
    let mut cache = span.new_cache(span.blocks(), 64).unwrap();
    let mut first = span.embed(&tokens()).unwrap();
    span.forward(&mut cache, &mut first).unwrap();
    cache.truncate(11);
    assert_eq!(cache.len(), 11);
    let mut again = span.embed(&tokens()[11..]).unwrap();
    span.forward(&mut cache, &mut again).unwrap();
    assert!(first[11 * 192..].iter().map(|x| x.to_bits()).eq(again.iter().map(|x| x.to_bits())));
}
