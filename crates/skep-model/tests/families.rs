//! Every decoder family against Hugging Face `transformers`: small models with random weights, made by `tools/hf_families.py`, whose
//! logits must agree; and the same bits for every chunking, split and number of threads.
//!
//! It runs under the Python that `SKEP_TORCH_PYTHON` names, by default that of `target/venv-torch`; where that is absent the
//! comparison says loudly that it was skipped.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use skep_kernels::{Cpu, KvFormat};
use skep_model::{FAMILIES, Gguf, ModelConfig, Span, SpanOptions};
use skep_testkit::{repository_root, torch_python};
use skep_types::BlockRange;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// Largest difference of a logit that is accepted, as a share of the largest logit.
const BOUND: f32 = 1e-4;

/// Relative difference of the logits of the median position that is accepted with keys and values in these formats.
const REDUCED: [(KvFormat, f32); 2] = [(KvFormat::F16, 0.01), (KvFormat::Q8, 0.1)];

struct Family {
    name: String,
    gguf: Gguf,
    tokens: Vec<u32>,
    logits: Vec<f32>,
}

fn words<T>(path: &Path, read: impl Fn([u8; 4]) -> T) -> Vec<T> {
    std::fs::read(path).unwrap().chunks_exact(4).map(|b| read(b.try_into().unwrap())).collect()
}

/// All families that the tool makes.
fn families(python: &Path, folder: &Path) -> Vec<Family> {
    let script = repository_root().join("tools/hf_families.py");
    let run = Command::new(python).arg(script).arg(folder).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut models: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|e| e == "gguf")).collect();
    models.sort();
    let family = |path: PathBuf| Family {
        name: path.file_stem().unwrap().to_string_lossy().into_owned(),
        gguf: Gguf::open(&path).unwrap(),
        tokens: words(&path.with_extension("tokens"), u32::from_le_bytes),
        logits: words(&path.with_extension("logits"), f32::from_le_bytes),
    };
    let families: Vec<Family> = models.into_iter().map(family).collect();
    let tested = |wanted: &&skep_model::Family| {
        families.iter().any(|family| ModelConfig::from_gguf(&family.gguf).unwrap().family == *wanted)
    };
    let missing: Vec<_> = FAMILIES.iter().filter(|family| family.causal && !tested(family)).collect();
    assert!(missing.is_empty(), "no model of {missing:?} was compared");
    families
}

/// The model cut into `parts` spans.
fn spans(gguf: &Gguf, parts: u32, kv: KvFormat, threads: usize) -> Vec<Span> {
    let blocks = ModelConfig::from_gguf(gguf).unwrap().n_blocks;
    let options = SpanOptions { cpu: Arc::new(Cpu::new(threads).unwrap()), kv };
    let range = |i| BlockRange::new(blocks * i / parts, blocks * (i + 1) / parts).unwrap();
    (0..parts).map(|i| Span::load_with(gguf, range(i), options.clone()).unwrap()).collect()
}

/// The logits at every position, after all tokens went through `spans` in chunks of `chunk`.
fn logits(spans: &[Span], tokens: &[u32], chunk: usize) -> Vec<f32> {
    let mut caches: Vec<_> = spans.iter().map(|span| span.new_cache(span.blocks(), tokens.len()).unwrap()).collect();
    let mut all = Vec::new();
    for part in tokens.chunks(chunk) {
        let mut rows = spans[0].embed(part).unwrap();
        for (span, cache) in spans.iter().zip(&mut caches) {
            span.forward(cache, &mut rows).unwrap();
        }
        all.extend(spans.last().unwrap().logits_batch(&rows).unwrap().into_iter().flat_map(Result::unwrap));
    }
    all
}

fn agrees_with_hugging_face(family: &Family) {
    let Family { name, gguf, tokens, logits: theirs } = family;
    let ours = logits(&spans(gguf, 1, KvFormat::F32, 2), tokens, tokens.len());
    assert_eq!(ours.len(), theirs.len(), "{name}");
    let worst = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    let largest = theirs.iter().fold(0.0f32, |most, a| most.max(a.abs()));
    println!("{name}: maximum difference {worst:e} over {} positions, logits up to {largest}", tokens.len());
    assert!(worst < BOUND * largest, "{name}: maximum difference {worst:e} of logits up to {largest}");
    // The reduced caches stay near.
    let head_dim = ModelConfig::from_gguf(gguf).unwrap().head_dim;
    for (kv, bound) in REDUCED.into_iter().filter(|(kv, _)| *kv != KvFormat::Q8 || head_dim.is_multiple_of(32)) {
        let ours = logits(&spans(gguf, 1, kv, 2), tokens, tokens.len());
        let size = |row: &mut dyn Iterator<Item = f32>| row.map(|x| x * x).sum::<f32>().sqrt();
        let rows = ours.chunks_exact(ours.len() / tokens.len()).zip(theirs.chunks_exact(ours.len() / tokens.len()));
        let relative =
            |(a, b): (&[f32], &[f32])| size(&mut a.iter().zip(b).map(|(a, b)| a - b)) / size(&mut b.iter().copied());
        let mut all: Vec<f32> = rows.map(relative).collect();
        all.sort_by(f32::total_cmp);
        // Not the largest: rounding may tip a router from one expert to another of nearly the same weight.
        let relative = all[all.len() / 2];
        println!("{name}: {kv:?} relative difference {relative:e}");
        assert!(relative < bound, "{name} with {kv:?}: relative difference {relative:e}");
    }
}

fn has_one_result(Family { name, gguf, tokens, .. }: &Family) {
    let tokens = &tokens[..120];
    let bits = |logits: Vec<f32>| logits.into_iter().map(f32::to_bits).collect::<Vec<_>>();
    let expected = bits(logits(&spans(gguf, 1, KvFormat::F16, 1), tokens, tokens.len()));
    for threads in [1, 2] {
        for parts in [1, 2, 3] {
            let spans = spans(gguf, parts, KvFormat::F16, threads);
            for chunk in [1, 7, tokens.len()] {
                let found = bits(logits(&spans, tokens, chunk));
                assert!(found == expected, "{name}: {threads} threads, {parts} spans, chunks of {chunk}");
            }
        }
    }
}

/// One test, because making the models takes longer than running them.
#[test]
fn every_family_gives_the_logits_of_hugging_face_and_always_the_same_bits() {
    let Some(python) = torch_python() else { return };
    let folder = tempfile::tempdir().unwrap();
    for family in families(&python, folder.path()) {
        agrees_with_hugging_face(&family);
        has_one_result(&family);
    }
}
