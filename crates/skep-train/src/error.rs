//! What can go wrong in training.

/// Errors of this crate.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A shape that no model can have.
    #[error("shape: {0}")]
    Shape(String),
    /// A setting that no run can have.
    #[error("setting {name}: {reason}")]
    Setting {
        /// Name of the field of [`crate::Config`].
        name: &'static str,
        /// What it must be.
        reason: String,
    },
    /// A sequence that does not fit the model.
    #[error("sequence: {0}")]
    Sequence(String),
    /// A text from which nothing can be learnt.
    #[error("text: {0}")]
    Text(String),
    /// The loss or a gradient became infinite or undefined; a lower learning rate may help.
    #[error("training diverged at step {step}: the loss or its gradient is not finite")]
    Diverged {
        /// The step, from 0.
        step: u64,
    },
    /// The thread's floating-point environment would change the results.
    #[error("floating-point environment: {0}")]
    Environment(#[from] skep_kernels::FloatEnvironmentError),
    /// Reading or writing a model file failed.
    #[error("model file: {0}")]
    Model(#[from] skep_model::ModelError),
}
