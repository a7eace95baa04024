//! The single-machine trainer.
