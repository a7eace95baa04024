//! Randomness from the system.

/// 32 unguessable bytes: a fresh secret key, or the seed of a session's ids.
pub fn random_bytes() -> [u8; 32] {
    iroh::SecretKey::generate().to_bytes()
}
