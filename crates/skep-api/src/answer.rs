//! Writes answers: whole, or as a stream of server-sent events.
//!
//! A stream is `data: {json}` and a blank line for each piece, then `data: [DONE]` and a blank line. Every piece holds one choice
//! whose `finish_reason` is null until the last of them, which also carries `skep`. With `include_usage`, one more piece follows
//! with no choice and the `usage`, which is null in the others. A failure on the way is a last event with an `error` instead.

use crate::error::ApiError;
use axum::body::Bytes;
use serde::Serialize;
use skep_node::{AnswerId, Event, FinishReason, GenerateError, Generation, Summary};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

/// Names the arithmetic: with the same model, prompt, options and seed it gives the same text everywhere.
const FINGERPRINT: &str = "rk-1";
/// After this long without a piece, a comment keeps whatever stands between client and server from hanging up.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The kind of request that is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `/v1/chat/completions`.
    Chat,
    /// `/v1/completions`.
    Text,
}

impl Kind {
    /// What the id of an answer begins with.
    fn prefix(self) -> &'static str {
        match self {
            Self::Chat => "chatcmpl-",
            Self::Text => "cmpl-",
        }
    }

    /// The kind and the id of an answer, from the text of its id.
    pub(crate) fn of_id(text: &str) -> Option<(Self, AnswerId)> {
        let kind = if text.starts_with(Self::Chat.prefix()) { Self::Chat } else { Self::Text };
        Some((kind, text.strip_prefix(kind.prefix())?.parse().ok()?))
    }
}

/// What every piece of one answer has in common.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) kind: Kind,
    /// Seconds since 1970.
    pub(crate) created: u64,
    /// The seed that was used, asked for or drawn.
    pub(crate) seed: u64,
    id: String,
    model: String,
}

#[derive(Serialize)]
struct Object<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    system_fingerprint: &'static str,
    choices: &'a [Choice<'a>],
    /// Absent where a stream was not asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<Usage>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    skep: Option<Skep<'a>>,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Message<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delta: Option<Delta<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    /// Always null.
    logprobs: (),
    finish_reason: Option<FinishReason>,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: &'a str,
    /// Always null.
    refusal: (),
}

#[derive(Default, Serialize)]
struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
}

#[derive(Clone, Copy, Serialize)]
struct Usage {
    prompt_tokens: u32,
    completion_tokens: u32,
    total_tokens: u32,
}

/// How the answer came about, beside what OpenAI's format has room for.
#[derive(Serialize)]
struct Skep<'a> {
    seed: u64,
    #[serde(flatten)]
    summary: &'a Summary,
}

impl Usage {
    fn of(summary: &Summary) -> Self {
        Self {
            prompt_tokens: summary.prompt_tokens,
            completion_tokens: summary.completion_tokens,
            total_tokens: summary.prompt_tokens.saturating_add(summary.completion_tokens),
        }
    }
}

impl<'a> Choice<'a> {
    const EMPTY: Self = Self { index: 0, message: None, delta: None, text: None, logprobs: (), finish_reason: None };

    /// A piece of a stream that adds `text`.
    fn piece(kind: Kind, text: &'a str) -> Self {
        match kind {
            Kind::Chat => Self { delta: Some(Delta { role: None, content: Some(text) }), ..Self::EMPTY },
            Kind::Text => Self { text: Some(text), ..Self::EMPTY },
        }
    }

    /// The last piece of a stream.
    fn end(kind: Kind, finish: FinishReason) -> Self {
        let end = Self { finish_reason: Some(finish), ..Self::EMPTY };
        match kind {
            Kind::Chat => Self { delta: Some(Delta::default()), ..end },
            Kind::Text => Self { text: Some(""), ..end },
        }
    }

    /// The only choice of an answer that comes as a whole.
    fn whole(kind: Kind, text: &'a str, finish: FinishReason) -> Self {
        let whole = Self { finish_reason: Some(finish), ..Self::EMPTY };
        match kind {
            Kind::Chat => Self { message: Some(Message { role: "assistant", content: text, refusal: () }), ..whole },
            Kind::Text => Self { text: Some(text), ..whole },
        }
    }
}

impl Head {
    /// The head of an answer.
    pub(crate) fn new(kind: Kind, created: u64, seed: u64, generation: &Generation) -> Self {
        let (id, model) = (format!("{}{}", kind.prefix(), generation.id), generation.model.to_string());
        Self { kind, created, seed, id, model }
    }

    fn object<'a>(&'a self, choices: &'a [Choice<'a>], streamed: bool) -> Object<'a> {
        let object = match (self.kind, streamed) {
            (Kind::Chat, true) => "chat.completion.chunk",
            (Kind::Chat, false) => "chat.completion",
            (Kind::Text, _) => "text_completion",
        };
        Object {
            id: &self.id,
            object,
            created: self.created,
            model: &self.model,
            system_fingerprint: FINGERPRINT,
            choices,
            usage: None,
            skep: None,
        }
    }

    /// The JSON of an answer that comes as a whole.
    pub(crate) fn whole(&self, text: &str, summary: &Summary) -> Result<Vec<u8>, serde_json::Error> {
        let choices = [Choice::whole(self.kind, text, summary.finish)];
        serde_json::to_vec(&Object {
            usage: Some(Some(Usage::of(summary))),
            skep: Some(Skep { seed: self.seed, summary }),
            ..self.object(&choices, false)
        })
    }
}

/// A stream under way. Dropping it drops the [`Generation`], and so cancels the answer.
pub(crate) struct Stream {
    head: Head,
    include_usage: bool,
    generation: Generation,
    /// Events that are written but not sent yet.
    ready: VecDeque<Bytes>,
    ended: bool,
}

impl Stream {
    /// A stream that begins with `first`, the first event of `generation`.
    pub(crate) fn new(head: Head, include_usage: bool, generation: Generation, first: Event) -> Self {
        let mut stream = Self { head, include_usage, generation, ready: VecDeque::new(), ended: false };
        if stream.head.kind == Kind::Chat {
            let delta = Delta { role: Some("assistant"), content: Some("") };
            stream.piece(&[Choice { delta: Some(delta), ..Choice::EMPTY }], None, None);
        }
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
        match event {
            Ok(Event::Text { text, .. }) if text.is_empty() => {}
            Ok(Event::Text { text, .. }) => self.piece(&[Choice::piece(self.head.kind, &text)], None, None),
            Ok(Event::Done(summary)) => {
                let skep = Skep { seed: self.head.seed, summary: &summary };
                self.piece(&[Choice::end(self.head.kind, summary.finish)], None, Some(skep));
                if self.include_usage {
                    self.piece(&[], Some(Usage::of(&summary)), None);
                }
                if !self.ended {
                    self.ready.push_back(Bytes::from_static(b"data: [DONE]\n\n"));
                }
                self.ended = true;
            }
            Err(error) => self.fail(error),
        }
    }

    fn piece(&mut self, choices: &[Choice<'_>], usage: Option<Usage>, skep: Option<Skep<'_>>) {
        let object = Object { usage: self.include_usage.then_some(usage), skep, ..self.head.object(choices, true) };
        match event(&object) {
            Ok(event) => self.ready.push_back(event),
            Err(error) => self.fail(GenerateError::Failed { reason: error.to_string() }),
        }
    }

    fn fail(&mut self, error: GenerateError) {
        tracing::warn!(%error, "an answer broke off");
        // The body of an error is made of texts and nulls, which always have a JSON form.
        self.ready.extend(event(&ApiError::from(error).body()));
        self.ended = true;
    }
}

/// What it means when the gateway lets go of an answer without a last event.
pub(crate) fn broken_off() -> GenerateError {
    GenerateError::Failed { reason: "the gateway let go of it".to_owned() }
}

fn event(data: &impl Serialize) -> Result<Bytes, serde_json::Error> {
    let mut bytes = b"data: ".to_vec();
    serde_json::to_writer(&mut bytes, data)?;
    bytes.extend_from_slice(b"\n\n");
    Ok(bytes.into())
}
