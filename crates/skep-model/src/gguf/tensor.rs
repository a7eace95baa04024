//! The data of one tensor, read by range.

use super::source::Source;
use super::{DType, TensorInfo};
use crate::ModelError;
use skep_kernels::f16_to_f32;

/// Bytes read from the source at once: a multiple of every group size and of 34.
const CHUNK: u64 = 34 * 32_768;

/// A matrix or, with one row, a vector.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Name in the file.
    pub name: String,
    /// `[rows, cols]`: the output and input lengths of a weight matrix. A vector is `[1, len]`.
    pub shape: [usize; 2],
    /// Elements, row by row.
    pub data: TensorData,
}

/// Elements of a tensor in row-major order; all are finite.
#[derive(Debug, Clone, PartialEq)]
pub enum TensorData {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// Bits of 16-bit floats.
    F16(Vec<u16>),
    /// Groups of 32 along a row; group `g` stands for `scales[g] * quants[32 g ..][..32]`.
    Q8_0 {
        /// One scale a group, converted exactly from the 16-bit float in the file.
        scales: Vec<f32>,
        /// Elements from -127 to 127.
        quants: Vec<i8>,
    },
}

impl Tensor {
    /// The element type in the file.
    pub fn dtype(&self) -> DType {
        match self.data {
            TensorData::F32(_) => DType::F32,
            TensorData::F16(_) => DType::F16,
            TensorData::Q8_0 { .. } => DType::Q8_0,
        }
    }

    /// Bytes of memory that the elements take.
    pub fn resident_bytes(&self) -> u64 {
        (match &self.data {
            TensorData::F32(values) => values.len() * 4,
            TensorData::F16(values) => values.len() * 2,
            TensorData::Q8_0 { scales, quants } => scales.len() * 4 + quants.len(),
        }) as u64
    }

    /// All elements as 32-bit floats, exactly.
    pub fn to_f32(&self) -> Vec<f32> {
        match &self.data {
            TensorData::F32(values) => values.clone(),
            TensorData::F16(values) => values.iter().map(|bits| f16_to_f32(*bits)).collect(),
            TensorData::Q8_0 { scales, quants } => {
                quants.iter().enumerate().map(|(i, quant)| scales[i / 32] * f32::from(*quant)).collect()
            }
        }
    }
}

pub(super) fn read(source: &Source, info: &TensorInfo) -> Result<Tensor, ModelError> {
    let shape = info.matrix_shape()?;
    let elements = shape[0] * shape[1];
    let mut data = match info.dtype {
        DType::F32 => TensorData::F32(Vec::with_capacity(elements)),
        DType::F16 => TensorData::F16(Vec::with_capacity(elements)),
        DType::Q8_0 => {
            TensorData::Q8_0 { scales: Vec::with_capacity(elements / 32), quants: Vec::with_capacity(elements) }
        }
        other => return Err(ModelError::Quantisation { name: info.name.clone(), kind: other.name() }),
    };
    let mut chunk = Vec::new();
    let mut done = 0;
    while done < info.bytes {
        chunk.resize((info.bytes - done).min(CHUNK) as usize, 0);
        source.read_at(info.offset + done, &mut chunk)?;
        append(&info.name, &mut data, &chunk)?;
        done += chunk.len() as u64;
    }
    Ok(Tensor { name: info.name.clone(), shape, data })
}

fn append(name: &str, data: &mut TensorData, chunk: &[u8]) -> Result<(), ModelError> {
    let fault = |what: &str, i: usize| Err(ModelError::tensor(name, format!("{what} {i} is not finite")));
    match data {
        TensorData::F32(values) => {
            for bytes in chunk.as_chunks::<4>().0 {
                let value = f32::from_le_bytes(*bytes);
                if !value.is_finite() {
                    return fault("element", values.len());
                }
                values.push(value);
            }
        }
        TensorData::F16(values) => {
            for bytes in chunk.as_chunks::<2>().0 {
                let bits = u16::from_le_bytes(*bytes);
                if bits & 0x7c00 == 0x7c00 {
                    return fault("element", values.len());
                }
                values.push(bits);
            }
        }
        TensorData::Q8_0 { scales, quants } => {
            for group in chunk.as_chunks::<34>().0 {
                let scale = f16_to_f32(u16::from_le_bytes([group[0], group[1]]));
                if !scale.is_finite() {
                    return fault("the scale of group", scales.len());
                }
                // The kernels' exact integer sums rely on -128 being absent; no quantiser writes it.
                if let Some(i) = group[2..].iter().position(|byte| *byte == 0x80) {
                    return Err(ModelError::tensor(name, format!("element {} is -128", quants.len() + i)));
                }
                scales.push(scale);
                quants.extend(group[2..].iter().map(|byte| *byte as i8));
            }
        }
    }
    Ok(())
}
