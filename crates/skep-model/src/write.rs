//! Writes GGUF version 3: metadata sorted by key, tensors in the order given, alignment 32. The same input gives the
//! same bytes.

use crate::{Array, DType, Metadata, ModelError, Tensor, Value};
use skep_kernels::{Format, f16_to_f32, f32_to_f16};
use std::io::Write;
use std::path::Path;

const ALIGNMENT: usize = 32;

/// Writes a model file. The bytes go to `PATH.partial`, which takes the name `path` only when it is whole, so a full
/// disk or a crash never leaves a broken model under that name.
///
/// # Errors
/// [`ModelError::Io`] when the disk refuses; otherwise as [`encode_gguf`].
pub fn write_gguf(path: &Path, metadata: &Metadata, tensors: &[Tensor]) -> Result<(), ModelError> {
    let bytes = encode_gguf(metadata, tensors)?;
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = Path::new(&partial);
    let written = std::fs::File::create(partial)
        .and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(partial, path));
    written.map_err(|source| {
        // The half-written file is of no use; that it cannot be removed would only hide the first error.
        let _ = std::fs::remove_file(partial);
        ModelError::Io { path: path.to_owned(), source }
    })
}

/// The bytes of a model file.
///
/// # Errors
/// [`ModelError::Metadata`] when the metadata asks for another alignment.
pub fn encode_gguf(metadata: &Metadata, tensors: &[Tensor]) -> Result<Vec<u8>, ModelError> {
    let key = "general.alignment";
    if metadata.integer(key)?.is_some_and(|alignment| alignment != ALIGNMENT as u64) {
        return Err(ModelError::metadata(key, "must be 32 in a file that this version writes"));
    }
    let mut out = b"GGUF".to_vec();
    out.extend(3u32.to_le_bytes());
    out.extend((tensors.len() as u64).to_le_bytes());
    out.extend((metadata.iter().len() as u64).to_le_bytes());
    for (key, value) in metadata.iter() {
        put_text(&mut out, key);
        put_value(&mut out, value);
    }
    let mut data = Vec::new();
    for tensor in tensors {
        data.resize(data.len().next_multiple_of(ALIGNMENT), 0);
        put_entry(&mut out, tensor, data.len() as u64);
        data.extend(tensor.bytes());
    }
    out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
    out.append(&mut data);
    Ok(out)
}

/// Quantises to the bytes of Q8_0 by ggml's reference rule: per group of 32, `d = max|x| / 127`, `q = round(x · (1/d))` with
/// halves away from zero, and `d` rounded to a 16-bit float.
///
/// # Errors
/// [`ModelError::Input`] when the values are not whole groups of 32, one is not finite, or a scale exceeds a 16-bit float.
pub fn quantize_q8_0(values: &[f32]) -> Result<Vec<u8>, ModelError> {
    let (groups, []) = values.as_chunks::<32>() else {
        return Err(ModelError::Input(format!("{} values are not whole groups of 32", values.len())));
    };
    let mut bytes = Vec::with_capacity(groups.len() * Format::Q8_0.block_bytes());
    for (i, group) in groups.iter().enumerate() {
        let largest = group.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
        let d = largest / 127.0;
        let scale = f32_to_f16(d);
        if group.iter().any(|x| !x.is_finite()) || !f16_to_f32(scale).is_finite() {
            return Err(ModelError::Input(format!("group {i} of 32 values does not fit Q8_0")));
        }
        let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
        bytes.extend(scale.to_le_bytes());
        bytes.extend(group.iter().map(|x| (x * inverse).round().clamp(-127.0, 127.0) as i8 as u8));
    }
    Ok(bytes)
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

macro_rules! put_array {
    ($out:expr, $kind:expr, $values:expr) => {{
        $out.extend(u32::to_le_bytes($kind));
        $out.extend(($values.len() as u64).to_le_bytes());
        $values.iter().for_each(|value| $out.extend(value.to_le_bytes()));
    }};
}

fn put_value(out: &mut Vec<u8>, value: &Value) {
    let mut put = |kind: u32, bytes: &[u8]| {
        out.extend(kind.to_le_bytes());
        out.extend(bytes);
    };
    match value {
        Value::U8(x) => put(0, &x.to_le_bytes()),
        Value::I8(x) => put(1, &x.to_le_bytes()),
        Value::U16(x) => put(2, &x.to_le_bytes()),
        Value::I16(x) => put(3, &x.to_le_bytes()),
        Value::U32(x) => put(4, &x.to_le_bytes()),
        Value::I32(x) => put(5, &x.to_le_bytes()),
        Value::F32(x) => put(6, &x.to_le_bytes()),
        Value::Bool(x) => put(7, &[u8::from(*x)]),
        Value::String(text) => {
            put(8, &[]);
            put_text(out, text);
        }
        Value::Array(array) => {
            put(9, &[]);
            put_elements(out, array);
        }
        Value::U64(x) => put(10, &x.to_le_bytes()),
        Value::I64(x) => put(11, &x.to_le_bytes()),
        Value::F64(x) => put(12, &x.to_le_bytes()),
    }
}

fn put_elements(out: &mut Vec<u8>, array: &Array) {
    match array {
        Array::U8(values) => put_array!(out, 0, values),
        Array::I8(values) => put_array!(out, 1, values),
        Array::U16(values) => put_array!(out, 2, values),
        Array::I16(values) => put_array!(out, 3, values),
        Array::U32(values) => put_array!(out, 4, values),
        Array::I32(values) => put_array!(out, 5, values),
        Array::F32(values) => put_array!(out, 6, values),
        Array::Bool(values) => put_array!(out, 7, values.iter().map(|b| u8::from(*b)).collect::<Vec<u8>>()),
        Array::U64(values) => put_array!(out, 10, values),
        Array::I64(values) => put_array!(out, 11, values),
        Array::F64(values) => put_array!(out, 12, values),
        Array::String(texts) => {
            out.extend(8u32.to_le_bytes());
            out.extend((texts.len() as u64).to_le_bytes());
            texts.iter().for_each(|text| put_text(out, text));
        }
    }
}

fn put_entry(out: &mut Vec<u8>, tensor: &Tensor, offset: u64) {
    put_text(out, &tensor.name);
    let [rows, cols] = tensor.shape.map(|n| n as u64);
    let dims = if rows == 1 { vec![cols] } else { vec![cols, rows] };
    out.extend((dims.len() as u32).to_le_bytes());
    dims.iter().for_each(|dim| out.extend(dim.to_le_bytes()));
    out.extend(DType::from(tensor.format()).number().to_le_bytes());
    out.extend(offset.to_le_bytes());
}
