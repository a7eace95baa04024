//! Matrix products in f32 for training, and for inference over many rows.
//!
//! Every output has one fixed order of operations, so instruction set, tiling and threads never change a bit:
//!
//! - [`gemm_nt`], `Y = X·Wᵀ`: each output is the RK-1 dot product (16 lanes, `lane = i mod 16`, halving tree 8, 4, 2, 1).
//! - [`gemm_nn`], `C += A·B`: each output adds `a[i][p]·b[p][j]` to its old value for `p` = 0, 1, 2, ….
//! - [`gemm_tn`], `C += Aᵀ·B`: each output adds `a[p][i]·b[p][j]` to its old value for `p` = 0, 1, 2, ….
//!
//! Multiplication and addition are always rounded separately. Tiles go over outputs only.

#![allow(unsafe_code, reason = "vector instructions on checked pointers")]

mod isa;
mod tile;

use crate::Isa;

/// A borrowed row-major matrix whose rows are `stride` values apart, so that one head of a row of heads is a matrix too.
#[derive(Clone, Copy, Debug)]
pub struct Mat<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    stride: usize,
}

/// A mutable [`Mat`].
#[derive(Debug)]
pub struct MatMut<'a> {
    data: &'a mut [f32],
    rows: usize,
    cols: usize,
    stride: usize,
}

/// True when a matrix of this shape lies within `len` values.
fn fits(len: usize, rows: usize, cols: usize, stride: usize) -> bool {
    cols <= stride && (rows == 0 || (rows - 1) * stride + cols <= len)
}

impl<'a> Mat<'a> {
    /// A dense `rows × cols` matrix. Panics when `data` is too short.
    pub fn new(data: &'a [f32], rows: usize, cols: usize) -> Self {
        Self::strided(data, rows, cols, cols)
    }

    /// A `rows × cols` matrix whose rows begin `stride` values apart. Panics when `data` is too short.
    pub fn strided(data: &'a [f32], rows: usize, cols: usize, stride: usize) -> Self {
        assert!(fits(data.len(), rows, cols, stride), "a {rows}×{cols} matrix does not fit its {} values", data.len());
        Self { data, rows, cols, stride }
    }
}

impl<'a> MatMut<'a> {
    /// A dense `rows × cols` matrix. Panics when `data` is too short.
    pub fn new(data: &'a mut [f32], rows: usize, cols: usize) -> Self {
        Self::strided(data, rows, cols, cols)
    }

    /// A `rows × cols` matrix whose rows begin `stride` values apart. Panics when `data` is too short.
    pub fn strided(data: &'a mut [f32], rows: usize, cols: usize, stride: usize) -> Self {
        assert!(fits(data.len(), rows, cols, stride), "a {rows}×{cols} matrix does not fit its {} values", data.len());
        Self { data, rows, cols, stride }
    }
}

/// `y[i][j] = dot(x[i], w[j])` in RK-1 order. Shapes: `x` M×K, `w` N×K, `y` M×N. Panics when they disagree.
pub fn gemm_nt(x: Mat, w: Mat, y: MatMut) {
    nt_with(Isa::detect(), x, w, y);
}

/// `c[i][j] += Σ_p a[i][p]·b[p][j]`, `p` ascending. Shapes: `a` M×P, `b` P×N, `c` M×N. Panics when they disagree.
pub fn gemm_nn(a: Mat, b: Mat, c: MatMut) {
    nn_with(Isa::detect(), a, b, c);
}

/// `c[i][j] += Σ_p a[p][i]·b[p][j]`, `p` ascending. Shapes: `a` P×M, `b` P×N, `c` M×N. Panics when they disagree.
pub fn gemm_tn(a: Mat, b: Mat, c: MatMut) {
    tn_with(Isa::detect(), a, b, c);
}

/// [`gemm_nt`] with a given instruction set.
pub(crate) fn nt_with(isa: Isa, x: Mat, w: Mat, y: MatMut) {
    assert!(x.cols == w.cols && y.rows == x.rows && y.cols == w.rows, "gemm_nt: shapes disagree");
    let task = tile::Nt {
        x: x.data.as_ptr(),
        x_stride: x.stride,
        w: w.data.as_ptr(),
        w_stride: w.stride,
        y: y.data.as_mut_ptr(),
        y_stride: y.stride,
        rows: x.rows,
        cols: w.rows,
        depth: x.cols,
    };
    // SAFETY: the constructors of `Mat` and `MatMut` checked that every row lies within its slice, the shapes agree,
    // `y` is borrowed exclusively, and `usable` gives an instruction set that this CPU has.
    unsafe { isa::run_nt(isa.usable(), &task) }
}

fn nn_with(isa: Isa, a: Mat, b: Mat, c: MatMut) {
    assert!(a.cols == b.rows && c.rows == a.rows && c.cols == b.cols, "gemm_nn: shapes disagree");
    let (row_step, depth_step, rows, depth) = (a.stride, 1, a.rows, a.cols);
    outer(isa, a, (row_step, depth_step, rows, depth), b, c);
}

fn tn_with(isa: Isa, a: Mat, b: Mat, c: MatMut) {
    assert!(a.rows == b.rows && c.rows == a.cols && c.cols == b.cols, "gemm_tn: shapes disagree");
    let (row_step, depth_step, rows, depth) = (1, a.stride, a.cols, a.rows);
    outer(isa, a, (row_step, depth_step, rows, depth), b, c);
}

/// The common body of NN and TN, which differ only in the steps with which `a` is walked.
fn outer(isa: Isa, a: Mat, (a_row, a_depth, rows, depth): (usize, usize, usize, usize), b: Mat, c: MatMut) {
    let task = tile::Outer {
        a: a.data.as_ptr(),
        a_row,
        a_depth,
        b: b.data.as_ptr(),
        b_stride: b.stride,
        c: c.data.as_mut_ptr(),
        c_stride: c.stride,
        rows,
        cols: b.cols,
        depth,
    };
    // SAFETY: as in `nt_with`; the callers checked that the shapes agree.
    unsafe { isa::run_outer(isa.usable(), &task) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Values with many different exponents, so that another order of additions shows in the bits.
    fn values(seed: u32, n: usize) -> Vec<f32> {
        let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12345);
        (0..n)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let mantissa = (state >> 9) as f32 / (1u32 << 22) as f32 - 1.0;
                mantissa * f32::from_bits((120 + (state & 7)) << 23)
            })
            .collect()
    }

    fn bits(v: &[f32]) -> Vec<u32> {
        v.iter().map(|x| x.to_bits()).collect()
    }

    /// The definition of the RK-1 dot product, written as plainly as possible.
    fn reference_dot(a: &[f32], b: &[f32]) -> f32 {
        let mut lanes = [0f32; 16];
        for i in 0..a.len() {
            lanes[i % 16] += a[i] * b[i];
        }
        for half in [8, 4, 2, 1] {
            for l in 0..half {
                lanes[l] += lanes[l + half];
            }
        }
        lanes[0]
    }

    fn reference_nt(x: &[f32], w: &[f32], m: usize, n: usize, k: usize) -> Vec<f32> {
        (0..m * n).map(|o| reference_dot(&x[o / n * k..][..k], &w[o % n * k..][..k])).collect()
    }

    fn reference_outer(m: usize, n: usize, p: usize, c: &mut [f32], a: impl Fn(usize, usize) -> f32, b: &[f32]) {
        for i in 0..m {
            for j in 0..n {
                for q in 0..p {
                    c[i * n + j] += a(i, q) * b[q * n + j];
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn every_instruction_set_gives_the_bits_of_the_definition(
            m in 0usize..19, n in 0usize..150, k in 0usize..70, seed in any::<u32>()
        ) {
            let (x, w, old) = (values(seed, m * k), values(!seed, n * k), values(seed ^ 77, m * n));
            let nt = reference_nt(&x, &w, m, n, k);
            // For NN, `x` is M×K and `w` is read as K×N; for TN, `x` is read as K×M.
            let (mut nn, mut tn) = (old.clone(), old.clone());
            reference_outer(m, n, k, &mut nn, |i, q| x[i * k + q], &w);
            reference_outer(m, n, k, &mut tn, |i, q| x[q * m + i], &w);
            for isa in Isa::available() {
                let mut y = values(1, m * n);
                nt_with(*isa, Mat::new(&x, m, k), Mat::new(&w, n, k), MatMut::new(&mut y, m, n));
                prop_assert_eq!(bits(&y), bits(&nt), "nt {:?}", isa);
                let mut y = old.clone();
                nn_with(*isa, Mat::new(&x, m, k), Mat::new(&w, k, n), MatMut::new(&mut y, m, n));
                prop_assert_eq!(bits(&y), bits(&nn), "nn {:?}", isa);
                let mut y = old.clone();
                tn_with(*isa, Mat::new(&x, k, m), Mat::new(&w, k, n), MatMut::new(&mut y, m, n));
                prop_assert_eq!(bits(&y), bits(&tn), "tn {:?}", isa);
            }
        }
    }

    #[test]
    fn strided_views_touch_only_their_own_columns() {
        let (x, w) = (values(1, 6 * 40), values(2, 5 * 48));
        for isa in Isa::available() {
            let mut y = vec![7.0; 6 * 11];
            nt_with(
                *isa,
                Mat::strided(&x[8..], 6, 32, 40),
                Mat::strided(&w[16..], 5, 32, 48),
                MatMut::strided(&mut y[3..], 6, 5, 11),
            );
            for i in 0..6 {
                for j in 0..11 {
                    let expected = match j {
                        3..8 => reference_dot(&x[i * 40 + 8..][..32], &w[(j - 3) * 48 + 16..][..32]),
                        _ => 7.0,
                    };
                    assert_eq!(y[i * 11 + j].to_bits(), expected.to_bits());
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "does not fit")]
    fn a_view_past_its_slice_is_refused() {
        let _ = Mat::strided(&[0.0; 10], 3, 4, 4);
    }
}
