//! The trainer and inference compute one function: their logits have the same bits.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use skep_model::{Gguf, ModelConfig, Span, SpanOptions};
use skep_train::export::{self, Precision};
use skep_train::{Layout, Model, Shape, Stream, loss_of_file};
use skep_types::BlockRange;

fn shape() -> Shape {
    Shape {
        n_blocks: 3,
        d_model: 64,
        n_heads: 4,
        n_kv_heads: 2,
        head_dim: 32,
        d_ff: 96,
        vocab: 290,
        context: 300,
        rms_eps: 1e-5,
        rope_theta: 10_000.0,
    }
}

/// Parameters in which nothing is simple: gains away from one, matrices as at the beginning of a run.
fn params(layout: &Layout) -> Vec<f32> {
    let mut params = layout.initial(11);
    let mut stream = Stream::new(11, "gains", 0);
    params.iter_mut().for_each(|p| *p *= 1.0 + 0.3 * stream.symmetric());
    params
}

fn file(shape: &Shape, params: &[f32], precision: Precision) -> Gguf {
    let mut metadata = export::metadata(shape, "test", precision);
    let text: String = ('a'..='z').collect::<String>().repeat(40);
    skep_train::bpe::Vocabulary::learn(&text, shape.vocab, &[]).unwrap().describe(&mut metadata);
    let tensors = export::tensors(&Layout::new(shape).unwrap(), params, precision).unwrap();
    Gguf::from_bytes(skep_model::encode_gguf(&metadata, &tensors).unwrap()).unwrap()
}

fn tokens(n: usize) -> Vec<u32> {
    let mut stream = Stream::new(4, "tokens", 0);
    (0..n).map(|_| stream.below(290) as u32).collect()
}

#[test]
fn logits_of_the_trainer_equal_those_of_inference_bit_for_bit() {
    let shape = shape();
    let model = Model::new(&shape).unwrap();
    let params = params(model.layout());
    let gguf = file(&shape, &params, Precision::F32);
    ModelConfig::from_gguf(&gguf).unwrap().check_tensors(&gguf).unwrap();
    let whole = BlockRange::new(0, 3).unwrap();
    let options = SpanOptions { kv: skep_kernels::KvFormat::F32, ..SpanOptions::new(2).unwrap() };
    let span = Span::load_with(&gguf, whole, options).unwrap();
    // 290 positions cross the border of attention's parts of 256.
    let tokens = tokens(290);
    let ours = model.logits(&params, &tokens).unwrap();
    let mut rows = span.embed(&tokens).unwrap();
    span.forward(&mut span.new_cache(whole, 290).unwrap(), &mut rows).unwrap();
    for (i, (row, ours)) in rows.chunks_exact(64).zip(ours.chunks_exact(290)).enumerate() {
        let theirs = span.logits(row).unwrap();
        let differ = ours.iter().zip(&theirs).filter(|(a, b)| a.to_bits() != b.to_bits()).count();
        assert_eq!(differ, 0, "row {i}");
    }
}

#[test]
fn the_loss_of_a_file_is_that_of_the_trainer_and_changes_little_with_q8_0() {
    let shape = shape();
    let model = Model::new(&shape).unwrap();
    let params = params(model.layout());
    let tokens = tokens(100);
    let trained = model.sequence_loss(&params, &tokens).unwrap();
    let (exact, n) = loss_of_file(&file(&shape, &params, Precision::F32), std::slice::from_ref(&tokens)).unwrap();
    let (rounded, _) = loss_of_file(&file(&shape, &params, Precision::Q8_0), &[tokens]).unwrap();
    assert_eq!(n, 99);
    assert!((exact - trained).abs() < 1e-4 * trained, "{exact} against {trained}");
    assert!((rounded - exact).abs() < 0.01 * exact, "{rounded} against {exact}");
    assert_ne!(rounded, exact);
}
