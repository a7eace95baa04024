//! What is counted of answers, as OpenTelemetry's conventions for generative AI name it.

use crate::error::ApiError;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Models that have counts of their own; further ones are counted together.
const MODELS: usize = 16;
/// What further models are counted as.
const OTHER: &str = "other";

/// Bounds of buckets, as the conventions advise: seconds to the first token.
const FIRST_TOKEN: [f64; 16] =
    [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
/// Seconds for each token after it.
const PER_TOKEN: [f64; 13] = [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5];
/// Seconds of a request.
const DURATION: [f64; 14] = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
/// Tokens.
const TOKENS: [f64; 14] = [
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1024.0,
    4096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Operation {
    Chat,
    Text,
    Embeddings,
    Classification,
}

impl Operation {
    /// Its name among the conventions; they have none for classes of pictures.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Text => "text_completion",
            Self::Embeddings => "embeddings",
            Self::Classification => "image_classification",
        }
    }
}

/// What happened to a request.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ended {
    pub(crate) duration: Duration,
    pub(crate) prompt_tokens: u32,
    /// Absent where none are drawn.
    pub(crate) completion_tokens: Option<u32>,
    /// Seconds.
    pub(crate) first_token: Option<f64>,
    /// Seconds.
    pub(crate) per_token: Option<f64>,
    /// Why it failed; a code of an error, of which there are few.
    pub(crate) error: Option<&'static str>,
}

/// The labels that all samples of an answer have.
fn labels(operation: Operation, model: &str) -> Vec<(&'static str, &str)> {
    let mut labels = vec![("gen_ai_operation_name", operation.name()), ("gen_ai_provider_name", "skep")];
    labels.extend((!model.is_empty()).then_some(("gen_ai_response_model", model)));
    labels
}

fn two(all: &Of<(Operation, String)>) -> Samples<'_> {
    all.iter().map(|((operation, model), histogram)| (labels(*operation, model), histogram)).collect()
}

/// The same with a third label of this name, where it says something.
fn three<'a>(all: &'a Of<(Operation, String, &'static str)>, name: &'static str) -> Samples<'a> {
    let samples = all.iter().map(|((operation, model, last), histogram)| {
        let mut labels = labels(*operation, model);
        labels.extend((!last.is_empty()).then_some((name, *last)));
        (labels, histogram)
    });
    samples.collect()
}

/// The histograms of a family, each with its labels.
type Samples<'a> = Vec<(Vec<(&'static str, &'a str)>, &'a Histogram)>;

/// A family of samples: name, meaning, labels of each histogram.
pub(crate) struct Family<'a> {
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    pub(crate) samples: Samples<'a>,
}

/// How often values came, by bounds.
#[derive(Debug)]
pub(crate) struct Histogram {
    pub(crate) bounds: &'static [f64],
    /// One more than the bounds; not summed up.
    pub(crate) counts: Vec<u64>,
    pub(crate) sum: f64,
}

impl Histogram {
    fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: vec![0; bounds.len() + 1], sum: 0.0 }
    }

    fn take(&mut self, value: f64) {
        let bucket = self.bounds.iter().position(|bound| value <= *bound).unwrap_or(self.bounds.len());
        self.counts[bucket] = self.counts[bucket].saturating_add(1);
        self.sum += value;
    }
}

type Of<T> = BTreeMap<T, Histogram>;

/// The counts. Labels: operation, model, and kind of token or error.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    tokens: Of<(Operation, String, &'static str)>,
    first_token: Of<(Operation, String)>,
    per_token: Of<(Operation, String)>,
    duration: Of<(Operation, String, &'static str)>,
    models: Vec<String>,
    /// Answers of HTTP by the first digit of their status, from 1 to 5.
    pub(crate) http: [u64; 5],
}

/// The counts of a server. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stats(Arc<Mutex<Counts>>);

impl Stats {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an answer of HTTP.
    pub(crate) fn answered(&self, status: u16) {
        if let Some(count) = self.lock().http.get_mut(usize::from(status / 100).wrapping_sub(1)) {
            *count = count.saturating_add(1);
        }
    }

    /// Counts a request that was refused before a model was at work.
    pub(crate) fn refused(&self, operation: Operation, error: &ApiError, duration: Duration) {
        let error = Some(error.code_or("refused"));
        self.lock().take(operation, "", Ended { duration, error, ..Ended::default() });
    }

    /// Counts a request that ended.
    pub(crate) fn take(&self, operation: Operation, model: &str, ended: Ended) {
        self.lock().take(operation, model, ended);
    }
}

impl Counts {
    fn take(&mut self, operation: Operation, model: &str, ended: Ended) {
        let model = self.name(model);
        let error = ended.error.unwrap_or("");
        let duration = self.duration.entry((operation, model.clone(), error));
        duration.or_insert_with(|| Histogram::new(&DURATION)).take(ended.duration.as_secs_f64());
        let tokens = [("input", Some(ended.prompt_tokens)), ("output", ended.completion_tokens)];
        for (kind, count) in tokens.into_iter().filter(|_| ended.error.is_none()) {
            let Some(count) = count else { continue };
            let tokens = self.tokens.entry((operation, model.clone(), kind));
            tokens.or_insert_with(|| Histogram::new(&TOKENS)).take(count.into());
        }
        if let Some(seconds) = ended.first_token {
            let first = self.first_token.entry((operation, model.clone()));
            first.or_insert_with(|| Histogram::new(&FIRST_TOKEN)).take(seconds);
        }
        if let Some(seconds) = ended.per_token {
            let each = self.per_token.entry((operation, model));
            each.or_insert_with(|| Histogram::new(&PER_TOKEN)).take(seconds);
        }
    }

    /// The name under which a model is counted.
    fn name(&mut self, model: &str) -> String {
        if model.is_empty() || self.models.iter().any(|known| known == model) {
            return model.to_owned();
        }
        if self.models.len() >= MODELS {
            return OTHER.to_owned();
        }
        self.models.push(model.to_owned());
        model.to_owned()
    }

    /// All that was counted of answers.
    pub(crate) fn families(&self) -> [Family<'_>; 4] {
        [
            Family {
                name: "gen_ai_client_token_usage",
                help: "Tokens of prompts and of answers, for each answer.",
                samples: three(&self.tokens, "gen_ai_token_type"),
            },
            Family {
                name: "gen_ai_server_time_to_first_token_seconds",
                help: "Time from a request to the first token of its answer.",
                samples: two(&self.first_token),
            },
            Family {
                name: "gen_ai_server_time_per_output_token_seconds",
                help: "Mean time of each token after the first, for each answer; waits for a reader's pace are left out.",
                samples: two(&self.per_token),
            },
            Family {
                name: "gen_ai_server_request_duration_seconds",
                help: "Time from a request to the end of its answer, or to its failure.",
                samples: three(&self.duration, "error_type"),
            },
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_many_models_there_are_the_series_have_a_number() {
        let stats = Stats::default();
        for n in 0..1000 {
            stats.take(
                Operation::Chat,
                &format!("model {n}"),
                Ended { completion_tokens: Some(3), ..Ended::default() },
            );
        }
        let counts = stats.lock();
        assert_eq!((counts.tokens.len(), counts.duration.len()), (2 * (MODELS + 1), MODELS + 1));
        let other = &counts.duration[&(Operation::Chat, OTHER.to_owned(), "")];
        assert_eq!(other.counts.iter().sum::<u64>(), 1000 - MODELS as u64);
    }

    #[test]
    fn a_value_is_in_the_first_bucket_that_holds_it() {
        let mut histogram = Histogram::new(&PER_TOKEN);
        for value in [0.0, 0.01, 0.010_001, 2.5, 9.0] {
            histogram.take(value);
        }
        assert_eq!(
            (histogram.counts[0], histogram.counts[1], histogram.counts[12], histogram.counts[13]),
            (2, 1, 1, 1)
        );
        assert!((histogram.sum - 11.520_001).abs() < 1e-9);
    }
}
