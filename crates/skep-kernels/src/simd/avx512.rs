//! Products of quantised rows with AVX-512 and VNNI.
//!
//! Sixteen rows of weights, a *panel*, fill the sixteen lanes of a register, so each lane carries the running sum of one output
//! and no sum ever crosses lanes. A block of a panel is unpacked once ([`unpack`]) into registers whose lane r holds four
//! neighbouring weights of row r as unsigned bytes, and then multiplied with a tile of activation rows ([`panel`]). One
//! activation row alone does not repay the unpacking: it goes along the rows of weights ([`rows`]).

mod panel;
mod rows;
mod unpack;

use crate::quant::{Activations, Columns};
use crate::{Format, Matrix};
use panel::{Block, Grouped, Plain, Signed, Tile};
use std::arch::x86_64::*;
use std::cell::RefCell;
use std::mem::MaybeUninit;
use unpack::Rows;

/// Rows of a panel: lanes of a register.
pub(super) const PANEL: usize = 16;
/// Activation rows that are multiplied with a block at a time: their sums and terms fill most of the 32 registers.
const TILE: usize = 8;
/// Bytes of unpacked panels that stay in the second-level cache while all activations pass by.
const SCRATCH: usize = 256 * 1024;

/// [`super::quantised_products`] with the instructions of [`crate::Isa::Avx512`], which the caller has checked for.
#[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(super) fn products<const ORDERED: bool>(w: Matrix<'_>, x: &Activations, out: &mut Columns) {
    if x.rows() == 1 {
        return match w.format() {
            Format::Q8_0 => rows::run::<rows::Bytes, ORDERED>(w, x, out),
            Format::Q4_0 => rows::run::<rows::Nibbles, ORDERED>(w, x, out),
            Format::Q4_K => rows::run::<rows::Grouped<false>, ORDERED>(w, x, out),
            Format::Q5_K => rows::run::<rows::Grouped<true>, ORDERED>(w, x, out),
            Format::Q6_K => rows::run::<rows::Signed, ORDERED>(w, x, out),
            Format::F32 | Format::F16 | Format::BF16 => {}
        };
    }
    match w.format() {
        Format::Q8_0 => run::<Plain<false>, ORDERED>(w, x, out),
        Format::Q4_0 => run::<Plain<true>, ORDERED>(w, x, out),
        Format::Q4_K => run::<Grouped<false>, ORDERED>(w, x, out),
        Format::Q5_K => run::<Grouped<true>, ORDERED>(w, x, out),
        Format::Q6_K => run::<Signed, ORDERED>(w, x, out),
        Format::F32 | Format::F16 | Format::BF16 => {}
    }
}

thread_local! {
    /// Unpacked panels: a task writes before it reads.
    static PANELS: RefCell<Vec<__m512i>> = const { RefCell::new(Vec::new()) };
}

/// The rows of one panel; places past the last row repeat it, and their outputs are dropped.
fn rows(w: &Matrix<'_>, first: usize) -> Rows {
    Rows(std::array::from_fn(|r| w.row((first + r).min(w.rows() - 1)).as_ptr()))
}

/// Asks for the part of the next panel that is as large as block `b` of all rows of this one. Sixteen short rows at a time are
/// nothing that the processor would foresee by itself, but the rows of a panel lie side by side.
#[inline]
fn prefetch(w: &Matrix<'_>, rows: &Rows, b: usize) {
    let size = PANEL * w.format().block_bytes();
    let from = rows.0[0].wrapping_add(PANEL.wrapping_mul(w.row_bytes()).wrapping_add(b.wrapping_mul(size)));
    for line in (0..size).step_by(64) {
        // SAFETY: every x86-64 has the instruction, and it reads nothing at an address that does not exist.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(from.wrapping_add(line).cast()) };
    }
}

/// `out[t][r]` for every activation row and every row of `w`, whose format is that of `B`.
#[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn run<B: Block, const ORDERED: bool>(w: Matrix<'_>, x: &Activations, out: &mut Columns) {
    let blocks = w.k() / B::WEIGHTS;
    let at_once = (SCRATCH / (blocks * size_of::<B>())).max(1);
    let mut scratch = PANELS.take();
    let needed = at_once.min(w.rows().div_ceil(PANEL)) * blocks * (size_of::<B>() / size_of::<__m512i>());
    scratch.reserve(needed);
    // SAFETY: memory that may be uninitialised may be seen as any type of its size and alignment.
    let (_, panels, _) = unsafe { scratch.spare_capacity_mut().align_to_mut::<MaybeUninit<B>>() };
    for group in (0..w.rows()).step_by(at_once * PANEL) {
        let end = (group + at_once * PANEL).min(w.rows());
        for (first, panel) in (group..end).step_by(PANEL).zip(panels.chunks_exact_mut(blocks)) {
            let rows = rows(&w, first);
            for (b, block) in panel.iter_mut().enumerate() {
                prefetch(&w, &rows, b);
                // SAFETY: these are whole rows of this format, and b is one of their blocks.
                unsafe { B::unpack(&rows, b, block) };
            }
        }
        let mut t = 0;
        while t < x.rows() {
            let tile = match x.rows() - t {
                TILE.. => TILE,
                4.. => 4,
                2.. => 2,
                _ => 1,
            };
            for (panel, first) in panels.chunks_exact(blocks).zip((group..end).step_by(PANEL)) {
                // SAFETY: all blocks of this panel were written above.
                let blocks = unsafe { std::slice::from_raw_parts(panel.as_ptr().cast::<B>(), blocks) };
                let count = PANEL.min(w.rows() - first);
                match tile {
                    TILE => multiply::<B, TILE, ORDERED>(blocks, x, t, out, first, count),
                    4 => multiply::<B, 4, ORDERED>(blocks, x, t, out, first, count),
                    2 => multiply::<B, 2, ORDERED>(blocks, x, t, out, first, count),
                    _ => multiply::<B, 1, ORDERED>(blocks, x, t, out, first, count),
                }
            }
            t += tile;
        }
    }
    PANELS.set(scratch);
}

/// `T` activation rows from row `t` on and one unpacked panel.
#[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn multiply<B: Block, const T: usize, const ORDERED: bool>(
    blocks: &[B],
    x: &Activations,
    t: usize,
    out: &mut Columns,
    first: usize,
    count: usize,
) {
    assert_eq!(blocks.len() * B::WEIGHTS, x.k, "rows of the same length");
    let tile = Tile::<T>::new(x, t);
    let mut sums = [_mm512_setzero_ps(); T];
    for (b, block) in blocks.iter().enumerate() {
        // SAFETY: the tile has this many blocks; the processor is the caller's promise.
        unsafe { block.multiply::<T, ORDERED>(&tile, b, &mut sums) };
    }
    store(&sums, t, out, first, count);
}

/// Writes the outputs of `count` weight rows from `first` on for the activation rows from `t` on.
#[target_feature(enable = "avx512f")]
fn store<const T: usize>(sums: &[__m512; T], t: usize, out: &mut Columns, first: usize, count: usize) {
    for (i, sum) in sums.iter().enumerate() {
        let mut lanes = [0.0; PANEL];
        // SAFETY: the array has sixteen elements.
        unsafe { _mm512_storeu_ps(lanes.as_mut_ptr(), *sum) };
        out.set_row(t + i, first, &lanes[..count]);
    }
}
