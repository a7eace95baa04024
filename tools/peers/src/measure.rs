//! The questions, the same for every engine: how fast one stream is continued, a prompt is read, and eight streams are
//! continued together.

use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// Tokens of a short prompt, from which a continuation starts.
const PROMPT: usize = 16;
/// Tokens that one stream is continued by.
const DECODE: usize = 64;
/// Tokens of the long prompt.
const PREFILL: usize = 512;
/// Streams of a batch, and the tokens that each is continued by.
const BATCH: usize = 8;
const BATCH_DECODE: usize = 32;
/// Tokens and steps that precede every measurement, so that lazily packed weights and fresh memory are paid for before it.
const WARM_PROMPT: usize = 32;
const WARM_STEPS: usize = 2;

/// One engine with a model loaded.
pub trait Engine {
    /// Tokens in the vocabulary.
    fn vocabulary(&self) -> usize;
    /// Makes room for so many streams of at most `positions` tokens each.
    fn open(&mut self, streams: usize, positions: usize) -> Result<()>;
    /// Forgets everything, reads one prompt per stream, all of one length, and returns the likeliest next token of each.
    fn start(&mut self, prompts: &[Vec<u32>]) -> Result<Vec<u32>>;
    /// Continues every stream by its token, and returns the likeliest next ones.
    fn step(&mut self, tokens: &[u32]) -> Result<Vec<u32>>;
}

/// Asks all questions. Times include the choice of the likeliest token, which is part of serving.
pub fn measure(engine: &mut impl Engine) -> Result<Value> {
    let (decode_tps, tokens) = decode(engine, 1, DECODE)?;
    let prefill_tps = prefill(engine)?;
    let (batch8_tps, _) = decode(engine, BATCH, BATCH_DECODE)?;
    let first: Vec<u32> = tokens.into_iter().take(8).collect();
    Ok(json!({
        "decode_tps": decode_tps, "prefill_tps": prefill_tps, "batch8_tps": batch8_tps, "first_tokens": first,
    }))
}

/// Tokens per second, summed over the streams, and the tokens of the first stream.
fn decode(engine: &mut impl Engine, streams: usize, steps: usize) -> Result<(f64, Vec<u32>)> {
    open_warm(engine, streams, PROMPT + steps)?;
    let prompts: Vec<Vec<u32>> = (0..streams).map(|stream| prompt(engine, PROMPT, stream)).collect();
    let mut next = engine.start(&prompts)?;
    let mut first = vec![next[0]];
    let began = Instant::now();
    for _ in 0..steps {
        next = engine.step(&next)?;
        first.push(next[0]);
    }
    Ok(((streams * steps) as f64 / began.elapsed().as_secs_f64(), first))
}

/// Tokens per second of the long prompt, its first continuation included.
fn prefill(engine: &mut impl Engine) -> Result<f64> {
    open_warm(engine, 1, PREFILL)?;
    let prompt = [prompt(engine, PREFILL, 0)];
    let began = Instant::now();
    engine.start(&prompt)?;
    Ok(PREFILL as f64 / began.elapsed().as_secs_f64())
}

fn open_warm(engine: &mut impl Engine, streams: usize, positions: usize) -> Result<()> {
    engine.open(streams, positions.max(WARM_PROMPT + WARM_STEPS))?;
    let prompts: Vec<Vec<u32>> = (0..streams).map(|stream| prompt(engine, WARM_PROMPT, stream)).collect();
    let mut next = engine.start(&prompts)?;
    for _ in 0..WARM_STEPS {
        next = engine.step(&next)?;
    }
    Ok(())
}

/// Tokens that differ by stream. The first three of a Llama vocabulary steer, and are left out.
fn prompt(engine: &impl Engine, length: usize, stream: usize) -> Vec<u32> {
    let ordinary = engine.vocabulary() - 3;
    (0..length).map(|at| (3 + (at * 7919 + stream * 104_729) % ordinary) as u32).collect()
}

/// The likeliest token. Logits that are no numbers mean that nothing was computed, and are refused.
pub fn likeliest(logits: &[f32]) -> Result<u32> {
    let mut best = (0, f32::NEG_INFINITY);
    for (token, &logit) in logits.iter().enumerate() {
        if logit > best.1 {
            best = (token, logit);
        }
    }
    if !best.1.is_finite() || logits.iter().any(|logit| logit.is_nan()) {
        bail!("logits are not finite");
    }
    Ok(best.0 as u32)
}

/// The most memory this process ever had resident, in MiB.
pub fn peak_resident_mib() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status").context("peak memory is read from Linux's /proc")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024.0)
}
