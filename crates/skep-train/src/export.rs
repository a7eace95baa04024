//! Parameters to the metadata and tensors of a GGUF file.

use crate::{Kind, Layout, Shape, TrainError};
use skep_kernels::Format;
use skep_model::{Metadata, Tensor, Value, quantize_q8_0};

/// The type in which matrices are stored; gains are always f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// As trained: inference computes the trainer's logits bit for bit.
    F32,
    /// Groups of 32 int8 with a half as scale.
    Q8_0,
}

/// The `general.*` and `llama.*` entries of a model of `shape` called `name`.
pub fn metadata(shape: &Shape, name: &str, precision: Precision) -> Metadata {
    let mut metadata = Metadata::new();
    let mut set = |key: &str, value| drop(metadata.insert(key, value));
    let file_type = if precision == Precision::F32 { 0 } else { 7 };
    set("general.architecture", Value::String("llama".into()));
    set("general.name", Value::String(name.into()));
    set("general.file_type", Value::U32(file_type));
    set("llama.attention.layer_norm_rms_epsilon", Value::F32(shape.rms_eps));
    set("llama.rope.freq_base", Value::F32(shape.rope_theta));
    let sizes = [
        ("block_count", shape.n_blocks),
        ("context_length", shape.context),
        ("embedding_length", shape.d_model),
        ("feed_forward_length", shape.d_ff),
        ("attention.head_count", shape.n_heads),
        ("attention.head_count_kv", shape.n_kv_heads),
        ("attention.key_length", shape.head_dim),
        ("attention.value_length", shape.head_dim),
        ("rope.dimension_count", shape.head_dim),
        ("vocab_size", shape.vocab),
    ];
    // `Shape::validate` bounds every size by 2^20.
    sizes.iter().for_each(|(key, size)| set(&format!("llama.{key}"), Value::U32(*size as u32)));
    metadata
}

/// The tensors of a model, in the order of `layout`.
///
/// # Errors
/// [`TrainError::Sequence`] when `params` has another length, [`TrainError::Model`] when a matrix cannot be quantised.
pub fn tensors(layout: &Layout, params: &[f32], precision: Precision) -> Result<Vec<Tensor>, TrainError> {
    if params.len() != layout.len() {
        return Err(TrainError::Sequence(format!("{} parameters for {}", params.len(), layout.len())));
    }
    let tensor = |spec: &crate::TensorSpec| {
        let values = &params[spec.range()];
        let shape = [spec.rows, spec.cols];
        Ok(match (precision, spec.kind) {
            (Precision::F32, _) | (_, Kind::Gain) => Tensor::from_f32(&spec.name, shape, values)?,
            (Precision::Q8_0, _) => Tensor::new(&spec.name, shape, Format::Q8_0, quantize_q8_0(values)?)?,
        })
    };
    layout.tensors().iter().map(tensor).collect()
}
