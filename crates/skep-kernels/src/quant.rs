//! Activation rows as the quantised formats read them.

#![allow(unsafe_code, reason = "one task writes the three parts of a row")]

use crate::threads::Parts;
use crate::{Cpu, simd};

/// Quantised activation rows, with the sums that kernels need where they read weights as unsigned numbers.
#[derive(Debug)]
pub(crate) struct Activations {
    /// Row length.
    pub(crate) k: usize,
    /// Elements of one block: 32 or 256.
    pub(crate) block: usize,
    /// n × k, each within ±127.
    pub(crate) quants: Vec<i8>,
    /// n × k/block.
    pub(crate) scales: Vec<f32>,
    /// n × k/32: sums of 32 quants each.
    pub(crate) sums: Vec<i16>,
    /// What takes the offsets off again where kernels read signed weights as unsigned ones. Blocks of 32: -128 times the sum of
    /// each, n × k/32; blocks of 256: -32 times the sums of 16 quants each, n × k/16.
    pub(crate) starts: Vec<i32>,
}

/// Elements of one sum.
pub(crate) const SUM: usize = 32;
/// Elements that one task quantises at least, so that waking a thread pays.
const GRAIN: usize = 16 * 1024;

impl Activations {
    /// Quantises `x`, n × k, in blocks of `block`.
    pub(crate) fn new(cpu: &Cpu, x: &[f32], k: usize, block: usize) -> Self {
        let n = x.len() / k;
        let (mut quants, mut scales, mut sums) = (vec![0; n * k], vec![0.0; n * k / block], vec![0; n * k / SUM]);
        let part = if block == SUM { SUM } else { SUM / 2 };
        let mut starts = vec![0; n * k / part];
        let (scale_parts, sum_parts) = (Parts::new(&mut scales), Parts::new(&mut sums));
        let start_parts = Parts::new(&mut starts);
        cpu.workers().for_parts(&mut quants, k, (GRAIN / k).max(1), |i, quants| {
            // SAFETY: `for_parts` gives each row to one task, the vectors are borrowed for its whole call, and rows of
            // scales, of sums and of starts do not overlap.
            let (scales, sums, starts) = unsafe {
                let scales = scale_parts.part(i * (k / block), k / block);
                (scales, sum_parts.part(i * (k / SUM), k / SUM), start_parts.part(i * (k / part), k / part))
            };
            simd::quantise_row(cpu.isa(), &x[i * k..(i + 1) * k], block, quants, scales, sums, starts);
        });
        Self { k, block, quants, scales, sums, starts }
    }

    /// Number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.quants.len() / self.k
    }

    /// Quants, scales and sums of row `t`.
    pub(crate) fn row(&self, t: usize) -> (&[i8], &[f32], &[i16]) {
        let (blocks, sums) = (self.k / self.block, self.k / SUM);
        (&self.quants[t * self.k..][..self.k], &self.scales[t * blocks..][..blocks], &self.sums[t * sums..][..sums])
    }
}

/// Outputs of some weight rows for every activation row: a column block of an n × rows matrix.
#[derive(Debug)]
pub(crate) struct Columns {
    base: *mut f32,
    stride: usize,
    n: usize,
    width: usize,
}

impl Columns {
    /// Columns `from..from + width` of `out`, whose rows are `stride` long.
    ///
    /// # Safety
    /// `out` stays borrowed and nothing else touches these columns while this value lives.
    pub(crate) unsafe fn new(out: &Parts<f32>, stride: usize, from: usize, width: usize) -> Self {
        assert!(from + width <= stride, "columns of the matrix");
        // SAFETY: the pointer stays within the slice, whose borrow is the caller's promise.
        let (base, n) = unsafe { (out.start().add(from), out.len() / stride) };
        Self { base, stride, n, width }
    }

    /// Sets the output of activation row `t` and weight row `r` of this block of columns.
    #[inline(always)]
    pub(crate) fn set(&mut self, t: usize, r: usize, value: f32) {
        debug_assert!(t < self.n && r < self.width, "an output of this block");
        // SAFETY: the element is one of this block of columns, which is exclusively this value's.
        unsafe { *self.base.add(t * self.stride + r) = value };
    }

    /// Sets the outputs `r..` of activation row `t`.
    #[inline(always)]
    pub(crate) fn set_row(&mut self, t: usize, r: usize, values: &[f32]) {
        assert!(t < self.n && r + values.len() <= self.width, "outputs of this block");
        // SAFETY: the elements are of this block of columns, which is exclusively this value's.
        unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), self.base.add(t * self.stride + r), values.len()) };
    }

    /// Number of activation rows.
    pub(crate) fn rows(&self) -> usize {
        self.n
    }
}
