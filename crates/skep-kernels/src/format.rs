//! How weights are stored, and a view of a matrix in the very bytes of its GGUF file.

use crate::{bf16_to_f32, f16_to_f32};
use std::fmt;
use std::ops::Range;

/// Element format of a weight matrix; the layouts are in the crate's normative text, section 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(non_camel_case_types, reason = "the names that GGUF gives them")]
pub enum Format {
    /// 32-bit floats.
    F32,
    /// IEEE halves.
    F16,
    /// The upper halves of 32-bit floats.
    BF16,
    /// 32 weights of 4 bits and a scale.
    Q4_0,
    /// 32 weights of 8 bits and a scale.
    Q8_0,
    /// 256 weights of 4 bits, eight scales and minima of 6 bits, two halves.
    Q4_K,
    /// 256 weights of 5 bits, eight scales and minima of 6 bits, two halves.
    Q5_K,
    /// 256 weights of 6 bits, sixteen scales of 8 bits, a half.
    Q6_K,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 8] =
        [Self::F32, Self::F16, Self::BF16, Self::Q4_0, Self::Q8_0, Self::Q4_K, Self::Q5_K, Self::Q6_K];

    /// Weights in one block along a row.
    pub const fn block(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::BF16 => 1,
            Self::Q4_0 | Self::Q8_0 => 32,
            Self::Q4_K | Self::Q5_K | Self::Q6_K => 256,
        }
    }

    /// Bytes of one block.
    pub const fn block_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::BF16 => 2,
            Self::Q4_0 => 18,
            Self::Q8_0 => 34,
            Self::Q4_K => 144,
            Self::Q5_K => 176,
            Self::Q6_K => 210,
        }
    }

    /// Bytes of a row of `k` weights, or `None` when they are not whole blocks or do not fit in memory.
    pub const fn row_bytes(self, k: usize) -> Option<usize> {
        if !k.is_multiple_of(self.block()) {
            return None;
        }
        (k / self.block()).checked_mul(self.block_bytes())
    }

    /// Elements of one block of activations that the format multiplies; 1 where activations stay f32.
    pub const fn activation_block(self) -> usize {
        self.block()
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A row-major weight matrix of `rows` × `k`: a view of its bytes, which need no alignment.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    format: Format,
    rows: usize,
    k: usize,
    bytes: &'a [u8],
}

impl fmt::Debug for Matrix<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Matrix({} × {} {})", self.rows, self.k, self.format)
    }
}

/// A weight that RK-1 refuses: it is not a finite number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NonFiniteWeight {
    /// The row.
    pub row: usize,
    /// The first element along the row of the block that holds it.
    pub element: usize,
}

impl<'a> Matrix<'a> {
    /// A view of `bytes`, or `None` when they are not `rows` whole rows of `k` weights, `k` at least 1.
    pub fn new(format: Format, rows: usize, k: usize, bytes: &'a [u8]) -> Option<Self> {
        let expected = format.row_bytes(k)?.checked_mul(rows)?;
        (k > 0 && bytes.len() == expected).then_some(Self { format, rows, k, bytes })
    }

    /// The element format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Number of rows: the length of an output.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Length of a row: the length of an input.
    pub fn k(&self) -> usize {
        self.k
    }

    /// All bytes.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Bytes of one row.
    pub fn row_bytes(&self) -> usize {
        self.bytes.len().checked_div(self.rows).unwrap_or(0)
    }

    /// The bytes of row `i`. Panics past the last row.
    pub fn row(&self, i: usize) -> &'a [u8] {
        &self.bytes[i * self.row_bytes()..][..self.row_bytes()]
    }

    /// The matrix of some of the rows. Panics past the last row.
    pub fn slice(&self, rows: Range<usize>) -> Self {
        let bytes = &self.bytes[rows.start * self.row_bytes()..rows.end * self.row_bytes()];
        Self { rows: rows.len(), bytes, ..*self }
    }

    /// Row `i` as f32, as section 3 defines an embedding. `out` has length k.
    pub fn row_to_f32(&self, i: usize, out: &mut [f32]) {
        assert_eq!(out.len(), self.k, "a row has k elements");
        let (block, bytes) = (self.format.block(), self.format.block_bytes());
        for (bytes, out) in self.row(i).chunks_exact(bytes).zip(out.chunks_exact_mut(block)) {
            crate::scalar::block_to_f32(self.format, bytes, out);
        }
    }

    /// Checks that every weight is a finite number; reads the whole matrix.
    ///
    /// # Errors
    /// The first block that holds another.
    pub fn check(&self) -> Result<(), NonFiniteWeight> {
        let size = self.format.block_bytes();
        let place = |i: usize| {
            let per_row = self.k / self.format.block();
            NonFiniteWeight { row: i / per_row, element: i % per_row * self.format.block() }
        };
        let bad = |block: &[u8]| !self.format.scales(block).all(f32::is_finite);
        match self.bytes.chunks_exact(size).position(bad) {
            Some(i) => Err(place(i)),
            None => Ok(()),
        }
    }
}

impl Format {
    /// The floats in one block: the weight itself, or the block's one or two scales.
    fn scales(self, block: &[u8]) -> impl Iterator<Item = f32> {
        let half = |at: usize| f16_to_f32(u16::from_le_bytes([block[at], block[at + 1]]));
        let (first, second) = match self {
            Self::F32 => (f32::from_le_bytes([block[0], block[1], block[2], block[3]]), None),
            Self::BF16 => (bf16_to_f32(u16::from_le_bytes([block[0], block[1]])), None),
            Self::F16 | Self::Q4_0 | Self::Q8_0 => (half(0), None),
            Self::Q4_K | Self::Q5_K => (half(0), Some(half(2))),
            Self::Q6_K => (half(208), None),
        };
        [Some(first), second].into_iter().flatten()
    }
}
