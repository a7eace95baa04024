//! The single-machine trainer: f32, the same Llama block as inference, and the same bits on every machine.
//!
//! A run is a pure function of its [`Config`], the data set and the seed. Three rules make it so:
//!
//! - Every random choice comes from a [`Stream`], BLAKE3 of (seed, purpose, counter); there is no other source.
//! - Every sum has one order. Within a sequence everything is computed by one thread with the fixed-order kernels of
//!   `skep-kernels`; the gradients of a batch are added in the order of its sequences. The number of threads decides only who
//!   computes a sequence.
//! - Nothing calls a C library's mathematics, reads a clock or walks a hash map.
//!
//! So a gradient is a pure function `(parameters, sequence) -> gradient` ([`Model::sequence_gradient`]), which another
//! machine can repeat and check.
//!
//! The forward pass uses the operations of RK-1 in the order of `skep-model`, so that the logits of the trainer and those of
//! inference on the exported F32 file have the same bits.

mod attention;
pub mod bard;
mod block;
pub mod bpe;
mod config;
mod error;
pub mod export;
mod inference;
mod loss;
mod maths;
mod model;
mod optimiser;
mod params;
pub mod play;
mod rng;
mod trainer;

pub use config::{Config, Shape};
pub use error::TrainError;
pub use inference::loss_of_file;
pub use model::{Model, Workspace};
pub use optimiser::{AdamW, learning_rate};
pub use params::{Kind, Layout, TensorSpec};
pub use rng::Stream;
pub use trainer::{Dataset, StepReport, Trainer, batch_gradient, evaluate};
