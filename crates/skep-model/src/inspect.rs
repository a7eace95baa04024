//! What a model file holds, for people and for scripts. It describes files that this version cannot run, too, and says why.

use crate::{Family, Gguf, ModelConfig, ModelError, TensorInfo, Tokenizer};
use serde::Serialize;
use skep_types::ModelId;
use std::collections::BTreeMap;
use std::fmt;

/// The description of a model file. Sizes are bytes in the file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelDescription {
    /// The BLAKE3 root of the file.
    pub id: ModelId,
    /// `general.name`.
    pub name: Option<String>,
    /// `general.architecture`.
    pub architecture: Option<String>,
    /// The family that it is of; absent when this version does not know the architecture.
    pub family: Option<&'static str>,
    /// Why this version cannot run the model; absent when it can.
    pub refusal: Option<String>,
    /// Size of the whole file.
    pub file_bytes: u64,
    /// Version of the GGUF format.
    pub gguf_version: u32,
    /// The hyper-parameters; absent when they cannot be read.
    pub shape: Option<Shape>,
    /// The tokenizer; absent when it cannot be read.
    pub tokenizer: Option<TokenizerDescription>,
    /// Whether the file has a chat template.
    pub chat_template: bool,
    /// Tensors and bytes by element type.
    pub quantisations: BTreeMap<&'static str, Share>,
    /// Tensors and bytes of each block, by its number.
    pub blocks: BTreeMap<u32, Share>,
    /// Tensors and bytes outside the blocks: embedding, final norm, output matrix.
    pub outside_blocks: Share,
    /// Every tensor, in the order of the file.
    pub tensors: Vec<TensorDescription>,
}

/// The hyper-parameters, under the names of [`ModelConfig`].
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the fields of ModelConfig, which are documented there")]
pub struct Shape {
    pub n_blocks: u32,
    pub d_model: usize,
    pub n_heads: usize,
    pub n_kv_heads: usize,
    pub head_dim: usize,
    pub d_ff: usize,
    pub experts: Option<usize>,
    pub window: Option<usize>,
    pub vocab: usize,
    pub context: usize,
    pub rope_theta: Option<f32>,
    pub tied_head: bool,
}

/// The tokenizer of a file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TokenizerDescription {
    /// `llama` (SentencePiece) or `gpt2` (byte-level BPE).
    pub kind: &'static str,
    /// Number of tokens.
    pub vocab: usize,
    /// Text of the token that begins a text.
    pub bos: Option<String>,
    /// Text of the token that ends a text.
    pub eos: Option<String>,
}

/// A number of tensors and what they take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Share {
    /// How many.
    pub tensors: u32,
    /// Their bytes.
    pub bytes: u64,
}

/// One tensor.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TensorDescription {
    /// Name.
    pub name: String,
    /// Element type, such as `Q8_0`.
    #[serde(rename = "type")]
    pub dtype: &'static str,
    /// Dimensions, the row length last (the file holds them the other way round).
    pub shape: Vec<u64>,
    /// Bytes of data.
    pub bytes: u64,
}

/// Describes a model file. The whole file is read once for its id.
///
/// # Errors
/// [`ModelError::Io`] when it cannot be read. What this version does not support is described, not refused.
pub fn describe(gguf: &Gguf) -> Result<ModelDescription, ModelError> {
    let metadata = gguf.metadata();
    let text = |key: &str| metadata.text(key).ok().flatten().map(str::to_owned);
    let config = ModelConfig::from_gguf(gguf);
    let tokenizer = Tokenizer::from_gguf(gguf);
    let tensors = config.as_ref().map_or(Ok(()), |config| config.check_tensors(gguf));
    let reads_tokens = config.as_ref().is_ok_and(|config| config.vision.is_none());
    let no_tokens = tokenizer.as_ref().err().filter(|_| reads_tokens);
    let refusal = config.as_ref().err().or(tensors.as_ref().err()).or(no_tokens).map(ToString::to_string);
    let mut description = ModelDescription {
        id: gguf.id()?,
        name: text("general.name"),
        architecture: text("general.architecture"),
        family: text("general.architecture").and_then(|name| Family::of(&name)).map(|family| family.name),
        refusal,
        file_bytes: gguf.file_bytes(),
        gguf_version: gguf.version(),
        shape: config.ok().map(shape),
        tokenizer: tokenizer.ok().map(|tokenizer| tokenizer_description(&tokenizer)),
        chat_template: metadata.get("tokenizer.chat_template").is_some(),
        quantisations: BTreeMap::new(),
        blocks: BTreeMap::new(),
        outside_blocks: Share::default(),
        tensors: Vec::with_capacity(gguf.tensors().len()),
    };
    for tensor in gguf.tensors() {
        let place = match block_of(tensor) {
            Some(block) => description.blocks.entry(block).or_default(),
            None => &mut description.outside_blocks,
        };
        for share in [place, description.quantisations.entry(tensor.dtype.name()).or_default()] {
            share.tensors += 1;
            share.bytes += tensor.bytes;
        }
        description.tensors.push(TensorDescription {
            name: tensor.name.clone(),
            dtype: tensor.dtype.name(),
            shape: tensor.dims.iter().rev().copied().collect(),
            bytes: tensor.bytes,
        });
    }
    Ok(description)
}

fn shape(config: ModelConfig) -> Shape {
    Shape {
        n_blocks: config.n_blocks,
        d_model: config.d_model,
        n_heads: config.n_heads,
        n_kv_heads: config.n_kv_heads,
        head_dim: config.head_dim,
        d_ff: config.d_ff,
        experts: config.experts.map(|experts| experts.count),
        window: config.window,
        vocab: config.vocab,
        context: config.context,
        rope_theta: config.rope.map(|rope| rope.theta),
        tied_head: config.tied_head,
    }
}

fn tokenizer_description(tokenizer: &Tokenizer) -> TokenizerDescription {
    let text = |id: Option<u32>| id.and_then(|id| tokenizer.token_text(id)).map(str::to_owned);
    let (bos, eos) = (text(tokenizer.bos()), text(tokenizer.eos()));
    TokenizerDescription { kind: tokenizer.kind(), vocab: tokenizer.vocab(), bos, eos }
}

/// The block that a tensor belongs to, from its name `blk.N.…`.
fn block_of(tensor: &TensorInfo) -> Option<u32> {
    tensor.name.strip_prefix("blk.")?.split_once('.')?.0.parse().ok()
}

/// Bytes in the largest unit of 1000 that leaves at least 1.
fn size(bytes: u64) -> String {
    let units = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    let unit = units.iter().find(|(unit, _)| bytes >= *unit);
    unit.map_or(format!("{bytes} B"), |(unit, name)| format!("{:.1} {name}", bytes as f64 / *unit as f64))
}

impl fmt::Display for ModelDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Control characters of a hostile file must not reach a terminal.
        let plain = |text: &str| text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect::<String>();
        let or_dash = |text: &Option<String>| text.as_deref().map_or("-".to_owned(), plain);
        writeln!(f, "id            {}", self.id)?;
        writeln!(f, "name          {}", or_dash(&self.name))?;
        let family = self.family.map_or(String::new(), |family| format!(" ({family})"));
        writeln!(f, "architecture  {}{family}", or_dash(&self.architecture))?;
        writeln!(f, "file          {} (GGUF version {})", size(self.file_bytes), self.gguf_version)?;
        if let Some(shape) = &self.shape {
            writeln!(
                f,
                "blocks        {}, of {} activations and {} hidden",
                shape.n_blocks, shape.d_model, shape.d_ff
            )?;
            let (heads, kv) = (shape.n_heads, shape.n_kv_heads);
            writeln!(f, "heads         {heads} query, {kv} key and value, of {}", shape.head_dim)?;
            if let Some(experts) = shape.experts {
                writeln!(f, "experts       {experts} in each block")?;
            }
            writeln!(f, "context       {} tokens", shape.context)?;
            if let Some(window) = shape.window {
                writeln!(f, "window        {window} tokens, in some or all blocks")?;
            }
            writeln!(f, "vocabulary    {} tokens", shape.vocab)?;
        }
        if let Some(tokenizer) = &self.tokenizer {
            let (bos, eos) = (or_dash(&tokenizer.bos), or_dash(&tokenizer.eos));
            writeln!(f, "tokenizer     {}, BOS {bos}, EOS {eos}", tokenizer.kind)?;
        }
        writeln!(f, "chat template {}", if self.chat_template { "yes" } else { "no" })?;
        for (name, share) in &self.quantisations {
            writeln!(f, "{name:<13} {} tensors, {}", share.tensors, size(share.bytes))?;
        }
        writeln!(
            f,
            "runs here     {}",
            self.refusal.as_deref().map_or("yes".to_owned(), |why| format!("no: {}", plain(why)))
        )?;
        writeln!(f, "\n{:<12} {:>8} {:>12}", "part", "tensors", "bytes")?;
        for (block, share) in &self.blocks {
            writeln!(f, "{:<12} {:>8} {:>12}", format!("block {block}"), share.tensors, share.bytes)?;
        }
        writeln!(f, "{:<12} {:>8} {:>12}", "other", self.outside_blocks.tensors, self.outside_blocks.bytes)?;
        writeln!(f, "\n{:<28} {:<8} {:<16} {:>12}", "tensor", "type", "shape", "bytes")?;
        for tensor in &self.tensors {
            let shape = tensor.shape.iter().map(u64::to_string).collect::<Vec<_>>().join(" x ");
            writeln!(f, "{:<28} {:<8} {shape:<16} {:>12}", plain(&tensor.name), tensor.dtype, tensor.bytes)?;
        }
        Ok(())
    }
}
