//! What a span needs beside its weights, its caches and the rows that it is given; so that nobody promises more than there is.
//!
//! The sums follow what [`crate::forward`] and the kernels allocate; small tables are left to the base of the process.

use crate::{ModelConfig, PASS_ROWS, Span};

/// Rows of queries that attention scores together, and rows of float weights that are converted together.
const TOGETHER: usize = 8;
/// Bytes of an activation as products with quantised weights read it: a byte, and its share of scales, sums and starts.
const QUANTISED_BYTES: f64 = 1.0 + 4.0 / 32.0 + 2.0 / 32.0 + 4.0 / 16.0;

impl Span {
    /// Bytes that [`Span::forward_batch`] needs at most beside the rows that it is given, when no cache has more than
    /// `positions`. Threads keep their part of it between calls.
    pub fn pass_bytes(&self, positions: usize) -> u64 {
        let config = self.config();
        let rows = if config.family.causal { PASS_ROWS } else { PASS_ROWS + positions };
        let (d_model, d_query, d_kv, d_ff) = (config.d_model, config.d_query(), config.d_kv(), config.d_ff);
        let feed_forward = match &config.experts {
            None => 2 * d_ff,
            // The rows of one expert and their hidden values; scores and choices of all experts.
            Some(experts) => d_model + 2 * d_ff + experts.count + 4 * experts.used,
        };
        let pairs = [&config.rope, &config.local_rope].map(|rope| rope.as_ref().map_or(0, |rope| rope.dims));
        let per_row = 3 * d_model + 2 * d_query + 2 * d_kv + feed_forward + pairs.iter().sum::<usize>();
        let widest = d_model.max(d_query).max(d_ff);
        let quantised = (rows * widest) as f64 * QUANTISED_BYTES;
        (4 * rows * per_row) as u64 + quantised as u64 + self.threads() as u64 * thread_bytes(config, rows, positions)
    }

    /// Bytes that [`Span::logits_batch`] and then [`crate::top_candidates`] of each row's logits need at most.
    pub fn logits_bytes(&self, rows: usize) -> u64 {
        let config = self.config();
        let (d_model, vocab) = (config.d_model, config.vocab);
        // The logits of all rows, once together and once by row; the candidates of one row.
        let values = rows * (d_model + 2 * vocab) + 2 * vocab;
        let products = 4 * self.threads() * TOGETHER * (d_model + rows);
        (4 * values + products) as u64 + ((rows * d_model) as f64 * QUANTISED_BYTES) as u64
    }
}

/// Bytes that one thread keeps for attention, and takes for products with float weights.
fn thread_bytes(config: &ModelConfig, rows: usize, positions: usize) -> u64 {
    let lines = TOGETHER * config.n_heads / config.n_kv_heads.max(1);
    // The scores grow with the positions, and a list that grows may have twice the room that it needs.
    let attention = 2 * lines * positions.max(PASS_ROWS) + lines * (3 * config.head_dim + 32) + 32 * config.head_dim;
    let widest = config.d_model.max(config.d_query()).max(config.d_ff);
    4 * (attention + TOGETHER * (widest + rows)) as u64
}
