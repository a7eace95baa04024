//! Where the outcome of one request goes.

use crate::answers::Noted;
use crate::generate::{Event, GenerateError, Summary};
use crate::text::AnswerText;
use tokio::sync::{mpsc, oneshot};

/// Takes what a request's session puts out.
pub(crate) enum Sink {
    /// Text for a reader, piece by piece.
    Text(Box<TextSink>),
    /// One vector; nothing once it was taken.
    Vector(Option<oneshot::Sender<Result<Vec<f32>, GenerateError>>>),
}

/// Where the text of an answer goes.
pub(crate) struct TextSink {
    /// From tokens to what may be shown.
    pub(crate) text: AnswerText,
    /// Holds an event for every token that the request may draw, so that a slow reader never delays the protocol.
    pub(crate) events: mpsc::Sender<Result<Event, GenerateError>>,
    /// Where the tokens are noted down.
    pub(crate) noted: Noted,
    /// Tokens that were drawn before this session began.
    pub(crate) before: u32,
}

impl Sink {
    /// Shows the text of a token. Returns whether a stop text ends the answer.
    pub(crate) fn token(&mut self, index: u32, id: u32) -> bool {
        // A session for a vector draws no tokens.
        let Self::Text(sink) = self else { return false };
        sink.noted.drawn(id);
        let (text, stop) = sink.text.push(id);
        let _ = sink.events.try_send(Ok(Event::Text { text, token_index: sink.before + index }));
        stop
    }

    pub(crate) fn vector(&mut self, values: Vec<f32>) {
        self.answer(Ok(values));
    }

    pub(crate) fn fail(&mut self, error: GenerateError) {
        match self {
            Self::Text(sink) => drop(sink.events.try_send(Err(error))),
            Self::Vector(_) => self.answer(Err(error)),
        }
    }

    /// The answer is complete; what was held back is shown unless a stop text ended it.
    pub(crate) fn done(self, summary: &Summary, stopped: bool) {
        let Self::Text(sink) = self else { return };
        let TextSink { text, events, noted, .. } = *sink;
        noted.over();
        let rest = if stopped { String::new() } else { text.finish() };
        if !rest.is_empty() {
            let token_index = summary.completion_tokens.saturating_sub(1);
            let _ = events.try_send(Ok(Event::Text { text: rest, token_index }));
        }
        let _ = events.try_send(Ok(Event::Done(Box::new(summary.clone()))));
    }

    /// The answer is over without being complete.
    pub(crate) fn over(self) {
        if let Self::Text(sink) = self {
            sink.noted.over();
        }
    }

    /// Tokens that were drawn before this session began.
    pub(crate) fn before(&self) -> u32 {
        if let Self::Text(sink) = self { sink.before } else { 0 }
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
