//! A span from a file of which only its part is there, and a header from the front of a file.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use skep_kernels::Format;
use skep_model::{Gguf, ModelConfig, ModelError, Span, byte_ranges};
use skep_types::BlockRange;
use std::path::PathBuf;

fn models() -> Vec<(String, Vec<u8>)> {
    let bundled = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../skep/assets/skep-bard-q8_0.gguf");
    let real = ["llm/stories3M/stories3M-q8_0.gguf", "llm/stories260K/stories260K-f32.gguf"];
    let real = real.into_iter().filter_map(skep_testkit::shared_data);
    let read = |path: PathBuf| (path.display().to_string(), std::fs::read(path).unwrap());
    let mut models: Vec<_> = std::iter::once(bundled).chain(real).map(read).collect();
    models.push(("six blocks".into(), common::model(6, |_| Format::Q8_0)));
    models
}

/// The file with bytes that no tensor may have wherever the ranges do not reach.
fn only(bytes: &[u8], ranges: &[std::ops::Range<u64>]) -> Vec<u8> {
    let mut part = vec![0xff; bytes.len()];
    for range in ranges {
        let range = range.start as usize..range.end as usize;
        part[range.clone()].copy_from_slice(&bytes[range]);
    }
    part
}

#[test]
fn a_span_loads_from_its_ranges_alone_and_has_the_same_bits() {
    for (name, bytes) in models() {
        let whole = Gguf::from_bytes(bytes.clone()).unwrap();
        let n = ModelConfig::from_gguf(&whole).unwrap().n_blocks;
        for (start, end) in (0..n).flat_map(|start| (start + 1..=n).map(move |end| (start, end))) {
            let blocks = BlockRange::new(start, end).unwrap();
            let ranges = byte_ranges(&whole, blocks).unwrap();
            assert!(ranges.windows(2).all(|pair| pair[0].end < pair[1].start), "{ranges:?}");
            let part = Gguf::from_bytes(only(&bytes, &ranges)).unwrap();
            let outputs = [&whole, &part].map(|gguf| {
                let span = Span::load(gguf, blocks).unwrap();
                let mut cache = span.new_cache(blocks, 8).unwrap();
                let mut rows: Vec<f32> = (0..3 * span.config().d_model).map(|i| (i % 17) as f32 / 8.0 - 1.0).collect();
                if start == 0 {
                    rows = span.embed(&[1, 2, 3]).unwrap();
                }
                span.forward(&mut cache, &mut rows).unwrap();
                let logits = if end == n { span.logits(&rows[..span.config().d_model]).unwrap() } else { Vec::new() };
                rows.into_iter().chain(logits).map(f32::to_bits).collect::<Vec<_>>()
            });
            assert!(outputs[0] == outputs[1], "{name} {blocks}");
        }
    }
}

#[test]
fn a_span_does_not_ask_for_the_ends_that_it_does_not_have() {
    for (name, bytes) in models() {
        let gguf = Gguf::from_bytes(bytes).unwrap();
        let n = ModelConfig::from_gguf(&gguf).unwrap().n_blocks;
        let blocks = BlockRange::new(1, n - 1).unwrap();
        let asked: u64 = byte_ranges(&gguf, blocks).unwrap().iter().map(|range| range.end - range.start).sum();
        let own = gguf
            .tensors()
            .iter()
            .filter(|info| (1..n - 1).any(|block| info.name.starts_with(&format!("blk.{block}."))));
        let own: u64 = own.map(|info| info.bytes).sum();
        // Between tensors there is padding.
        let padding = 32 * gguf.tensors().len() as u64;
        assert!(asked - gguf.header_bytes() - own <= padding, "{name}: {asked} bytes for {own} of blocks {blocks}");
    }
}

#[test]
fn a_span_that_the_model_does_not_have_is_refused() {
    let gguf = Gguf::from_bytes(common::model(3, |_| Format::Q8_0)).unwrap();
    let error = byte_ranges(&gguf, BlockRange::new(2, 4).unwrap()).unwrap_err();
    assert!(matches!(error, ModelError::Input(_)), "{error}");
}

#[test]
fn the_front_is_enough_from_the_byte_on_where_the_header_ends() {
    for (name, bytes) in models() {
        let whole = Gguf::from_bytes(bytes.clone()).unwrap();
        let file = bytes.len() as u64;
        let header = whole.header_bytes() as usize;
        let fronts = [0, 1, 4, 24, 100, header / 2, header - 40].into_iter().chain(header - 33..header + 40);
        let mut enough = false;
        for front in fronts {
            match Gguf::from_front(bytes[..front].to_vec(), file).unwrap() {
                // The padding at the end need not be there.
                None => assert!(!enough && front < header, "{name}: {front} of {header}"),
                Some(gguf) => {
                    enough = true;
                    assert!(front + 32 > header, "{name}: {front} of {header}");
                    assert_eq!((gguf.tensors(), gguf.header_bytes()), (whole.tensors(), whole.header_bytes()));
                    let blocks = BlockRange::new(0, 1).unwrap();
                    assert_eq!(byte_ranges(&gguf, blocks).unwrap(), byte_ranges(&whole, blocks).unwrap());
                    let error = gguf.read_tensor("token_embd.weight").unwrap_err();
                    assert!(matches!(error, ModelError::Front { .. }), "{error}");
                }
            }
        }
        assert!(enough);
    }
}

#[test]
fn the_front_grows_to_the_longest_header_and_no_further() {
    let (mut front, mut steps) = (0, 0);
    let file = 1 << 40;
    while Gguf::next_front(front, file) > front {
        let next = Gguf::next_front(front, file);
        assert!(next - front <= (front / 4).max(32 << 10));
        (front, steps) = (next, steps + 1);
    }
    assert_eq!((front, steps), (256 << 20, 39));
    assert_eq!(Gguf::next_front(0, 1000), 1000);
}

#[test]
fn a_front_that_is_wrong_is_an_error_however_short() {
    let bytes = common::model(3, |_| Format::Q8_0);
    let error = Gguf::from_front(b"GGML and more".to_vec(), bytes.len() as u64).unwrap_err();
    assert!(matches!(error, ModelError::Format { at: 0, .. }), "{error}");
    // The size is proven before the front is read: a table that reaches past it is wrong.
    assert!(Gguf::from_front(bytes.clone(), bytes.len() as u64 - 1).is_err());
    assert!(Gguf::from_front(Vec::new(), 0).is_err());
}
