//! The tiled loops, written once over sixteen lanes and compiled for each instruction set.

#![allow(clippy::needless_range_loop, reason = "several arrays are walked by one index")]

/// Sixteen f32 lanes.
///
/// Every method is unsafe because an implementation may use instructions that the caller must have checked for.
pub(super) trait Lanes: Copy {
    /// How many vectors wide a tile of the outer-product kernel is.
    const TILE_VECS: usize;
    /// True when 4 × 4 accumulators stay in registers.
    const WIDE: bool;
    unsafe fn zero() -> Self;
    /// Reads 16 values from `p`.
    unsafe fn load(p: *const f32) -> Self;
    /// Writes 16 values to `p`.
    unsafe fn store(self, p: *mut f32);
    unsafe fn splat(x: f32) -> Self;
    /// `self + a·b`, the product rounded before the sum.
    unsafe fn plus_product(self, a: Self, b: Self) -> Self;
    /// The halving tree 8, 4, 2, 1.
    unsafe fn tree(self) -> f32;
    /// The trees of sixteen vectors, in order.
    #[inline(always)]
    unsafe fn trees(v: [Self; 16]) -> [f32; 16] {
        // SAFETY: the caller's promise is the same.
        v.map(|x| unsafe { x.tree() })
    }
}

/// `y[i][j] = dot(x[i], w[j])`: pointers, strides in values, and `rows × cols` outputs of `depth` products.
pub(super) struct Nt {
    pub x: *const f32,
    pub x_stride: usize,
    pub w: *const f32,
    pub w_stride: usize,
    pub y: *mut f32,
    pub y_stride: usize,
    pub rows: usize,
    pub cols: usize,
    pub depth: usize,
}

/// Rows of `x` that are kept in the first-level cache while all of `w` passes by.
const ROW_BLOCK: usize = 32;

impl Nt {
    /// Runs the whole product.
    ///
    /// # Safety
    /// The pointers must be valid for the stated shapes and the CPU must have what `V` uses.
    #[inline(always)]
    pub unsafe fn run<V: Lanes>(&self) {
        let mut top = 0;
        while top < self.rows {
            let end = (top + ROW_BLOCK).min(self.rows);
            let mut j = 0;
            while j < self.cols {
                let wide = if V::WIDE { 4 } else { 2 };
                let cols = if j + wide <= self.cols { wide } else { 1 };
                let mut i = top;
                while i < end {
                    let rows = if i + cols <= end { cols } else { 1 };
                    // SAFETY: rows i.. and columns j.. lie within the shape; the rest is the caller's promise.
                    unsafe {
                        match (rows, cols) {
                            (4, 4) => self.tile_4x4::<V>(i, j),
                            (2, 2) => self.tile::<V, 2, 2>(i, j),
                            (_, 4) => self.tile::<V, 1, 4>(i, j),
                            (_, 2) => self.tile::<V, 1, 2>(i, j),
                            _ => self.tile::<V, 1, 1>(i, j),
                        }
                    }
                    i += rows;
                }
                j += cols;
            }
            top = end;
        }
    }

    /// The lane accumulators of `R × C` outputs.
    #[inline(always)]
    unsafe fn accumulate<V: Lanes, const R: usize, const C: usize>(&self, i: usize, j: usize) -> [[V; C]; R] {
        // SAFETY: reads stay within rows i..i+R of x and j..j+C of w, each of `depth` values; the tail is copied first.
        unsafe {
            let mut acc = [[V::zero(); C]; R];
            let whole = self.depth / 16 * 16;
            let mut k = 0;
            while k < whole {
                let x: [V; R] = std::array::from_fn(|r| V::load(self.x.add((i + r) * self.x_stride + k)));
                for c in 0..C {
                    let w = V::load(self.w.add((j + c) * self.w_stride + k));
                    for r in 0..R {
                        acc[r][c] = acc[r][c].plus_product(x[r], w);
                    }
                }
                k += 16;
            }
            if whole < self.depth {
                // A lane beyond the end gains 0·0, which leaves every sum that began at +0 unchanged.
                let tail = self.depth - whole;
                for r in 0..R {
                    let x = padded(self.x.add((i + r) * self.x_stride + whole), tail);
                    for c in 0..C {
                        let w = padded(self.w.add((j + c) * self.w_stride + whole), tail);
                        acc[r][c] = acc[r][c].plus_product(V::load(x.as_ptr()), V::load(w.as_ptr()));
                    }
                }
            }
            acc
        }
    }

    #[inline(always)]
    unsafe fn tile<V: Lanes, const R: usize, const C: usize>(&self, i: usize, j: usize) {
        // SAFETY: outputs (i..i+R, j..j+C) exist; the rest is the caller's promise.
        unsafe {
            let acc = self.accumulate::<V, R, C>(i, j);
            for (r, row) in acc.iter().enumerate() {
                for (c, lanes) in row.iter().enumerate() {
                    *self.y.add((i + r) * self.y_stride + j + c) = lanes.tree();
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn tile_4x4<V: Lanes>(&self, i: usize, j: usize) {
        // SAFETY: outputs (i..i+4, j..j+4) exist; the rest is the caller's promise.
        unsafe {
            let acc = self.accumulate::<V, 4, 4>(i, j);
            let sums = V::trees(std::array::from_fn(|o| acc[o / 4][o % 4]));
            for r in 0..4 {
                std::ptr::copy_nonoverlapping(sums.as_ptr().add(r * 4), self.y.add((i + r) * self.y_stride + j), 4);
            }
        }
    }
}

/// The `n` < 16 values at `p`, followed by zeros.
#[inline(always)]
unsafe fn padded(p: *const f32, n: usize) -> [f32; 16] {
    let mut out = [0f32; 16];
    // SAFETY: the caller owns `n` values at `p`, and `n` is less than 16.
    unsafe { std::ptr::copy_nonoverlapping(p, out.as_mut_ptr(), n) };
    out
}

/// `c[i][j] += Σ_p a(i, p)·b[p][j]` with `a(i, p)` at `a + i·a_row + p·a_depth`.
pub(super) struct Outer {
    pub a: *const f32,
    pub a_row: usize,
    pub a_depth: usize,
    pub b: *const f32,
    pub b_stride: usize,
    pub c: *mut f32,
    pub c_stride: usize,
    pub rows: usize,
    pub cols: usize,
    pub depth: usize,
}

impl Outer {
    /// Runs the whole product.
    ///
    /// # Safety
    /// The pointers must be valid for the stated shapes and the CPU must have what `V` uses.
    #[inline(always)]
    pub unsafe fn run<V: Lanes>(&self) {
        let mut j = 0;
        while j < self.cols {
            let left = self.cols - j;
            let width = match left {
                _ if left >= 16 * V::TILE_VECS => 16 * V::TILE_VECS,
                _ if left >= 32 && V::WIDE => 32,
                16.. => 16,
                _ => 1,
            };
            let mut i = 0;
            while i < self.rows {
                let rows = if self.rows - i >= 4 { 4 } else { 1 };
                // SAFETY: rows i..i+rows and columns j..j+width lie within the shape; the rest is the caller's promise.
                unsafe {
                    match (rows, width) {
                        (4, 64) => self.tile::<V, 4, 4>(i, j),
                        (_, 64) => self.tile::<V, 1, 4>(i, j),
                        (4, 32) => self.tile::<V, 4, 2>(i, j),
                        (_, 32) => self.tile::<V, 1, 2>(i, j),
                        (4, 16) => self.tile::<V, 4, 1>(i, j),
                        (_, 16) => self.tile::<V, 1, 1>(i, j),
                        _ => (i..i + rows).for_each(|r| self.one(r, j)),
                    }
                }
                i += rows;
            }
            j += width;
        }
    }

    /// `R` rows of `C` vectors of outputs, whose sums live in registers.
    #[inline(always)]
    unsafe fn tile<V: Lanes, const R: usize, const C: usize>(&self, i: usize, j: usize) {
        // SAFETY: reads and writes stay within rows i..i+R and columns j..j+16·C; the rest is the caller's promise.
        unsafe {
            let at = |r: usize, v: usize| (i + r) * self.c_stride + j + 16 * v;
            let mut acc: [[V; C]; R] =
                std::array::from_fn(|r| std::array::from_fn(|v| V::load(self.c.add(at(r, v)).cast_const())));
            let mut a = self.a.add(i * self.a_row);
            let mut b = self.b.add(j);
            for _ in 0..self.depth {
                let cols: [V; C] = std::array::from_fn(|v| V::load(b.add(16 * v)));
                for r in 0..R {
                    let x = V::splat(*a.add(r * self.a_row));
                    for v in 0..C {
                        acc[r][v] = acc[r][v].plus_product(x, cols[v]);
                    }
                }
                a = a.wrapping_add(self.a_depth);
                b = b.wrapping_add(self.b_stride);
            }
            for (r, row) in acc.iter().enumerate() {
                for (v, lanes) in row.iter().enumerate() {
                    lanes.store(self.c.add(at(r, v)));
                }
            }
        }
    }

    /// One output, for the last columns that do not fill a vector.
    #[inline(always)]
    unsafe fn one(&self, i: usize, j: usize) {
        // SAFETY: output (i, j) exists; the rest is the caller's promise.
        unsafe {
            let out = self.c.add(i * self.c_stride + j);
            let mut sum = *out;
            for p in 0..self.depth {
                sum += *self.a.add(i * self.a_row + p * self.a_depth) * *self.b.add(p * self.b_stride + j);
            }
            *out = sum;
        }
    }
}
