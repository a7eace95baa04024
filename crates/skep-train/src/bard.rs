//! The recipe of the bundled model, Skep Bard: everything but the text.
//!
//! The first nine tenths of the text's speeches teach the vocabulary and the model; the last tenth is held out.

use crate::bpe::Vocabulary;
use crate::export::{self, Precision};
use crate::play::{CHAT_TEMPLATE, PlayData, ROLES};
use crate::{Config, Model, Shape, StepReport, TrainError, Trainer, evaluate, loss_of_file};
use skep_model::{Gguf, Metadata, ModelConfig, Tokenizer, Value};

/// Name of the model in its file and in the API.
pub const NAME: &str = "skep-bard";

/// Steps between two measurements on held-out text.
const MEASURE_EVERY: u64 = 200;
/// Tokens of the vocabulary.
const VOCAB: usize = 1024;

/// The settings of the run.
pub fn config() -> Config {
    let shape = Shape {
        n_blocks: 8,
        d_model: 96,
        n_heads: 3,
        n_kv_heads: 1,
        head_dim: 32,
        d_ff: 256,
        vocab: VOCAB,
        context: 512,
        rms_eps: 1e-5,
        rope_theta: 10_000.0,
    };
    Config {
        shape,
        seed: 1623,
        steps: 800,
        batch: 8,
        sequence: 256,
        long_steps: 100,
        learning_rate: 4e-3,
        final_rate: 0.05,
        warmup: 50,
        beta1: 0.9,
        beta2: 0.95,
        epsilon: 1e-8,
        weight_decay: 0.1,
        clip: 1.0,
    }
}

/// The text made ready.
#[derive(Debug)]
pub struct Material {
    /// The vocabulary that was learnt from the training part.
    pub vocabulary: Vocabulary,
    /// What the model learns from.
    pub training: PlayData,
    /// What it is measured on.
    pub held_out: PlayData,
    /// Characters of the held-out part.
    pub held_out_characters: usize,
    /// BLAKE3 of the whole text.
    pub text_hash: String,
}

/// Cuts `text` before the first speech of its last tenth.
///
/// # Errors
/// [`TrainError::Text`] when it has no such place.
pub fn split(text: &str) -> Result<(&str, &str), TrainError> {
    let mut place = text.len() / 10 * 9;
    while !text.is_char_boundary(place) {
        place += 1;
    }
    let cut = text[place..].find("\n\n").map(|i| place + i + 2);
    cut.map(|cut| text.split_at(cut)).ok_or_else(|| TrainError::Text("its last tenth holds no blank line".into()))
}

/// Learns the vocabulary and encodes both parts of `text`.
///
/// # Errors
/// [`TrainError::Text`] when the text is not a play of some length.
pub fn prepare(text: &str) -> Result<Material, TrainError> {
    let (training, held_out) = split(text)?;
    let vocabulary = Vocabulary::learn(training, VOCAB, &ROLES)?;
    let mut metadata = Metadata::new();
    vocabulary.describe(&mut metadata);
    let tokenizer = Tokenizer::from_metadata(&metadata)?;
    Ok(Material {
        training: PlayData::new(training, &tokenizer)?,
        held_out: PlayData::new(held_out, &tokenizer)?,
        held_out_characters: held_out.chars().count(),
        text_hash: blake3::hash(text.as_bytes()).to_hex().to_string(),
        vocabulary,
    })
}

/// The bytes of the model file.
///
/// # Errors
/// [`TrainError::Model`] when a parameter cannot be stored.
pub fn file(config: &Config, material: &Material, params: &[f32], precision: Precision) -> Result<Vec<u8>, TrainError> {
    let mut metadata = export::metadata(&config.shape, NAME, precision);
    material.vocabulary.describe(&mut metadata);
    let mut set = |key: &str, value| drop(metadata.insert(key, value));
    let text = |text: &str| Value::String(text.into());
    set("tokenizer.chat_template", text(CHAT_TEMPLATE));
    set(
        "general.description",
        text("A small Llama that speaks like the plays of Shakespeare. Made by the trainer of Skep."),
    );
    set("general.license", text("MIT OR Apache-2.0"));
    set("general.author", text("The Skep authors"));
    set("skep.training.text_blake3", text(&material.text_hash));
    set("skep.training.text", text("Shakespeare's plays (public domain), tinyshakespeare.txt"));
    set("skep.training.seed", Value::U64(config.seed));
    set("skep.training.steps", Value::U64(config.steps));
    set(
        "skep.training.tokens",
        Value::U64((0..config.steps).map(|s| config.batch_of(s)).map(|(n, len)| (n * len) as u64).sum()),
    );
    let model = Model::new(&config.shape)?;
    let tensors = export::tensors(model.layout(), params, precision)?;
    Ok(skep_model::encode_gguf(&metadata, &tensors)?)
}

/// What [`train`] tells while it works.
#[derive(Clone, Copy, Debug)]
pub enum Progress {
    /// A step was taken.
    Step(StepReport),
    /// The loss on held-out text was measured after so many steps.
    HeldOut {
        /// Steps taken.
        steps: u64,
        /// The loss.
        loss: HeldOutLoss,
    },
}

/// A loss on the held-out text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeldOutLoss {
    /// Nats per token.
    pub per_token: f64,
    /// Nats per character.
    pub per_character: f64,
}

impl HeldOutLoss {
    fn new((sum, tokens): (f64, usize), material: &Material) -> Self {
        Self { per_token: sum / tokens as f64, per_character: sum / material.held_out_characters as f64 }
    }
}

/// Runs all steps of `trainer`, measuring on held-out text now and then; nothing is chosen by those measurements.
///
/// # Errors
/// [`TrainError::Diverged`] when the loss is no longer finite.
pub fn train(
    trainer: &mut Trainer,
    material: &Material,
    threads: usize,
    tell: &mut dyn FnMut(Progress),
) -> Result<(), TrainError> {
    let stretches = material.held_out.stretches(trainer.config().shape.context);
    for _ in 0..trainer.config().steps {
        let report = trainer.step(&material.training)?;
        tell(Progress::Step(report));
        let steps = report.step + 1;
        if steps.is_multiple_of(MEASURE_EVERY) || steps == trainer.config().steps {
            let measured = evaluate(trainer.model(), trainer.params(), &stretches, threads)?;
            tell(Progress::HeldOut { steps, loss: HeldOutLoss::new(measured, material) });
        }
    }
    Ok(())
}

/// The loss of a finished file on the held-out text, computed by inference.
///
/// # Errors
/// [`TrainError::Model`] when the file is broken.
pub fn measure(gguf: &Gguf, material: &Material) -> Result<HeldOutLoss, TrainError> {
    let context = ModelConfig::from_gguf(gguf)?.context;
    Ok(HeldOutLoss::new(loss_of_file(gguf, &material.held_out.stretches(context))?, material))
}
