//! Requests for vectors: the embeddings of texts, the scores of a picture's classes.

use crate::driver::{Driver, INPUT_QUEUE};
use crate::gateway::{Gateway, ModelFront, hops};
use crate::generate::{GenerateError, Hop};
use crate::sink::Sink;
use skep_model::{Picture, Purpose};
use skep_session::{Encode, Input, Source, Task};
use skep_types::ModelId;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::task::JoinSet;

/// Most inputs of one request, as OpenAI's interface has it.
pub const MAX_INPUTS: usize = 2048;
/// Inputs of one request that are on their way at once: enough to keep every stage of a chain busy, few enough to leave the others
/// their turn.
const AT_ONCE: usize = 8;

/// One thing that becomes a vector.
#[derive(Debug, Clone, PartialEq)]
pub enum EncodeInput {
    /// A text, to which the model's own first and last token are added.
    Text(String),
    /// Token ids, read as they stand.
    Tokens(Vec<u32>),
    /// A picture.
    Picture(Picture),
}

/// A request for vectors.
#[derive(Debug, Clone)]
pub struct EncodeRequest {
    /// The model's id or its name; `None` takes the only one.
    pub model: Option<String>,
    /// What becomes vectors, 1 to [`MAX_INPUTS`].
    pub inputs: Vec<EncodeInput>,
}

/// Vectors, one for each input.
#[derive(Debug, Clone, PartialEq)]
pub struct Encodings {
    /// The model that made them.
    pub model: ModelId,
    /// In the order of the inputs.
    pub vectors: Vec<Vec<f32>>,
    /// Names of the classes that the values of a vector score; empty for embeddings.
    pub labels: Vec<String>,
    /// Tokens of all inputs, those that the model adds included.
    pub prompt_tokens: u32,
    /// The chain chosen at first.
    pub route: Vec<Hop>,
}

/// The probability of each class whose logits these are: exp of the difference to the largest, over the sum, both in f64.
pub fn probabilities(logits: &[f32]) -> Vec<f32> {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weight = |logit: &f32| skep_kernels::exp_f64(f64::from(*logit - most).max(-700.0));
    let total: f64 = logits.iter().map(weight).sum();
    logits.iter().map(|logit| (weight(logit) / total) as f32).collect()
}

/// What became of one input.
struct Encoded {
    at: usize,
    vector: Result<Vec<f32>, GenerateError>,
    route: Vec<Hop>,
    permit: OwnedSemaphorePermit,
}

impl Gateway {
    /// Makes a vector of each input. Dropping the future cancels what is under way.
    ///
    /// # Errors
    /// The first reason for which an input cannot be answered; no input is then.
    pub async fn encode(&self, request: EncodeRequest) -> Result<Encodings, GenerateError> {
        let inner = &self.inner;
        inner.model.check_asked(request.model.as_deref())?;
        let busy = |_| GenerateError::Busy { limit: inner.limits.active };
        let mut permits = vec![inner.active.clone().try_acquire_owned().map_err(busy)?];
        if request.inputs.is_empty() || request.inputs.len() > MAX_INPUTS {
            return Err(bad_input(format!("holds {} texts: 1 to {MAX_INPUTS} are allowed", request.inputs.len())));
        }
        let most = inner.limits.prompt_bytes;
        let sources =
            request.inputs.iter().map(|input| inner.model.source(input, most)).collect::<Result<Vec<_>, _>>()?;
        let tokens = sources.iter().map(|source| if let Source::Tokens(tokens) = source { tokens.len() } else { 0 });
        let prompt_tokens = u32::try_from(tokens.sum::<usize>()).unwrap_or(u32::MAX);
        // More at once only while others leave room.
        while permits.len() < sources.len().min(AT_ONCE) {
            let Ok(permit) = inner.active.clone().try_acquire_owned() else { break };
            permits.push(permit);
        }
        let (vectors, route) = self.encode_all(sources, permits).await?;
        let labels = match &inner.model.purpose {
            Purpose::Classify(vision) => vision.labels.clone(),
            _ => Vec::new(),
        };
        Ok(Encodings { model: inner.model.id, vectors, labels, prompt_tokens, route })
    }

    /// Each permit carries one input after the other.
    async fn encode_all(
        &self,
        sources: Vec<Source>,
        mut permits: Vec<OwnedSemaphorePermit>,
    ) -> Result<(Vec<Vec<f32>>, Vec<Hop>), GenerateError> {
        let mut vectors = vec![Vec::new(); sources.len()];
        let mut route = Vec::new();
        let mut waiting = sources.into_iter().enumerate();
        let mut tasks = JoinSet::new();
        loop {
            while let Some(permit) = permits.pop() {
                let Some((at, source)) = waiting.next() else { break };
                tasks.spawn(self.clone().encode_one(at, source, permit));
            }
            let Some(ended) = tasks.join_next().await else { return Ok((vectors, route)) };
            let ended = ended.map_err(|error| GenerateError::Failed { reason: error.to_string() })?;
            vectors[ended.at] = ended.vector?;
            permits.push(ended.permit);
            if ended.at == 0 {
                route = ended.route;
            }
        }
    }

    async fn encode_one(self, at: usize, source: Source, permit: OwnedSemaphorePermit) -> Encoded {
        let (vector, route) = match self.begin(source).await {
            Ok((vector, route)) => (Ok(vector), route),
            Err(error) => (Err(error), Vec::new()),
        };
        Encoded { at, vector, route, permit }
    }

    /// Runs one session to its end.
    async fn begin(&self, source: Source) -> Result<(Vec<f32>, Vec<Hop>), GenerateError> {
        let (started, inner) = (Instant::now(), &self.inner);
        let width = inner.model.purpose.vector_width();
        let width = width.ok_or_else(|| inner.model.cannot("make vectors"))? as u32;
        let mut session = self.session(Task::Encode(Encode { source, width }))?;
        let first = session.step(Duration::ZERO, Input::Start { network: self.whole_network()? });
        let route = hops(&session);
        let (vector_in, vector) = oneshot::channel();
        // Held until the vector is here: its drop cancels the session.
        let (_cancel, cancelled) = oneshot::channel();
        let (inputs_in, inputs) = mpsc::channel(INPUT_QUEUE);
        let driver = Driver {
            session,
            inputs,
            inputs_in,
            links: inner.links.clone(),
            returns: inner.returns.clone(),
            sink: Sink::Vector(Some(vector_in)),
            cancelled,
            pace: None,
            prompt_tokens: 0,
            started,
            why: None,
        };
        tokio::spawn(self.clone().run(driver, first, None));
        let vector = vector.await;
        let broken = GenerateError::Failed { reason: "the request was broken off".to_owned() };
        let vector = vector.map_err(|_| broken)??;
        Ok((vector, route))
    }
}

impl ModelFront {
    /// What the model reads of an input.
    fn source(&self, input: &EncodeInput, max_bytes: usize) -> Result<Source, GenerateError> {
        let context = self.config.context;
        let tokens = match (&self.purpose, &self.tokenizer, input) {
            (Purpose::Classify(vision), _, EncodeInput::Picture(picture)) => {
                let rows = vision.positions() as u32;
                return Ok(Source::Patches { rows, values: vision.patches(picture) });
            }
            (Purpose::Embed { .. }, Some(tokenizer), EncodeInput::Text(text)) => {
                if text.len() > max_bytes {
                    // Even one token per 64 bytes would not fit; the exact count is not worth the work.
                    return Err(GenerateError::PromptTooLong { prompt: text.len() / 64, context });
                }
                tokenizer.encode(text, true, false).map_err(|error| bad_input(error.to_string()))?
            }
            (Purpose::Embed { .. }, _, EncodeInput::Tokens(tokens)) => tokens.clone(),
            (_, _, EncodeInput::Picture(_)) => return Err(self.cannot("classify images")),
            _ => return Err(self.cannot("make embeddings")),
        };
        if tokens.len() > context {
            return Err(GenerateError::PromptTooLong { prompt: tokens.len(), context });
        }
        match tokens.iter().find(|id| **id as usize >= self.config.vocab) {
            Some(id) => Err(bad_input(format!("has token {id}, and the vocabulary ends at {}", self.config.vocab))),
            None if tokens.is_empty() => Err(bad_input("holds an input without tokens".to_owned())),
            None => Ok(Source::Tokens(tokens)),
        }
    }
}

fn bad_input(reason: String) -> GenerateError {
    GenerateError::BadOption { option: "input", reason }
}
