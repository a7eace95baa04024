//! A node that serves some blocks of a model fetches those, and computes with what it has.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::Served;
use skep_kernels::Format;
use skep_model::{Array, Gguf, Metadata, ModelConfig, Span, Tensor, Value, byte_ranges, encode_gguf, quantize_q8_0};
use skep_store::fetch::{Effect, Ended, FetchConfig, Input};
use skep_store::{Decoder, Encoder, Fetch, Part, Partial, Shape};
use skep_types::{BlockRange, NodeId};
use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

/// A fetch from two peers that hold everything and answer at once.
struct Node<'a> {
    served: &'a Served,
    store: &'a std::path::Path,
    fetch: Fetch,
    partial: Option<Partial>,
    /// All bytes of all answers.
    wire_bytes: u64,
    answers: [u64; 2],
}

impl<'a> Node<'a> {
    fn new(served: &'a Served, store: &'a std::path::Path) -> Self {
        let fetch = Fetch::new(FetchConfig::default(), None);
        let mut node = Self { served, store, fetch, partial: None, wire_bytes: 0, answers: [0; 2] };
        for peer in 0..2 {
            node.step(Input::Joined(NodeId([peer; 32])));
            let groups = std::iter::once(0..served.shape().groups()).collect();
            node.step(Input::Holds { peer: NodeId([peer; 32]), groups });
        }
        node
    }

    /// Carries out what follows from `input` until nothing does.
    fn step(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for effect in self.fetch.step(Duration::ZERO, input) {
                match effect {
                    Effect::AskSize { request, peer } => {
                        self.open(self.served.shape());
                        inputs.push_back(Input::Size { request, shape: self.served.shape() });
                        inputs.extend(self.answer(request, peer, self.served.shape().last_group()));
                    }
                    Effect::AskSlice { request, peer, groups } => inputs.extend(self.answer(request, peer, groups)),
                    Effect::AskHolds { .. } | Effect::Cancel { .. } | Effect::Complete => {}
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    fn open(&mut self, shape: Shape) {
        if self.partial.is_none() {
            self.partial = Some(Partial::open(self.store, self.served.id(), shape).unwrap());
        }
    }

    fn answer(&mut self, request: u64, peer: NodeId, groups: Range<u64>) -> Vec<Input> {
        let (id, shape) = (self.served.id(), self.served.shape());
        let mut encoder = Encoder::new(id, shape, groups.clone()).unwrap();
        let mut decoder = Decoder::new(id, shape, groups).unwrap();
        let partial = self.partial.as_mut().unwrap();
        let mut inputs = Vec::new();
        self.answers[peer.0[0] as usize] += 1;
        while let Some(part) = encoder.next(&self.served.reader).unwrap() {
            self.wire_bytes += part.bytes().len() as u64;
            partial.write(&decoder.push(part.bytes()).unwrap()).unwrap();
            if let Part::Group(group) = part.part() {
                inputs.push(Input::Got { request, groups: group..group + 1 });
            }
        }
        inputs.push(Input::Ended { request, how: Ended::Done });
        inputs
    }

    fn want(&mut self, bytes: Range<u64>) {
        self.step(Input::Want(bytes.clone()));
        assert!(self.partial.as_ref().unwrap().covers(bytes));
    }

    /// The header, of unknown length, from as little of the front as it takes.
    fn header(&mut self) -> Gguf {
        let file = self.served.shape().bytes();
        let mut front = 0;
        loop {
            let next = Gguf::next_front(front, file);
            assert!(next > front, "the longest header is not enough");
            front = next;
            self.want(0..front);
            let bytes = std::fs::read(self.partial.as_ref().unwrap().path()).unwrap();
            if let Some(gguf) = Gguf::from_front(bytes[..front as usize].to_vec(), file).unwrap() {
                return gguf;
            }
        }
    }
}

/// A Llama of six blocks with a vocabulary of 6,000 tokens and an output matrix of its own.
fn six_blocks() -> Vec<u8> {
    let (d_model, d_ff, vocab) = (384usize, 1024usize, 6000usize);
    let mut metadata = Metadata::new();
    let text = |text: &str| Value::String(text.into());
    metadata.insert("general.architecture", text("llama"));
    let numbers = [
        ("block_count", 6),
        ("embedding_length", d_model as u32),
        ("attention.head_count", 6),
        ("attention.head_count_kv", 6),
        ("feed_forward_length", d_ff as u32),
        ("context_length", 512),
    ];
    for (key, number) in numbers {
        metadata.insert(format!("llama.{key}"), Value::U32(number));
    }
    metadata.insert("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5));
    metadata.insert("tokenizer.ggml.model", text("llama"));
    let tokens = Array::String((0..vocab).map(|i| format!("token {i}")).collect());
    metadata.insert("tokenizer.ggml.tokens", Value::Array(tokens));
    metadata.insert("tokenizer.ggml.scores", Value::Array(Array::F32(vec![0.0; vocab])));
    let mut tensors =
        vec![("token_embd.weight".to_owned(), [vocab, d_model]), ("output.weight".into(), [vocab, d_model])];
    tensors.push(("output_norm.weight".into(), [1, d_model]));
    for block in 0..6 {
        for part in ["attn_norm", "ffn_norm"] {
            tensors.push((format!("blk.{block}.{part}.weight"), [1, d_model]));
        }
        for part in ["attn_q", "attn_k", "attn_v", "attn_output"] {
            tensors.push((format!("blk.{block}.{part}.weight"), [d_model, d_model]));
        }
        for (part, shape) in [("gate", [d_ff, d_model]), ("up", [d_ff, d_model]), ("down", [d_model, d_ff])] {
            tensors.push((format!("blk.{block}.ffn_{part}.weight"), shape));
        }
    }
    let mut state = 1u32;
    let tensors = tensors.into_iter().map(|(name, shape)| {
        let mut draw = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 1.6e8 - 0.05
        };
        let values: Vec<f32> = (0..shape[0] * shape[1]).map(|_| draw()).collect();
        match shape[0] {
            1 => Tensor::from_f32(&name, shape, &values).unwrap(),
            _ => Tensor::new(&name, shape, Format::Q8_0, quantize_q8_0(&values).unwrap()).unwrap(),
        }
    });
    encode_gguf(&metadata, &tensors.collect::<Vec<_>>()).unwrap()
}

/// Fetches `blocks`, checks that they compute what the whole file does, and says how many bytes came for how many of the blocks.
fn fetch(name: &str, bytes: Vec<u8>, blocks: BlockRange) -> (u64, u64) {
    let (served, store) = (Served::of(bytes.clone()), tempfile::tempdir().unwrap());
    let mut node = Node::new(&served, store.path());
    let header = node.header();
    let front_bytes = node.wire_bytes;
    for range in byte_ranges(&header, blocks).unwrap() {
        node.want(range);
    }
    assert!(node.answers.iter().all(|answers| *answers > 0), "one peer did it all");
    let (partial, whole) = (node.partial.unwrap(), Gguf::from_bytes(bytes).unwrap());
    let outputs = [&Gguf::open(partial.path()).unwrap(), &whole].map(|gguf| {
        let span = Span::load(gguf, blocks).unwrap();
        let mut rows: Vec<f32> = (0..2 * span.config().d_model).map(|i| (i % 13) as f32 / 8.0 - 0.7).collect();
        span.forward(&mut span.new_cache(blocks, 2).unwrap(), &mut rows).unwrap();
        rows.into_iter().map(f32::to_bits).collect::<Vec<_>>()
    });
    assert!(outputs[0] == outputs[1], "{name}: the part computes something else");
    let in_blocks = |name: &str| (blocks.start()..blocks.end()).any(|block| name.starts_with(&format!("blk.{block}.")));
    let own = whole.tensors().iter().filter(|info| in_blocks(&info.name)).map(|info| info.bytes).sum();
    println!(
        "{name}: {} of {} bytes for {own} of blocks {blocks} ({:.3} times), {front_bytes} of them for a header of {}",
        node.wire_bytes,
        served.bytes.len(),
        node.wire_bytes as f64 / own as f64,
        whole.header_bytes()
    );
    (node.wire_bytes, own)
}

#[test]
fn two_of_six_blocks_take_at_most_a_tenth_more_than_their_bytes() {
    let bytes = six_blocks();
    for start in 1..4 {
        let (came, own) = fetch("six blocks", bytes.clone(), BlockRange::new(start, start + 2).unwrap());
        assert!(came * 10 <= own * 11, "{came} bytes came for {own}");
    }
}

#[test]
fn real_models_are_fetched_in_part() {
    let bundled = skep_testkit::repository_root().join("crates/skep/assets/skep-bard-q8_0.gguf");
    let real = ["llm/stories3M/stories3M-f32.gguf", "llm/stories3M/stories3M-q8_0.gguf"];
    for path in std::iter::once(bundled).chain(real.into_iter().filter_map(skep_testkit::shared_data)) {
        let bytes = std::fs::read(&path).unwrap();
        let n = ModelConfig::from_gguf(&Gguf::open(&path).unwrap()).unwrap().n_blocks;
        let len = bytes.len() as u64;
        let name = format!("{} ({n} blocks)", path.file_name().unwrap().display());
        let (came, own) = fetch(&name, bytes, BlockRange::new(1, n - 1).unwrap());
        assert!(came >= own && came < len, "{name}: {came} of {len}");
    }
}
