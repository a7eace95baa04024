//! What sessions and the work on them can come to need, counted before it is promised: who has a session will not be told later that
//! there is no memory, and the machine's owner gets no more than was allowed.
//!
//! # What is counted
//! - Once: the buffers of a pass and of logits, by the longest session so far, as threads keep what they had.
//! - For each session, in full from its beginning: pages of keys and values; the retained output rows; frames that wait, of two
//!   streams, since a redirect opens a second one while the first is still read; its rows in a pass and the frames made of them;
//!   output frames that the next hop has not taken, twice for the same reason, and once more for a standby of it.
//! - Stored pages, as [`super::reuse`] says. They have what the others leave.
//!
//! There are two limits: that of this node, and what its owner lends of it now. Sessions of this machine's own gateway know the first only.
//!
//! Not counted: the weights, which lie in the mapped file and which the system may drop and read again; and the buffers of the
//! transport, which has limits of its own.

use super::StageLimits;
use skep_kernels::PAGE;
use skep_model::{PASS_ROWS, Purpose, Span};
use skep_session::StageConfig;
use skep_types::wire::{Output, Payload};

/// Rows of logits that are computed together: their memory is this times the vocabulary.
pub(super) const LOGITS_ROWS: usize = 32;
/// What a page's own counters and its place in a list need.
pub(super) const PAGE_EXTRA_BYTES: u64 = 64;
/// Streams of one session that may bring or take frames at one time.
const STREAMS: u64 = 2;

/// Bytes that passes over `span` need for sessions of at most `positions`.
pub(super) fn pass_bytes(span: &Span, positions: u32) -> u64 {
    let config = span.config();
    let draws = span.blocks().end() == config.n_blocks && Purpose::of(config).vector_width().is_none();
    span.pass_bytes(positions as usize) + if draws { span.logits_bytes(LOGITS_ROWS) } else { 0 }
}

/// Bytes that a session may come to hold.
pub(super) fn session_bytes(span: &Span, config: &StageConfig) -> u64 {
    let positions = u64::from(config.max_positions);
    let pages = positions.div_ceil(PAGE as u64) * u64::from(config.blocks.len());
    let kv = pages.saturating_mul(span.kv_layout().page_bytes() as u64 + PAGE_EXTRA_BYTES);
    let row = 4 * u64::from(config.d_model);
    let retained = positions * row;
    let in_pass = if span.config().family.causal { positions.min(PASS_ROWS as u64) } else { positions };
    let output = match config.output {
        _ if config.blocks.end() < config.n_blocks => positions * row,
        Output::Candidates(0) => 8 * span.config().vocab as u64,
        Output::Candidates(n) => 8 * u64::from(n),
        Output::Vector => 4 * Purpose::of(span.config()).vector_width().unwrap_or(0) as u64,
    };
    let mirrored = if config.blocks.end() < config.n_blocks { positions * row } else { 0 };
    kv + retained + waiting_bytes(config) + 2 * in_pass * row + STREAMS * output + mirrored
}

/// Bytes of the frames of a session that may wait for the compute thread.
pub(super) fn waiting_bytes(config: &StageConfig) -> u64 {
    let width = match (config.blocks.start(), config.d_patch) {
        (0, 0) => 1,
        (0, d_patch) => d_patch,
        _ => config.d_model,
    };
    STREAMS * 4 * u64::from(width) * u64::from(config.max_positions)
}

/// Bytes of what a frame carries.
pub(super) fn payload_bytes(payload: &Payload) -> u64 {
    4 * match payload {
        Payload::Tokens(ids) => ids.len() as u64,
        Payload::Rows(values) | Payload::Vector(values) => values.len() as u64,
        Payload::Candidates(list) => 2 * list.len() as u64,
    }
}

/// The memory of a stage host and who has it.
#[derive(Debug)]
pub(super) struct Ledger {
    limit: u64,
    /// What others may have of it.
    lent: u64,
    sessions: u64,
    /// Positions of the longest session so far.
    longest: u32,
    pass: u64,
}

impl Ledger {
    pub(super) fn new(span: &Span, limits: StageLimits) -> Self {
        let limit = limits.memory_bytes;
        Self { limit, lent: limit, sessions: 0, longest: 0, pass: pass_bytes(span, 0) }
    }

    /// Lends so much from now on. Sessions that have more keep it.
    pub(super) fn lend(&mut self, bytes: u64) {
        self.lent = bytes.min(self.limit);
    }

    /// Bytes that no session needs and that are lent.
    pub(super) fn free(&self) -> u64 {
        self.free_of(self.lent)
    }

    fn free_of(&self, limit: u64) -> u64 {
        limit.saturating_sub(self.sessions).saturating_sub(self.pass)
    }

    /// Counts what passes over a further span need.
    ///
    /// # Errors
    /// One sentence with the bytes needed and free; nothing has changed then.
    pub(super) fn adopt(&mut self, span: &Span) -> Result<(), String> {
        let pass = self.pass.max(pass_bytes(span, self.longest));
        let (needed, free) = (pass - self.pass, self.free_of(self.limit));
        if needed > free {
            return Err(format!(
                "passes over blocks {} need {needed} bytes more and {free} of {} are free",
                span.blocks(),
                self.limit
            ));
        }
        self.pass = pass;
        Ok(())
    }

    /// Counts a session in. Returns its bytes, for [`Ledger::close`].
    ///
    /// # Errors
    /// One sentence with the bytes needed and free; nothing has changed then.
    pub(super) fn open(&mut self, span: &Span, config: &StageConfig, own: bool) -> Result<u64, String> {
        let limit = if own { self.limit } else { self.lent };
        let (bytes, longest) = (session_bytes(span, config), self.longest.max(config.max_positions));
        let pass = self.pass.max(pass_bytes(span, longest));
        let (needed, free) = (bytes.saturating_add(pass - self.pass), self.free_of(limit));
        if needed > free {
            return Err(format!("the session needs {needed} bytes and {free} of {limit} are free"));
        }
        (self.sessions, self.longest, self.pass) = (self.sessions + bytes, longest, pass);
        Ok(bytes)
    }

    pub(super) fn close(&mut self, bytes: u64) {
        self.sessions -= bytes;
    }
}

#[cfg(test)]
mod tests;
