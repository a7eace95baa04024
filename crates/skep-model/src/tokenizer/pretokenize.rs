//! Cuts a text into words before byte-level merges; no merge crosses a cut.
//!
//! The published patterns end in `\s+(?!\S)|\s+`: a run of spaces gives its last one to the word that follows. A
//! look-ahead would need a backtracking matcher, whose time an attacker's prompt could blow up. So the patterns here end
//! in plain `\s+`, which the linear-time engine runs, and a match that is all spaces and is followed by something else
//! is shortened by one character. The cuts are the same.

use crate::ModelError;
use fancy_regex::Regex;
use icu_normalizer::ComposingNormalizerBorrowed;
use std::borrow::Cow;

/// One pass over the text.
struct Pass {
    pattern: Regex,
    spaces: Spaces,
}

/// Which matches made of spaces only are shortened.
#[derive(Clone, Copy, PartialEq)]
enum Spaces {
    /// None: the pattern has no such alternative.
    Keep,
    /// All.
    Shorten,
    /// Those that do not end in a line break (such a match is of the alternative `\s*[\r\n]+`).
    ShortenWithinLine,
}

/// A chain of passes; each cuts the pieces of the one before.
pub(super) struct PreTokenizer {
    passes: Vec<Pass>,
    /// Whether a word that is a token is that token, without merges.
    pub(super) ignore_merges: bool,
    /// Whether models of this kind want a BOS unless they say otherwise.
    pub(super) adds_bos: bool,
    /// Whether a text is composed (Unicode's NFC) before it is cut.
    composes: bool,
}

const GPT2: (&str, Spaces) = (r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+", Spaces::Shorten);
const LLAMA3: (&str, Spaces) = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+",
    Spaces::ShortenWithinLine,
);
const QWEN2: (&str, Spaces) = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+",
    Spaces::ShortenWithinLine,
);

const TEKKEN: (&str, Spaces) = (
    concat!(
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|",
        r"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+"
    ),
    Spaces::ShortenWithinLine,
);
const GPT4O: (&str, Spaces) = (
    concat!(
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|",
        r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+"
    ),
    Spaces::ShortenWithinLine,
);

impl PreTokenizer {
    /// The pre-tokenizer of `tokenizer.ggml.pre`.
    pub(super) fn named(name: &str) -> Result<Self, ModelError> {
        let llama3 = matches!(name, "llama3" | "llama-v3" | "llama-bpe" | "falcon3");
        let patterns: &[(&str, Spaces)] = match name {
            "default" => &[
                (r"[\p{P}\$\+<=>\^~\|]+", Spaces::Keep),
                GPT2,
                (r"\p{N}+", Spaces::Keep),
                (r"[0-9][0-9][0-9]", Spaces::Keep),
            ],
            "gpt-2" | "phi-2" | "mpt" | "olmo" => &[GPT2],
            "smollm" | "starcoder" | "refact" => &[(r"\p{N}", Spaces::Keep), GPT2],
            "qwen2" | "stablelm2" | "deepseek-r1-qwen" => &[QWEN2],
            "tekken" => &[TEKKEN],
            // Phi-4-mini.
            "gpt-4o" => &[GPT4O],
            // Phi-4.
            "dbrx" => &[LLAMA3],
            _ if llama3 => &[LLAMA3],
            _ => return Err(ModelError::Tokenizer { what: "pre-tokenizer", name: name.to_owned() }),
        };
        let passes = patterns.iter().map(|(pattern, spaces)| {
            let fault = |error| ModelError::metadata("tokenizer.ggml.pre", format!("{name}: {error}"));
            Ok(Pass { pattern: Regex::new(pattern).map_err(fault)?, spaces: *spaces })
        });
        let whole_words = llama3 || name == "tekken";
        Ok(Self {
            passes: passes.collect::<Result<_, ModelError>>()?,
            ignore_merges: whole_words,
            adds_bos: whole_words,
            composes: name == "qwen2",
        })
    }

    /// What is cut instead of `text`.
    pub(super) fn normalised<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if self.composes { ComposingNormalizerBorrowed::new_nfc().normalize(text) } else { Cow::Borrowed(text) }
    }

    /// The words of `text`, which together are the text.
    pub(super) fn split<'t>(&self, text: &'t str) -> Result<Vec<&'t str>, ModelError> {
        let mut pieces = vec![text];
        for pass in &self.passes {
            let mut cut = Vec::new();
            for piece in pieces {
                pass.split(piece, &mut cut)?;
            }
            pieces = cut;
        }
        Ok(pieces)
    }
}

impl Pass {
    fn split<'t>(&self, text: &'t str, pieces: &mut Vec<&'t str>) -> Result<(), ModelError> {
        let mut at = 0;
        while at < text.len() {
            let found = self.pattern.find_from_pos(text, at);
            let found =
                found.map_err(|error| ModelError::Input(format!("this text cannot be cut into words: {error}")))?;
            let Some(found) = found.filter(|found| found.end() > found.start()) else { break };
            let end = self.shortened(text, found.start(), found.end());
            if at < found.start() {
                pieces.push(&text[at..found.start()]);
            }
            pieces.push(&text[found.start()..end]);
            at = end;
        }
        if at < text.len() {
            pieces.push(&text[at..]);
        }
        Ok(())
    }

    fn shortened(&self, text: &str, start: usize, end: usize) -> usize {
        let found = &text[start..end];
        let Some(last) = found.chars().next_back() else { return end };
        let shorten = match self.spaces {
            Spaces::Keep => false,
            Spaces::Shorten => true,
            Spaces::ShortenWithinLine => !matches!(last, '\r' | '\n'),
        };
        let several = found.len() > last.len_utf8();
        // A match of several characters that begins with a space and ends with one holds nothing else.
        if shorten && several && end < text.len() && last.is_whitespace() && found.trim().is_empty() {
            end - last.len_utf8()
        } else {
            end
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::LazyLock;

    /// The published patterns, run by the backtracking engine.
    fn published(name: &str) -> Regex {
        let pattern = match name {
            "gpt-2" => GPT2.0.replace(r"|\s+", r"|\s+(?!\S)|\s+"),
            "tekken" => TEKKEN.0.replace(r"|\s+", r"|\s+(?!\S)|\s+"),
            "gpt-4o" => GPT4O.0.replace(r"|\s+", r"|\s+(?!\S)|\s+"),
            "llama-bpe" => LLAMA3.0.replace(r"|\s+", r"|\s+(?!\S)|\s+"),
            _ => QWEN2.0.replace(r"|\s+", r"|\s+(?!\S)|\s+"),
        };
        assert!(pattern.ends_with(r"|\s+(?!\S)|\s+"));
        Regex::new(&pattern).unwrap()
    }

    /// Compiled once: a pattern with Unicode classes takes longer to compile than to match.
    static PUBLISHED: LazyLock<Vec<(&str, PreTokenizer, Regex)>> = LazyLock::new(|| {
        let names = ["gpt-2", "llama-bpe", "qwen2", "tekken", "gpt-4o"];
        names.map(|name| (name, PreTokenizer::named(name).unwrap(), published(name))).into()
    });
    static SEVERAL_PASSES: LazyLock<[PreTokenizer; 2]> =
        LazyLock::new(|| ["default", "smollm"].map(|name| PreTokenizer::named(name).unwrap()));

    proptest! {
        #[test]
        fn the_cuts_are_those_of_the_published_patterns(text in "[ \t\r\n\u{a0}\u{3000}a'sSBé七0-9.!👍]{0,24}") {
            for (name, pre, published) in PUBLISHED.iter() {
                let expected: Vec<&str> = published.find_iter(&text).map(|m| m.unwrap().as_str()).collect();
                prop_assert_eq!(pre.split(&text).unwrap(), expected, "{}", name);
            }
        }

        #[test]
        fn nothing_is_lost(text: String) {
            for pre in SEVERAL_PASSES.iter() {
                prop_assert_eq!(pre.split(&text).unwrap().concat(), text.clone());
            }
        }
    }

    #[test]
    fn a_megabyte_of_spaces_is_cut_in_linear_time() {
        let text = format!("{}x", " ".repeat(1 << 20));
        for name in ["default", "gpt-2", "llama-bpe", "qwen2", "smollm", "tekken", "gpt-4o"] {
            let pieces = PreTokenizer::named(name).unwrap().split(&text).unwrap();
            assert_eq!(pieces, [&text[1..1 << 20], " x"], "{name}");
        }
    }

    #[test]
    fn an_unknown_name_is_refused() {
        let error = PreTokenizer::named("chameleon").err().unwrap().to_string();
        assert_eq!(error, "pre-tokenizer chameleon is not supported yet");
    }
}
