//! Cross-entropy of next-token predictions.

use crate::maths::{exp_slice, max};
use skep_kernels::ln_f64;

/// Adds the cross-entropy of every row to a sum, in nats, and replaces each row of `logits` by its gradient times `weight`.
///
/// `logits` is targets × vocabulary. The sum goes over the rows in order, in f64.
pub(crate) fn cross_entropy(logits: &mut [f32], targets: &[u32], weight: f32) -> f64 {
    let vocab = logits.len() / targets.len().max(1);
    let mut total = 0.0;
    for (row, target) in logits.chunks_exact_mut(vocab.max(1)).zip(targets) {
        let target = *target as usize;
        let chosen = f64::from(row[target]);
        let largest = max(row);
        row.iter_mut().for_each(|x| *x -= largest);
        exp_slice(row);
        let mut lanes = [0f32; 16];
        for part in row.chunks(16) {
            for (lane, x) in lanes.iter_mut().zip(part) {
                *lane += x;
            }
        }
        let sum = skep_kernels::scalar::halving_sum(lanes);
        // The sum is at least 1, the exponential of the largest, unless a logit was not a number.
        total += if sum >= 1.0 { ln_f64(f64::from(sum)) + f64::from(largest) - chosen } else { f64::NAN };
        let share = weight / sum;
        row.iter_mut().for_each(|x| *x *= share);
        row[target] -= weight;
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_logits_cost_the_logarithm_of_their_number() {
        let mut logits = vec![0.25; 40];
        let loss = cross_entropy(&mut logits, &[3, 7], 0.5);
        assert!((loss - 2.0 * 20f64.ln()).abs() < 1e-6);
        assert!((logits[3] - (0.5 / 20.0 - 0.5)).abs() < 1e-7);
        assert!((logits.iter().sum::<f32>()).abs() < 1e-6);
    }

    #[test]
    fn an_undefined_logit_is_not_hidden() {
        let mut logits = vec![f32::NAN; 4];
        assert!(cross_entropy(&mut logits, &[0], 1.0).is_nan());
    }
}
