//! The loss of a finished model file, computed by the code that will serve it.

use crate::TrainError;
use skep_kernels::{exp_f64, ln_f64};
use skep_model::{Gguf, ModelConfig, Span};
use skep_types::BlockRange;

/// Summed cross-entropy in nats of `sequences` under the model in `gguf`, and the number of predicted tokens.
///
/// Every token after the first of a sequence is predicted from those before it. Logits come from inference, so for a quantised
/// file this is the loss of the quantised model.
///
/// # Errors
/// [`TrainError::Model`] when the file is broken or a sequence does not fit its context.
pub fn loss_of_file(gguf: &Gguf, sequences: &[Vec<u32>]) -> Result<(f64, usize), TrainError> {
    let blocks = ModelConfig::from_gguf(gguf)?.n_blocks;
    let whole = BlockRange::new(0, blocks).map_err(|error| TrainError::Shape(error.to_string()))?;
    let span = Span::load(gguf, whole)?;
    let width = span.config().d_model;
    let (mut sum, mut tokens) = (0.0, 0);
    for sequence in sequences.iter().filter(|s| s.len() > 1) {
        let inputs = &sequence[..sequence.len() - 1];
        let mut rows = span.embed(inputs)?;
        span.forward(&mut span.new_cache(whole, inputs.len())?, &mut rows)?;
        for (row, target) in rows.chunks_exact(width).zip(&sequence[1..]) {
            sum += surprise(&span.logits(row)?, *target)?;
        }
        tokens += inputs.len();
    }
    Ok((sum, tokens))
}

/// Minus the logarithm of the probability of `target`.
fn surprise(logits: &[f32], target: u32) -> Result<f64, TrainError> {
    let chosen = logits.get(target as usize);
    let chosen = chosen.ok_or_else(|| TrainError::Sequence(format!("token {target} is not in the vocabulary")))?;
    let largest = logits.iter().fold(f32::NEG_INFINITY, |max, x| max.max(*x));
    let total: f64 = logits.iter().map(|x| exp_f64(f64::from(*x - largest).max(-600.0))).sum();
    Ok(ln_f64(total) + f64::from(largest) - f64::from(*chosen))
}
