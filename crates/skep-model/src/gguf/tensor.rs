//! The data of one tensor: a view of the file, or bytes of its own.

use super::TensorInfo;
use super::source::{Bytes, Source};
use crate::ModelError;
use skep_kernels::{Format, Matrix};
use std::fmt;
use std::ops::Range;

/// A matrix or, with one row, a vector. All its elements are finite.
#[derive(Clone, PartialEq)]
pub struct Tensor {
    /// Name in the file.
    pub name: String,
    /// `[rows, cols]`: the output and input lengths of a weight matrix. A vector is `[1, len]`.
    pub shape: [usize; 2],
    format: Format,
    /// The elements as the file holds them.
    bytes: Bytes,
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor({} {:?} {})", self.name, self.shape, self.format)
    }
}

impl Tensor {
    /// A tensor of `bytes` in the layout of `format`.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] when the bytes do not fit the shape or an element is not finite.
    pub fn new(name: &str, shape: [usize; 2], format: Format, bytes: Vec<u8>) -> Result<Self, ModelError> {
        Self::checked(name, shape, format, Bytes::from(bytes))
    }

    /// A tensor of 32-bit floats.
    ///
    /// # Errors
    /// As [`Tensor::new`].
    pub fn from_f32(name: &str, shape: [usize; 2], values: &[f32]) -> Result<Self, ModelError> {
        Self::new(name, shape, Format::F32, values.iter().flat_map(|x| x.to_le_bytes()).collect())
    }

    pub(super) fn read(source: &Source, info: &TensorInfo) -> Result<Self, ModelError> {
        let kind = info.dtype.name();
        let unsupported = || ModelError::Quantisation { name: info.name.clone(), kind };
        let format = info.dtype.format().ok_or_else(unsupported)?;
        Self::checked(&info.name, info.matrix_shape()?, format, source.bytes(info.offset, info.bytes)?)
    }

    fn checked(name: &str, shape: [usize; 2], format: Format, bytes: Bytes) -> Result<Self, ModelError> {
        let [rows, cols] = shape;
        let fault = |reason: String| ModelError::tensor(name, reason);
        let matrix = Matrix::new(format, rows, cols, &bytes).filter(|matrix| matrix.rows() > 0);
        let matrix =
            matrix.ok_or_else(|| fault(format!("has {} bytes for {format} of shape {shape:?}", bytes.len())))?;
        matrix.check().map_err(|at| match format.block() {
            1 => fault(format!("element {} of row {} is not finite", at.element, at.row)),
            n => {
                fault(format!("a scale of elements {}..{} of row {} is not finite", at.element, at.element + n, at.row))
            }
        })?;
        Ok(Self { name: name.to_owned(), shape, format, bytes })
    }

    /// A matrix of some of the rows, in the same bytes.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] when the tensor has fewer rows.
    pub fn rows(&self, rows: Range<usize>) -> Result<Self, ModelError> {
        let [all, cols] = self.shape;
        if rows.start >= rows.end || rows.end > all {
            return Err(ModelError::tensor(&self.name, format!("has {all} rows, not the rows {rows:?}")));
        }
        let row = self.bytes.len() / all;
        let bytes = self.bytes.part(rows.start * row..rows.end * row);
        Ok(Self { name: self.name.clone(), shape: [rows.len(), cols], format: self.format, bytes })
    }

    /// The element format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The elements as the file holds them.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The kernels' view.
    ///
    /// # Errors
    /// Never for a tensor that was made; the bytes were checked then.
    pub fn matrix(&self) -> Result<Matrix<'_>, ModelError> {
        let [rows, cols] = self.shape;
        Matrix::new(self.format, rows, cols, &self.bytes)
            .ok_or_else(|| ModelError::tensor(&self.name, "does not have its shape"))
    }

    /// All elements as 32-bit floats, as RK-1 reads an embedding.
    ///
    /// # Errors
    /// As [`Tensor::matrix`].
    pub fn to_f32(&self) -> Result<Vec<f32>, ModelError> {
        let matrix = self.matrix()?;
        let mut out = vec![0.0; matrix.rows() * matrix.k()];
        for (i, row) in out.chunks_exact_mut(matrix.k()).enumerate() {
            matrix.row_to_f32(i, row);
        }
        Ok(out)
    }
}
