//! Which instruction set computes, and whether the thread's floating-point environment is the one that RK-1 needs.

use std::fmt;

/// An implementation of the kernels. All give the same bits; they differ in speed only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// Plain loops: the definition, on any processor.
    Scalar,
    /// x86-64 with AVX2 and F16C.
    Avx2,
    /// x86-64 with AVX-512 F, BW, VL, DQ and VNNI.
    Avx512,
}

impl Isa {
    /// The fastest implementation that this processor can run.
    pub fn detect() -> Self {
        *Self::available().last().unwrap_or(&Self::Scalar)
    }

    /// Every implementation that this processor can run, slowest first; never empty.
    pub fn available() -> &'static [Self] {
        static FOUND: std::sync::OnceLock<Vec<Isa>> = std::sync::OnceLock::new();
        FOUND.get_or_init(|| {
            [Self::Scalar, Self::Avx2, Self::Avx512].into_iter().filter(|isa| isa.supported()).collect()
        })
    }

    #[cfg(target_arch = "x86_64")]
    fn supported(self) -> bool {
        let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("f16c");
        match self {
            Self::Scalar => true,
            Self::Avx2 => avx2,
            Self::Avx512 => {
                avx2 && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vnni")
            }
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn supported(self) -> bool {
        self == Self::Scalar
    }

    /// This implementation if the processor can run it, else the scalar one: no kernel ever meets a missing instruction.
    pub(crate) fn usable(self) -> Self {
        if Self::available().contains(&self) { self } else { Self::Scalar }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        })
    }
}

/// The thread's floating-point environment is not the one that RK-1 prescribes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FloatEnvironmentError {
    /// Results are not rounded to nearest, ties to even.
    Rounding,
    /// Subnormal numbers are replaced by zero (flush to zero, or denormals are zero).
    Subnormals,
}

impl fmt::Display for FloatEnvironmentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rounding => "the thread does not round floating-point results to nearest even",
            Self::Subnormals => "the thread flushes subnormal floating-point numbers to zero",
        })
    }
}

impl std::error::Error for FloatEnvironmentError {}

/// Checks the calling thread's floating-point environment. Every thread that runs kernels calls it once at its start.
///
/// # Errors
/// [`FloatEnvironmentError`] when something in this process (a library that sets fast-math modes) has changed it.
pub fn check_float_environment() -> Result<(), FloatEnvironmentError> {
    check_control_word()?;
    // The same by arithmetic, which also covers processors whose control register is not read here.
    let opaque = std::hint::black_box::<f32>;
    let (one, half_unit) = (opaque(1.0), opaque(f32::EPSILON / 2.0));
    if one + half_unit != 1.0 || (one + opaque(f32::EPSILON)) + half_unit <= one + opaque(f32::EPSILON) {
        return Err(FloatEnvironmentError::Rounding);
    }
    if -one - half_unit != -1.0 {
        return Err(FloatEnvironmentError::Rounding);
    }
    if opaque(f32::MIN_POSITIVE) * opaque(0.5) == 0.0 || opaque(f32::from_bits(1)) * opaque(2.0) == 0.0 {
        return Err(FloatEnvironmentError::Subnormals);
    }
    Ok(())
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "the control register can be read by an instruction only")]
fn check_control_word() -> Result<(), FloatEnvironmentError> {
    let mut mxcsr = 0u32;
    // SAFETY: `stmxcsr` stores 32 bits at the given address, which is a live, aligned u32; every x86-64 has it.
    unsafe { std::arch::asm!("stmxcsr [{}]", in(reg) &raw mut mxcsr, options(nostack, preserves_flags)) };
    if mxcsr >> 13 & 3 != 0 {
        return Err(FloatEnvironmentError::Rounding);
    }
    if mxcsr & (1 << 15 | 1 << 6) != 0 {
        return Err(FloatEnvironmentError::Subnormals);
    }
    Ok(())
}

#[cfg(not(target_arch = "x86_64"))]
fn check_control_word() -> Result<(), FloatEnvironmentError> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scalar_definition_is_always_available_and_the_best_is_detected() {
        assert_eq!(Isa::available()[0], Isa::Scalar);
        assert_eq!(Some(&Isa::detect()), Isa::available().last());
    }

    #[test]
    fn a_fresh_thread_has_the_right_environment() {
        assert_eq!(check_float_environment(), Ok(()));
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    #[allow(unsafe_code)]
    fn a_changed_environment_is_noticed() {
        fn with(bits: u32) -> Result<(), FloatEnvironmentError> {
            std::thread::spawn(move || {
                let changed = 0x1f80u32 | bits;
                let normal = 0x1f80u32;
                // SAFETY: `ldmxcsr` loads a live u32 that sets no reserved bit; the normal word is restored below.
                unsafe { std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const changed, options(nostack)) };
                let result = check_float_environment();
                // SAFETY: as above.
                unsafe { std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const normal, options(nostack)) };
                result
            })
            .join()
            .unwrap()
        }
        for mode in 1..4 {
            assert_eq!(with(mode << 13), Err(FloatEnvironmentError::Rounding));
        }
        assert_eq!(with(1 << 15), Err(FloatEnvironmentError::Subnormals));
        assert_eq!(with(1 << 6), Err(FloatEnvironmentError::Subnormals));
    }
}
