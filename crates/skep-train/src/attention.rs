//! Causal attention of one sequence with grouped keys and values: forward with RK-1's bits, and backward.
//!
//! Queries are taken in blocks of rows, so that a block's products over the keys that it sees are matrix products. A weight of
//! a later key is +0 and adds nothing, which leaves every sum as it is.

use crate::Shape;
use crate::maths::exp_and_sum;
use skep_kernels::PARTIAL;
use skep_kernels::gemm::{Mat, MatMut, gemm_nn, gemm_nt, gemm_tn};

/// Query rows of one block.
const ROWS: usize = 64;

/// Sizes that every function here needs.
#[derive(Clone, Copy)]
pub(crate) struct Heads {
    heads: usize,
    group: usize,
    dim: usize,
    d_q: usize,
    d_kv: usize,
}

impl Heads {
    pub(crate) fn new(shape: &Shape) -> Self {
        let group = shape.n_heads / shape.n_kv_heads;
        Self { heads: shape.n_heads, group, dim: shape.head_dim, d_q: shape.d_q(), d_kv: shape.d_kv() }
    }

    fn scale(&self) -> f32 {
        1.0 / (self.dim as f32).sqrt()
    }

    /// The rows `from..to` of query head `head`.
    fn query<'a>(&self, data: &'a [f32], head: usize, from: usize, to: usize) -> Mat<'a> {
        Mat::strided(&data[from * self.d_q + head * self.dim..], to - from, self.dim, self.d_q)
    }

    /// The same, mutable.
    fn query_mut<'a>(&self, data: &'a mut [f32], head: usize, from: usize, to: usize) -> MatMut<'a> {
        MatMut::strided(&mut data[from * self.d_q + head * self.dim..], to - from, self.dim, self.d_q)
    }

    /// The positions `from..to` of the key or value head that query head `head` shares.
    fn shared<'a>(&self, data: &'a [f32], head: usize, from: usize, to: usize) -> Mat<'a> {
        Mat::strided(&data[from * self.d_kv + head / self.group * self.dim..], to - from, self.dim, self.d_kv)
    }

    /// The same from position 0, mutable.
    fn shared_mut<'a>(&self, data: &'a mut [f32], head: usize, to: usize) -> MatMut<'a> {
        MatMut::strided(&mut data[head / self.group * self.dim..], to, self.dim, self.d_kv)
    }
}

/// Attention of `rows` positions. `q` and `out` are rows × d_q, `k` and `v` rows × d_kv, rotated already.
///
/// `weights`, heads × rows × rows, receives the normalised weights for the backward pass. `scratch` holds 64 × head_dim.
pub(crate) fn forward(
    h: Heads,
    rows: usize,
    (q, k, v): (&[f32], &[f32], &[f32]),
    weights: &mut [f32],
    out: &mut [f32],
    scratch: &mut [f32],
) {
    let scale = h.scale();
    for head in 0..h.heads {
        let all = &mut weights[head * rows * rows..][..rows * rows];
        for from in (0..rows).step_by(ROWS) {
            let to = (from + ROWS).min(rows);
            let weights = &mut all[from * rows..to * rows];
            let scores = MatMut::strided(weights, to - from, to, rows);
            gemm_nt(h.query(q, head, from, to), h.shared(k, head, 0, to), scores);
            let mut sums = [0f32; ROWS];
            for (i, row) in weights.chunks_exact_mut(rows).enumerate() {
                let (seen, later) = row[..to].split_at_mut(from + i + 1);
                seen.iter_mut().for_each(|s| *s *= scale);
                sums[i] = exp_and_sum(seen);
                later.fill(0.0);
            }
            for i in from..to {
                out[i * h.d_q + head * h.dim..][..h.dim].fill(0.0);
            }
            for part in (0..to).step_by(PARTIAL) {
                let end = (part + PARTIAL).min(to);
                let partial = &mut scratch[..(to - from) * h.dim];
                partial.fill(0.0);
                let part_weights = Mat::strided(&weights[part..], to - from, end - part, rows);
                gemm_nn(part_weights, h.shared(v, head, part, end), MatMut::new(partial, to - from, h.dim));
                for (i, partial) in (from..to).zip(partial.chunks_exact(h.dim)) {
                    skep_kernels::add(&mut out[i * h.d_q + head * h.dim..][..h.dim], partial);
                }
            }
            for (i, row) in weights.chunks_exact_mut(rows).enumerate() {
                out[(from + i) * h.d_q + head * h.dim..][..h.dim].iter_mut().for_each(|o| *o /= sums[i]);
                let inverse = 1.0 / sums[i];
                row[..from + i + 1].iter_mut().for_each(|w| *w *= inverse);
            }
        }
    }
}

/// What the backward pass reads: the inputs, the normalised weights and the output of [`forward`].
pub(crate) struct Saved<'a> {
    pub q: &'a [f32],
    pub k: &'a [f32],
    pub v: &'a [f32],
    pub weights: &'a [f32],
    pub out: &'a [f32],
}

/// The backward pass: fills `dq`, `dk` and `dv` from `dout`. `scratch` holds 64 × rows.
///
/// With `P` the weights and `dP = dout·Vᵀ`: `dS = P ∘ (dP - Σ dout·out)·scale`, `dq = dS·K`, `dk = dSᵀ·Q`, `dv = Pᵀ·dout`.
pub(crate) fn backward(
    h: Heads,
    rows: usize,
    saved: &Saved,
    dout: &[f32],
    (dq, dk, dv): (&mut [f32], &mut [f32], &mut [f32]),
    scratch: &mut [f32],
) {
    let scale = h.scale();
    let isa = skep_kernels::Isa::detect();
    dq.fill(0.0);
    dk.fill(0.0);
    dv.fill(0.0);
    for head in 0..h.heads {
        let all = &saved.weights[head * rows * rows..][..rows * rows];
        for from in (0..rows).step_by(ROWS) {
            let to = (from + ROWS).min(rows);
            let weights = &all[from * rows..to * rows];
            let dscores = &mut scratch[..(to - from) * rows];
            let dout_block = h.query(dout, head, from, to);
            gemm_nt(dout_block, h.shared(saved.v, head, 0, to), MatMut::strided(dscores, to - from, to, rows));
            for i in 0..to - from {
                let at = (from + i) * h.d_q + head * h.dim;
                let pull = skep_kernels::dot(isa, &dout[at..at + h.dim], &saved.out[at..at + h.dim]);
                // The weights of later keys are zero, and so are their gradients.
                let row = &mut dscores[i * rows..][..to];
                for (ds, w) in row.iter_mut().zip(&weights[i * rows..][..to]) {
                    *ds = w * (*ds - pull) * scale;
                }
            }
            let dscores = Mat::strided(dscores, to - from, to, rows);
            gemm_nn(dscores, h.shared(saved.k, head, 0, to), h.query_mut(dq, head, from, to));
            gemm_tn(dscores, h.query(saved.q, head, from, to), h.shared_mut(dk, head, to));
            gemm_tn(Mat::strided(weights, to - from, to, rows), dout_block, h.shared_mut(dv, head, to));
        }
    }
}

/// Values of scratch that [`forward`] and [`backward`] need for `rows` positions.
pub(crate) fn scratch_len(h: Heads, rows: usize) -> usize {
    ROWS * rows.max(h.dim)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Stream;
    use proptest::prelude::*;
    use skep_kernels::scalar::attention_head;
    use skep_kernels::{AttentionShape, KvFormat, KvLayout};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn the_forward_pass_has_the_bits_of_the_kernel(rows in 1usize..300, kv in 1usize..3, group in 1usize..3, seed in any::<u64>()) {
            let dim = 32;
            let (d_q, d_kv) = (kv * group * dim, kv * dim);
            let h = Heads { heads: kv * group, group, dim, d_q, d_kv };
            let mut stream = Stream::new(seed, "attention", 0);
            let mut draw = |n: usize| (0..n).map(|_| 3.0 * stream.symmetric()).collect::<Vec<f32>>();
            let (q, k, v) = (draw(rows * d_q), draw(rows * d_kv), draw(rows * d_kv));
            let mut out = vec![0.0; rows * d_q];
            let mut weights = vec![0.0; h.heads * rows * rows];
            forward(h, rows, (&q, &k, &v), &mut weights, &mut out, &mut vec![0.0; scratch_len(h, rows)]);
            let mut expected = vec![0.0; group * dim];
            let kv_layout = KvLayout::new(KvFormat::F32, kv, dim).unwrap();
            let shape = AttentionShape {
                heads: h.heads, kv: kv_layout, scale: h.scale(), softcap: None, window: None, causal: true,
            };
            for i in 0..rows {
                for shared in 0..kv {
                    let column = |data: &[f32]| -> Vec<f32> {
                        (0..=i).flat_map(|t| data[t * d_kv + shared * dim..][..dim].to_vec()).collect()
                    };
                    let at = i * d_q + shared * group * dim;
                    let (keys, values) = (column(&k), column(&v));
                    for (query, out) in q[at..].chunks_exact(dim).zip(expected.chunks_exact_mut(dim)) {
                        attention_head(&shape, 0..i + 1, query, &keys, &values, out);
                    }
                    prop_assert_eq!(&out[at..at + group * dim], &expected[..], "row {}", i);
                }
            }
        }
    }
}
