//! A span: the weights of blocks `[a, b)` of a model and the functions that turn rows of activations into rows.
//!
//! A span that begins at block 0 also holds the embedding, one that ends at the last block the final norm and the output
//! matrix; no other tensor of the file is read. All arithmetic is RK-1 (`skep_kernels`): the bits of every row depend on
//! the model and on the tokens before it, never on chunking, on the split into spans or on the processor.

use crate::block::Block;
use crate::ends::{Entry, Head};
use crate::forward::{Model, Part, Rotation, forward_pass};
use crate::{Gguf, KvCache, ModelConfig, ModelError};
use skep_kernels::{AttentionShape, Cpu, Isa, KvFormat, KvLayout, POSITION_LIMIT};
use skep_types::BlockRange;
use std::sync::Arc;

/// Rows that go through all blocks together: it bounds the memory of one pass, not its results.
pub const PASS_ROWS: usize = 256;

/// How a span computes.
#[derive(Debug, Clone)]
pub struct SpanOptions {
    /// Instruction set and threads; they change no bit.
    pub cpu: Arc<Cpu>,
    /// Format of keys and values. It is a part of what is computed: all machines of a route must have the same.
    pub kv: KvFormat,
}

impl SpanOptions {
    /// The format that the network uses and `threads` threads.
    ///
    /// # Errors
    /// [`ModelError::Threads`] when the system refuses a thread.
    pub fn new(threads: usize) -> Result<Self, ModelError> {
        Ok(Self { cpu: Arc::new(Cpu::new(threads).map_err(ModelError::Threads)?), kv: KvFormat::F16 })
    }
}

/// Rows of one session that go through a span together with others'.
#[derive(Debug)]
pub struct BatchItem<'a> {
    /// The session's cache.
    pub cache: &'a mut KvCache,
    /// n × `d_model`, replaced by what leaves the last of the cache's blocks.
    pub rows: &'a mut [f32],
}

/// Blocks `[a, b)` of a model, ready to compute. Shared freely between threads; sessions differ in their [`KvCache`].
#[derive(Debug)]
pub struct Span {
    config: ModelConfig,
    range: BlockRange,
    cpu: Arc<Cpu>,
    attention: AttentionShape,
    /// Of blocks without a window and of those with one.
    rotations: [Rotation; 2],
    blocks: Vec<Block>,
    entry: Option<Entry>,
    head: Option<Head>,
}

impl Span {
    /// Reads the tensors of `blocks`, of the embedding if `blocks` begins at 0 and of the head if it ends the model.
    ///
    /// # Errors
    /// [`ModelError::Input`] when the model has fewer blocks; otherwise as [`ModelConfig::from_gguf`] and
    /// [`ModelConfig::read`].
    pub fn load(gguf: &Gguf, blocks: BlockRange) -> Result<Self, ModelError> {
        Self::load_with(gguf, blocks, SpanOptions::new(1)?)
    }

    /// [`Span::load`] with a choice of threads and of the format of keys and values.
    ///
    /// # Errors
    /// As [`Span::load`]; [`ModelError::Input`] when the format does not fit the model's heads.
    pub fn load_with(gguf: &Gguf, blocks: BlockRange, options: SpanOptions) -> Result<Self, ModelError> {
        let config = ModelConfig::from_gguf(gguf)?;
        config.check_tensors(gguf)?;
        if blocks.end() > config.n_blocks {
            let reason = format!("blocks {blocks} were asked for, but the model has blocks 0..{}", config.n_blocks);
            return Err(ModelError::Input(reason));
        }
        let entry = if blocks.start() == 0 { Some(Entry::load(gguf, &config)?) } else { None };
        let head = match blocks.end() == config.n_blocks {
            true => Some(Head::load(gguf, &config, entry.is_some())?),
            false => None,
        };
        let rotations = [&config.rope, &config.local_rope].map(|rope| Rotation::new(rope.as_ref()));
        let kv = KvLayout::new(options.kv, config.n_kv_heads, config.head_dim).ok_or_else(|| {
            ModelError::Input(format!("heads of {} do not fit keys and values in {:?}", config.head_dim, options.kv))
        })?;
        let attention = AttentionShape {
            heads: config.n_heads,
            kv,
            scale: config.attention_scale,
            softcap: config.attention_cap,
            window: None,
            causal: config.family.causal,
        };
        let loaded = (blocks.start()..blocks.end()).map(|block| Block::load(gguf, &config, block));
        let loaded = loaded.collect::<Result<_, _>>()?;
        Ok(Self { range: blocks, cpu: options.cpu, attention, rotations, blocks: loaded, entry, head, config })
    }

    /// The same span computing with another instruction set on one thread; the bits are the same.
    ///
    /// # Errors
    /// [`ModelError::Threads`], though no thread is asked for.
    pub fn with_isa(mut self, isa: Isa) -> Result<Self, ModelError> {
        self.cpu = Arc::new(Cpu::new(1).map_err(ModelError::Threads)?.with_isa(isa));
        Ok(self)
    }

    /// The blocks it holds.
    pub fn blocks(&self) -> BlockRange {
        self.range
    }

    /// The whole model's hyper-parameters.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Bytes of the weights in the mapped file, and of the norms.
    pub fn weight_bytes(&self) -> u64 {
        let blocks: u64 = self.blocks.iter().map(Block::weight_bytes).sum();
        let entry = self.entry.as_ref().map_or(0, Entry::weight_bytes);
        blocks + entry + self.head.as_ref().map_or(0, Head::weight_bytes)
    }

    /// Bytes of its weights that a span of the blocks `other` does not have.
    pub fn weight_bytes_beyond(&self, other: BlockRange) -> u64 {
        let numbered = (self.range.start()..).zip(&self.blocks);
        let blocks: u64 = numbered.filter(|(at, _)| !other.contains(*at)).map(|(_, block)| block.weight_bytes()).sum();
        let entry = self.entry.as_ref().filter(|_| other.start() > 0).map_or(0, Entry::weight_bytes);
        let head = self.head.as_ref().filter(|_| other.end() < self.config.n_blocks);
        blocks + entry + head.map_or(0, Head::weight_bytes)
    }

    /// How it computes, for another span of the model that is to share its threads.
    pub fn options(&self) -> SpanOptions {
        SpanOptions { cpu: self.cpu.clone(), kv: self.attention.kv.format() }
    }

    /// Threads that compute.
    pub fn threads(&self) -> usize {
        self.cpu.workers().threads()
    }

    /// Format and shape of the pages of keys and values.
    pub fn kv_layout(&self) -> KvLayout {
        self.attention.kv
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
        let fastest = self.rotations.iter().fold(0.0, |most: f64, rotation| most.max(rotation.fastest()));
        let angle = fastest * max_positions as f64;
        if angle >= POSITION_LIMIT as f64 {
            return Err(ModelError::Input(format!("{max_positions} positions turn the rotary angles beyond 2^20")));
        }
        Ok(KvCache::new(blocks, max_positions, self.attention.kv))
    }

    /// The rows that enter block 0: tokens × `d_model`. A model that has a row for each position (BERT) takes `tokens` for the
    /// beginning of the text.
    ///
    /// # Errors
    /// [`ModelError::Input`] when this span does not begin at block 0, the model reads no tokens, an id is not of the vocabulary, or
    /// there are more tokens than rows for positions.
    pub fn embed(&self, tokens: &[u32]) -> Result<Vec<f32>, ModelError> {
        self.entry()?.embed(&self.cpu, &self.config, tokens)
    }

    /// The rows that enter block 0 for a picture, given as [`crate::Vision::patches`] gives it.
    ///
    /// # Errors
    /// [`ModelError::Input`] when this span does not begin at block 0, the model reads no pictures, or these are not all patches of
    /// one; [`ModelError::NonFinite`].
    pub fn embed_patches(&self, patches: &[f32]) -> Result<Vec<f32>, ModelError> {
        self.entry()?.embed_patches(&self.cpu, &self.config, patches)
    }

    fn entry(&self) -> Result<&Entry, ModelError> {
        self.entry.as_ref().ok_or_else(|| ModelError::Input(format!("blocks {} hold no embedding", self.range)))
    }

    fn head(&self) -> Result<&Head, ModelError> {
        self.head.as_ref().ok_or_else(|| ModelError::Input(format!("blocks {} hold no output matrix", self.range)))
    }

    /// What the model says of its whole input, from all rows that leave the last block, n × `d_model`: the embedding of a text, the
    /// scores of a picture's classes.
    ///
    /// # Errors
    /// [`ModelError::Input`] when this span does not end the model, the model makes no vectors or `rows` is not whole rows;
    /// [`ModelError::NonFinite`].
    pub fn vector(&self, rows: &[f32]) -> Result<Vec<f32>, ModelError> {
        let d_model = self.config.d_model;
        if rows.is_empty() || !rows.len().is_multiple_of(d_model) {
            return Err(ModelError::Input(format!("{} numbers are not whole rows of {d_model}", rows.len())));
        }
        self.head()?.vector(&self.cpu, &self.config, rows)
    }

    /// Sends `rows` (n × `d_model`) through the cache's blocks in place and appends their keys and values to the cache,
    /// as positions `cache.len()..cache.len() + n`. The same rows in any number of calls give the same bits.
    ///
    /// # Errors
    /// [`ModelError::Input`] when `rows` is not whole rows, the cache is full or is of another span;
    /// [`ModelError::NonFinite`] when a row that comes in or goes out is not finite. The cache is then as it was before
    /// the call, and `rows` is of no further use.
    pub fn forward(&self, cache: &mut KvCache, rows: &mut [f32]) -> Result<(), ModelError> {
        self.forward_batch(&mut [BatchItem { cache, rows }]).remove(0)
    }

    /// [`Span::forward`] for several sessions, whose caches are of the same blocks: the weights are read once for all. Each
    /// session's rows get the bits that they would get alone, and its own result.
    pub fn forward_batch(&self, items: &mut [BatchItem<'_>]) -> Vec<Result<(), ModelError>> {
        let blocks = items.first().map(|item| item.cache.blocks());
        let before: Vec<usize> = items.iter().map(|item| item.cache.len()).collect();
        let mut results: Vec<Result<(), ModelError>> = items.iter_mut().map(|item| self.admit(item, blocks)).collect();
        let mut done = vec![0; items.len()];
        while let Some(pass) = self.next_pass(items, &results, &done) {
            if let Err(error) = self.run_pass(items, &pass, &mut results, &mut done) {
                results.iter_mut().for_each(|result| *result = Err(ModelError::Input(error.to_string())));
            }
        }
        for ((item, result), before) in items.iter_mut().zip(&results).zip(before) {
            if result.is_err() {
                item.cache.truncate(before);
            }
        }
        results
    }

    /// Checks one item and makes room for its rows.
    fn admit(&self, item: &mut BatchItem<'_>, blocks: Option<BlockRange>) -> Result<(), ModelError> {
        let d_model = self.config.d_model;
        if !item.rows.len().is_multiple_of(d_model) {
            return Err(ModelError::Input(format!("{} numbers are not whole rows of {d_model}", item.rows.len())));
        }
        let own = item.cache.blocks();
        if !self.range.covers(&own) || Some(own) != blocks || item.cache.layout() != self.attention.kv {
            let reason = format!("a cache of blocks {own} does not fit the blocks {} here", self.range);
            return Err(ModelError::Input(reason));
        }
        if !self.config.family.causal && !item.cache.is_empty() {
            return Err(ModelError::Input(
                "every position of this model sees all others: they come together".to_owned(),
            ));
        }
        check_finite(item.rows, || format!("the rows that enter block {}", own.start()))?;
        item.cache.reserve(item.rows.len() / d_model)
    }

    /// How many rows of each item the next pass takes, at most [`PASS_ROWS`] in all, and then the rest of an item whose positions
    /// see each other; `None` when all are done.
    fn next_pass(
        &self,
        items: &[BatchItem<'_>],
        results: &[Result<(), ModelError>],
        done: &[usize],
    ) -> Option<Vec<usize>> {
        let mut room = PASS_ROWS;
        let rows = items.iter().zip(results).zip(done).map(|((item, result), done)| {
            let left = if result.is_ok() { item.rows.len() / self.config.d_model - done } else { 0 };
            let whole = !self.config.family.causal && room > 0;
            let take = if whole { left } else { left.min(room) };
            room = room.saturating_sub(take);
            take
        });
        let pass: Vec<usize> = rows.collect();
        (room < PASS_ROWS).then_some(pass)
    }

    fn run_pass(
        &self,
        items: &mut [BatchItem<'_>],
        pass: &[usize],
        results: &mut [Result<(), ModelError>],
        done: &mut [usize],
    ) -> Result<(), ModelError> {
        let d_model = self.config.d_model;
        let mut rows = Vec::with_capacity(pass.iter().sum::<usize>() * d_model);
        let mut parts = Vec::new();
        let mut blocks = self.range;
        for ((item, take), done) in items.iter_mut().zip(pass).zip(&*done).filter(|((_, take), _)| **take > 0) {
            let from = rows.len() / d_model;
            rows.extend_from_slice(&item.rows[done * d_model..(done + take) * d_model]);
            blocks = item.cache.blocks();
            parts.push(Part { cache: &mut *item.cache, rows: from..from + take, fault: None });
        }
        let first = (blocks.start() - self.range.start()) as usize;
        let blocks = &self.blocks[first..first + blocks.len() as usize];
        let Self { cpu, config, rotations, attention, .. } = self;
        let model = Model { cpu, config, rotations: rotations.each_ref(), attention: *attention };
        forward_pass(&model, blocks, &mut parts, &mut rows)?;
        let mut parts = parts.into_iter();
        let mut faults = Vec::new();
        for take in pass {
            faults.push(if *take > 0 { parts.next().map(|part| (part.rows, part.fault)) } else { None });
        }
        for (i, outcome) in faults.into_iter().enumerate() {
            let Some((range, fault)) = outcome else { continue };
            let (item, done) = (&mut items[i], &mut done[i]);
            item.rows[*done * d_model..][..range.len() * d_model]
                .copy_from_slice(&rows[range.start * d_model..range.end * d_model]);
            item.cache.commit(range.len());
            *done += range.len();
            if let Some(fault) = fault {
                results[i] = Err(fault);
            }
        }
        Ok(())
    }

    /// The logits of the token after `row`, one of the rows that leave the last block: `vocab` numbers.
    ///
    /// # Errors
    /// [`ModelError::Input`] when this span does not end the model or `row` is not one row; [`ModelError::NonFinite`].
    pub fn logits(&self, row: &[f32]) -> Result<Vec<f32>, ModelError> {
        if row.len() != self.config.d_model {
            return Err(ModelError::Input(format!("{} numbers are not one row of {}", row.len(), self.config.d_model)));
        }
        self.logits_batch(row)?.remove(0)
    }

    /// [`Span::logits`] of several rows, n × `d_model`: the output matrix is read once for all.
    ///
    /// # Errors
    /// [`ModelError::Input`] when this span does not end the model or `rows` is not whole rows. A row that is not finite has
    /// its own error.
    #[allow(clippy::type_complexity, reason = "one result for all, then one a row")]
    pub fn logits_batch(&self, rows: &[f32]) -> Result<Vec<Result<Vec<f32>, ModelError>>, ModelError> {
        let d_model = self.config.d_model;
        if !rows.len().is_multiple_of(d_model) {
            return Err(ModelError::Input(format!("{} numbers are not whole rows of {d_model}", rows.len())));
        }
        let logits = self.head()?.logits(&self.cpu, &self.config, self.entry.as_ref(), rows)?;
        let results = rows.chunks_exact(d_model).zip(logits.chunks_exact(self.config.vocab)).map(|(row, logits)| {
            check_finite(row, || "the row that enters the head".to_owned())?;
            check_finite(logits, || "the logits".to_owned())?;
            Ok(logits.to_vec())
        });
        Ok(results.collect())
    }
}

pub(crate) fn check_finite(values: &[f32], place: impl FnOnce() -> String) -> Result<(), ModelError> {
    if is_finite(values) { Ok(()) } else { Err(ModelError::NonFinite(place())) }
}

pub(crate) fn is_finite(values: &[f32]) -> bool {
    // x * 0 is 0 or NaN, and a sum with a NaN is NaN. Eight sums let the compiler use vectors.
    let mut lanes = [0.0f32; 8];
    let (chunks, tail) = values.as_chunks::<8>();
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane += x * 0.0;
        }
    }
    tail.iter().chain(&lanes).all(|x| x * 0.0 == 0.0)
}
