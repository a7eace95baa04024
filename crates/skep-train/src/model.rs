//! The whole model over one sequence: logits, loss and gradient.

use crate::block::{Block, Scratch, Tape};
use crate::loss::cross_entropy;
use crate::maths::{rms_backward, rms_forward};
use crate::{Layout, Shape, TrainError};
use skep_kernels::gemm::{Mat, MatMut, gemm_nn, gemm_nt, gemm_tn};

/// A shape with what follows from it: layout and rotations. The parameters are passed to each function.
#[derive(Debug)]
pub struct Model {
    shape: Shape,
    layout: Layout,
    rotations: Vec<Vec<(f32, f32)>>,
}

/// The buffers of one thread that works on sequences of one length.
#[derive(Debug)]
pub struct Workspace {
    rows: usize,
    x: Vec<f32>,
    tapes: Vec<Tape>,
    scratch: Scratch,
    normed: Vec<f32>,
    factors: Vec<f32>,
    logits: Vec<f32>,
    dnormed: Vec<f32>,
}

impl Workspace {
    /// Positions of the sequences that it is for.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Buffers for sequences of exactly `rows` positions.
    pub fn new(shape: &Shape, rows: usize) -> Self {
        let buffer = |width: usize| vec![0f32; rows * width];
        Self {
            rows,
            x: buffer(shape.d_model),
            tapes: (0..shape.n_blocks).map(|_| Tape::new(shape, rows)).collect(),
            scratch: Scratch::new(shape, rows),
            normed: buffer(shape.d_model),
            factors: buffer(1),
            logits: buffer(shape.vocab),
            dnormed: buffer(shape.d_model),
        }
    }
}

impl Model {
    /// A model of `shape`.
    ///
    /// # Errors
    /// [`TrainError::Shape`] when no model has that shape.
    pub fn new(shape: &Shape) -> Result<Self, TrainError> {
        let layout = Layout::new(shape)?;
        let frequencies = skep_kernels::rope_frequencies(shape.head_dim, shape.rope_theta, None);
        let rotations = (0..shape.context).map(|p| skep_kernels::rope_table(&frequencies, p)).collect();
        Ok(Self { shape: shape.clone(), layout, rotations })
    }

    /// The shape.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Where each tensor lies among the parameters.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    fn block<'a>(&'a self, params: &'a [f32], block: usize, rows: usize) -> Block<'a> {
        let at = &self.layout.blocks[block];
        Block { shape: &self.shape, params, at, rotations: &self.rotations, rows }
    }

    /// Checks a sequence and the lengths of what comes with it.
    fn check(&self, params: &[f32], tokens: &[u32], rows: usize) -> Result<(), TrainError> {
        let problem = if params.len() != self.layout.len() {
            format!("{} parameters where the model has {}", params.len(), self.layout.len())
        } else if rows == 0 || rows > self.shape.context {
            format!("{rows} positions; the context holds {}", self.shape.context)
        } else if let Some(id) = tokens.iter().find(|id| **id as usize >= self.shape.vocab) {
            format!("token {id} is not in the vocabulary of {}", self.shape.vocab)
        } else {
            return Ok(());
        };
        Err(TrainError::Sequence(problem))
    }

    /// Fills the workspace's tapes and logits from `tokens`, one a row.
    fn forward(&self, params: &[f32], tokens: &[u32], work: &mut Workspace) {
        let (d, rows) = (self.shape.d_model, work.rows);
        let embedding = &params[self.layout.embedding.clone()];
        for (row, id) in work.x.chunks_exact_mut(d).zip(tokens) {
            row.copy_from_slice(&embedding[*id as usize * d..][..d]);
        }
        for (b, tape) in work.tapes.iter_mut().enumerate() {
            self.block(params, b, rows).forward(&mut work.x, tape, &mut work.scratch);
        }
        let gain = &params[self.layout.final_norm.clone()];
        rms_forward(&work.x, gain, self.shape.rms_eps, &mut work.normed, &mut work.factors);
        let head = Mat::new(embedding, self.shape.vocab, d);
        gemm_nt(Mat::new(&work.normed, rows, d), head, MatMut::new(&mut work.logits, rows, self.shape.vocab));
    }

    /// Logits after each of `tokens`: tokens × vocabulary.
    ///
    /// # Errors
    /// [`TrainError::Sequence`] when the tokens do not fit the model.
    pub fn logits(&self, params: &[f32], tokens: &[u32]) -> Result<Vec<f32>, TrainError> {
        self.check(params, tokens, tokens.len())?;
        let mut work = Workspace::new(&self.shape, tokens.len());
        self.forward(params, tokens, &mut work);
        Ok(work.logits)
    }

    /// Sum over a sequence of the cross-entropy of each token after the first, in nats.
    ///
    /// # Errors
    /// [`TrainError::Sequence`] when the tokens do not fit the model.
    pub fn sequence_loss(&self, params: &[f32], tokens: &[u32]) -> Result<f64, TrainError> {
        let rows = tokens.len().saturating_sub(1);
        self.check(params, tokens, rows)?;
        let mut work = Workspace::new(&self.shape, rows);
        self.forward(params, &tokens[..rows], &mut work);
        Ok(cross_entropy(&mut work.logits, &tokens[1..], 1.0))
    }

    /// The gradient of one sequence: fills `grads` with that of `weight` × (summed cross-entropy), gives the sum in nats.
    ///
    /// `tokens` is one longer than the workspace's rows. It is a pure function of `params`, `tokens` and `weight`.
    ///
    /// # Errors
    /// [`TrainError::Sequence`] when the tokens do not fit the model, the workspace or `grads`.
    pub fn sequence_gradient(
        &self,
        params: &[f32],
        tokens: &[u32],
        weight: f32,
        work: &mut Workspace,
        grads: &mut [f32],
    ) -> Result<f64, TrainError> {
        self.check(params, tokens, work.rows)?;
        if tokens.len() != work.rows + 1 || grads.len() != params.len() {
            return Err(TrainError::Sequence(format!("{} tokens for {} positions", tokens.len(), work.rows)));
        }
        let (inputs, targets) = (&tokens[..work.rows], &tokens[1..]);
        self.forward(params, inputs, work);
        let loss = cross_entropy(&mut work.logits, targets, weight);
        grads.fill(0.0);
        self.head_backward(params, work, grads);
        let dx = &mut work.dnormed;
        for (b, tape) in work.tapes.iter_mut().enumerate().rev() {
            self.block(params, b, work.rows).backward(dx, tape, &mut work.scratch, grads);
        }
        let d = self.shape.d_model;
        let embedding = &mut grads[self.layout.embedding.clone()];
        for (dx, id) in dx.chunks_exact(d).zip(inputs) {
            skep_kernels::add(&mut embedding[*id as usize * d..][..d], dx);
        }
        Ok(loss)
    }

    /// From the gradient in `work.logits` to that of the last block's output, left in `work.dnormed`.
    fn head_backward(&self, params: &[f32], work: &mut Workspace, grads: &mut [f32]) {
        let (d, rows, vocab) = (self.shape.d_model, work.rows, self.shape.vocab);
        let dlogits = Mat::new(&work.logits, rows, vocab);
        let mut dnormed = vec![0f32; rows * d];
        let head = Mat::new(&params[self.layout.embedding.clone()], vocab, d);
        gemm_nn(dlogits, head, MatMut::new(&mut dnormed, rows, d));
        let dhead = MatMut::new(&mut grads[self.layout.embedding.clone()], vocab, d);
        gemm_tn(dlogits, Mat::new(&work.normed, rows, d), dhead);
        let norm = self.layout.final_norm.clone();
        work.dnormed.fill(0.0);
        rms_backward(&work.x, &params[norm.clone()], &work.factors, &dnormed, &mut work.dnormed, &mut grads[norm]);
    }
}
