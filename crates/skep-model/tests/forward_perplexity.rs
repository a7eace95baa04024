//! The real model knows its own kind of text: its loss per character is about the one stated with the data.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use skep_model::{Gguf, Span, Tokenizer};
use skep_testkit::shared_data;
use skep_types::BlockRange;

/// The data's page says `about` and not how the text was cut into windows, which moves the figure by several per cent: this
/// is a check against gross faults; `forward_golden.rs` is the exact one.
const TOLERANCE: f64 = 0.1;

/// Negative log-likelihood of the text in windows of one context, each after a start mark, in nats per character.
fn nats_per_character(file: &str, text: &str) -> Option<f64> {
    let gguf = Gguf::open(&shared_data(file)?).unwrap();
    let tokenizer = Tokenizer::from_gguf(&gguf).unwrap();
    let blocks = skep_model::ModelConfig::from_gguf(&gguf).unwrap().n_blocks;
    let span = Span::load(&gguf, BlockRange::new(0, blocks).unwrap()).unwrap();
    let mut nats = 0.0;
    let all = tokenizer.encode(text, true, false).unwrap();
    for window in all[1..].chunks(span.config().context - 1) {
        let tokens: Vec<u32> = std::iter::once(all[0]).chain(window.iter().copied()).collect();
        let mut cache = span.new_cache(span.blocks(), tokens.len()).unwrap();
        let mut rows = span.embed(&tokens).unwrap();
        span.forward(&mut cache, &mut rows).unwrap();
        for (row, next) in rows.chunks_exact(span.config().d_model).zip(&tokens[1..]) {
            let logits = span.logits(row).unwrap();
            let most = logits.iter().fold(f32::NEG_INFINITY, |a, b| a.max(*b));
            let sum: f64 = logits.iter().map(|logit| f64::from(logit - most).exp()).sum();
            nats += sum.ln() - f64::from(logits[*next as usize] - most);
        }
    }
    Some(nats / text.chars().count() as f64)
}

#[test]
fn the_loss_per_character_is_the_stated_one() {
    let Some(path) = shared_data("text/tinystories_sample.txt") else { return };
    let text = std::fs::read_to_string(path).unwrap();
    for (file, stated) in [("stories3M/stories3M-f32", 0.58), ("stories260K/stories260K-f32", 0.90)] {
        let Some(found) = nats_per_character(&format!("llm/{file}.gguf"), &text) else { return };
        println!("{file}: {found:.4} nat per character, stated {stated}");
        assert!((found / stated - 1.0).abs() < TOLERANCE, "{file}: {found} nat per character, stated {stated}");
    }
}
