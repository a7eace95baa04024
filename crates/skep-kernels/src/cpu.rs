//! The processor as kernels use it: an instruction set and some threads.

use crate::{Isa, Workers};
use std::io;

/// Computes. Shared by all spans of a process; its results do not depend on it, only their speed.
#[derive(Debug)]
pub struct Cpu {
    isa: Isa,
    workers: Workers,
}

impl Cpu {
    /// The fastest instruction set of this processor and `threads` threads, at least 1, the caller's among them.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn new(threads: usize) -> io::Result<Self> {
        Ok(Self { isa: Isa::detect(), workers: Workers::new(threads)? })
    }

    /// The same with another instruction set; the scalar one where the processor lacks it.
    #[must_use]
    pub fn with_isa(mut self, isa: Isa) -> Self {
        self.isa = isa.usable();
        self
    }

    /// The instruction set.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The threads.
    pub fn workers(&self) -> &Workers {
        &self.workers
    }
}
