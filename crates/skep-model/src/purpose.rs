//! What a model is for.

use crate::ModelConfig;
use crate::config::Makes;
use crate::vision::Vision;

/// What a model does with what it reads.
#[derive(Debug, Clone, PartialEq)]
pub enum Purpose {
    /// It continues texts, token by token.
    Generate,
    /// It turns a text into a vector of length 1.
    Embed {
        /// Values of the vector.
        dimensions: usize,
    },
    /// It scores the classes of a picture.
    Classify(Vision),
}

impl Purpose {
    /// The purpose of a model.
    pub fn of(config: &ModelConfig) -> Self {
        match (config.family.makes, &config.vision) {
            (Makes::Embedding, _) => Self::Embed { dimensions: config.d_model },
            (Makes::Classes, Some(vision)) => Self::Classify(vision.clone()),
            _ => Self::Generate,
        }
    }

    /// Values of the vector that it makes of its whole input; `None` if it makes none.
    pub fn vector_width(&self) -> Option<usize> {
        match self {
            Self::Generate => None,
            Self::Embed { dimensions } => Some(*dimensions),
            Self::Classify(vision) => Some(vision.labels.len()),
        }
    }

    /// Values of one row of what it reads; 0 if it reads tokens.
    pub fn d_patch(&self) -> usize {
        match self {
            Self::Classify(vision) => vision.d_patch(),
            _ => 0,
        }
    }
}
