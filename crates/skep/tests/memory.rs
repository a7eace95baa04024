//! The memory of a real process that serves: its weights are the pages of the file, and little comes on top.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "common/up.rs"]
mod up;

use serde_json::{Value, json};
use skep_model::{Gguf, Metadata, Tensor, Value as Fact, quantize_q8_0, write_gguf};
use std::path::Path;
use std::process::Stdio;
use up::{AT_REST, ready, skep};

const BLOCKS: u64 = 40;
const WIDTH: usize = 1024;
const KEYS: usize = 256;
const FEED: usize = 4096;
const CONTEXT: u64 = 1024;

/// A Llama of 600 million weights with the words of the bundled model. What it says does not matter here.
fn write_large_model(path: &Path) {
    let small = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/skep-bard-q8_0.gguf");
    let small = Gguf::open(Path::new(small)).unwrap();
    let mut metadata: Metadata = small.metadata().clone();
    for (key, value) in [
        ("llama.embedding_length", WIDTH as u64),
        ("llama.block_count", BLOCKS),
        ("llama.attention.head_count", 16),
        ("llama.attention.head_count_kv", 4),
        ("llama.attention.key_length", 64),
        ("llama.attention.value_length", 64),
        ("llama.rope.dimension_count", 64),
        ("llama.feed_forward_length", FEED as u64),
        ("llama.context_length", CONTEXT),
    ] {
        metadata.insert(key, Fact::U32(value as u32));
    }
    // Rows repeat a pattern: no kernel is faster for it, and it is made in no time.
    let values: Vec<f32> = (0..FEED).map(|i| ((i * 7919 % 1013) as f32 / 506.0 - 1.0) / 32.0).collect();
    let pattern = quantize_q8_0(&values).unwrap();
    let matrix = |name: &str, rows: usize, k: usize| {
        let bytes = (0..rows).flat_map(|_| &pattern[..k / 32 * 34]).copied().collect();
        Tensor::new(name, [rows, k], skep_kernels::Format::Q8_0, bytes).unwrap()
    };
    let norm = |name: &str| Tensor::from_f32(name, [1, WIDTH], &[1.0; WIDTH]).unwrap();
    let mut tensors = vec![matrix("token_embd.weight", 1024, WIDTH)];
    for b in 0..BLOCKS {
        let name = |part: &str| format!("blk.{b}.{part}.weight");
        tensors.extend([norm(&name("attn_norm")), norm(&name("ffn_norm"))]);
        tensors.extend(
            [("attn_q", WIDTH, WIDTH), ("attn_k", KEYS, WIDTH), ("attn_v", KEYS, WIDTH)]
                .map(|(part, rows, k)| matrix(&name(part), rows, k)),
        );
        tensors.extend(
            [
                ("attn_output", WIDTH, WIDTH),
                ("ffn_gate", FEED, WIDTH),
                ("ffn_up", FEED, WIDTH),
                ("ffn_down", WIDTH, FEED),
            ]
            .map(|(part, rows, k)| matrix(&name(part), rows, k)),
        );
    }
    tensors.push(norm("output_norm.weight"));
    write_gguf(path, &metadata, &tensors).unwrap();
}

/// The most memory that a process ever held, mapped files included, in bytes.
fn peak(pid: u32) -> u64 {
    skep_testkit::process_memory(&pid.to_string(), "VmHWM").unwrap()
}

#[test]
fn processes_serve_within_a_tenth_more_than_file_and_cache() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("large.gguf");
    write_large_model(&model);
    let file = std::fs::metadata(&model).unwrap().len();
    let mut command = skep(folder.path());
    command.args(["up", "--json", "--port", "0", "--model"]).arg(&model).args(AT_REST).stdout(Stdio::piped());
    let up = ready(command.spawn().unwrap());
    let before = peak(up.child.id());
    let api = up.said["api"].as_str().unwrap().to_owned();
    let ask = |i: u32| {
        let prompt = "Now is the winter of our discontent ".repeat(30 + i as usize);
        let body = json!({"prompt": prompt, "max_tokens": 48, "temperature": 0});
        let response = ureq::post(format!("{api}/v1/completions"))
            .header("content-type", "application/json")
            .send(body.to_string())
            .unwrap()
            .into_body()
            .read_to_string()
            .unwrap();
        let usage: Value = serde_json::from_str::<Value>(&response).unwrap()["usage"].clone();
        usage["total_tokens"].as_u64().unwrap()
    };
    let positions: u64 = std::thread::scope(|scope| {
        let answers: Vec<_> = (0..4).map(|i| scope.spawn(move || ask(i))).collect();
        answers.into_iter().map(|answer| answer.join().unwrap()).sum()
    });
    let after = peak(up.child.id());
    // Keys and values of every position and block, two bytes each.
    let cache = positions * BLOCKS * 2 * KEYS as u64 * 2;
    println!(
        "file {file}, cache of {positions} positions {cache}, peak {after} ({before} before the first request): {:.3} of file and cache",
        after as f64 / (file + cache) as f64
    );
    assert!(after > file / 2, "the weights are not in memory at all, so this measures nothing");
    assert!(after <= file + file / 10 + cache, "{after} bytes for a file of {file} and a cache of {cache}");
}
