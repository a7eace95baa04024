//! One transformer block over one sequence: forward with RK-1's bits, and backward.

use crate::Shape;
use crate::attention::{self, Heads, Saved};
use crate::maths::{rms_backward, rms_forward, swiglu_backward, swiglu_forward};
use crate::params::BlockRanges;
use skep_kernels::gemm::{Mat, MatMut, gemm_nn, gemm_nt, gemm_tn};
use std::ops::Range;

/// The rotation of one position: (cos, sin) of each pair.
type Rotation = Vec<(f32, f32)>;

/// What the forward pass of a block leaves for its backward pass; every buffer is rows × its width.
#[derive(Debug)]
pub(crate) struct Tape {
    x: Vec<f32>,
    normed: Vec<f32>,
    factors: Vec<f32>,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    weights: Vec<f32>,
    attended: Vec<f32>,
    middle: Vec<f32>,
    middle_normed: Vec<f32>,
    middle_factors: Vec<f32>,
    gate: Vec<f32>,
    up: Vec<f32>,
    act: Vec<f32>,
}

impl Tape {
    /// Buffers for at most `rows` positions.
    pub(crate) fn new(shape: &Shape, rows: usize) -> Self {
        let buffer = |width: usize| vec![0f32; rows * width];
        let (d, ff) = (shape.d_model, shape.d_ff);
        Self {
            x: buffer(d),
            normed: buffer(d),
            factors: buffer(1),
            q: buffer(shape.d_q()),
            k: buffer(shape.d_kv()),
            v: buffer(shape.d_kv()),
            weights: buffer(shape.n_heads * rows),
            attended: buffer(shape.d_q()),
            middle: buffer(d),
            middle_normed: buffer(d),
            middle_factors: buffer(1),
            gate: buffer(ff),
            up: buffer(ff),
            act: buffer(ff),
        }
    }
}

/// Buffers that every block of a sequence uses in turn.
#[derive(Debug)]
pub(crate) struct Scratch {
    attention: Vec<f32>,
    wide: Vec<f32>,
    hidden: Vec<f32>,
    d: Vec<f32>,
    dq: Vec<f32>,
    dk: Vec<f32>,
    dv: Vec<f32>,
    dattended: Vec<f32>,
}

impl Scratch {
    pub(crate) fn new(shape: &Shape, rows: usize) -> Self {
        let buffer = |width: usize| vec![0f32; rows * width];
        Self {
            attention: vec![0.0; attention::scratch_len(Heads::new(shape), rows)],
            wide: buffer(shape.d_ff),
            hidden: buffer(shape.d_ff),
            d: buffer(shape.d_model),
            dq: buffer(shape.d_q()),
            dk: buffer(shape.d_kv()),
            dv: buffer(shape.d_kv()),
            dattended: buffer(shape.d_q()),
        }
    }
}

/// One block of a model, for sequences of exactly `rows` positions.
#[derive(Clone, Copy)]
pub(crate) struct Block<'a> {
    pub shape: &'a Shape,
    pub params: &'a [f32],
    pub at: &'a BlockRanges,
    pub rotations: &'a [Rotation],
    pub rows: usize,
}

impl Block<'_> {
    fn weight(&self, range: &Range<usize>) -> &[f32] {
        &self.params[range.clone()]
    }

    /// `y = x·Wᵀ` over all rows.
    fn linear(&self, x: &[f32], w: &Range<usize>, y: &mut [f32]) {
        let (inputs, outputs) = (x.len() / self.rows, y.len() / self.rows);
        let w = Mat::new(self.weight(w), outputs, inputs);
        gemm_nt(Mat::new(x, self.rows, inputs), w, MatMut::new(y, self.rows, outputs));
    }

    /// `dx += dy·W` and `dW += dyᵀ·x`.
    fn linear_backward(&self, x: &[f32], w: &Range<usize>, dy: &[f32], dx: &mut [f32], grads: &mut [f32]) {
        let (inputs, outputs) = (x.len() / self.rows, dy.len() / self.rows);
        let dy = Mat::new(dy, self.rows, outputs);
        gemm_nn(dy, Mat::new(self.weight(w), outputs, inputs), MatMut::new(dx, self.rows, inputs));
        gemm_tn(dy, Mat::new(x, self.rows, inputs), MatMut::new(&mut grads[w.clone()], outputs, inputs));
    }

    /// Rotates every row of `data`; backwards, by the opposite angles.
    fn rotate(&self, data: &mut [f32], backwards: bool) {
        let width = data.len() / self.rows;
        for (row, table) in data.chunks_exact_mut(width).zip(self.rotations) {
            if backwards {
                let opposite: Rotation = table.iter().map(|(cos, sin)| (*cos, -*sin)).collect();
                skep_kernels::rope_rotate(row, &opposite);
            } else {
                skep_kernels::rope_rotate(row, table);
            }
        }
    }

    /// Replaces the rows `x` by the block's output and fills `tape`.
    pub(crate) fn forward(&self, x: &mut [f32], tape: &mut Tape, scratch: &mut Scratch) {
        let (at, eps) = (self.at, self.shape.rms_eps);
        tape.x.copy_from_slice(x);
        rms_forward(x, self.weight(&at.attn_norm), eps, &mut tape.normed, &mut tape.factors);
        self.linear(&tape.normed, &at.q, &mut tape.q);
        self.linear(&tape.normed, &at.k, &mut tape.k);
        self.linear(&tape.normed, &at.v, &mut tape.v);
        self.rotate(&mut tape.q, false);
        self.rotate(&mut tape.k, false);
        let inputs = (&tape.q[..], &tape.k[..], &tape.v[..]);
        let heads = Heads::new(self.shape);
        attention::forward(heads, self.rows, inputs, &mut tape.weights, &mut tape.attended, &mut scratch.attention);
        self.linear(&tape.attended, &at.o, &mut scratch.d);
        skep_kernels::add(x, &scratch.d);
        tape.middle.copy_from_slice(x);
        rms_forward(x, self.weight(&at.ffn_norm), eps, &mut tape.middle_normed, &mut tape.middle_factors);
        self.linear(&tape.middle_normed, &at.gate, &mut tape.gate);
        self.linear(&tape.middle_normed, &at.up, &mut tape.up);
        swiglu_forward(&tape.gate, &tape.up, &mut tape.act);
        self.linear(&tape.act, &at.down, &mut scratch.d);
        skep_kernels::add(x, &scratch.d);
    }

    /// Replaces `dx`, the gradient of the block's output, by that of its input, and adds to `grads`. Uses up `tape`.
    pub(crate) fn backward(&self, dx: &mut [f32], tape: &mut Tape, scratch: &mut Scratch, grads: &mut [f32]) {
        let at = self.at;
        scratch.wide.fill(0.0);
        self.linear_backward(&tape.act, &at.down, dx, &mut scratch.wide, grads);
        swiglu_backward(&mut tape.gate, &mut tape.up, &scratch.wide, &mut scratch.hidden);
        scratch.d.fill(0.0);
        self.linear_backward(&tape.middle_normed, &at.gate, &tape.gate, &mut scratch.d, grads);
        self.linear_backward(&tape.middle_normed, &at.up, &tape.up, &mut scratch.d, grads);
        let gain = self.weight(&at.ffn_norm);
        rms_backward(&tape.middle, gain, &tape.middle_factors, &scratch.d, dx, &mut grads[at.ffn_norm.clone()]);

        scratch.dattended.fill(0.0);
        self.linear_backward(&tape.attended, &at.o, dx, &mut scratch.dattended, grads);
        let saved = Saved { q: &tape.q, k: &tape.k, v: &tape.v, weights: &tape.weights, out: &tape.attended };
        let gradients = (&mut scratch.dq[..], &mut scratch.dk[..], &mut scratch.dv[..]);
        let heads = Heads::new(self.shape);
        attention::backward(heads, self.rows, &saved, &scratch.dattended, gradients, &mut scratch.attention);
        self.rotate(&mut scratch.dq, true);
        self.rotate(&mut scratch.dk, true);
        scratch.d.fill(0.0);
        self.linear_backward(&tape.normed, &at.q, &scratch.dq, &mut scratch.d, grads);
        self.linear_backward(&tape.normed, &at.k, &scratch.dk, &mut scratch.d, grads);
        self.linear_backward(&tape.normed, &at.v, &scratch.dv, &mut scratch.d, grads);
        let gain = self.weight(&at.attn_norm);
        rms_backward(&tape.x, gain, &tape.factors, &scratch.d, dx, &mut grads[at.attn_norm.clone()]);
    }
}
