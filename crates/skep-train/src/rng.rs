//! Random numbers as a function: BLAKE3 of (seed, purpose, counter), read as an endless stream.

/// A stream of random numbers that anyone who knows its three names can repeat.
#[derive(Debug)]
pub struct Stream(blake3::OutputReader);

impl Stream {
    /// The stream of `purpose` number `counter` under `seed`.
    pub fn new(seed: u64, purpose: &str, counter: u64) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("skep-train 2026 random stream v1");
        hasher.update(&seed.to_le_bytes());
        hasher.update(&counter.to_le_bytes());
        hasher.update(purpose.as_bytes());
        Self(hasher.finalize_xof())
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// A number in `0..n`, the high half of a 128-bit product; 0 when `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next_u64()) * n as u128) >> 64) as usize
    }

    /// A number in `-1.0..1.0`, a multiple of 2⁻²³.
    pub fn symmetric(&mut self) -> f32 {
        (self.next_u64() >> 40) as f32 * f32::from_bits(0x3400_0000) - 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_repeatable_and_distinct() {
        let draw = |seed, purpose, counter| Stream::new(seed, purpose, counter).next_u64();
        assert_eq!(draw(1, "a", 2), draw(1, "a", 2));
        let all = [draw(1, "a", 2), draw(2, "a", 2), draw(1, "b", 2), draw(1, "a", 3)];
        for (i, x) in all.iter().enumerate() {
            assert!(!all[..i].contains(x));
        }
    }

    #[test]
    fn numbers_stay_in_range_and_are_centred() {
        let mut stream = Stream::new(7, "range", 0);
        let mut sum = 0.0;
        for _ in 0..10_000 {
            assert!(stream.below(10) < 10);
            let x = stream.symmetric();
            assert!((-1.0..1.0).contains(&x));
            sum += x;
        }
        assert!(sum.abs() < 200.0);
        assert_eq!(stream.below(0), 0);
    }
}
