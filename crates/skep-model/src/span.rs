//! A span: the weights of blocks `[a, b)` of a model and the functions that turn rows of activations into rows.
//!
//! A span that begins at block 0 also holds the embedding, one that ends at the last block the final norm and the output
//! matrix; no other tensor of the file is read. All arithmetic is RK-1 (`skep_kernels`): the bits of every row depend on
//! the model and on the tokens before it, never on chunking, on the split into spans or on the processor.

use crate::forward::{Block, forward_chunk};
use crate::{Gguf, KvCache, ModelConfig, ModelError, Tensor, TensorData};
use skep_kernels::{Isa, POSITION_LIMIT, Weights, f16_to_f32, matmul, rms_norm, rope_frequencies};
use skep_types::BlockRange;

/// Rows that go through all blocks together: it bounds the memory of one `forward`, not its results.
const CHUNK_ROWS: usize = 64;

/// Blocks `[a, b)` of a model, ready to compute. Shared freely between threads; sessions differ in their [`KvCache`].
#[derive(Debug)]
pub struct Span {
    config: ModelConfig,
    range: BlockRange,
    isa: Isa,
    frequencies: Vec<f64>,
    blocks: Vec<Block>,
    embedding: Option<Tensor>,
    head: Option<Head>,
}

/// The final norm and the output matrix; no matrix of its own when the embedding, also held, serves as one.
#[derive(Debug)]
struct Head {
    norm: Vec<f32>,
    matrix: Option<Tensor>,
}

impl Span {
    /// Reads the tensors of `blocks`, of the embedding if `blocks` begins at 0 and of the head if it ends the model.
    ///
    /// # Errors
    /// [`ModelError::Input`] when the model has fewer blocks; otherwise as [`ModelConfig::from_gguf`] and
    /// [`ModelConfig::read`].
    pub fn load(gguf: &Gguf, blocks: BlockRange) -> Result<Self, ModelError> {
        let config = ModelConfig::from_gguf(gguf)?;
        config.check_tensors(gguf)?;
        if blocks.end() > config.n_blocks {
            let reason = format!("blocks {blocks} were asked for, but the model has blocks 0..{}", config.n_blocks);
            return Err(ModelError::Input(reason));
        }
        let embedding = match blocks.start() {
            0 => Some(ModelConfig::read(gguf, &config.embedding_tensor())?),
            _ => None,
        };
        let head = match blocks.end() == config.n_blocks {
            true => Some(load_head(gguf, &config, embedding.is_some())?),
            false => None,
        };
        let factors = (!config.rope_factors.is_empty()).then_some(&config.rope_factors[..]);
        let frequencies = rope_frequencies(config.head_dim, config.rope_theta, factors);
        let loaded = (blocks.start()..blocks.end()).map(|block| Block::load(gguf, &config, block));
        let loaded = loaded.collect::<Result<_, _>>()?;
        Ok(Self { range: blocks, isa: Isa::detect(), frequencies, blocks: loaded, embedding, head, config })
    }

    /// The same span computing with another instruction set; for tests and benchmarks, since the bits are the same.
    #[must_use]
    pub fn with_isa(mut self, isa: Isa) -> Self {
        self.isa = isa;
        self
    }

    /// The blocks it holds.
    pub fn blocks(&self) -> BlockRange {
        self.range
    }

    /// The whole model's hyper-parameters.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Bytes of memory that the weights take.
    pub fn resident_bytes(&self) -> u64 {
        let head = self
            .head
            .as_ref()
            .map_or(0, |head| head.norm.len() as u64 * 4 + head.matrix.as_ref().map_or(0, Tensor::resident_bytes));
        let blocks: u64 = self.blocks.iter().map(Block::resident_bytes).sum();
        blocks + head + self.embedding.as_ref().map_or(0, Tensor::resident_bytes)
    }

    /// An empty cache for at most `max_positions` positions through `blocks`, all or some of this span's.
    ///
    /// # Errors
    /// [`ModelError::Input`] when the span lacks one of `blocks`, or `max_positions` is 0 or over the model's context.
    pub fn new_cache(&self, blocks: BlockRange, max_positions: usize) -> Result<KvCache, ModelError> {
        if !self.range.covers(&blocks) {
            return Err(ModelError::Input(format!(
                "blocks {blocks} are not among the blocks {} held here",
                self.range
            )));
        }
        let most = self.config.context.min(POSITION_LIMIT);
        if max_positions == 0 || max_positions > most {
            let reason = format!("a cache of {max_positions} positions was asked for: the model allows 1 to {most}");
            return Err(ModelError::Input(reason));
        }
        let angle = self.frequencies.iter().fold(0.0, |most: f64, f| most.max(*f)) * max_positions as f64;
        if angle >= POSITION_LIMIT as f64 {
            return Err(ModelError::Input(format!("{max_positions} positions turn the rotary angles beyond 2^20")));
        }
        Ok(KvCache::new(blocks, max_positions, self.config.n_kv_heads, self.config.head_dim))
    }

    /// The rows that enter block 0: tokens × `d_model`.
    ///
    /// # Errors
    /// [`ModelError::Input`] when this span does not begin at block 0 or an id is not of the vocabulary.
    pub fn embed(&self, tokens: &[u32]) -> Result<Vec<f32>, ModelError> {
        let no_embedding = || ModelError::Input(format!("blocks {} hold no embedding", self.range));
        let embedding = self.embedding.as_ref().ok_or_else(no_embedding)?;
        let mut rows = Vec::with_capacity(tokens.len() * self.config.d_model);
        for token in tokens {
            if *token as usize >= self.config.vocab {
                let reason = format!("token {token} is not of the vocabulary of {} ids", self.config.vocab);
                return Err(ModelError::Input(reason));
            }
            append_row(embedding, *token as usize, &mut rows);
        }
        Ok(rows)
    }

    /// Sends `rows` (n × `d_model`) through the cache's blocks in place and appends their keys and values to the cache,
    /// as positions `cache.len()..cache.len() + n`. The same rows in any number of calls give the same bits.
    ///
    /// # Errors
    /// [`ModelError::Input`] when `rows` is not whole rows, the cache is full or is of another span;
    /// [`ModelError::NonFinite`] when a row that comes in or goes out is not finite. The cache is then as it was before
    /// the call, and `rows` is of no further use.
    pub fn forward(&self, cache: &mut KvCache, rows: &mut [f32]) -> Result<(), ModelError> {
        let before = cache.len();
        let result = self.forward_rows(cache, rows);
        if result.is_err() {
            cache.truncate(before);
        }
        result
    }

    fn forward_rows(&self, cache: &mut KvCache, rows: &mut [f32]) -> Result<(), ModelError> {
        let d_model = self.config.d_model;
        if !rows.len().is_multiple_of(d_model) {
            return Err(ModelError::Input(format!("{} numbers are not whole rows of {d_model}", rows.len())));
        }
        let fits = cache.entries.first().is_some_and(|entry| entry.keys.len() == self.config.n_kv_heads);
        if !self.range.covers(&cache.blocks()) || !fits {
            let reason = format!("a cache of blocks {} does not fit the blocks {} here", cache.blocks(), self.range);
            return Err(ModelError::Input(reason));
        }
        check_finite(rows, || format!("the rows that enter block {}", cache.blocks().start()))?;
        cache.reserve(rows.len() / d_model)?;
        let first = (cache.blocks().start() - self.range.start()) as usize;
        let blocks = &self.blocks[first..first + cache.blocks().len() as usize];
        for chunk in rows.chunks_mut(CHUNK_ROWS * d_model) {
            forward_chunk(self.isa, &self.config, &self.frequencies, blocks, cache, chunk)?;
            cache.commit(chunk.len() / d_model);
        }
        Ok(())
    }

    /// The logits of the token after `row`, one of the rows that leave the last block: `vocab` numbers.
    ///
    /// # Errors
    /// [`ModelError::Input`] when this span does not end the model or `row` is not one row; [`ModelError::NonFinite`].
    pub fn logits(&self, row: &[f32]) -> Result<Vec<f32>, ModelError> {
        let no_head = || ModelError::Input(format!("blocks {} hold no output matrix", self.range));
        let head = self.head.as_ref().ok_or_else(no_head)?;
        let matrix = head.matrix.as_ref().or(self.embedding.as_ref()).ok_or_else(no_head)?;
        if row.len() != self.config.d_model {
            return Err(ModelError::Input(format!("{} numbers are not one row of {}", row.len(), self.config.d_model)));
        }
        check_finite(row, || "the row that enters the head".to_owned())?;
        let mut normed = vec![0.0; row.len()];
        rms_norm(self.isa, row, &head.norm, self.config.rms_eps, &mut normed);
        let mut logits = vec![0.0; self.config.vocab];
        matmul(self.isa, weights(matrix), row.len(), &normed, &mut logits)
            .map_err(|_| ModelError::NonFinite("the normed row of the head".to_owned()))?;
        check_finite(&logits, || "the logits".to_owned())?;
        Ok(logits)
    }
}

fn load_head(gguf: &Gguf, config: &ModelConfig, embedding_held: bool) -> Result<Head, ModelError> {
    let [norm, matrix] = config.head_tensors();
    let norm = ModelConfig::read(gguf, &norm)?.to_f32();
    let matrix = match config.tied_head && embedding_held {
        true => None,
        false => Some(ModelConfig::read(gguf, &matrix)?),
    };
    Ok(Head { norm, matrix })
}

/// The kernels' view of a tensor.
pub(crate) fn weights(tensor: &Tensor) -> Weights<'_> {
    match &tensor.data {
        TensorData::F32(values) => Weights::F32(values),
        TensorData::F16(values) => Weights::F16(values),
        TensorData::Q8_0 { scales, quants } => Weights::Q8_0 { scales, quants },
    }
}

pub(crate) fn check_finite(values: &[f32], place: impl FnOnce() -> String) -> Result<(), ModelError> {
    // x * 0 is 0 or NaN, and a sum with a NaN is NaN: one pass without branches.
    let sum = values.iter().fold(0.0, |sum: f32, x| sum + x * 0.0);
    if sum == 0.0 { Ok(()) } else { Err(ModelError::NonFinite(place())) }
}

fn append_row(matrix: &Tensor, row: usize, out: &mut Vec<f32>) {
    let width = matrix.shape[1];
    let range = row * width..(row + 1) * width;
    match &matrix.data {
        TensorData::F32(values) => out.extend_from_slice(&values[range]),
        TensorData::F16(values) => out.extend(values[range].iter().map(|bits| f16_to_f32(*bits))),
        TensorData::Q8_0 { scales, quants } => {
            out.extend(range.map(|i| scales[i / 32] * f32::from(quants[i])));
        }
    }
}
