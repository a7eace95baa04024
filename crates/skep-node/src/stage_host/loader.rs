//! Maps the weights of a span, again and again if need be.

use skep_model::{Gguf, ModelError, Span, SpanOptions};
use skep_types::BlockRange;
use std::path::PathBuf;

/// Lets this thread, and those that it starts, step back before all other programs of the machine.
#[cfg(target_os = "linux")]
pub(super) fn step_back() {
    // A system that refuses computes as it did.
    let _ = rustix::process::setpriority_process(None, 19);
}

/// Elsewhere a priority is the whole process', and who asks for a page of it would wait.
#[cfg(not(target_os = "linux"))]
pub(super) fn step_back() {}

/// The threads that compute; in the background, they step back.
///
/// # Errors
/// [`ModelError::Threads`] when the system refuses a thread.
pub(crate) fn span_options(threads: usize, background: bool) -> Result<SpanOptions, ModelError> {
    if !background {
        return SpanOptions::new(threads);
    }
    let begin = || {
        step_back();
        SpanOptions::new(threads)
    };
    let begun = std::thread::scope(|scope| scope.spawn(begin).join());
    begun.unwrap_or_else(|_| Err(ModelError::Threads(std::io::ErrorKind::Other.into())))
}

/// Where weights are, and how they are computed with.
#[derive(Clone)]
pub(crate) struct Loader {
    file: PathBuf,
    options: SpanOptions,
}

impl Loader {
    pub(crate) fn new(file: PathBuf, options: SpanOptions) -> Self {
        Self { file, options }
    }

    /// The threads that compute are the same for all spans.
    pub(crate) fn options(&self) -> &SpanOptions {
        &self.options
    }

    /// Maps these blocks; nothing of them is read yet.
    pub(crate) fn load(&self, blocks: BlockRange) -> Result<Span, ModelError> {
        Span::load_with(&Gguf::open(&self.file)?, blocks, self.options.clone())
    }

    /// Maps these blocks and brings them into memory, so that the first row of a session does not wait for the disk.
    pub(crate) fn load_warm(&self, blocks: BlockRange) -> Result<Span, ModelError> {
        let span = self.load(blocks)?;
        let mut cache = span.new_cache(span.blocks(), 1)?;
        span.forward(&mut cache, &mut vec![0.5; span.config().d_model])?;
        Ok(span)
    }
}
