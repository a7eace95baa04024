//! The arithmetic of ed25519 by the rule of ZIP-215, and what it has verified already.
//!
//! A signature holds if `[8][s]B = [8]R + [8][k]A` with `s` less than the order of the group and `A` and `R` any encodings of points: the rule under
//! which verifying many at once says the same as verifying each. So it does not matter to what is final how a machine batches.
//!
//! Verifying is most of what a transfer costs. Each is verified once, in a batch with others; the engine, which asks again when a transaction
//! enters the pool and when a block with it is tried out, finds it in [`Seen`].

use ed25519_zebra::{Signature, SigningKey, VerificationKey, VerificationKeyBytes, batch};
use rand_core::{TryCryptoRng, TryRng};
use skep_types::NodeId;
use skep_types::signed::Keys;
use std::collections::HashSet;
use std::convert::Infallible;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

/// After how many signatures the older half of what was seen is forgotten: more than wait in a full pool.
const SEEN_MAX: usize = 1 << 16;
/// The most signatures of one batch. A larger one costs less for each, but is over later.
pub(crate) const BATCH_MAX: usize = 1024;

/// A hash over signer, signature and message.
pub(crate) type Digest = [u8; 32];

pub(crate) fn digest(signer: &NodeId, message: &[u8], signature: &[u8; 64]) -> Digest {
    *blake3::Hasher::new().update(&signer.0).update(signature).update(message).finalize().as_bytes()
}

/// Signatures that were verified lately.
#[derive(Default)]
pub(crate) struct Seen(Mutex<[HashSet<Digest>; 2]>);

impl Seen {
    pub fn has(&self, digest: &Digest) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|half| half.contains(digest))
    }

    pub fn add(&self, digests: impl IntoIterator<Item = Digest>) {
        let mut halves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for digest in digests {
            halves[0].insert(digest);
            if halves[0].len() >= SEEN_MAX {
                halves[1] = mem::take(&mut halves[0]);
            }
        }
    }
}

/// One machine's key, and what was verified.
#[derive(Clone)]
pub struct Keyring {
    signing: SigningKey,
    seen: Arc<Seen>,
}

impl Keyring {
    /// The key of these secret bytes.
    pub fn new(secret: &[u8; 32]) -> Self {
        Self { signing: SigningKey::from(*secret), seen: Arc::default() }
    }

    /// Its public half.
    pub fn id(&self) -> NodeId {
        NodeId(VerificationKeyBytes::from(&self.signing).into())
    }

    pub(crate) fn seen(&self) -> Arc<Seen> {
        self.seen.clone()
    }
}

impl Keys for Keyring {
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.signing.sign(message).to_bytes()
    }

    fn verify(&self, signer: &NodeId, message: &[u8], signature: &[u8; 64]) -> bool {
        let digest = digest(signer, message, signature);
        if self.seen.has(&digest) {
            return true;
        }
        let holds = holds(signer, message, signature);
        if holds {
            self.seen.add([digest]);
        }
        holds
    }
}

/// One signature by itself.
pub(crate) fn holds(signer: &NodeId, message: &[u8], signature: &[u8; 64]) -> bool {
    let signature = Signature::from_bytes(signature);
    VerificationKey::try_from(signer.0).is_ok_and(|key| key.verify(&signature, message).is_ok())
}

/// What is to be verified: who signed which bytes how.
pub(crate) type Claim<'a> = (NodeId, &'a [u8], [u8; 64]);

/// Says of each claim whether it holds. `seed` is secret and new for each call: whoever knew the factors of a batch could make two wrong
/// signatures cancel out.
pub(crate) fn check(claims: &[Claim<'_>], seed: &[u8; 32]) -> Vec<bool> {
    let mut random = Random(blake3::Hasher::new_keyed(seed).finalize_xof());
    let mut held = Vec::with_capacity(claims.len());
    for part in claims.chunks(BATCH_MAX) {
        let item = |(signer, message, signature): &Claim<'_>| {
            batch::Item::from((VerificationKeyBytes::from(signer.0), Signature::from_bytes(signature), *message))
        };
        let mut all = batch::Verifier::new();
        part.iter().for_each(|claim| all.queue(item(claim)));
        if all.verify(&mut random).is_ok() {
            held.extend(part.iter().map(|_| true));
        } else {
            held.extend(part.iter().map(|claim| item(claim).verify_single().is_ok()));
        }
    }
    held
}

/// Random numbers out of a secret seed.
struct Random(blake3::OutputReader);

impl TryRng for Random {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(bytes);
        Ok(())
    }
}

impl TryCryptoRng for Random {}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyring(number: u8) -> Keyring {
        Keyring::new(&[number; 32])
    }

    #[test]
    fn a_batch_finds_the_forged_among_the_good() {
        let messages: Vec<Vec<u8>> = (0..40u8).map(|number| vec![number; 50]).collect();
        let mut claims: Vec<Claim<'_>> = messages
            .iter()
            .enumerate()
            .map(|(number, message)| {
                let keys = keyring(number as u8 % 20);
                (keys.id(), &message[..], keys.sign(message))
            })
            .collect();
        assert_eq!(check(&claims, &[1; 32]), vec![true; 40]);
        claims[7].2[3] ^= 1;
        claims[9].1 = b"other";
        claims[11].0 = keyring(99).id();
        let wrong: Vec<usize> =
            check(&claims, &[2; 32]).iter().enumerate().filter(|(_, holds)| !**holds).map(|(at, _)| at).collect();
        assert_eq!(wrong, [7, 9, 11]);
        assert_eq!(check(&[], &[3; 32]), Vec::<bool>::new());
    }

    /// All eight points of small order, and their six encodings that are not canonical: where strict rules, batches and single verification
    /// of other libraries disagree. Under ZIP-215 a signature of zero by such a key with such a point holds over every message.
    #[test]
    fn single_and_batch_agree_where_other_rules_do_not() {
        let hex = |text: &str| -> [u8; 32] {
            let byte = |at: usize| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap();
            std::array::from_fn(byte)
        };
        let points = [
            "0100000000000000000000000000000000000000000000000000000000000000",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "0000000000000000000000000000000000000000000000000000000000000080",
            "0000000000000000000000000000000000000000000000000000000000000000",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
            "0100000000000000000000000000000000000000000000000000000000000080",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        ];
        for key in points {
            for point in points {
                let mut signature = [0; 64];
                signature[..32].copy_from_slice(&hex(point));
                let claim: Claim<'_> = (NodeId(hex(key)), b"whatever", signature);
                assert!(holds(&claim.0, claim.1, &claim.2), "{key} {point}");
                assert_eq!(check(&[claim, claim], &[5; 32]), [true, true], "{key} {point}");
            }
        }
        // No canonical scalar, no point: refused by both.
        let mut signature = keyring(1).sign(b"x");
        signature[63] |= 0xe0;
        let claim: Claim<'_> = (keyring(1).id(), b"x", signature);
        assert!(!holds(&claim.0, claim.1, &claim.2));
        assert_eq!(check(&[claim], &[6; 32]), [false]);
    }

    #[test]
    fn what_was_seen_holds_and_nothing_else_does() {
        let keys = keyring(1);
        let signature = keys.sign(b"yes");
        assert!(keys.verify(&keys.id(), b"yes", &signature));
        assert!(keys.seen.has(&digest(&keys.id(), b"yes", &signature)));
        assert!(!keys.verify(&keys.id(), b"no", &signature));
        assert!(!keys.seen.has(&digest(&keys.id(), b"no", &signature)));
        keys.seen.add((0..2 * SEEN_MAX as u64).map(|number| *blake3::hash(&number.to_le_bytes()).as_bytes()));
        assert!(!keys.seen.has(&digest(&keys.id(), b"yes", &signature)), "it was long ago");
        assert!(keys.verify(&keys.id(), b"yes", &signature));
    }
}
