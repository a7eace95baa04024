//! One number that tells whether two implementations give the same bits for a model.

use crate::{ModelError, Span};

/// FNV-1a (64 bits) of the logits' bits, little-endian, after each of the last four of `positions` tokens, as 16 hex digits. Token i
/// is `(i * i * 31 + 403) mod vocab`; keys and values are in the format of the span. All but the last four go through the span
/// at once; `tools/rk1` computes the same in C, token by token.
///
/// # Errors
/// [`ModelError::Input`] when the span is not the whole model or `positions` exceeds the model's context.
pub fn logits_digest(span: &Span, positions: usize) -> Result<String, ModelError> {
    let vocab = span.config().vocab;
    let tokens: Vec<u32> = (0..positions).map(|i| ((i * i * 31 + 403) % vocab) as u32).collect();
    let mut cache = span.new_cache(span.blocks(), positions)?;
    let (head, tail) = tokens.split_at(positions.saturating_sub(4));
    let mut rows = span.embed(head)?;
    span.forward(&mut cache, &mut rows)?;
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for token in tail {
        let mut row = span.embed(&[*token])?;
        span.forward(&mut cache, &mut row)?;
        for byte in span.logits(&row)?.into_iter().flat_map(|logit| logit.to_bits().to_le_bytes()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    Ok(format!("{hash:016x}"))
}
