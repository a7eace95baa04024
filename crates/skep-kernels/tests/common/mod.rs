//! Inputs that reach every corner of the arithmetic, from a seed.

#![allow(dead_code, reason = "each test file uses a part")]

use skep_kernels::{Cpu, Format, Isa};
use std::sync::OnceLock;

/// Every instruction set of this processor, with every number of threads that a test asks for.
pub fn cpus() -> &'static [Cpu] {
    static CPUS: OnceLock<Vec<Cpu>> = OnceLock::new();
    CPUS.get_or_init(|| {
        let threads = |isa: &Isa| [1, 2, 3, 7].map(|threads| Cpu::new(threads).unwrap().with_isa(*isa));
        Isa::available().iter().flat_map(threads).collect()
    })
}

/// A linear congruential generator.
pub struct Random(pub u64);

impl Random {
    pub fn draw(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 32) as u32
    }

    pub fn unit(&mut self) -> f32 {
        (self.draw() >> 8) as f32 / (1u32 << 23) as f32 - 1.0
    }

    /// Numbers of any size: ordinary ones, subnormal ones, signed zeros and ones whose products nearly overflow.
    pub fn numbers(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.number()).collect()
    }

    fn number(&mut self) -> f32 {
        let unit = self.unit();
        match self.draw() >> 28 {
            0 => unit * 1e18,
            1 => unit * 1e-19,
            2 => f32::from_bits(self.draw() & 0x80ff_ffff),
            3 => unit.signum() * 0.0,
            _ => unit * 4.0,
        }
    }

    /// Numbers of ordinary size.
    pub fn small(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.unit() * f32::from_bits((120 + (self.draw() >> 29)) << 23)).collect()
    }

    /// Rows of activations whose stretches of 16 are each of another kind: ordinary, all at a largest value (f32's own
    /// among them), tiny, subnormal, zero, or of mixed sizes.
    pub fn activations(&mut self, n: usize) -> Vec<f32> {
        let mut out = Vec::with_capacity(n);
        while out.len() < n {
            let stretch = 16.min(n - out.len());
            let kind = self.draw() >> 28;
            let sign = |random: &mut Self| if random.draw() >> 31 == 0 { 1.0f32 } else { -1.0 };
            let one = sign(self);
            for _ in 0..stretch {
                out.push(match kind {
                    0 => one * f32::MAX,
                    1 => sign(self) * 3.0,
                    2 => one * 3.0,
                    3 => self.unit() * 1e-38,
                    4 => f32::from_bits(self.draw() & 0x8000_ffff),
                    5 => one * 0.0,
                    6 => self.number(),
                    _ => self.unit() * 4.0,
                });
            }
        }
        out
    }

    /// Rows of weights, `blocks` blocks in all: random bytes, blocks of one byte, and always finite scales.
    pub fn weights(&mut self, format: Format, blocks: usize) -> Vec<u8> {
        let size = format.block_bytes();
        let mut out = Vec::with_capacity(blocks * size);
        for _ in 0..blocks {
            let kind = if size < 8 { 15 } else { self.draw() >> 28 };
            let from = out.len();
            for _ in 0..size {
                out.push(match kind {
                    0 => 0x80,
                    1 => 0x7f,
                    2 => 0xff,
                    3 => 0,
                    4 => 0x81,
                    _ => (self.draw() >> 24) as u8,
                });
            }
            let block = &mut out[from..];
            match format {
                Format::F32 => block.copy_from_slice(&self.number().to_le_bytes()),
                Format::BF16 => block[1] &= 0xbf,
                Format::F16 | Format::Q4_0 | Format::Q8_0 => finite_half(&mut block[..2]),
                Format::Q4_K | Format::Q5_K => {
                    finite_half(&mut block[..2]);
                    finite_half(&mut block[2..4]);
                }
                Format::Q6_K => finite_half(&mut block[208..]),
            }
        }
        out
    }
}

/// Takes the highest bit of the exponent off a half that is not finite.
fn finite_half(bytes: &mut [u8]) {
    if bytes[1] & 0x7c == 0x7c {
        bytes[1] &= 0xbf;
    }
}

/// The bits of numbers; the bits of a NaN are not prescribed, so all NaNs are one.
pub fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| if value.is_nan() { 0x7fc0_0000 } else { value.to_bits() }).collect()
}
