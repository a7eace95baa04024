//! Logits of the real model against Hugging Face `transformers`, an implementation that shares no line with this one.
//!
//! `tools/hf_logits.py` runs under the Python that `SKEP_PYTHON` names, by default `target/venv/bin/python`; where that is
//! absent the comparison says loudly that it was skipped.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use skep_kernels::KvFormat;
use skep_model::{Gguf, Span, SpanOptions};
use skep_testkit::{python, repository_root, shared_data};
use skep_types::BlockRange;

/// Maximum absolute difference of a logit that is accepted. Measured over 255 positions: 2.7e-5 (stories260K) and 4.2e-5
/// (stories3M) on logits up to 25: the two sum in different orders, and Hugging Face computes rotary angles in f32.
const BOUND: f32 = 2e-4;

/// "Once upon a time" and a start-of-text mark, in the model's own vocabulary.
const PROMPT: [u32; 5] = [1, 403, 407, 261, 378];

fn whole(path: &std::path::Path) -> Span {
    let gguf = Gguf::open(path).unwrap();
    let config = skep_model::ModelConfig::from_gguf(&gguf).unwrap();
    // Keys and values in full, so that what is compared is the arithmetic and not the rounding of a cache.
    let options = SpanOptions { kv: KvFormat::F32, ..SpanOptions::new(2).unwrap() };
    Span::load_with(&gguf, BlockRange::new(0, config.n_blocks).unwrap(), options).unwrap()
}

fn greedy(span: &Span, prompt: &[u32], n: usize) -> Vec<u32> {
    let mut cache = span.new_cache(span.blocks(), prompt.len() + n).unwrap();
    let mut tokens = prompt.to_vec();
    let mut rows = span.embed(prompt).unwrap();
    for _ in 0..n {
        span.forward(&mut cache, &mut rows).unwrap();
        let logits = span.logits(&rows[rows.len() - span.config().d_model..]).unwrap();
        let best = (0..logits.len()).reduce(|a, b| if logits[b] > logits[a] { b } else { a }).unwrap();
        tokens.push(best as u32);
        rows = span.embed(&[best as u32]).unwrap();
    }
    tokens
}

fn all_logits(span: &Span, tokens: &[u32]) -> Vec<f32> {
    let mut cache = span.new_cache(span.blocks(), tokens.len()).unwrap();
    let mut rows = span.embed(tokens).unwrap();
    span.forward(&mut cache, &mut rows).unwrap();
    rows.chunks_exact(span.config().d_model).flat_map(|row| span.logits(row).unwrap()).collect()
}

#[test]
fn logits_agree_with_hugging_face() {
    for model in ["stories260K", "stories3M"] {
        let Some(gguf) = shared_data(&format!("llm/{model}/{model}-f32.gguf")) else { return };
        let Some(python) = python() else { return };
        let folder = gguf.parent().unwrap();
        let output = tempfile::tempdir().unwrap();
        let file = output.path().join("logits");
        let span = whole(&gguf);
        let tokens = greedy(&span, &PROMPT, 250);
        let run = std::process::Command::new(python)
            .arg(repository_root().join("tools/hf_logits.py"))
            .args([folder, file.as_path()])
            .args(tokens.iter().map(u32::to_string))
            .output()
            .unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        let bytes = std::fs::read(&file).unwrap();
        let theirs: Vec<f32> = bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        let ours = all_logits(&span, &tokens);
        assert_eq!(ours.len(), theirs.len());
        let worst = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let largest = ours.iter().fold(0.0f32, |most, a| most.max(a.abs()));
        println!("{model}: maximum difference {worst:e} over {} logits of magnitude up to {largest}", ours.len());
        assert!(worst < BOUND, "{model}: maximum difference {worst:e}");
        // Greedy decoding one token at a time chose what Hugging Face's logits of the whole text also rank first.
        let vocab = span.config().vocab;
        for (i, token) in tokens.iter().enumerate().skip(PROMPT.len()) {
            let row = &theirs[(i - 1) * vocab..i * vocab];
            let best = row.iter().fold(f32::NEG_INFINITY, |a, b| a.max(*b));
            assert!(best - row[*token as usize] < BOUND, "{model}: token {i}");
        }
    }
}
