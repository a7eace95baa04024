//! Counts what an answer takes while it comes, and ends it when its key does.

use crate::Api;
use crate::access::{Keys, Pass};
use crate::backend::Backend;
use crate::error::ApiError;
use crate::stats::{Ended, Operation, Stats};
use skep_node::{EncodeRequest, Encodings, Event, GenerateError, GenerateRequest, Generation, Summary};
use skep_types::ModelId;
use std::time::Instant;

/// What happened to an answer that nobody read to its end.
const CANCELLED: &str = "cancelled";

/// Who asked for what, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pass: Pass,
    operation: Operation,
    pub(crate) begun: Instant,
}

impl Asked {
    /// For something that is asked now.
    pub(crate) fn now(pass: Pass, operation: Operation) -> Self {
        Self { pass, operation, begun: Instant::now() }
    }
}

impl<B: Backend> Api<B> {
    /// Begins an answer that is counted.
    pub(crate) async fn generate(
        &self,
        asked: Asked,
        request: GenerateRequest,
    ) -> Result<(Generation, Tally), ApiError> {
        let begun = self.backend.generate(request).await.map_err(|error| self.refused(asked, error))?;
        let mut tally = self.tally(asked, begun.model);
        tally.counted = Some(0);
        tally.alive = self.config.keys.charge(asked.pass, begun.prompt_tokens.into());
        Ok((begun, tally))
    }

    /// Encodes, and counts it.
    pub(crate) async fn encode(&self, asked: Asked, request: EncodeRequest) -> Result<Encodings, ApiError> {
        let made = self.backend.encode(request).await.map_err(|error| self.refused(asked, error))?;
        self.config.keys.charge(asked.pass, made.prompt_tokens.into());
        let ended = Ended { prompt_tokens: made.prompt_tokens, ..Ended::default() };
        self.tally(asked, made.model).note(ended);
        Ok(made)
    }

    /// The count of an answer that goes on; its first event is all that came before.
    pub(crate) fn tally(&self, asked: Asked, model: ModelId) -> Tally {
        let models = self.backend.models();
        let name = models.into_iter().find(|card| card.id == model).map_or_else(|| model.short(), |card| card.name);
        let (keys, stats) = (self.config.keys.clone(), self.stats.clone());
        Tally { keys, stats, asked, model: name, counted: None, alive: true, noted: false }
    }

    fn refused(&self, asked: Asked, error: GenerateError) -> ApiError {
        let error = ApiError::from(error);
        self.stats.refused(asked.operation, &error, asked.begun.elapsed());
        error
    }
}

/// The count of one answer. It is noted down when the answer ends, or when it is dropped before.
pub(crate) struct Tally {
    keys: Keys,
    stats: Stats,
    asked: Asked,
    model: String,
    /// Tokens that are counted; none yet for an answer that is taken up, since what came before is not its reader's to pay again.
    counted: Option<u32>,
    alive: bool,
    noted: bool,
}

impl Tally {
    /// Counts what an event brings; whether its reader may have it.
    pub(crate) fn take(&mut self, event: &Result<Event, GenerateError>) -> bool {
        let so_far = match event {
            Ok(Event::Text { token_index, .. }) => token_index.saturating_add(1),
            Ok(Event::Done(summary)) => {
                self.note(ended(summary));
                summary.completion_tokens
            }
            Err(error) => {
                let error = Some(ApiError::from(error.clone()).code_or(CANCELLED));
                self.note(Ended { error, ..Ended::default() });
                self.counted.unwrap_or(0)
            }
        };
        let new = so_far.saturating_sub(self.counted.unwrap_or(so_far));
        self.counted = Some(so_far);
        self.alive = self.alive && self.keys.charge(self.asked.pass, new.into());
        self.alive
    }

    fn note(&mut self, ended: Ended) {
        self.stats.take(self.asked.operation, &self.model, Ended { duration: self.asked.begun.elapsed(), ..ended });
        self.noted = true;
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        if !self.noted {
            self.note(Ended { error: Some(CANCELLED), ..Ended::default() });
        }
    }
}

fn ended(summary: &Summary) -> Ended {
    Ended {
        prompt_tokens: summary.prompt_tokens,
        completion_tokens: Some(summary.completion_tokens),
        first_token: Some(summary.first_token_ms / 1000.0),
        per_token: summary.lap_ms.map(|ms| ms / 1000.0),
        ..Ended::default()
    }
}
