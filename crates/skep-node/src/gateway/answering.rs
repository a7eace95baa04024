//! Answers: begun by a request, or taken up where they broke off.

use super::{Gateway, ModelFront, kv_bytes, random_seed};
use crate::admission;
use crate::answers::{AnswerId, Asked};
use crate::driver::{Driver, INPUT_QUEUE};
use crate::explain::Why;
use crate::generate::{Event, GenerateError, GenerateRequest, Generation, Hop, Resumed};
use crate::sink::{Sink, TextSink};
use crate::text::AnswerText;
use skep_session::{Generate, Input, Session, SessionConfig, Task};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

impl Gateway {
    /// Answers a request.
    ///
    /// # Errors
    /// Every reason for which no answer can begin; later ones come through [`Generation::events`].
    pub async fn generate(&self, request: GenerateRequest) -> Result<Generation, GenerateError> {
        let model = &self.inner.model;
        model.check_asked(request.model.as_deref())?;
        let prompt = model.tokens(model.writer()?, &request.prompt, self.inner.limits.prompt_bytes)?;
        let context = model.config.context;
        if prompt.len() >= context {
            return Err(GenerateError::PromptTooLong { prompt: prompt.len(), context });
        }
        if request.max_tokens == Some(0) {
            return Err(GenerateError::BadOption { option: "max_tokens", reason: "must be at least 1".into() });
        }
        let room = (context - prompt.len()) as u32;
        let asked = Asked {
            model: model.id,
            prompt,
            max_new: request.max_tokens.unwrap_or(room).min(room),
            stop: request.stop,
            draws: request.sampling.into(),
            pace: request.pace,
            created: admission::now(),
        };
        self.answer(AnswerId::draw(), asked, Vec::new())
    }

    /// Goes on with an answer that broke off when the process of this gateway ended. Its first event is all of the text so far.
    ///
    /// # Errors
    /// [`GenerateError::NoAnswer`], or every reason for which an answer cannot begin.
    pub async fn resume(&self, id: AnswerId) -> Result<Resumed, GenerateError> {
        let answers = self.inner.answers.clone();
        let read = tokio::task::spawn_blocking(move || answers.read(id)).await.ok().flatten();
        let known = |asked: &Asked| {
            let config = &self.inner.model.config;
            let whole = asked.prompt.len().saturating_add(asked.max_new as usize);
            asked.model == self.inner.model.id && asked.max_new > 0 && whole <= config.context
        };
        let (asked, drawn) = read.filter(|(asked, _)| known(asked)).ok_or(GenerateError::NoAnswer { id })?;
        let (created, seed) = (asked.created, skep_model::SamplingParams::from(asked.draws).seed);
        Ok(Resumed { generation: self.answer(id, asked, drawn)?, created, seed })
    }

    /// Begins an answer after the tokens that were drawn already.
    fn answer(&self, id: AnswerId, asked: Asked, mut drawn: Vec<u32>) -> Result<Generation, GenerateError> {
        let (started, inner) = (Instant::now(), &self.inner);
        let permit = inner.active.clone().try_acquire_owned();
        let permit = permit.map_err(|_| GenerateError::Busy { limit: inner.limits.active })?;
        let tokenizer = inner.model.writer()?;
        // The last token of an answer that was about to end is drawn again, and ends it again.
        let mut read = AnswerText::new(tokenizer.decoder(), &asked.stop);
        let stops = drawn.iter().position(|token| read.push(*token).1);
        drawn.truncate(stops.unwrap_or(drawn.len()).min(asked.max_new as usize - 1));
        let mut text = AnswerText::new(tokenizer.decoder(), &asked.stop);
        let before: String = drawn.iter().map(|token| text.push(*token).0).collect();
        let mut session = self.session(self.text_task(&asked, &drawn)?)?;
        let (network, request) = (self.whole_network()?, session.request());
        let noted = inner.answers.begin(id, &asked, &drawn).ok_or(GenerateError::NoAnswer { id })?;
        let first = session.step(Duration::ZERO, Input::Start { network: network.clone() });
        let why = tokio::task::spawn_blocking(move || Why::new(&network, &request).ok());
        let route = hops(&session);

        let (events_in, events) = mpsc::channel(asked.max_new as usize + 4);
        let index = drawn.len() as u32;
        if let Some(token_index) = index.checked_sub(1) {
            let _ = events_in.try_send(Ok(Event::Text { text: before, token_index }));
        }
        let (cancel, cancelled) = oneshot::channel();
        let (inputs_in, inputs) = mpsc::channel(INPUT_QUEUE);
        let prompt_tokens = asked.prompt.len() as u32;
        let driver = Driver {
            session,
            inputs,
            inputs_in,
            links: inner.links.clone(),
            returns: inner.returns.clone(),
            sink: Sink::Text(Box::new(TextSink { text, events: events_in, noted, before: index })),
            cancelled,
            pace: asked.pace.map(|rate| Duration::from_secs_f32(1.0 / rate)),
            prompt_tokens,
            started,
            why: Some(why),
        };
        tokio::spawn(self.clone().run(driver, first, Some(permit)));
        Ok(Generation { id, model: inner.model.id, route, prompt_tokens, events, cancel: Some(cancel) })
    }

    /// What continues the prompt and the tokens that were drawn already.
    fn text_task(&self, asked: &Asked, drawn: &[u32]) -> Result<Task, GenerateError> {
        let (tokenizer, vocab) = (self.inner.model.writer()?, self.inner.model.config.vocab as u32);
        Ok(Task::Generate(Generate {
            prompt: [&asked.prompt, drawn].concat(),
            max_new: asked.max_new - drawn.len() as u32,
            end_tokens: (0..vocab).filter(|id| tokenizer.is_end_of_generation(*id)).collect(),
            sampler: Box::new(skep_model::SamplingParams::from(asked.draws)),
            prefill_chunk: self.inner.limits.prefill_chunk,
        }))
    }

    /// A session of this gateway that has not begun.
    pub(crate) fn session(&self, task: Task) -> Result<Session, GenerateError> {
        let ModelFront { id, config, .. } = &self.inner.model;
        let config = SessionConfig {
            model: *id,
            n_blocks: config.n_blocks,
            vocab: config.vocab as u32,
            d_model: config.d_model as u32,
            kv_bytes: kv_bytes(config),
            gateway: self.inner.net.peer(),
            task,
            id_seed: random_seed(),
            limits: self.inner.limits.session,
        };
        Session::new(config).map_err(|error| GenerateError::Failed { reason: error.to_string() })
    }
}

/// The chain that a session has chosen.
pub(crate) fn hops(session: &Session) -> Vec<Hop> {
    session.route().iter().map(|stage| Hop { node: stage.peer.node, blocks: stage.blocks }).collect()
}
