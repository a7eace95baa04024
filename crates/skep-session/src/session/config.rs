//! What a session may be asked.

use super::{Encode, SessionConfig, SessionError, Source, Task};
use crate::stage::rows_per_frame;
use skep_types::wire::MAX_HOPS;

impl SessionConfig {
    /// The tokens and the number of rows that are there before anything is computed.
    pub(super) fn check(&self) -> Result<(Vec<u32>, u32), SessionError> {
        if self.d_model == 0 {
            return Err(SessionError::Config("hidden rows have no values"));
        }
        match &self.task {
            Task::Generate(task) => {
                if task.max_new == 0 {
                    return Err(SessionError::Config("no token may be drawn"));
                }
                let rows = self.check_tokens(&task.prompt)?;
                match rows.checked_add(task.max_new) {
                    Some(_) => Ok((task.prompt.clone(), rows)),
                    None => Err(SessionError::Config("prompt and answer have more positions than 32 bits can count")),
                }
            }
            Task::Encode(task) => self.check_encode(task),
        }
    }

    fn check_encode(&self, task: &Encode) -> Result<(Vec<u32>, u32), SessionError> {
        if task.width == 0 {
            return Err(SessionError::Config("the vector has no values"));
        }
        let (tokens, rows, width) = match &task.source {
            Source::Tokens(tokens) => (tokens.clone(), self.check_tokens(tokens)?, 1),
            Source::Patches { rows, values } => {
                let whole = values.len().checked_div(*rows as usize).filter(|width| *width > 0);
                let width = whole.filter(|width| width * *rows as usize == values.len());
                (Vec::new(), *rows, width.ok_or(SessionError::Config("the image is not whole rows of patches"))?)
            }
        };
        // No position can be computed without the others, so they travel together.
        let widest = u32::try_from(width).unwrap_or(u32::MAX).max(self.d_model);
        if rows > rows_per_frame(widest, MAX_HOPS) {
            return Err(SessionError::Config("the input has more rows than one frame carries"));
        }
        Ok((tokens, rows))
    }

    fn check_tokens(&self, tokens: &[u32]) -> Result<u32, SessionError> {
        if self.vocab == 0 {
            return Err(SessionError::Config("the vocabulary is empty"));
        }
        if let Some(&id) = tokens.iter().find(|id| **id >= self.vocab) {
            return Err(SessionError::PromptToken { id, vocab: self.vocab });
        }
        match u32::try_from(tokens.len()) {
            Ok(0) => Err(SessionError::Config("the prompt has no tokens")),
            Ok(rows) => Ok(rows),
            Err(_) => Err(SessionError::Config("prompt and answer have more positions than 32 bits can count")),
        }
    }
}
