//! From tokens to the text that a reader sees: whole characters, stop texts never shown.

use crate::stop::StopMatcher;
use skep_model::Decoder;

/// Turns the tokens of one answer into text.
pub(crate) struct AnswerText {
    decoder: Decoder,
    stops: StopMatcher,
}

impl AnswerText {
    pub(crate) fn new(decoder: Decoder, stops: &[String]) -> Self {
        Self { decoder, stops: StopMatcher::new(stops) }
    }

    /// The text that token `id` lets be shown, and whether a stop text ends the answer here.
    pub(crate) fn push(&mut self, id: u32) -> (String, bool) {
        let released = self.stops.push(&self.decoder.push(id));
        (released.text, released.stopped)
    }

    /// What is left when the answer ended without a stop text.
    pub(crate) fn finish(mut self) -> String {
        let released = self.stops.push(&self.decoder.finish());
        if released.stopped { released.text } else { released.text + &self.stops.finish() }
    }
}
