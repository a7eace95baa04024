//! candle as its users have it: candle-transformers' quantized_llama, the streams of a batch as rows of one tensor.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};
use candle_core::quantized::gguf_file::Content;
use candle_core::{Device, Tensor};
use candle_transformers::models::quantized_llama::ModelWeights;

use crate::measure::{Engine, likeliest};

pub struct Stock {
    model: ModelWeights,
    vocabulary: usize,
    position: usize,
}

impl Stock {
    pub fn load(path: &Path) -> Result<Self> {
        let mut file = File::open(path)?;
        let content = Content::read(&mut file)?;
        let embedding = content.tensor_infos.get("token_embd.weight").context("no token_embd.weight")?;
        let vocabulary = embedding.shape.dims2()?.0;
        Ok(Self { model: ModelWeights::from_gguf(content, &mut file, &Device::Cpu)?, vocabulary, position: 0 })
    }

    fn feed(&mut self, tokens: Tensor) -> Result<Vec<u32>> {
        let logits = self.model.forward(&tokens, self.position)?;
        self.position += tokens.dim(1)?;
        logits.to_vec2()?.iter().map(|row| likeliest(row)).collect()
    }
}

impl Engine for Stock {
    fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    fn open(&mut self, _streams: usize, _positions: usize) -> Result<()> {
        self.model.clear_kv_cache();
        Ok(())
    }

    fn start(&mut self, prompts: &[Vec<u32>]) -> Result<Vec<u32>> {
        self.model.clear_kv_cache();
        self.position = 0;
        let prompts = Tensor::new(prompts.to_vec(), &Device::Cpu)?;
        if prompts.dim(0)? == 1 {
            return self.feed(prompts);
        }
        // Its last product refuses several streams of several positions.
        let mut next = Vec::new();
        for position in 0..prompts.dim(1)? {
            next = self.feed(prompts.narrow(1, position, 1)?.contiguous()?)?;
        }
        Ok(next)
    }

    fn step(&mut self, tokens: &[u32]) -> Result<Vec<u32>> {
        self.feed(Tensor::new(tokens, &Device::Cpu)?.unsqueeze(1)?)
    }
}
