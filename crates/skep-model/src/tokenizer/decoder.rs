//! Tokens to text, one at a time.

use super::Tokenizer;

/// Turns a stream of tokens into text. A character whose bytes are spread over several tokens is held back until it is
/// whole; bytes that can never become one are replaced by U+FFFD, as [`String::from_utf8_lossy`] does.
#[derive(Debug, Clone)]
pub struct Decoder {
    tokenizer: Tokenizer,
    held: Vec<u8>,
}

impl Decoder {
    pub(super) fn new(tokenizer: Tokenizer) -> Self {
        Self { tokenizer, held: Vec::new() }
    }

    /// Takes the next token; returns the text that is now certain, often empty in the middle of a character. An id
    /// outside the vocabulary prints nothing.
    pub fn push(&mut self, id: u32) -> String {
        self.held.extend_from_slice(self.tokenizer.token_bytes(id));
        let keep = incomplete_tail(&self.held);
        let rest = self.held.split_off(self.held.len() - keep);
        let text = String::from_utf8_lossy(&self.held).into_owned();
        self.held = rest;
        text
    }

    /// Ends the stream; returns what stands for a character that never became whole.
    pub fn finish(&mut self) -> String {
        let text = String::from_utf8_lossy(&self.held).into_owned();
        self.held.clear();
        text
    }
}

/// Length of the beginning of a character at the end of `bytes`, 0 to 3.
fn incomplete_tail(bytes: &[u8]) -> usize {
    for len in 1..=bytes.len().min(3) {
        let tail = &bytes[bytes.len() - len..];
        if tail[0] & 0xc0 != 0x80 {
            // `error_len` is none exactly when more bytes could still complete the character.
            let unfinished = std::str::from_utf8(tail).err().is_some_and(|error| error.error_len().is_none());
            return if unfinished { len } else { 0 };
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_read_the_same_whole_or_with_the_tail_apart(bytes: Vec<u8>) {
            let (done, tail) = bytes.split_at(bytes.len() - incomplete_tail(&bytes));
            let joined = format!("{}{}", String::from_utf8_lossy(done), String::from_utf8_lossy(tail));
            prop_assert_eq!(joined, String::from_utf8_lossy(&bytes));
        }

        #[test]
        fn a_text_cut_anywhere_shows_no_broken_character(text: String, cut: prop::sample::Index) {
            let bytes = &text.as_bytes()[..cut.index(text.len() + 1)];
            let done = &bytes[..bytes.len() - incomplete_tail(bytes)];
            prop_assert!(std::str::from_utf8(done).is_ok());
        }
    }
}
