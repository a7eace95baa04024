//! Rotary position embedding: frequencies, the cosines and sines of one position, and the rotation.

use crate::math::{exp_f64, ln_f64, sin_cos_f64};

/// One more than the highest position that has a rotation: the range in which the reduction of the angle is exact.
pub const POSITION_LIMIT: usize = 1 << 20;

/// The angle per position of each pair of one head, in f64: `theta^(-2i / head_dim)`, divided by `factors[i]` if given.
///
/// `factors` are the long-context factors of a GGUF's `rope_freqs.weight`, one a pair.
pub fn rope_frequencies(head_dim: usize, theta: f32, factors: Option<&[f32]>) -> Vec<f64> {
    let ln_theta = ln_f64(f64::from(theta));
    let frequency = |i: usize| exp_f64(-((2 * i) as f64 / head_dim as f64) * ln_theta);
    let factor = |i: usize| factors.and_then(|factors| factors.get(i)).map_or(1.0, |factor| f64::from(*factor));
    (0..head_dim / 2).map(|i| frequency(i) / factor(i)).collect()
}

/// (cos, sin) of each pair at `position`, computed in f64 and rounded once to f32.
///
/// # Panics
/// When an angle reaches 2^20 radians: a position at or over [`POSITION_LIMIT`] or a frequency above 1 beside it.
pub fn rope_table(frequencies: &[f64], position: usize) -> Vec<(f32, f32)> {
    rope_table_scaled(frequencies, position, 1.0)
}

/// [`rope_table`] of a model whose rotations also scale by `magnitude`, which is multiplied in before the rounding.
///
/// # Panics
/// As [`rope_table`].
pub fn rope_table_scaled(frequencies: &[f64], position: usize, magnitude: f32) -> Vec<(f32, f32)> {
    let magnitude = f64::from(magnitude);
    let rotation = |frequency: &f64| {
        let angle = position as f64 * frequency;
        assert!((0.0..POSITION_LIMIT as f64).contains(&angle), "position {position} has no rotation");
        let (sin, cos) = sin_cos_f64(angle);
        ((cos * magnitude) as f32, (sin * magnitude) as f32)
    };
    frequencies.iter().map(rotation).collect()
}

/// Rotates the adjacent pairs (2i, 2i + 1) of every head of a row; `table` is one head's, as [`rope_table`] gives it.
///
/// `a' = a cos - b sin`, `b' = a sin + b cos`, each product rounded, then the sum.
pub fn rope_rotate(row: &mut [f32], table: &[(f32, f32)]) {
    for head in row.chunks_exact_mut(2 * table.len()) {
        for (pair, (cos, sin)) in head.chunks_exact_mut(2).zip(table) {
            let (a, b) = (pair[0], pair[1]);
            pair[0] = a * cos - b * sin;
            pair[1] = a * sin + b * cos;
        }
    }
}

/// Rotates the pairs (i, i + `table.len()`) of one head; elements beyond twice the table's length stay.
///
/// The same arithmetic as [`rope_rotate`] in the layout that most families other than Llama have in GGUF.
pub fn rope_rotate_halves(head: &mut [f32], table: &[(f32, f32)]) {
    let (first, second) = head.split_at_mut(table.len());
    for ((a, b), (cos, sin)) in first.iter_mut().zip(second).zip(table) {
        (*a, *b) = (*a * cos - *b * sin, *a * sin + *b * cos);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_rounded_true_value() {
        let frequencies = rope_frequencies(64, 10_000.0, None);
        for position in [0, 1, 511, 4095, 131_071] {
            for (i, (cos, sin)) in rope_table(&frequencies, position).into_iter().enumerate() {
                let angle = position as f64 * 10_000f64.powf(-(2.0 * i as f64) / 64.0);
                assert!((f64::from(cos) - angle.cos()).abs() < 4e-8, "position {position} pair {i}");
                assert!((f64::from(sin) - angle.sin()).abs() < 4e-8, "position {position} pair {i}");
            }
        }
    }

    #[test]
    fn factors_slow_their_pairs() {
        let plain = rope_frequencies(4, 10_000.0, None);
        let slowed = rope_frequencies(4, 10_000.0, Some(&[1.0, 8.0]));
        assert_eq!(slowed, [plain[0], plain[1] / 8.0]);
    }

    #[test]
    fn a_quarter_turn_swaps_a_pair() {
        let mut row = [3.0, 4.0, 5.0, 6.0];
        rope_rotate(&mut row, &[(0.0, 1.0)]);
        assert_eq!(row, [-4.0, 3.0, -6.0, 5.0]);
    }
}
