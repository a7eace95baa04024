//! Codes that a device exchanges for a key: each once, within minutes.

use super::keys::Terms;
use blake3::Hash;
use data_encoding::BASE32_DNSSEC;

/// How long a code is good for, in seconds: time to take up a phone and point it at the screen.
pub(crate) const CODE_SECONDS: u64 = 300;
/// Codes at once; the oldest makes room for another.
const CODES: usize = 8;
/// Bytes of a code: as many as nobody tries in five minutes, and few enough for a picture that any camera reads.
const CODE_BYTES: usize = 16;

/// A code that was made and not used yet.
#[derive(Debug)]
struct Code {
    hash: Hash,
    terms: Terms,
    ends_ms: u64,
}

/// The codes that can be used now.
#[derive(Debug, Default)]
pub(crate) struct Codes(Vec<Code>);

impl Codes {
    /// A code for a key of these terms, out of bytes that nobody can guess.
    pub(crate) fn make(&mut self, terms: Terms, secret: [u8; 32], now_ms: u64) -> String {
        self.0.retain(|code| code.ends_ms > now_ms);
        if self.0.len() >= CODES {
            self.0.remove(0);
        }
        let text = BASE32_DNSSEC.encode(&secret[..CODE_BYTES]);
        let (hash, ends_ms) = (blake3::hash(text.as_bytes()), now_ms + CODE_SECONDS * 1000);
        self.0.push(Code { hash, terms, ends_ms });
        text
    }

    /// The terms of a code, which is used up by this.
    pub(crate) fn take(&mut self, text: &str, now_ms: u64) -> Option<Terms> {
        self.0.retain(|code| code.ends_ms > now_ms);
        let hash = blake3::hash(text.as_bytes());
        let mut found = None;
        for (index, code) in self.0.iter().enumerate() {
            if code.hash == hash {
                found = Some(index);
            }
        }
        Some(self.0.remove(found?).terms)
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys::Scope;
    use super::*;

    fn terms(label: usize) -> Terms {
        let label = label.to_string();
        Terms { label, scope: Scope::Owner, expires: None, requests_per_minute: None, tokens_per_day: None }
    }

    #[test]
    fn a_code_is_good_once_and_for_five_minutes() {
        let mut codes = Codes::default();
        let code = codes.make(terms(1), [1; 32], 0);
        assert_eq!(code.len(), 26);
        assert_eq!(codes.take("", 0), None);
        assert_eq!(codes.take(&code[1..], 0), None);
        assert_eq!(codes.take(&code, 299_999), Some(terms(1)));
        assert_eq!(codes.take(&code, 299_999), None);
        let late = codes.make(terms(1), [1; 32], 0);
        assert_eq!(codes.take(&late, 300_000), None);
    }

    #[test]
    fn the_oldest_code_makes_room() {
        let mut codes = Codes::default();
        let made: Vec<_> = (0..9).map(|n| codes.make(terms(n), [n as u8; 32], 0)).collect();
        assert_eq!(codes.take(&made[0], 1), None);
        assert_eq!(codes.take(&made[1], 1), Some(terms(1)));
        assert_eq!(codes.take(&made[8], 1), Some(terms(8)));
    }
}
