//! Where the outcome of one request goes.

use crate::generate::{Event, GenerateError, Summary};
use crate::text::AnswerText;
use tokio::sync::{mpsc, oneshot};

/// Takes what a request's session puts out.
pub(crate) enum Sink {
    /// Text for a reader, piece by piece.
    Text {
        /// From tokens to what may be shown.
        text: AnswerText,
        /// Holds an event for every token that the request may draw, so that a slow reader never delays the protocol.
        events: mpsc::Sender<Result<Event, GenerateError>>,
    },
    /// One vector; nothing once it was taken.
    Vector(Option<oneshot::Sender<Result<Vec<f32>, GenerateError>>>),
}

impl Sink {
    /// Shows the text of a token. Returns whether a stop text ends the answer.
    pub(crate) fn token(&mut self, index: u32, id: u32) -> bool {
        // A session for a vector draws no tokens.
        let Self::Text { text, events } = self else { return false };
        let (text, stop) = text.push(id);
        let _ = events.try_send(Ok(Event::Text { text, token_index: index }));
        stop
    }

    pub(crate) fn vector(&mut self, values: Vec<f32>) {
        self.answer(Ok(values));
    }

    pub(crate) fn fail(&mut self, error: GenerateError) {
        match self {
            Self::Text { events, .. } => drop(events.try_send(Err(error))),
            Self::Vector(_) => self.answer(Err(error)),
        }
    }

    /// The answer is complete; what was held back is shown unless a stop text ended it.
    pub(crate) fn done(self, summary: &Summary, stopped: bool) {
        let Self::Text { text, events } = self else { return };
        let rest = if stopped { String::new() } else { text.finish() };
        if !rest.is_empty() {
            let token_index = summary.completion_tokens.saturating_sub(1);
            let _ = events.try_send(Ok(Event::Text { text: rest, token_index }));
        }
        let _ = events.try_send(Ok(Event::Done(Box::new(summary.clone()))));
    }

    fn answer(&mut self, answer: Result<Vec<f32>, GenerateError>) {
        // Whoever asked may have hung up meanwhile.
        if let Self::Vector(asker) = self
            && let Some(asker) = asker.take()
        {
            let _ = asker.send(answer);
        }
    }
}
