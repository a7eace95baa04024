//! The seeded sampler: which token comes next is a pure function of the parameters, the position, the candidates' logits
//! and the tokens before. So a draw can be repeated anywhere and after any disturbance.
//!
//! Order, normative:
//! 1. penalties on the tokens that occur in the last `repetition_window` tokens of the history: a positive logit is
//!    divided by `repetition_penalty`, another multiplied; then `presence_penalty + count · frequency_penalty` is taken off;
//! 2. candidates are ordered by logit, descending, equal ones by id, ascending; temperature 0 takes the first;
//! 3. the first `top_k` stay (0: all);
//! 4. weights `e^((logit - greatest) / temperature)`, with the kernels' own exponential in f32;
//! 5. the shortest run of first candidates whose weights sum to at least `top_p` of the total stays, at least one;
//! 6. of these, those stay whose weight is at least `min_p` of the greatest;
//! 7. `u` in `[0, 1)` is the first 53 bits of BLAKE3(`"skep draw 1"`, seed, position; both as 8 bytes, little-endian), and
//!    the token is the first whose cumulated weight exceeds `u` times their sum. Sums are in f64, in order.

use crate::ModelError;
use skep_kernels::exp_f32;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// A token that may come next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// The token.
    pub id: u32,
    /// Its logit as the model gave it; finite.
    pub logit: f32,
}

impl Candidate {
    fn order(&self, other: &Self) -> Ordering {
        // Logits are finite here, so the comparison never fails; it takes -0 for 0.
        other.logit.partial_cmp(&self.logit).unwrap_or(Ordering::Equal).then(self.id.cmp(&other.id))
    }
}

/// The `n` best of `logits` (one a token, from id 0), by logit descending and id ascending. All for `n` = 0 or beyond.
///
/// # Errors
/// [`ModelError::NonFinite`] when a logit is infinite or not a number.
pub fn top_candidates(logits: &[f32], n: usize) -> Result<Vec<Candidate>, ModelError> {
    if let Some(id) = logits.iter().position(|logit| !logit.is_finite()) {
        return Err(ModelError::NonFinite(format!("the logit of token {id}")));
    }
    let mut candidates: Vec<Candidate> =
        logits.iter().enumerate().map(|(id, logit)| Candidate { id: id as u32, logit: *logit }).collect();
    if 0 < n && n < candidates.len() {
        candidates.select_nth_unstable_by(n - 1, Candidate::order);
        candidates.truncate(n);
    }
    candidates.sort_unstable_by(Candidate::order);
    Ok(candidates)
}

/// How tokens are drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SamplingParams {
    /// 0 always takes the best token; 1 draws by the model's own probabilities; from 0 to 100.
    pub temperature: f32,
    /// Draw from the best this many tokens; 0 for no limit.
    pub top_k: u32,
    /// Draw from the best tokens that hold this share of the probability; from 0 to 1, 1 for no limit.
    pub top_p: f32,
    /// Draw from tokens at least this share as probable as the best; from 0 to 1, 0 for no limit.
    pub min_p: f32,
    /// Above 1 makes tokens that occur in the window less likely; from 0.01 to 100, 1 for none.
    pub repetition_penalty: f32,
    /// How many of the last tokens, the prompt's included, all three penalties look at; 0 turns them off.
    pub repetition_window: u32,
    /// Taken off the logit of each token that occurs in the window; from -2 to 2.
    pub presence_penalty: f32,
    /// Taken off the logit once for each occurrence in the window; from -2 to 2.
    pub frequency_penalty: f32,
    /// Equal seeds give equal draws.
    pub seed: u64,
}

impl Default for SamplingParams {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            repetition_window: 64,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            seed: 0,
        }
    }
}

impl SamplingParams {
    /// Always the best token.
    pub fn greedy() -> Self {
        Self { temperature: 0.0, ..Self::default() }
    }

    /// Checks every option.
    ///
    /// # Errors
    /// [`ModelError::Sampling`] names the first option outside its range.
    pub fn validate(&self) -> Result<(), ModelError> {
        let options = [
            ("temperature", self.temperature, 0.0..=100.0, "must be from 0 to 100"),
            ("top_p", self.top_p, 0.0..=1.0, "must be from 0 to 1"),
            ("min_p", self.min_p, 0.0..=1.0, "must be from 0 to 1"),
            ("repetition_penalty", self.repetition_penalty, 0.01..=100.0, "must be from 0.01 to 100"),
            ("presence_penalty", self.presence_penalty, -2.0..=2.0, "must be from -2 to 2"),
            ("frequency_penalty", self.frequency_penalty, -2.0..=2.0, "must be from -2 to 2"),
        ];
        for (option, value, range, expected) in options {
            // A value that is not a number is in no range.
            if !range.contains(&value) {
                return Err(ModelError::Sampling { option, value: value.to_string(), expected });
            }
        }
        Ok(())
    }

    /// How many of the best candidates, by the model's own logits, a draw needs so that it equals the draw from all
    /// `vocab` of them. Penalties that only lower logits can push as many tokens out of the front as the window holds.
    pub fn candidates_needed(&self, vocab: usize) -> usize {
        let none = self.repetition_penalty == 1.0 && self.presence_penalty == 0.0 && self.frequency_penalty == 0.0;
        let lowers = self.repetition_penalty >= 1.0 && self.presence_penalty >= 0.0 && self.frequency_penalty >= 0.0;
        let penalised = match (none, lowers) {
            (true, _) => 0,
            (false, true) => self.repetition_window as usize,
            (false, false) if self.repetition_window == 0 => 0,
            (false, false) => return vocab,
        };
        let kept = match (self.temperature == 0.0, self.top_k) {
            (true, _) => 1,
            (false, 0) => return vocab,
            (false, k) => k as usize,
        };
        kept.saturating_add(penalised).min(vocab)
    }

    /// The token at `position`, counted from 0 at the beginning of the prompt, from `candidates` (at least
    /// [`SamplingParams::candidates_needed`] of the best) after the tokens of `history`, prompt included.
    ///
    /// # Errors
    /// [`ModelError::Sampling`] for an option out of range, [`ModelError::Input`] without candidates,
    /// [`ModelError::NonFinite`] for a logit that is infinite or not a number.
    pub fn draw(&self, position: u64, candidates: &[Candidate], history: &[u32]) -> Result<u32, ModelError> {
        self.validate()?;
        let mut candidates = self.penalised(candidates, history)?;
        candidates.sort_unstable_by(Candidate::order);
        let best = *candidates.first().ok_or_else(|| ModelError::Input("there is no candidate to draw from".into()))?;
        if self.temperature == 0.0 {
            return Ok(best.id);
        }
        if self.top_k > 0 {
            candidates.truncate(self.top_k as usize);
        }
        let weights: Vec<f32> =
            candidates.iter().map(|candidate| exp_f32((candidate.logit - best.logit) / self.temperature)).collect();
        let weights = &weights[..self.kept(&weights)];
        let sum: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
        let threshold = uniform(self.seed, position) * sum;
        let mut cumulated = 0.0;
        for (candidate, weight) in candidates.iter().zip(weights) {
            cumulated += f64::from(*weight);
            if cumulated > threshold {
                return Ok(candidate.id);
            }
        }
        // `u` is below 1 and the sum is at least 1, so the loop has returned.
        Ok(best.id)
    }

    fn penalised(&self, candidates: &[Candidate], history: &[u32]) -> Result<Vec<Candidate>, ModelError> {
        let window = &history[history.len().saturating_sub(self.repetition_window as usize)..];
        let mut counts = BTreeMap::new();
        for id in window {
            *counts.entry(*id).or_insert(0u32) += 1;
        }
        let penalise = |candidate: &Candidate| {
            let mut logit = candidate.logit;
            if let Some(count) = counts.get(&candidate.id) {
                let penalty = self.repetition_penalty;
                logit = if logit > 0.0 { logit / penalty } else { logit * penalty };
                logit -= self.presence_penalty + *count as f32 * self.frequency_penalty;
            }
            if logit.is_finite() {
                Ok(Candidate { id: candidate.id, logit })
            } else {
                Err(ModelError::NonFinite(format!("the logit of token {}", candidate.id)))
            }
        };
        candidates.iter().map(penalise).collect()
    }

    /// How many of the first candidates top-p and min-p keep, given weights in descending order with the first 1.
    fn kept(&self, weights: &[f32]) -> usize {
        let sum: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
        let (mut cumulated, mut kept) = (0.0, 0);
        // A share of 1 keeps all, whatever the rounding of the sums.
        while kept < weights.len() && (kept == 0 || self.top_p == 1.0 || cumulated < f64::from(self.top_p) * sum) {
            cumulated += f64::from(weights[kept]);
            kept += 1;
        }
        weights[..kept].partition_point(|weight| *weight >= self.min_p).max(1)
    }
}

/// The random number of a position: a multiple of 2⁻⁵³ in `[0, 1)`.
fn uniform(seed: u64, position: u64) -> f64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"skep draw 1").update(&seed.to_le_bytes()).update(&position.to_le_bytes());
    let [a, b, c, d, e, f, g, h, ..] = *hasher.finalize().as_bytes();
    let bits = u64::from_le_bytes([a, b, c, d, e, f, g, h]) >> 11;
    bits as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests;
