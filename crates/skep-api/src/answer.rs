//! Writes the answers of chats and completions: whole, or as a stream of server-sent events. Those of `/v1/responses` are in
//! [`responses`](crate::responses).
//!
//! A stream is `data: {json}` and a blank line for each piece, then `data: [DONE]` and a blank line. Every piece holds one choice
//! whose `finish_reason` is null until the last of them, which also carries `skep`. With `include_usage`, one more piece follows
//! with no choice and the `usage`, which is null in the others. A failure on the way is a last event with an `error` instead.

use crate::error::ApiError;
use crate::stream::{Form, Written, event};
use axum::body::Bytes;
use serde::Serialize;
use skep_node::{FinishReason, Generation, Summary};

/// Names the arithmetic: with the same model, prompt, options and seed it gives the same text everywhere.
const FINGERPRINT: &str = "rk-1";

/// The kind of request that is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `/v1/chat/completions`.
    Chat,
    /// `/v1/completions`.
    Text,
}

impl Kind {
    pub(crate) const ALL: [Self; 2] = [Self::Chat, Self::Text];

    /// What the id of an answer begins with.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Self::Chat => "chatcmpl-",
            Self::Text => "cmpl-",
        }
    }
}

/// What every piece of one answer has in common.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    /// Seconds since 1970.
    pub(crate) created: u64,
    /// The seed that was used, asked for or drawn.
    pub(crate) seed: u64,
    pub(crate) id: String,
    pub(crate) model: String,
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
pub(crate) struct Skep<'a> {
    pub(crate) seed: u64,
    #[serde(flatten)]
    pub(crate) summary: &'a Summary,
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
    /// The head of an answer whose id begins with `prefix`.
    pub(crate) fn new(prefix: &str, created: u64, seed: u64, generation: &Generation) -> Self {
        Self { created, seed, id: format!("{prefix}{}", generation.id), model: generation.model.to_string() }
    }

    fn object<'a>(&'a self, object: &'static str, choices: &'a [Choice<'a>]) -> Object<'a> {
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
}

/// The JSON of an answer that comes as a whole.
pub(crate) fn whole(kind: Kind, head: &Head, text: &str, summary: &Summary) -> Result<Vec<u8>, serde_json::Error> {
    let choices = [Choice::whole(kind, text, summary.finish)];
    let object = match kind {
        Kind::Chat => "chat.completion",
        Kind::Text => "text_completion",
    };
    serde_json::to_vec(&Object {
        usage: Some(Some(Usage::of(summary))),
        skep: Some(Skep { seed: head.seed, summary }),
        ..head.object(object, &choices)
    })
}

/// Writes the pieces of a stream.
pub(crate) struct Pieces {
    kind: Kind,
    head: Head,
    include_usage: bool,
}

impl Pieces {
    pub(crate) fn new(kind: Kind, head: Head, include_usage: bool) -> Self {
        Self { kind, head, include_usage }
    }

    fn piece(
        &self,
        choices: &[Choice<'_>],
        usage: Option<Usage>,
        skep: Option<Skep<'_>>,
    ) -> Result<Bytes, serde_json::Error> {
        let object = match self.kind {
            Kind::Chat => "chat.completion.chunk",
            Kind::Text => "text_completion",
        };
        event(&Object { usage: self.include_usage.then_some(usage), skep, ..self.head.object(object, choices) })
    }
}

impl Form for Pieces {
    fn begin(&mut self) -> Written {
        if self.kind != Kind::Chat {
            return Ok(Vec::new());
        }
        let delta = Delta { role: Some("assistant"), content: Some("") };
        Ok(vec![self.piece(&[Choice { delta: Some(delta), ..Choice::EMPTY }], None, None)?])
    }

    fn text(&mut self, text: &str) -> Written {
        Ok(vec![self.piece(&[Choice::piece(self.kind, text)], None, None)?])
    }

    fn done(&mut self, summary: &Summary) -> Written {
        let skep = Skep { seed: self.head.seed, summary };
        let mut events = vec![self.piece(&[Choice::end(self.kind, summary.finish)], None, Some(skep))?];
        if self.include_usage {
            events.push(self.piece(&[], Some(Usage::of(summary)), None)?);
        }
        events.push(Bytes::from_static(b"data: [DONE]\n\n"));
        Ok(events)
    }

    fn fail(&mut self, error: ApiError) -> Written {
        Ok(vec![event(&error.body())?])
    }
}
