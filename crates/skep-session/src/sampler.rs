//! How a session draws tokens.

use std::fmt;

/// Draws tokens from candidates. A draw depends on nothing but its arguments, so that it can be repeated after any disturbance.
pub trait Sampler: fmt::Debug + Send {
    /// How many best candidates a draw needs to be exact; `vocab` or more means all.
    fn candidates_needed(&self, vocab: u32) -> u32;

    /// The token at `position`, from candidates as (id, logit), best first, after the tokens of `history`.
    ///
    /// # Errors
    /// One sentence.
    fn draw(&self, position: u64, candidates: &[(u32, f32)], history: &[u32]) -> Result<u32, String>;
}
