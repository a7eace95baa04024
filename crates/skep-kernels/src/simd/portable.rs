//! Products of quantised rows in plain loops that any compiler turns into vector code: the path of every processor without
//! one of its own. A block of weights is unpacked once and multiplied with the blocks of all activation rows.

use crate::quant::{Activations, Columns, SUM};
use crate::{Format, Matrix, f16_to_f32};

/// Weights that share a scale at least.
const PART: usize = 16;

/// A block of weights as integers: products with activations need no more than multiplications and sums.
struct Unpacked {
    /// Up to 256 weights without their scales, offsets taken off.
    quants: [i8; 256],
    /// Scale of each 16 weights; 1 where the format has none.
    scales: [i32; 16],
    /// Minimum of each 32 weights; 0 where the format has none.
    minima: [i32; 8],
    /// Factors of the weighted sum and of the minima.
    factors: (f32, f32),
}

pub(crate) fn products(w: Matrix<'_>, x: &Activations, out: &mut Columns) {
    let (format, n) = (w.format(), x.rows());
    let mut block = Unpacked { quants: [0; 256], scales: [1; 16], minima: [0; 8], factors: (0.0, 0.0) };
    let mut sums = vec![0.0; n];
    for r in 0..w.rows() {
        sums.fill(0.0);
        for (b, bytes) in w.row(r).chunks_exact(format.block_bytes()).enumerate() {
            unpack(format, bytes, &mut block);
            for (t, sum) in sums.iter_mut().enumerate() {
                *sum += term(format, &block, x, t, b);
            }
        }
        for (t, sum) in sums.iter().enumerate() {
            out.set(t, r, *sum);
        }
    }
}

fn term(format: Format, block: &Unpacked, x: &Activations, t: usize, b: usize) -> f32 {
    let (quants, scales, sums) = x.row(t);
    let size = format.block();
    let quants = &quants[b * size..][..size];
    let parts = block.quants[..size].as_chunks::<PART>().0.iter().zip(quants.as_chunks::<PART>().0);
    let products = |(w, x): (&[i8; PART], &[i8; PART])| -> i32 {
        w.iter().zip(x).map(|(w, x)| i32::from(i16::from(*w) * i16::from(*x))).sum()
    };
    let sum: i32 = parts.zip(block.scales).map(|(part, scale)| scale * products(part)).sum();
    let value = sum as f32 * (block.factors.0 * scales[b]);
    if !matches!(format, Format::Q4_K | Format::Q5_K) {
        return value;
    }
    let sums = &sums[b * (size / SUM)..][..size / SUM];
    let minima: i32 = sums.iter().zip(block.minima).map(|(sum, minimum)| minimum * i32::from(*sum)).sum();
    value - minima as f32 * (block.factors.1 * scales[b])
}

fn half(bytes: &[u8], at: usize) -> f32 {
    f16_to_f32(u16::from_le_bytes([bytes[at], bytes[at + 1]]))
}

fn unpack(format: Format, bytes: &[u8], block: &mut Unpacked) {
    let quants = &mut block.quants;
    match format {
        Format::Q4_0 => {
            for (i, byte) in bytes[2..18].iter().enumerate() {
                (quants[i], quants[i + 16]) = ((byte & 15) as i8 - 8, (byte >> 4) as i8 - 8);
            }
            block.factors.0 = half(bytes, 0);
        }
        Format::Q8_0 => {
            quants.iter_mut().zip(&bytes[2..34]).for_each(|(quant, byte)| *quant = *byte as i8);
            block.factors.0 = half(bytes, 0);
        }
        Format::Q4_K => {
            nibbles(&bytes[16..144], 32, quants);
            scales_and_minima(bytes, block);
        }
        Format::Q5_K => {
            nibbles(&bytes[48..176], 32, quants);
            for (i, quant) in quants.iter_mut().enumerate() {
                *quant |= ((bytes[16 + i % 32] >> (i / 32) & 1) << 4) as i8;
            }
            scales_and_minima(bytes, block);
        }
        Format::Q6_K => {
            nibbles(&bytes[..128], 64, quants);
            for (i, quant) in quants.iter_mut().enumerate() {
                let high = bytes[128 + i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
                *quant = (*quant | (high << 4) as i8) - 32;
            }
            for (scale, byte) in block.scales.iter_mut().zip(&bytes[192..208]) {
                *scale = i32::from(*byte as i8);
            }
            block.factors.0 = half(bytes, 208);
        }
        Format::F32 | Format::F16 | Format::BF16 => {}
    }
}

/// Groups of `width` bytes: first the low halves of a group, then the high ones.
fn nibbles(bytes: &[u8], width: usize, quants: &mut [i8]) {
    for (bytes, quants) in bytes.chunks_exact(width).zip(quants.chunks_exact_mut(2 * width)) {
        let (low, high) = quants.split_at_mut(width);
        for ((byte, low), high) in bytes.iter().zip(low).zip(high) {
            (*low, *high) = ((byte & 15) as i8, (byte >> 4) as i8);
        }
    }
}

fn scales_and_minima(bytes: &[u8], block: &mut Unpacked) {
    for j in 0..8 {
        let (scale, minimum) = crate::scalar::scale_and_minimum(&bytes[4..16], j);
        block.scales[2 * j..][..2].fill(scale);
        block.minima[j] = minimum;
    }
    block.factors = (half(bytes, 0), half(bytes, 2));
}
