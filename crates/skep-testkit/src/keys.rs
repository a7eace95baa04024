//! Keys for tests of what is signed.

use ed25519_dalek::{Signature, Signer, SigningKey, Verifier, VerifyingKey};
use skep_types::NodeId;
use skep_types::signed::Keys;

/// Real signatures.
pub struct Real(pub SigningKey);

impl Real {
    /// The key of a seed that is this byte, 32 times.
    pub fn of(seed: u8) -> Self {
        Self(SigningKey::from_bytes(&[seed; 32]))
    }

    /// Whose signatures these are.
    pub fn id(&self) -> NodeId {
        NodeId(self.0.verifying_key().to_bytes())
    }
}

impl Keys for Real {
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }

    fn verify(&self, signer: &NodeId, message: &[u8], signature: &[u8; 64]) -> bool {
        let signature = Signature::from_bytes(signature);
        VerifyingKey::from_bytes(&signer.0).is_ok_and(|key| key.verify(message, &signature).is_ok())
    }
}

/// Signatures that are a hash: fast, and as good as real ones in a test where nobody forges them.
#[derive(Clone, Copy)]
pub struct Hashed(pub NodeId);

impl Keys for Hashed {
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        let half = *blake3::Hasher::new().update(&self.0.0).update(message).finalize().as_bytes();
        let mut whole = [0; 64];
        whole[..32].copy_from_slice(&half);
        whole[32..].copy_from_slice(&half);
        whole
    }

    fn verify(&self, signer: &NodeId, message: &[u8], signature: &[u8; 64]) -> bool {
        Self(*signer).sign(message) == *signature
    }
}
