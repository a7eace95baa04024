//! Counts what an answer takes while it comes, and ends it when its key does.

use crate::access::{Keys, Pass};
use skep_node::{Event, GenerateError};

/// The count of one answer.
pub(crate) struct Tally {
    keys: Keys,
    pass: Pass,
    /// Tokens that are counted; none yet for an answer that is taken up, since what came before is not its reader's to pay again.
    counted: Option<u32>,
    alive: bool,
}

impl Tally {
    /// An answer that begins, to a prompt of so many tokens.
    pub(crate) fn begin(keys: &Keys, pass: Pass, prompt_tokens: u32) -> Self {
        let alive = keys.charge(pass, prompt_tokens.into());
        Self { keys: keys.clone(), pass, counted: Some(0), alive }
    }

    /// An answer that goes on; its first event is all that came before.
    pub(crate) fn go_on(keys: &Keys, pass: Pass) -> Self {
        Self { keys: keys.clone(), pass, counted: None, alive: true }
    }

    /// Counts what an event brings; whether its reader may have it.
    pub(crate) fn take(&mut self, event: &Result<Event, GenerateError>) -> bool {
        let so_far = match event {
            Ok(Event::Text { token_index, .. }) => token_index.saturating_add(1),
            Ok(Event::Done(summary)) => summary.completion_tokens,
            Err(_) => self.counted.unwrap_or(0),
        };
        let new = so_far.saturating_sub(self.counted.unwrap_or(so_far));
        self.counted = Some(so_far);
        self.alive = self.alive && self.keys.charge(self.pass, new.into());
        self.alive
    }
}
