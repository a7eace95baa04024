//! The shape of a model and the settings of a run.

use crate::TrainError;

/// The hyper-parameters of a Llama model with a tied output matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// Number of transformer blocks.
    pub n_blocks: usize,
    /// Length of a row of activations.
    pub d_model: usize,
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads; divides `n_heads`.
    pub n_kv_heads: usize,
    /// Length of one head; even.
    pub head_dim: usize,
    /// Hidden length of the feed-forward network.
    pub d_ff: usize,
    /// Number of token ids.
    pub vocab: usize,
    /// Most positions of a sequence.
    pub context: usize,
    /// Added to the mean square in RMSNorm.
    pub rms_eps: f32,
    /// Base of the rotary frequencies.
    pub rope_theta: f32,
}

impl Shape {
    /// Length of a row of all queries.
    pub fn d_q(&self) -> usize {
        self.n_heads * self.head_dim
    }

    /// Length of a row of all keys or all values.
    pub fn d_kv(&self) -> usize {
        self.n_kv_heads * self.head_dim
    }

    /// Checks that a model can have this shape.
    ///
    /// # Errors
    /// [`TrainError::Shape`] naming the first rule that is broken.
    pub fn validate(&self) -> Result<(), TrainError> {
        let sizes = [
            self.n_blocks,
            self.d_model,
            self.n_heads,
            self.n_kv_heads,
            self.head_dim,
            self.d_ff,
            self.vocab,
            self.context,
        ];
        let broken = if sizes.iter().any(|s| !(1..=1 << 20).contains(s)) {
            "every size lies between 1 and 2^20"
        } else if !self.n_heads.is_multiple_of(self.n_kv_heads) {
            "n_kv_heads divides n_heads"
        } else if !self.head_dim.is_multiple_of(2) {
            "head_dim is even"
        } else if !(self.rms_eps > 0.0 && self.rope_theta >= 1.0) {
            "rms_eps is positive and rope_theta at least 1"
        } else {
            return Ok(());
        };
        Err(TrainError::Shape(broken.into()))
    }
}

/// Everything that decides a run besides the data.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The model.
    pub shape: Shape,
    /// Names every random choice.
    pub seed: u64,
    /// Steps of the whole run; the schedule ends there.
    pub steps: u64,
    /// Sequences of a step.
    pub batch: usize,
    /// Predicted tokens of a sequence.
    pub sequence: usize,
    /// So many last steps take twice as long sequences, half as many: cheap short ones teach most, long ones far positions.
    pub long_steps: u64,
    /// Highest learning rate.
    pub learning_rate: f64,
    /// Learning rate at the end, as a part of the highest.
    pub final_rate: f64,
    /// Steps of linear warm-up.
    pub warmup: u64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Decoupled weight decay of matrices; norms have none.
    pub weight_decay: f64,
    /// Largest global norm of a gradient; a longer one is shortened to it.
    pub clip: f64,
}

impl Config {
    /// Sequences of `step` and their length.
    pub fn batch_of(&self, step: u64) -> (usize, usize) {
        if step + self.long_steps < self.steps {
            (self.batch, self.sequence)
        } else {
            (self.batch.div_ceil(2), 2 * self.sequence)
        }
    }

    /// Checks that a run can have these settings.
    ///
    /// # Errors
    /// [`TrainError::Shape`] or [`TrainError::Setting`] naming the first rule that is broken.
    pub fn validate(&self) -> Result<(), TrainError> {
        self.shape.validate()?;
        let rule = |ok: bool, name, reason: &str| {
            if ok { Ok(()) } else { Err(TrainError::Setting { name, reason: reason.into() }) }
        };
        rule((1..=1 << 16).contains(&self.batch), "batch", "must lie between 1 and 65536")?;
        rule((1..=self.shape.context).contains(&self.sequence), "sequence", "must lie between 1 and the context")?;
        let long_fits = self.long_steps == 0 || 2 * self.sequence <= self.shape.context;
        rule(long_fits, "long_steps", "must be 0 where twice the sequence exceeds the context")?;
        rule(self.learning_rate > 0.0 && self.learning_rate <= 1.0, "learning_rate", "must lie above 0 and up to 1")?;
        rule((0.0..=1.0).contains(&self.final_rate), "final_rate", "must lie between 0 and 1")?;
        rule((0.0..1.0).contains(&self.beta1), "beta1", "must lie between 0 and 1")?;
        rule((0.0..1.0).contains(&self.beta2), "beta2", "must lie between 0 and 1")?;
        rule(self.epsilon > 0.0, "epsilon", "must be positive")?;
        rule((0.0..1.0).contains(&self.weight_decay), "weight_decay", "must lie between 0 and 1")?;
        rule(self.clip > 0.0, "clip", "must be positive")
    }
}
