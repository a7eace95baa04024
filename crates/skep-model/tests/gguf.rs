//! The reader against the writer, and against real files.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;
use skep_kernels::Format;
use skep_model::{
    Array, Gguf, Metadata, ModelConfig, ModelError, Tensor, Value, encode_gguf, model_id, quantize_q8_0, write_gguf,
};
use skep_testkit::shared_data;

fn tensors() -> Vec<Tensor> {
    let values: Vec<f32> = (0..128).map(|i| (i as f32 - 60.0) * 0.37).collect();
    let halves = [0x3c00u16, 0, 0x8001, 0x7bff, 0xc000].into_iter().flat_map(u16::to_le_bytes).collect();
    vec![
        Tensor::from_f32("a", [1, 3], &[1.0, -2.5, 1e-20]).unwrap(),
        Tensor::new("b.weight", [2, 64], Format::Q8_0, quantize_q8_0(&values).unwrap()).unwrap(),
        Tensor::new("c", [5, 1], Format::F16, halves).unwrap(),
    ]
}

fn metadata() -> Metadata {
    let mut metadata = Metadata::new();
    let values = [
        Value::U8(1),
        Value::I8(-1),
        Value::U16(2),
        Value::I16(-2),
        Value::U32(3),
        Value::I32(-3),
        Value::U64(u64::MAX),
        Value::I64(i64::MIN),
        Value::F32(0.5),
        Value::F64(0.25),
        Value::Bool(true),
        Value::String("é".into()),
        Value::Array(Array::U8(vec![1, 2])),
        Value::Array(Array::I8(vec![-1])),
        Value::Array(Array::U16(vec![9])),
        Value::Array(Array::I16(vec![-9])),
        Value::Array(Array::U32(vec![1, 2, 3])),
        Value::Array(Array::I32(vec![-4])),
        Value::Array(Array::U64(vec![5])),
        Value::Array(Array::I64(vec![-5])),
        Value::Array(Array::F32(vec![1.5])),
        Value::Array(Array::F64(vec![2.5])),
        Value::Array(Array::Bool(vec![true, false])),
        Value::Array(Array::String(vec!["".into(), "x y".into()])),
    ];
    for (i, value) in values.into_iter().enumerate() {
        metadata.insert(format!("key.{i:02}"), value);
    }
    metadata
}

#[test]
fn what_is_written_is_read() {
    let bytes = encode_gguf(&metadata(), &tensors()).unwrap();
    let gguf = Gguf::from_bytes(bytes.clone()).unwrap();
    assert_eq!(gguf.metadata(), &metadata());
    assert_eq!(gguf.tensors().iter().map(|t| t.name.as_str()).collect::<Vec<_>>(), ["a", "b.weight", "c"]);
    assert!(gguf.tensors().iter().all(|t| t.offset % 32 == 0));
    for tensor in tensors() {
        assert_eq!(gguf.read_tensor(&tensor.name).unwrap(), tensor);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    write_gguf(&path, &metadata(), &tensors()).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no partial file is left");
    assert_eq!(model_id(&path).unwrap(), skep_types::ModelId::of(&bytes));
    assert_eq!(Gguf::open(&path).unwrap().read_tensor("b.weight").unwrap(), tensors()[1]);
}

/// The format must not drift: a reader elsewhere depends on these bytes.
#[test]
fn the_encoding_is_the_golden_one() {
    let mut metadata = Metadata::new();
    metadata.insert("k", Value::U32(7));
    let tensor = Tensor::from_f32("t", [2, 1], &[1.0, -1.0]).unwrap();
    let bytes = encode_gguf(&metadata, &[tensor]).unwrap();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let expected = [
        "47475546",
        "03000000",
        "0100000000000000",
        "0100000000000000",
        "0100000000000000",
        "6b",
        "04000000",
        "07000000",
        "0100000000000000",
        "74",
        "02000000",
        "0100000000000000",
        "0200000000000000",
        "00000000",
        "0000000000000000",
    ]
    .concat();
    let padding = "00".repeat((expected.len() / 2).next_multiple_of(32) - expected.len() / 2);
    assert_eq!(hex, format!("{expected}{padding}0000803f000080bf"));
}

#[test]
fn q8_0_follows_the_reference_rule() {
    let mut values = [0.0f32; 32];
    values[0] = 127.0;
    values[1] = -126.5;
    values[2] = 0.5;
    let bytes = quantize_q8_0(&values).unwrap();
    assert_eq!(bytes[..6], [0x00, 0x3c, 127, (-127i8) as u8, 1, 0]);
    assert!(quantize_q8_0(&[1.0; 31]).is_err());
    assert!(quantize_q8_0(&[f32::NAN; 32]).is_err());
    assert!(quantize_q8_0(&[1e30; 32]).is_err());
    // A group whose inverse scale overflows must not give -128.
    let bytes = quantize_q8_0(&[-1e-44; 32]).unwrap();
    assert!(bytes[..2] == [0, 0] && bytes[2..].iter().all(|quant| *quant != 0x80));
}

proptest! {
    #[test]
    fn quantisation_is_close(values in proptest::collection::vec(-100.0f32..100.0, 32)) {
        let tensor = Tensor::new("", [1, 32], Format::Q8_0, quantize_q8_0(&values).unwrap()).unwrap();
        let largest = values.iter().fold(0.0f32, |m, x| m.max(x.abs()));
        for (x, y) in values.iter().zip(tensor.to_f32().unwrap()) {
            prop_assert!((x - y).abs() <= largest / 127.0 * 0.5 + largest * 0.001);
        }
    }
}

#[test]
fn real_files_are_read() {
    for (name, file, dtype) in [
        ("stories3M", "stories3M-f32.gguf", Format::F32),
        ("stories3M", "stories3M-q8_0.gguf", Format::Q8_0),
        ("stories260K", "stories260K-q8_0.gguf", Format::Q8_0),
    ] {
        let Some(path) = shared_data(&format!("llm/{name}/{file}")) else { return };
        let gguf = Gguf::open(&path).unwrap();
        let config = ModelConfig::from_gguf(&gguf).unwrap();
        config.check_tensors(&gguf).unwrap();
        assert_eq!(config.name, name);
        let embedding = gguf.read_tensor("token_embd.weight").unwrap();
        assert_eq!((embedding.format(), embedding.shape), (dtype, [config.vocab, config.d_model]));
        // What is read can be written again, to the same tensors.
        let all: Vec<Tensor> = gguf.tensors().iter().map(|t| gguf.read_tensor(&t.name).unwrap()).collect();
        let again = Gguf::from_bytes(encode_gguf(gguf.metadata(), &all).unwrap()).unwrap();
        assert_eq!(again.metadata(), gguf.metadata());
        assert!(all.iter().all(|tensor| again.read_tensor(&tensor.name).unwrap() == *tensor));
    }
}

/// Another program made the q8_0 file from the f32 one, by ggml's rule.
#[test]
fn our_quantiser_agrees_with_the_file() {
    let Some(f32_path) = shared_data("llm/stories260K/stories260K-f32.gguf") else { return };
    let Some(q8_path) = shared_data("llm/stories260K/stories260K-q8_0.gguf") else { return };
    let (exact, quantised) = (Gguf::open(&f32_path).unwrap(), Gguf::open(&q8_path).unwrap());
    for info in quantised.tensors().iter().filter(|info| info.dtype.format() == Some(Format::Q8_0)) {
        let ours = quantize_q8_0(&exact.read_tensor(&info.name).unwrap().to_f32().unwrap()).unwrap();
        assert_eq!(quantised.read_tensor(&info.name).unwrap().bytes(), ours, "{}", info.name);
    }
}

fn refusal(change: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut bytes = encode_gguf(&Metadata::new(), &tensors()).unwrap();
    change(&mut bytes);
    match Gguf::from_bytes(bytes) {
        Err(error) => error.to_string(),
        Ok(gguf) => gguf.tensors().iter().find_map(|t| gguf.read_tensor(&t.name).err()).unwrap().to_string(),
    }
}

#[test]
fn refusals_name_the_fault() {
    // The table of this file: `a` at 24 (name 8+1, one dimension, type at 24+9+4+8), `b.weight`, `c`.
    let a_type = 24 + 9 + 4 + 8;
    let b_data = 160 + 32;
    assert_eq!(
        refusal(|b| b[0] = b'X'),
        "malformed gguf at byte 0: this is not a gguf file (it does not begin with `GGUF`)"
    );
    assert!(refusal(|b| b[4] = 9).contains("version 9 is not supported: 2 and 3 are"));
    assert!(refusal(|b| b[4..8].copy_from_slice(&[0, 0, 0, 3])).contains("big-endian"));
    assert!(refusal(|b| b[8..16].fill(0xff)).contains("18446744073709551615 tensors are more than the limit of 65536"));
    assert!(refusal(|b| b[a_type] = 77).contains("tensor a: has the unknown element type 77"));
    assert_eq!(refusal(|b| b[a_type] = 24), "quantisation I8 of tensor a is not supported yet");
    assert!(refusal(|b| b[a_type] = 12).contains("tensor a: rows of 3 elements are not whole groups of Q4_K"));
    assert!(refusal(|b| b.truncate(b.len() - 1)).contains("reach past the end of the file"));
    assert!(
        refusal(|b| b[b_data + 34..b_data + 36].fill(0x7f))
            .contains("tensor b.weight: a scale of elements 32..64 of row 0 is not finite")
    );
    assert!(
        refusal(|b| b[160..164].copy_from_slice(&f32::NAN.to_le_bytes()))
            .contains("tensor a: element 0 of row 0 is not finite")
    );
    assert!(refusal(|b| b[a_type + 4] = 32).contains("overlaps"));
    assert!(matches!(Gguf::open(std::path::Path::new("/no/such/model.gguf")), Err(ModelError::Io { .. })));
}
