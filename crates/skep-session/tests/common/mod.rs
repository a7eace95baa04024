//! A model that is wrong as soon as anything is: every value depends on every row before it, in order.
#![allow(dead_code, reason = "each test binary uses a part")]

use skep_plan::{Candidate, Links, Network, Offer};
use skep_session::{Compute, Sampler, Source};
use skep_types::{BlockRange, NodeId, wire::Peer};
use std::sync::Arc;

pub const D_MODEL: u32 = 4;
pub const VOCAB: u32 = 50;
/// Values per patch of an image.
pub const D_PATCH: u32 = 3;
/// Values of a vector.
pub const VECTOR: u32 = 5;

/// SplitMix64's finaliser over a running state.
pub fn mix(state: u64, value: u64) -> u64 {
    let mut z = (state ^ value).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A value that is exact in `f32` and never a NaN.
fn value(hash: u64) -> f32 {
    (hash >> 44) as f32
}

pub fn peer(id: u8) -> Peer {
    Peer { node: NodeId([id; 32]), addrs: Vec::new() }
}

pub const GATEWAY: u8 = 200;

/// The network of these machines as the gateway knows it.
pub fn network(candidates: Vec<Candidate>) -> Arc<Network> {
    let gateway = skep_plan::Gateway { node: peer(GATEWAY).node, goodput: None };
    Arc::new(Network::new(gateway, candidates, &Links::new()).unwrap())
}

/// The network of machines of which nothing was measured.
pub fn unmeasured(offers: Vec<Offer>) -> Arc<Network> {
    network(offers.into_iter().map(Candidate::unknown).collect())
}

/// A hash chain in place of a model: `running` plays the KV cache, one state per block.
#[derive(Debug, Clone)]
pub struct HashModel {
    blocks: BlockRange,
    running: Vec<u64>,
    /// Rows run, to show what was not run again.
    pub rows_run: u32,
    pub embedded: u32,
}

impl HashModel {
    pub fn new(blocks: BlockRange) -> Self {
        let running = (blocks.start()..blocks.end()).map(|block| mix(77, u64::from(block))).collect();
        Self { blocks, running, rows_run: 0, embedded: 0 }
    }

    /// The rows after all blocks, for positions 0 on.
    pub fn run_all(n_blocks: u32, tokens: &[u32]) -> (Self, Vec<f32>) {
        let mut model = Self::new(BlockRange::new(0, n_blocks).unwrap());
        let mut rows = model.embed(tokens).unwrap();
        model.forward(&mut rows).unwrap();
        (model, rows)
    }
}

impl Compute for HashModel {
    fn embed(&mut self, tokens: &[u32]) -> Result<Vec<f32>, String> {
        if let Some(id) = tokens.iter().find(|id| **id >= VOCAB) {
            return Err(format!("token {id} is unknown"));
        }
        self.embedded += tokens.len() as u32;
        Ok(tokens.iter().flat_map(|id| (0..D_MODEL).map(|at| value(mix(u64::from(*id), u64::from(at))))).collect())
    }

    fn embed_patches(&mut self, patches: &[f32]) -> Result<Vec<f32>, String> {
        let rows = patches.chunks_exact(D_PATCH as usize);
        self.embedded += rows.len() as u32;
        let hash = |row: &[f32]| row.iter().fold(2, |state, one| mix(state, u64::from(one.to_bits())));
        Ok(rows.flat_map(|row| (0..D_MODEL).map(move |at| value(mix(hash(row), u64::from(at))))).collect())
    }

    fn forward(&mut self, rows: &mut Vec<f32>) -> Result<(), String> {
        for row in rows.chunks_exact_mut(D_MODEL as usize) {
            self.rows_run += 1;
            for running in &mut self.running {
                for one in row.iter_mut() {
                    *running = mix(*running, u64::from(one.to_bits()));
                    *one = value(*running);
                }
            }
        }
        Ok(())
    }

    fn candidates(&mut self, row: &[f32], n: usize) -> Result<Vec<(u32, f32)>, String> {
        let seed = row.iter().fold(1, |state, one| mix(state, u64::from(one.to_bits())));
        let logit = |id: u32| value(mix(seed, u64::from(id)));
        let mut all: Vec<(u32, f32)> = (0..VOCAB).map(|id| (id, logit(id))).collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        if n > 0 {
            all.truncate(n);
        }
        Ok(all)
    }

    fn vector(&mut self, rows: &[f32]) -> Result<Vec<f32>, String> {
        let hash = rows.iter().fold(3, |state, one| mix(state, u64::from(one.to_bits())));
        Ok((0..VECTOR).map(|at| value(mix(hash, u64::from(at)))).collect())
    }
}

/// What one machine says of a whole input.
pub fn expected_vector(n_blocks: u32, source: &Source) -> Vec<f32> {
    let mut model = HashModel::new(BlockRange::new(0, n_blocks).unwrap());
    let embedded = match source {
        Source::Tokens(tokens) => model.embed(tokens),
        Source::Patches { values, .. } => model.embed_patches(values),
    };
    let mut rows = embedded.unwrap();
    model.forward(&mut rows).unwrap();
    model.vector(&rows).unwrap()
}

/// Draws one of the best `best` by a hash of seed, position and the last token.
#[derive(Debug, Clone)]
pub struct HashSampler {
    pub seed: u64,
    pub best: u32,
}

impl Sampler for HashSampler {
    fn candidates_needed(&self, _: u32) -> u32 {
        self.best
    }

    fn draw(&self, position: u64, candidates: &[(u32, f32)], history: &[u32]) -> Result<u32, String> {
        let last = history.last().copied().unwrap_or(0);
        let hash = mix(mix(self.seed, position), u64::from(last));
        Ok(candidates[(hash % u64::from(self.best)) as usize].0)
    }
}

/// The answer of an undisturbed run on one machine.
pub fn expected(n_blocks: u32, prompt: &[u32], max_new: u32, end: &[u32], sampler: &HashSampler) -> Vec<u32> {
    let (mut model, mut rows) = HashModel::run_all(n_blocks, prompt);
    let (mut tokens, mut answer) = (prompt.to_vec(), Vec::new());
    while answer.len() < max_new as usize {
        let row = rows[rows.len() - D_MODEL as usize..].to_vec();
        let candidates = model.candidates(&row, sampler.best as usize).unwrap();
        let id = sampler.draw(tokens.len() as u64, &candidates, &tokens).unwrap();
        if end.contains(&id) {
            break;
        }
        answer.push(id);
        tokens.push(id);
        rows = model.embed(&[id]).unwrap();
        model.forward(&mut rows).unwrap();
    }
    answer
}
