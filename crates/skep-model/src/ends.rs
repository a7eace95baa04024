//! What stands before the first block and after the last one.

use crate::block::{Linear, Norm};
use crate::config::{Makes, Pooling, Reads};
use crate::forward::{GRAIN, norm_row};
use crate::span::check_finite;
use crate::{Gguf, ModelConfig, ModelError, Tensor};
use skep_kernels::{Cpu, add, dot, matmul, softcap};

/// What turns the input into the rows that enter block 0.
#[derive(Debug)]
pub(crate) enum Entry {
    /// One row of a matrix for each token.
    Tokens(Tensor),
    /// That, the first token type and the position, normed.
    Placed { tokens: Tensor, kind: Vec<f32>, positions: Tensor, norm: Norm },
    /// A product for each patch, after a row that all pictures share, and the position.
    Patches { patch: Linear, class: Vec<f32>, positions: Tensor },
}

/// What turns the rows that leave the last block into the output.
#[derive(Debug)]
pub(crate) enum Head {
    /// The logits of the next token; no matrix of its own when the embedding, also held, serves as one.
    Logits { norm: Norm, matrix: Option<Tensor> },
    /// One vector of length 1.
    Embedding(Pooling),
    /// The scores of classes, from the first row.
    Classes { norm: Norm, linear: Linear },
}

/// The tensors of one end of the model, by name, checked for their shapes.
struct Parts<'a> {
    gguf: &'a Gguf,
    expected: Vec<crate::Expected>,
}

impl Parts<'_> {
    fn tensor(&self, name: &str) -> Result<Tensor, ModelError> {
        let expected = self.expected.iter().find(|expected| expected.0 == name);
        ModelConfig::read(self.gguf, expected.ok_or_else(|| ModelError::tensor(name, "is not a part of this model"))?)
    }

    fn vector(&self, name: &str) -> Result<Vec<f32>, ModelError> {
        self.tensor(name)?.to_f32()
    }

    fn norm(&self, name: &str) -> Result<Norm, ModelError> {
        let bias = format!("{name}.bias");
        let has_bias = self.expected.iter().any(|expected| expected.0 == bias);
        let bias = has_bias.then(|| self.vector(&bias)).transpose()?;
        Ok(Norm { gain: self.vector(&format!("{name}.weight"))?, bias })
    }

    fn linear(&self, name: &str) -> Result<Linear, ModelError> {
        let bias = self.vector(&format!("{name}.bias"))?;
        Ok(Linear { matrix: self.tensor(&format!("{name}.weight"))?, bias: Some(bias) })
    }
}

impl Entry {
    pub(crate) fn load(gguf: &Gguf, config: &ModelConfig) -> Result<Self, ModelError> {
        let parts = Parts { gguf, expected: config.entry_tensors() };
        Ok(match config.family.reads {
            Reads::Tokens => Self::Tokens(parts.tensor("token_embd.weight")?),
            Reads::PlacedTokens => Self::Placed {
                tokens: parts.tensor("token_embd.weight")?,
                // Texts are not paired here, so all tokens are of the first type.
                kind: parts.vector("token_types.weight")?[..config.d_model].to_vec(),
                positions: parts.tensor("position_embd.weight")?,
                norm: parts.norm("token_embd_norm")?,
            },
            Reads::Patches => Self::Patches {
                patch: parts.linear("patch_embd")?,
                class: parts.vector("class_embd.weight")?,
                positions: parts.tensor("position_embd.weight")?,
            },
        })
    }

    /// The matrix of tokens, which may be that of the head, too.
    fn tokens(&self) -> Option<&Tensor> {
        match self {
            Self::Tokens(tokens) | Self::Placed { tokens, .. } => Some(tokens),
            Self::Patches { .. } => None,
        }
    }

    /// Bytes of the matrices in the file, and of the vectors in memory.
    pub(crate) fn weight_bytes(&self) -> u64 {
        let floats = match self {
            Self::Tokens(_) => 0,
            Self::Placed { kind, norm, .. } => kind.len() + norm_len(norm),
            Self::Patches { class, patch, .. } => class.len() + patch.bias.as_ref().map_or(0, Vec::len),
        };
        let tensors = match self {
            Self::Tokens(tokens) => tokens.bytes().len(),
            Self::Placed { tokens, positions, .. } => tokens.bytes().len() + positions.bytes().len(),
            Self::Patches { patch, positions, .. } => patch.matrix.bytes().len() + positions.bytes().len(),
        };
        (4 * floats + tensors) as u64
    }

    /// Rows of tokens, which begin the text where the model knows positions by heart.
    pub(crate) fn embed(&self, cpu: &Cpu, config: &ModelConfig, tokens: &[u32]) -> Result<Vec<f32>, ModelError> {
        let no_tokens = || ModelError::Input("this model reads patches of pictures, not tokens".to_owned());
        let matrix = self.tokens().ok_or_else(no_tokens)?.matrix()?;
        let mut rows = vec![0.0; tokens.len() * config.d_model];
        for (token, row) in tokens.iter().zip(rows.chunks_exact_mut(config.d_model)) {
            if *token as usize >= config.vocab {
                let reason = format!("token {token} is not of the vocabulary of {} ids", config.vocab);
                return Err(ModelError::Input(reason));
            }
            matrix.row_to_f32(*token as usize, row);
            if let Some(scale) = config.embedding_scale() {
                row.iter_mut().for_each(|x| *x *= scale);
            }
        }
        if let Self::Placed { kind, positions, norm, .. } = self {
            rows.chunks_exact_mut(config.d_model).for_each(|row| add(row, kind));
            place(config, positions, &mut rows)?;
            norm_rows(cpu, config, norm, &mut rows);
        }
        Ok(rows)
    }

    /// Rows of a picture: positions × the values of a patch, the first of which is not read.
    pub(crate) fn embed_patches(
        &self,
        cpu: &Cpu,
        config: &ModelConfig,
        patches: &[f32],
    ) -> Result<Vec<f32>, ModelError> {
        let Self::Patches { patch, class, positions } = self else {
            return Err(ModelError::Input("this model reads tokens, not pictures".to_owned()));
        };
        let matrix = patch.matrix.matrix()?;
        if patches.len() != config.context * matrix.k() {
            let reason = format!("{} numbers are not {} patches of {}", patches.len(), config.context, matrix.k());
            return Err(ModelError::Input(reason));
        }
        check_finite(patches, || "the picture".to_owned())?;
        let mut rows = vec![0.0; config.context * config.d_model];
        let (first, others) = rows.split_at_mut(config.d_model);
        first.copy_from_slice(class);
        matmul(cpu, matrix, &patches[matrix.k()..], others);
        for row in others.chunks_exact_mut(config.d_model) {
            patch.bias.iter().for_each(|bias| add(row, bias));
        }
        place(config, positions, &mut rows)?;
        Ok(rows)
    }
}

impl Head {
    pub(crate) fn load(gguf: &Gguf, config: &ModelConfig, embedding_held: bool) -> Result<Self, ModelError> {
        let parts = Parts { gguf, expected: config.head_tensors() };
        Ok(match config.family.makes {
            Makes::Logits => Self::Logits {
                norm: parts.norm("output_norm")?,
                matrix: match (config.tied_head, embedding_held) {
                    (true, true) => None,
                    (true, false) => Some(parts.tensor("token_embd.weight")?),
                    (false, _) => Some(parts.tensor("output.weight")?),
                },
            },
            Makes::Embedding => Self::Embedding(config.pooling),
            Makes::Classes => Self::Classes { norm: parts.norm("output_norm")?, linear: parts.linear("cls.output")? },
        })
    }

    /// As [`Entry::weight_bytes`].
    pub(crate) fn weight_bytes(&self) -> u64 {
        let (floats, matrix) = match self {
            Self::Logits { norm, matrix } => (norm_len(norm), matrix.as_ref()),
            Self::Embedding(_) => (0, None),
            Self::Classes { norm, linear } => {
                (norm_len(norm) + linear.bias.as_ref().map_or(0, Vec::len), Some(&linear.matrix))
            }
        };
        4 * floats as u64 + matrix.map_or(0, |matrix| matrix.bytes().len() as u64)
    }

    /// The logits after each of `rows`.
    pub(crate) fn logits(
        &self,
        cpu: &Cpu,
        config: &ModelConfig,
        entry: Option<&Entry>,
        rows: &[f32],
    ) -> Result<Vec<f32>, ModelError> {
        let Self::Logits { norm, matrix } = self else {
            return Err(ModelError::Input("this model makes vectors, not logits of a next token".to_owned()));
        };
        let matrix = matrix.as_ref().or(entry.and_then(Entry::tokens));
        let matrix = matrix.ok_or_else(|| ModelError::Input("this span holds no output matrix".to_owned()))?;
        let mut normed = rows.to_vec();
        norm_rows(cpu, config, norm, &mut normed);
        let mut logits = vec![0.0; rows.len() / config.d_model * config.vocab];
        matmul(cpu, matrix.matrix()?, &normed, &mut logits);
        if let Some(cap) = config.logit_cap {
            cpu.workers().for_parts(&mut logits, GRAIN, 1, |_, logits| softcap(cpu.isa(), cap, logits));
        }
        Ok(logits)
    }

    /// What the model says of its whole input, all of whose rows these are.
    pub(crate) fn vector(&self, cpu: &Cpu, config: &ModelConfig, rows: &[f32]) -> Result<Vec<f32>, ModelError> {
        let first = &rows[..config.d_model];
        let vector = match self {
            Self::Logits { .. } => {
                return Err(ModelError::Input("this model continues texts and makes no vectors".to_owned()));
            }
            Self::Embedding(Pooling::First) => unit(cpu, first.to_vec()),
            Self::Embedding(Pooling::Mean) => {
                let mut mean = vec![0.0; config.d_model];
                rows.chunks_exact(config.d_model).for_each(|row| add(&mut mean, row));
                let n = (rows.len() / config.d_model) as f32;
                mean.iter_mut().for_each(|sum| *sum /= n);
                unit(cpu, mean)
            }
            Self::Classes { norm, linear } => {
                let mut normed = first.to_vec();
                norm_rows(cpu, config, norm, &mut normed);
                let matrix = linear.matrix.matrix()?;
                let mut scores = vec![0.0; matrix.rows()];
                matmul(cpu, matrix, &normed, &mut scores);
                linear.bias.iter().for_each(|bias| add(&mut scores, bias));
                scores
            }
        };
        check_finite(&vector, || "the vector of the whole input".to_owned())?;
        Ok(vector)
    }
}

/// The vector over its length; zeros stay zeros.
fn unit(cpu: &Cpu, mut vector: Vec<f32>) -> Vec<f32> {
    let length = dot(cpu.isa(), &vector, &vector).sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|x| *x /= length);
    }
    vector
}

/// Adds to each row its position's, counted from 0.
fn place(config: &ModelConfig, positions: &Tensor, rows: &mut [f32]) -> Result<(), ModelError> {
    let n = rows.len() / config.d_model;
    if n > config.context {
        return Err(ModelError::Input(format!(
            "{n} rows are more than the {} positions of this model",
            config.context
        )));
    }
    let matrix = positions.matrix()?;
    let mut own = vec![0.0; config.d_model];
    for (position, row) in rows.chunks_exact_mut(config.d_model).enumerate() {
        matrix.row_to_f32(position, &mut own);
        add(row, &own);
    }
    Ok(())
}

fn norm_rows(cpu: &Cpu, config: &ModelConfig, norm: &Norm, rows: &mut [f32]) {
    let width = config.d_model;
    cpu.workers().for_parts(rows, width, GRAIN / width, |_, row| {
        let entering = row.to_vec();
        norm_row(cpu, config, norm, &entering, row);
    });
}

fn norm_len(norm: &Norm) -> usize {
    norm.gain.len() + norm.bias.as_ref().map_or(0, Vec::len)
}
