//! How keys and values are kept: pages of [`PAGE`] positions, each a plain run of bytes that sessions may share.
//!
//! A page holds one block's keys and values. For each key-value head in turn: the keys of all positions, the scales of the
//! keys (Q8 only), the values of all positions, the scales of the values. One position's row has `head_dim` elements.

use crate::{NonFinite, PARTIAL, f16_to_f32, f32_to_f16, scalar};

/// Positions of one page; [`PARTIAL`] is a multiple of it.
pub const PAGE: usize = 32;
const _: () = assert!(PARTIAL.is_multiple_of(PAGE));

/// Elements of one block of the Q8 format.
const BLOCK: usize = 32;

/// Element format of keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KvFormat {
    /// As they are computed.
    F32,
    /// Rounded to IEEE halves.
    F16,
    /// Quantised as activations are, in blocks of 32 along a head.
    Q8,
}

/// Shape of the pages of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvLayout {
    format: KvFormat,
    heads: usize,
    head_dim: usize,
}

/// Keys or values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Keys,
    Values,
}

impl KvLayout {
    /// Pages for `heads` key-value heads of `head_dim`, or `None` when either is 0 or blocks of Q8 do not fit a head.
    pub fn new(format: KvFormat, heads: usize, head_dim: usize) -> Option<Self> {
        let fits = format != KvFormat::Q8 || head_dim.is_multiple_of(BLOCK);
        (heads > 0 && head_dim > 0 && fits).then_some(Self { format, heads, head_dim })
    }

    /// The element format.
    pub fn format(&self) -> KvFormat {
        self.format
    }

    /// Number of key-value heads.
    pub fn heads(&self) -> usize {
        self.heads
    }

    /// Length of one head.
    pub fn head_dim(&self) -> usize {
        self.head_dim
    }

    /// Bytes of one page of one block.
    pub fn page_bytes(&self) -> usize {
        2 * self.heads * self.side_bytes()
    }

    /// Bytes of the keys, or of the values, of one head in one page.
    fn side_bytes(&self) -> usize {
        PAGE * match self.format {
            KvFormat::F32 => 4 * self.head_dim,
            KvFormat::F16 => 2 * self.head_dim,
            KvFormat::Q8 => self.head_dim + self.head_dim / BLOCK * 4,
        }
    }

    /// Where a head's keys or values begin in a page.
    fn side_start(&self, head: usize, side: Side) -> usize {
        (2 * head + usize::from(side == Side::Values)) * self.side_bytes()
    }

    /// Writes the key and the value row of one position, `heads × head_dim` each, to place `slot` of a page.
    ///
    /// # Errors
    /// [`NonFinite`] when an element is NaN or infinite, or too large for a half.
    pub fn store(&self, page: &mut [u8], slot: usize, keys: &[f32], values: &[f32]) -> Result<(), NonFinite> {
        assert!(page.len() == self.page_bytes() && slot < PAGE, "a place of a page of this layout");
        assert!(keys.len() == self.heads * self.head_dim && values.len() == keys.len(), "one row of every head");
        for head in 0..self.heads {
            for (side, row) in [(Side::Keys, keys), (Side::Values, values)] {
                let row = &row[head * self.head_dim..][..self.head_dim];
                let start = self.side_start(head, side);
                self.store_row(&mut page[start..start + self.side_bytes()], slot, row)?;
            }
        }
        Ok(())
    }

    fn store_row(&self, side: &mut [u8], slot: usize, row: &[f32]) -> Result<(), NonFinite> {
        if !row.iter().all(|x| x.is_finite()) {
            return Err(NonFinite);
        }
        let dim = self.head_dim;
        match self.format {
            KvFormat::F32 => {
                for (out, x) in side[slot * dim * 4..].as_chunks_mut::<4>().0.iter_mut().zip(row) {
                    *out = x.to_le_bytes();
                }
            }
            KvFormat::F16 => {
                for (out, x) in side[slot * dim * 2..].as_chunks_mut::<2>().0.iter_mut().zip(row) {
                    let half = f32_to_f16(*x);
                    if half & 0x7c00 == 0x7c00 {
                        return Err(NonFinite);
                    }
                    *out = half.to_le_bytes();
                }
            }
            KvFormat::Q8 => {
                let row = scalar::quantise(row, BLOCK);
                let (quants, scales) = side.split_at_mut(PAGE * dim);
                for (out, quant) in quants[slot * dim..].iter_mut().zip(row.quants) {
                    *out = quant as u8;
                }
                let scales = scales[slot * (dim / BLOCK) * 4..].as_chunks_mut::<4>().0;
                for (out, scale) in scales.iter_mut().zip(row.scales) {
                    *out = scale.to_le_bytes();
                }
            }
        }
        Ok(())
    }

    /// The first `out.len() / head_dim` positions of one head of a page as f32; both formats convert exactly or, for Q8,
    /// by one rounded product `scale * quant`.
    #[inline(always)]
    pub(crate) fn load(&self, page: &[u8], head: usize, side: Side, out: &mut [f32]) {
        let dim = self.head_dim;
        let start = self.side_start(head, side);
        let side = &page[start..start + self.side_bytes()];
        match self.format {
            KvFormat::F32 => {
                for (out, bytes) in out.iter_mut().zip(side.as_chunks::<4>().0) {
                    *out = f32::from_le_bytes(*bytes);
                }
            }
            KvFormat::F16 => {
                for (out, bytes) in out.iter_mut().zip(side.as_chunks::<2>().0) {
                    *out = f16_to_f32(u16::from_le_bytes(*bytes));
                }
            }
            KvFormat::Q8 => {
                let (quants, scales) = side.split_at(PAGE * dim);
                let scales = scales.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
                for ((out, quants), scale) in out.chunks_mut(BLOCK).zip(quants.as_chunks::<BLOCK>().0).zip(scales) {
                    for (out, quant) in out.iter_mut().zip(quants) {
                        *out = scale * f32::from(*quant as i8);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_stored_is_loaded(
            seed in proptest::collection::vec(-9.0f32..9.0, 2 * 3 * 64),
            slot in 0..PAGE,
        ) {
            for format in [KvFormat::F32, KvFormat::F16, KvFormat::Q8] {
                let layout = KvLayout::new(format, 3, 64).unwrap();
                let mut page = vec![0; layout.page_bytes()];
                let (keys, values) = seed.split_at(3 * 64);
                layout.store(&mut page, slot, keys, values).unwrap();
                for head in 0..3 {
                    for (side, row) in [(Side::Keys, keys), (Side::Values, values)] {
                        let mut out = vec![0.0; PAGE * 64];
                        layout.load(&page, head, side, &mut out);
                        let row = &row[head * 64..][..64];
                        let found = &out[slot * 64..][..64];
                        for (i, (x, y)) in row.iter().zip(found).enumerate() {
                            let expected = match format {
                                KvFormat::F32 => *x,
                                KvFormat::F16 => f16_to_f32(f32_to_f16(*x)),
                                KvFormat::Q8 => {
                                    let row = scalar::quantise(row, 32);
                                    row.scales[i / 32] * f32::from(row.quants[i])
                                }
                            };
                            prop_assert_eq!(expected.to_bits(), y.to_bits());
                        }
                        prop_assert!(out[..slot * 64].iter().all(|x| *x == 0.0));
                    }
                }
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let layout = KvLayout::new(KvFormat::F16, 1, 4).unwrap();
        let mut page = vec![0; layout.page_bytes()];
        for bad in [f32::NAN, f32::INFINITY, 65_520.0] {
            assert_eq!(layout.store(&mut page, 0, &[0.0, bad, 0.0, 0.0], &[0.0; 4]), Err(NonFinite));
            assert_eq!(layout.store(&mut page, 0, &[0.0; 4], &[0.0, bad, 0.0, 0.0]), Err(NonFinite));
        }
        assert_eq!(KvLayout::new(KvFormat::Q8, 1, 48), None);
    }
}
