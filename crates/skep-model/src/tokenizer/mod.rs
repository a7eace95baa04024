//! Text to tokens and back, by the vocabulary in the model's file.
//!
//! Three kinds are known by `tokenizer.ggml.model`: `llama` (SentencePiece BPE with byte fallback), `gpt2` (byte-level
//! BPE; `tokenizer.ggml.pre` names how a text is cut into words first) and `bert` (WordPiece, uncased). Results equal those
//! of llama.cpp and, where the same vocabulary exists there, of Hugging Face `tokenizers`. Ordinary text never becomes a control token, whatever it
//! spells; only a caller that sets `parse_special` (a chat template's output) gets those.

mod bpe;
mod decoder;
mod merge;
mod pretokenize;
mod special;
mod spm;
mod vocab;
mod wordpiece;

pub use decoder::Decoder;

use crate::{Gguf, Metadata, ModelError};
use special::{Matcher, Part};
use std::{fmt, sync::Arc};
use vocab::{Kind, Vocab};

/// Longest text that is encoded in one call, in bytes.
pub const MAX_TEXT_BYTES: usize = 8 << 20;

/// A model's tokenizer. Clones share one vocabulary.
#[derive(Clone)]
pub struct Tokenizer(Arc<Inner>);

struct Inner {
    vocab: Vocab,
    algorithm: Algorithm,
    plain: Matcher,
    with_control: Matcher,
    bos: Option<u32>,
    eos: Option<u32>,
    adds_bos: bool,
    adds_eos: bool,
    /// Sorted ids of special tokens that take the spaces after them.
    strips: Vec<u32>,
    /// Sorted ids that end a generation.
    ends: Vec<u32>,
}

enum Algorithm {
    SentencePiece(spm::SentencePiece),
    ByteLevel(bpe::ByteLevel),
    WordPiece(wordpiece::WordPiece),
}

impl Tokenizer {
    /// Reads the tokenizer of a model.
    ///
    /// # Errors
    /// [`ModelError::Tokenizer`] for a kind or pre-tokenizer that is not known, [`ModelError::Metadata`] for values that
    /// are absent or inconsistent.
    pub fn from_gguf(gguf: &Gguf) -> Result<Self, ModelError> {
        Self::from_metadata(gguf.metadata())
    }

    /// The same from metadata alone.
    ///
    /// # Errors
    /// As [`Tokenizer::from_gguf`].
    pub fn from_metadata(metadata: &Metadata) -> Result<Self, ModelError> {
        let key = "tokenizer.ggml.model";
        let (vocab, algorithm) = match metadata.text(key)? {
            Some("llama") => {
                let vocab = Vocab::read(metadata, spm::bytes_of)?;
                let algorithm = Algorithm::SentencePiece(spm::SentencePiece::read(metadata, &vocab)?);
                (vocab, algorithm)
            }
            Some("gpt2") => {
                let vocab = Vocab::read(metadata, bpe::bytes_of)?;
                let algorithm = Algorithm::ByteLevel(bpe::ByteLevel::read(metadata, &vocab)?);
                (vocab, algorithm)
            }
            Some("bert") => {
                let vocab = Vocab::read(metadata, wordpiece::bytes_of)?;
                let algorithm = Algorithm::WordPiece(wordpiece::WordPiece::read(metadata, &vocab)?);
                (vocab, algorithm)
            }
            Some(other) => return Err(ModelError::Tokenizer { what: "tokenizer", name: other.to_owned() }),
            None => return Err(ModelError::metadata(key, "is absent")),
        };
        let default_bos = match &algorithm {
            Algorithm::SentencePiece(_) => true,
            Algorithm::ByteLevel(bpe) => bpe.pre.adds_bos,
            Algorithm::WordPiece(_) => true,
        };
        let (bos, eos) = match &algorithm {
            Algorithm::WordPiece(pieces) => (Some(pieces.class), Some(pieces.separator)),
            _ => (vocab.special(metadata, "bos_token_id")?, vocab.special(metadata, "eos_token_id")?),
        };
        let inner = Inner {
            ends: ends_of_generation(metadata, &vocab, eos)?,
            plain: Matcher::new(&vocab, false),
            with_control: Matcher::new(&vocab, true),
            adds_bos: metadata.boolean("tokenizer.ggml.add_bos_token")?.unwrap_or(default_bos),
            strips: tokens_that_strip(metadata, &vocab)?,
            adds_eos: matches!(algorithm, Algorithm::WordPiece(_)),
            vocab,
            algorithm,
            bos,
            eos,
        };
        Ok(Self(Arc::new(inner)))
    }

    /// `llama`, `gpt2` or `bert`, as in the file.
    pub fn kind(&self) -> &'static str {
        match self.0.algorithm {
            Algorithm::SentencePiece(_) => "llama",
            Algorithm::ByteLevel(_) => "gpt2",
            Algorithm::WordPiece(_) => "bert",
        }
    }

    /// Number of tokens.
    pub fn vocab(&self) -> usize {
        self.0.vocab.len()
    }

    /// The token that begins a text, if the model has one.
    pub fn bos(&self) -> Option<u32> {
        self.0.bos
    }

    /// The token that ends a text, if the model has one.
    pub fn eos(&self) -> Option<u32> {
        self.0.eos
    }

    /// Whether token `id` ends a generation: end of text, of turn or of message.
    pub fn is_end_of_generation(&self, id: u32) -> bool {
        self.0.ends.binary_search(&id).is_ok()
    }

    /// The token's own text in the vocabulary, such as `▁the`, `Ġthe` or `<s>`.
    pub fn token_text(&self, id: u32) -> Option<&str> {
        self.0.vocab.texts.get(id as usize).map(String::as_str)
    }

    /// The bytes that token `id` prints, not always whole characters. Control tokens, the unknown token and ids outside
    /// the vocabulary print nothing.
    pub fn token_bytes(&self, id: u32) -> &[u8] {
        self.0.vocab.bytes(id)
    }

    /// The tokens of `text`. With `add_special` they begin with one BOS token if this model wants it, and end with `[SEP]` in
    /// BERT models, whose BOS token is `[CLS]`; with `parse_special` texts such as `<|im_end|>` become the control tokens they name,
    /// the longest match first. A chat template may have written the BOS token itself: it is not written twice.
    ///
    /// # Errors
    /// [`ModelError::Input`] for a text longer than [`MAX_TEXT_BYTES`].
    pub fn encode(&self, text: &str, add_special: bool, parse_special: bool) -> Result<Vec<u32>, ModelError> {
        if text.len() > MAX_TEXT_BYTES {
            let reason = format!("the text has {} bytes, the limit is {MAX_TEXT_BYTES}", text.len());
            return Err(ModelError::Input(reason));
        }
        let inner = &*self.0;
        let mut ids: Vec<u32> = inner.bos.filter(|_| add_special && inner.adds_bos).into_iter().collect();
        let matcher = if parse_special { &inner.with_control } else { &inner.plain };
        // SentencePiece puts its space before the text and again after each special token.
        let (mut first, mut strips) = (true, false);
        for part in matcher.split(text) {
            match part {
                Part::Token(id) => {
                    ids.push(id);
                    first = true;
                    strips = inner.strips.binary_search(&id).is_ok();
                }
                Part::Text(text) => {
                    let text = if strips { text.trim_start() } else { text };
                    if text.is_empty() {
                        continue;
                    }
                    match &inner.algorithm {
                        Algorithm::SentencePiece(spm) => spm.encode(&inner.vocab, text, first, &mut ids),
                        Algorithm::ByteLevel(bpe) => bpe.encode(&inner.vocab, text, &mut ids)?,
                        Algorithm::WordPiece(pieces) => pieces.encode(&inner.vocab, text, &mut ids),
                    }
                    first = false;
                }
            }
        }
        if let [first, second, ..] = ids[..]
            && parse_special
            && first == second
            && inner.bos.is_some_and(|bos| bos == first && add_special && inner.adds_bos)
        {
            ids.remove(0);
        }
        ids.extend(inner.eos.filter(|_| add_special && inner.adds_eos));
        Ok(ids)
    }

    /// A fresh decoder of a stream of tokens.
    pub fn decoder(&self) -> Decoder {
        Decoder::new(self.clone())
    }

    /// The text of `ids` at once.
    pub fn decode(&self, ids: &[u32]) -> String {
        let bytes: Vec<u8> = ids.iter().flat_map(|id| self.token_bytes(*id)).copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokenizer").field("kind", &self.kind()).field("vocab", &self.vocab()).finish_non_exhaustive()
    }
}

/// Special tokens after which spaces and line breaks are dropped. Files do not say which those are; of the families known here only
/// Phi-3 with its SentencePiece vocabulary has any.
fn tokens_that_strip(metadata: &Metadata, vocab: &Vocab) -> Result<Vec<u32>, ModelError> {
    let phi3 = metadata.text("general.architecture")? == Some("phi3");
    if !phi3 || metadata.text("tokenizer.ggml.model")? != Some("llama") {
        return Ok(Vec::new());
    }
    let plain = ["<unk>", "<s>", "<|endoftext|>"];
    let special =
        |id: &u32| vocab.kinds[*id as usize] == Kind::Control && !plain.contains(&&*vocab.texts[*id as usize]);
    Ok((0..vocab.len() as u32).filter(special).collect())
}

/// The ids named by the metadata, and control tokens of the names that chat models use for the end of a turn.
fn ends_of_generation(metadata: &Metadata, vocab: &Vocab, eos: Option<u32>) -> Result<Vec<u32>, ModelError> {
    const NAMES: [&str; 7] =
        ["<|eot_id|>", "<|eom_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>"];
    let mut ends: Vec<u32> = eos.into_iter().collect();
    for key in ["eot_token_id", "eom_token_id"] {
        ends.extend(vocab.special(metadata, key)?);
    }
    for name in NAMES {
        let id = vocab.all.get(name).copied();
        ends.extend(id.filter(|id| matches!(vocab.kinds[*id as usize], Kind::Control | Kind::UserDefined)));
    }
    ends.sort_unstable();
    ends.dedup();
    Ok(ends)
}
