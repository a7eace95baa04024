//! Reads the header, the metadata and the tensor table. Every count and length is checked against a limit and against
//! the bytes that are left before anything is allocated for it.

use super::source::Source;
use super::{Array, DType, Metadata, TensorInfo, Value};
use crate::ModelError;
use std::collections::BTreeSet;

/// Most metadata entries; real files have fewer than a hundred.
const MAX_ENTRIES: u64 = 4096;
/// Most tensors.
const MAX_TENSORS: u64 = 65_536;
/// Longest key (the format's own limit), in bytes.
const MAX_KEY: u64 = 65_535;
/// Longest string value, in bytes; the longest in use are chat templates.
const MAX_STRING: u64 = 4 << 20;
/// Most elements of a metadata array; the largest vocabularies have 0.3 million entries.
const MAX_ARRAY: u64 = 4 << 20;
/// Longest tensor name (the format's own limit), in bytes.
const MAX_NAME: u64 = 64;
/// Longest header, metadata and tensor table together, in bytes.
pub(super) const MAX_HEADER: u64 = 256 << 20;
/// Bytes read from the source at once while parsing.
const WINDOW: usize = 64 << 10;

/// What the front of a file says.
pub(super) struct Header {
    pub(super) version: u32,
    pub(super) metadata: Metadata,
    pub(super) tensors: Vec<TensorInfo>,
    /// Where the data of tensors may begin.
    pub(super) bytes: u64,
}

pub(super) fn parse(source: &Source) -> Result<Header, ModelError> {
    let mut reader = Reader { source, at: 0, window: Vec::new(), window_at: 0 };
    let version = reader.magic_and_version()?;
    let n_tensors = reader.count("tensors", MAX_TENSORS, 24)?;
    let n_entries = reader.count("metadata entries", MAX_ENTRIES, 13)?;
    let mut metadata = Metadata::new();
    for _ in 0..n_entries {
        let at = reader.at;
        let key = reader.string("metadata key", MAX_KEY)?;
        let kind = reader.u32()?;
        let value = reader.value(&key, kind)?;
        if metadata.insert(key.clone(), value).is_some() {
            return Err(ModelError::Format { at, reason: format!("metadata key {key} stands twice") });
        }
    }
    let alignment = alignment(&metadata)?;
    let mut tensors = Vec::with_capacity(n_tensors as usize);
    let mut names = BTreeSet::new();
    for _ in 0..n_tensors {
        let info = reader.tensor_info()?;
        if !names.insert(info.name.clone()) {
            return Err(ModelError::tensor(&info.name, "stands twice in the table"));
        }
        tensors.push(info);
    }
    // Data starts at the next aligned byte; offsets in the table count from there.
    let data_start = reader.at.next_multiple_of(alignment);
    place(&mut tensors, data_start, alignment, source.len())?;
    Ok(Header { version, metadata, tensors, bytes: data_start.min(source.len()) })
}

fn alignment(metadata: &Metadata) -> Result<u64, ModelError> {
    const KEY: &str = "general.alignment";
    let alignment = metadata.integer(KEY)?.unwrap_or(32);
    if alignment.is_power_of_two() && (8..=65_536).contains(&alignment) {
        Ok(alignment)
    } else {
        Err(ModelError::metadata(KEY, format!("is {alignment}, but must be a power of two from 8 to 65536")))
    }
}

/// Turns offsets into absolute ones and checks that the data of all tensors lies in the file without overlap, so that
/// reading every tensor once never needs more memory than a small multiple of the file.
fn place(tensors: &mut [TensorInfo], data_start: u64, alignment: u64, file: u64) -> Result<(), ModelError> {
    for tensor in tensors.iter_mut() {
        if tensor.offset % alignment != 0 {
            return Err(ModelError::tensor(
                &tensor.name,
                format!("offset {} is not a multiple of the alignment {alignment}", tensor.offset),
            ));
        }
        let range =
            data_start.checked_add(tensor.offset).and_then(|start| Some((start, start.checked_add(tensor.bytes)?)));
        match range {
            Some((start, end)) if end <= file => tensor.offset = start,
            _ => {
                let reason = format!(
                    "its {} bytes at data offset {} reach past the end of the file ({file} bytes)",
                    tensor.bytes, tensor.offset
                );
                return Err(ModelError::tensor(&tensor.name, reason));
            }
        }
    }
    let mut order: Vec<&TensorInfo> = tensors.iter().collect();
    order.sort_by_key(|tensor| tensor.offset);
    for pair in order.windows(2) {
        if pair[0].offset + pair[0].bytes > pair[1].offset {
            return Err(ModelError::tensor(&pair[1].name, format!("its data overlaps that of {}", pair[0].name)));
        }
    }
    Ok(())
}

struct Reader<'a> {
    source: &'a Source,
    at: u64,
    window: Vec<u8>,
    window_at: u64,
}

macro_rules! array {
    ($reader:expr, $count:expr, $variant:ident, $type:ty) => {{
        const SIZE: usize = size_of::<$type>();
        let mut values = Vec::with_capacity($count as usize);
        for _ in 0..$count {
            values.push(<$type>::from_le_bytes($reader.take::<SIZE>()?));
        }
        Array::$variant(values)
    }};
}

impl Reader<'_> {
    fn fault<T>(&self, reason: impl Into<String>) -> Result<T, ModelError> {
        Err(ModelError::Format { at: self.at, reason: reason.into() })
    }

    fn left(&self) -> u64 {
        self.source.len().min(MAX_HEADER).saturating_sub(self.at)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], ModelError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, mut target: &mut [u8]) -> Result<(), ModelError> {
        if self.left() < target.len() as u64 {
            let limit = if self.source.len() > MAX_HEADER {
                "the header is longer than 256 MiB"
            } else {
                "the file ends early"
            };
            return self.fault(limit);
        }
        while !target.is_empty() {
            let skip = (self.at - self.window_at) as usize;
            if skip >= self.window.len() {
                let size = self.left().min(self.source.readable(self.at)?).min(WINDOW as u64) as usize;
                self.window.resize(size, 0);
                self.source.read_at(self.at, &mut self.window)?;
                self.window_at = self.at;
                continue;
            }
            let n = target.len().min(self.window.len() - skip);
            target[..n].copy_from_slice(&self.window[skip..skip + n]);
            self.at += n as u64;
            target = &mut target[n..];
        }
        Ok(())
    }

    fn u32(&mut self) -> Result<u32, ModelError> {
        Ok(u32::from_le_bytes(self.take()?))
    }

    fn u64(&mut self) -> Result<u64, ModelError> {
        Ok(u64::from_le_bytes(self.take()?))
    }

    fn magic_and_version(&mut self) -> Result<u32, ModelError> {
        if self.source.len() < 4 || self.take::<4>()? != *b"GGUF" {
            self.at = 0;
            return self.fault("this is not a gguf file (it does not begin with `GGUF`)");
        }
        match self.u32()? {
            version @ (2 | 3) => Ok(version),
            version if matches!(version.swap_bytes(), 1..=3) => self.fault("big-endian files are not supported"),
            version => self.fault(format!("version {version} is not supported: 2 and 3 are")),
        }
    }

    /// A count of things that take at least `least` bytes each.
    fn count(&mut self, what: &str, limit: u64, least: u64) -> Result<u64, ModelError> {
        let count = self.u64()?;
        if count > limit {
            return self.fault(format!("{count} {what} are more than the limit of {limit}"));
        }
        if count * least > self.left() {
            return self.fault(format!("{count} {what} do not fit in the {} bytes that are left", self.left()));
        }
        Ok(count)
    }

    fn string(&mut self, what: &str, limit: u64) -> Result<String, ModelError> {
        let len = self.count(&format!("bytes of a {what}"), limit, 1)?;
        let mut bytes = vec![0; len as usize];
        let at = self.at;
        self.fill(&mut bytes)?;
        String::from_utf8(bytes).map_err(|_| ModelError::Format { at, reason: format!("a {what} is not UTF-8") })
    }

    fn value(&mut self, key: &str, kind: u32) -> Result<Value, ModelError> {
        Ok(match kind {
            0 => Value::U8(u8::from_le_bytes(self.take()?)),
            1 => Value::I8(i8::from_le_bytes(self.take()?)),
            2 => Value::U16(u16::from_le_bytes(self.take()?)),
            3 => Value::I16(i16::from_le_bytes(self.take()?)),
            4 => Value::U32(self.u32()?),
            5 => Value::I32(i32::from_le_bytes(self.take()?)),
            6 => Value::F32(f32::from_le_bytes(self.take()?)),
            7 => Value::Bool(self.boolean(key)?),
            8 => Value::String(self.string("string", MAX_STRING)?),
            9 => Value::Array(self.array(key)?),
            10 => Value::U64(self.u64()?),
            11 => Value::I64(i64::from_le_bytes(self.take()?)),
            12 => Value::F64(f64::from_le_bytes(self.take()?)),
            _ => return self.fault(format!("metadata {key} has the unknown type {kind}")),
        })
    }

    fn boolean(&mut self, key: &str) -> Result<bool, ModelError> {
        match self.take::<1>()? {
            [0] => Ok(false),
            [1] => Ok(true),
            [byte] => self.fault(format!("metadata {key} is a boolean of value {byte}")),
        }
    }

    fn array(&mut self, key: &str) -> Result<Array, ModelError> {
        let kind = self.u32()?;
        let size = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            8 | 10..=12 => 8,
            9 => return self.fault(format!("metadata {key} is an array of arrays")),
            _ => return self.fault(format!("metadata {key} is an array of the unknown type {kind}")),
        };
        let count = self.count(&format!("elements of {key}"), MAX_ARRAY, size)?;
        Ok(match kind {
            0 => array!(self, count, U8, u8),
            1 => array!(self, count, I8, i8),
            2 => array!(self, count, U16, u16),
            3 => array!(self, count, I16, i16),
            4 => array!(self, count, U32, u32),
            5 => array!(self, count, I32, i32),
            6 => array!(self, count, F32, f32),
            7 => Array::Bool((0..count).map(|_| self.boolean(key)).collect::<Result<_, _>>()?),
            10 => array!(self, count, U64, u64),
            11 => array!(self, count, I64, i64),
            12 => array!(self, count, F64, f64),
            _ => Array::String((0..count).map(|_| self.string("string", MAX_STRING)).collect::<Result<_, _>>()?),
        })
    }

    fn tensor_info(&mut self) -> Result<TensorInfo, ModelError> {
        let name = self.string("tensor name", MAX_NAME)?;
        let n_dims = self.u32()?;
        if !(1..=4).contains(&n_dims) {
            return Err(ModelError::tensor(&name, format!("has {n_dims} dimensions, not 1 to 4")));
        }
        let dims = (0..n_dims).map(|_| self.u64()).collect::<Result<Vec<u64>, _>>()?;
        let number = self.u32()?;
        let dtype = DType::from_number(number)
            .ok_or_else(|| ModelError::tensor(&name, format!("has the unknown element type {number}")))?;
        if dims.contains(&0) {
            return Err(ModelError::tensor(&name, "has a dimension of 0"));
        }
        if dims[0] % dtype.group() != 0 {
            let reason = format!("rows of {} elements are not whole groups of {}", dims[0], dtype.name());
            return Err(ModelError::tensor(&name, reason));
        }
        let elements = dims.iter().try_fold(1u64, |product, dim| product.checked_mul(*dim));
        let bytes = elements.and_then(|elements| dtype.bytes(elements));
        let bytes = bytes.ok_or_else(|| ModelError::tensor(&name, format!("the size of shape {dims:?} overflows")))?;
        let offset = self.u64()?;
        Ok(TensorInfo { name, dtype, dims, offset, bytes })
    }
}
