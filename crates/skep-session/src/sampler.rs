//! How a session draws tokens.

use skep_model::{Candidate, SamplingParams};
use std::fmt;

/// Draws tokens from candidates. A draw depends on nothing but its arguments, so that it can be repeated after any disturbance.
/// [`SamplingParams`] is the one that answers people; tests have simpler ones.
pub trait Sampler: fmt::Debug + Send {
    /// How many best candidates a draw needs to be exact; `vocab` or more means all.
    fn candidates_needed(&self, vocab: u32) -> u32;

    /// The token at `position`, from candidates as (id, logit), best first, after the tokens of `history`.
    ///
    /// # Errors
    /// One sentence.
    fn draw(&self, position: u64, candidates: &[(u32, f32)], history: &[u32]) -> Result<u32, String>;
}

impl Sampler for SamplingParams {
    fn candidates_needed(&self, vocab: u32) -> u32 {
        u32::try_from(SamplingParams::candidates_needed(self, vocab as usize)).unwrap_or(vocab)
    }

    fn draw(&self, position: u64, candidates: &[(u32, f32)], history: &[u32]) -> Result<u32, String> {
        let list: Vec<Candidate> = candidates.iter().map(|&(id, logit)| Candidate { id, logit }).collect();
        SamplingParams::draw(self, position, &list, history).map_err(|error| error.to_string())
    }
}
