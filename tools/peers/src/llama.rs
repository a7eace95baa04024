//! llama.cpp, with the settings it has by default but for the thread count: file mapped, F16 cache, weights repacked.

use std::num::NonZeroU32;
use std::path::Path;

use anyhow::{Context, Result};
use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_2::token::LlamaToken;

use crate::measure::{Engine, likeliest};

/// llama.cpp reserves a stream's cache in pieces of this many positions.
const CACHE_STEP: usize = 256;

pub fn load(backend: &LlamaBackend, path: &Path) -> Result<LlamaModel> {
    Ok(LlamaModel::load_from_file(backend, path, &LlamaModelParams::default())?)
}

pub struct Llama<'a> {
    backend: &'a LlamaBackend,
    model: &'a LlamaModel,
    threads: i32,
    context: Option<LlamaContext<'a>>,
    /// Tokens that every stream holds.
    position: usize,
}

impl<'a> Llama<'a> {
    pub fn new(backend: &'a LlamaBackend, model: &'a LlamaModel, threads: usize) -> Result<Self> {
        Ok(Self { backend, model, threads: i32::try_from(threads)?, context: None, position: 0 })
    }

    /// Feeds rows of equal length, one per stream, and returns the likeliest token after each.
    fn feed(&mut self, rows: &[&[u32]]) -> Result<Vec<u32>> {
        let context = self.context.as_mut().context("not open")?;
        let mut batch = LlamaBatch::new(rows.iter().map(|row| row.len()).sum(), 1);
        let mut ends = Vec::new();
        for (stream, row) in rows.iter().enumerate() {
            for (at, &token) in row.iter().enumerate() {
                let is_last = at + 1 == row.len();
                let position = i32::try_from(self.position + at)?;
                batch.add(LlamaToken::new(i32::try_from(token)?), position, &[i32::try_from(stream)?], is_last)?;
            }
            ends.push(batch.n_tokens() - 1);
        }
        context.decode(&mut batch)?;
        self.position += rows.first().map_or(0, |row| row.len());
        ends.into_iter().map(|end| likeliest(context.get_logits_ith(end))).collect()
    }
}

impl Engine for Llama<'_> {
    fn vocabulary(&self) -> usize {
        usize::try_from(self.model.n_vocab()).unwrap_or(0)
    }

    fn open(&mut self, streams: usize, positions: usize) -> Result<()> {
        let total = u32::try_from(streams * positions.next_multiple_of(CACHE_STEP))?;
        let params = LlamaContextParams::default()
            .with_n_ctx(NonZeroU32::new(total))
            .with_n_seq_max(u32::try_from(streams)?)
            .with_n_threads(self.threads)
            .with_n_threads_batch(self.threads);
        // The old context goes first, so that memory is never counted twice.
        self.context = None;
        self.context = Some(self.model.new_context(self.backend, params)?);
        Ok(())
    }

    fn start(&mut self, prompts: &[Vec<u32>]) -> Result<Vec<u32>> {
        self.context.as_mut().context("not open")?.clear_kv_cache();
        self.position = 0;
        let rows: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
        self.feed(&rows)
    }

    fn step(&mut self, tokens: &[u32]) -> Result<Vec<u32>> {
        let rows: Vec<&[u32]> = tokens.iter().map(std::slice::from_ref).collect();
        self.feed(&rows)
    }
}
