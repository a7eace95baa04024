//! Finds tokens that are matched as whole texts: control tokens (only where the caller asks for them) and those that the
//! model's author defined.

use super::vocab::{Kind, Vocab};
use std::collections::HashMap;

/// Longest text that is matched as a whole, in bytes; longer ones (none are known) are never matched.
const MAX_BYTES: usize = 256;

/// Tokens by text. At a place, the longest match wins.
#[derive(Default)]
pub(super) struct Matcher {
    ids: HashMap<Vec<u8>, u32>,
    /// Lengths that occur, the longest first, by first byte.
    lengths: HashMap<u8, Vec<usize>>,
}

/// A stretch of the input.
#[derive(Debug, PartialEq)]
pub(super) enum Part<'t> {
    Text(&'t str),
    Token(u32),
}

impl Matcher {
    /// Matches user-defined tokens, and with `control` also control tokens and the unknown token.
    pub(super) fn new(vocab: &Vocab, control: bool) -> Self {
        let mut matcher = Self::default();
        for (id, (text, kind)) in vocab.texts.iter().zip(&vocab.kinds).enumerate() {
            let wanted = match kind {
                Kind::UserDefined => true,
                Kind::Control | Kind::Unknown => control,
                _ => false,
            };
            let Some(first) = text.bytes().next().filter(|_| wanted && text.len() <= MAX_BYTES) else { continue };
            matcher.ids.insert(text.as_bytes().to_vec(), id as u32);
            matcher.lengths.entry(first).or_default().push(text.len());
        }
        for lengths in matcher.lengths.values_mut() {
            lengths.sort_unstable_by(|a, b| b.cmp(a));
            lengths.dedup();
        }
        matcher
    }

    /// Cuts `text` at its tokens, from left to right.
    pub(super) fn split<'t>(&self, text: &'t str) -> Vec<Part<'t>> {
        let (mut parts, mut start, mut at) = (Vec::new(), 0, 0);
        while at < text.len() {
            let Some((id, len)) = self.at(&text.as_bytes()[at..]) else {
                at += 1;
                continue;
            };
            if start < at {
                parts.push(Part::Text(&text[start..at]));
            }
            parts.push(Part::Token(id));
            at += len;
            start = at;
        }
        if start < text.len() {
            parts.push(Part::Text(&text[start..]));
        }
        parts
    }

    fn at(&self, rest: &[u8]) -> Option<(u32, usize)> {
        let lengths = self.lengths.get(rest.first()?)?;
        lengths.iter().find_map(|len| Some((*self.ids.get(rest.get(..*len)?)?, *len)))
    }
}
