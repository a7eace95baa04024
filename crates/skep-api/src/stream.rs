//! An answer as server-sent events, whatever their form.

use crate::access;
use crate::error::ApiError;
use crate::tally::Tally;
use axum::body::Bytes;
use serde::Serialize;
use skep_node::{Event, GenerateError, Generation, Summary};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

/// After this long without a piece, a comment keeps whatever stands between client and server from hanging up.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How an answer is written as events.
pub(crate) trait Form: Send {
    /// What stands before the first text.
    fn begin(&mut self) -> Written;
    /// More text; never empty.
    fn text(&mut self, text: &str) -> Written;
    /// What stands after the last text.
    fn done(&mut self, summary: &Summary) -> Written;
    /// What ends a stream that broke off.
    fn fail(&mut self, error: ApiError) -> Written;
}

/// Events, each with the blank line after it.
pub(crate) type Written = Result<Vec<Bytes>, serde_json::Error>;

/// A stream under way. Dropping it drops the [`Generation`], and so cancels the answer.
pub(crate) struct Stream<F> {
    form: F,
    generation: Generation,
    tally: Tally,
    /// Events that are written but not sent yet.
    ready: VecDeque<Bytes>,
    ended: bool,
}

impl<F: Form> Stream<F> {
    /// A stream that begins with `first`, the first event of `generation`.
    pub(crate) fn new(mut form: F, generation: Generation, tally: Tally, first: Event) -> Self {
        let begin = form.begin();
        let mut stream = Self { form, generation, tally, ready: VecDeque::new(), ended: false };
        stream.write(begin);
        stream.take(Ok(first));
        stream
    }

    /// The bytes of the events, one by one.
    pub(crate) fn events(self) -> impl futures_util::Stream<Item = Result<Bytes, Infallible>> + Send {
        futures_util::stream::unfold(self, |mut stream| async move {
            loop {
                if let Some(event) = stream.ready.pop_front() {
                    return Some((Ok(event), stream));
                }
                if stream.ended {
                    return None;
                }
                match tokio::time::timeout(KEEP_ALIVE, stream.generation.events.recv()).await {
                    Err(_) => stream.ready.push_back(Bytes::from_static(b":\n\n")),
                    Ok(next) => stream.take(next.unwrap_or_else(|| Err(broken_off()))),
                }
            }
        })
    }

    /// Writes what an event of the generation means.
    fn take(&mut self, event: Result<Event, GenerateError>) {
        if !self.tally.take(&event) {
            return self.end(access::over());
        }
        match event {
            Ok(Event::Text { text, .. }) if text.is_empty() => {}
            Ok(Event::Text { text, .. }) => {
                let written = self.form.text(&text);
                self.write(written);
            }
            Ok(Event::Done(summary)) => {
                let written = self.form.done(&summary);
                self.write(written);
                self.ended = true;
            }
            Err(error) => self.fail(error),
        }
    }

    fn write(&mut self, written: Written) {
        match written {
            Ok(events) => self.ready.extend(events),
            Err(error) => self.fail(GenerateError::Failed { reason: error.to_string() }),
        }
    }

    fn fail(&mut self, error: GenerateError) {
        tracing::warn!(%error, "an answer broke off");
        self.end(ApiError::from(error));
    }

    fn end(&mut self, error: ApiError) {
        // The body of an error is made of texts and nulls, which always have a JSON form.
        self.ready.extend(self.form.fail(error).unwrap_or_default());
        self.ended = true;
    }
}

/// What it means when the gateway lets go of an answer without a last event.
pub(crate) fn broken_off() -> GenerateError {
    GenerateError::Failed { reason: "the gateway let go of it".to_owned() }
}

/// One event without a name.
pub(crate) fn event(data: &impl Serialize) -> Result<Bytes, serde_json::Error> {
    let mut bytes = b"data: ".to_vec();
    serde_json::to_writer(&mut bytes, data)?;
    bytes.extend_from_slice(b"\n\n");
    Ok(bytes.into())
}
