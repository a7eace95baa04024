//! Seeded random networks, and the formula of `skep_plan::cost` written down a second time.
#![allow(dead_code, clippy::unwrap_used, reason = "shared by tests and a bench, which use different parts")]

pub mod spans;

use skep_plan::{Candidate, Figures, Gateway, Label, Links, Network, Offer, Request};
use skep_types::{BlockRange, NodeId, wire::Peer};
use std::time::Duration;

/// SplitMix64.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.next() % (most - least + 1)
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.next().is_multiple_of(n)
    }
}

pub const GATEWAY: Gateway = Gateway { node: NodeId([0xff; 32]), goodput: Some(10_000_000) };

pub fn node(id: usize) -> NodeId {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&(id as u64).to_be_bytes());
    NodeId(key)
}

pub fn offer(id: usize, start: u32, end: u32) -> Offer {
    let peer = Peer { node: node(id), addrs: vec![([127, 0, 0, 1], 4000).into()] };
    Offer { peer, blocks: BlockRange::new(start, end).unwrap() }
}

/// A node of which everything was measured, with a random span and random figures.
pub fn candidate(rng: &mut Rng, id: usize, n_blocks: u32, slow_net: bool) -> Candidate {
    let len = rng.between(1, u64::from(n_blocks)) as u32;
    let start = rng.between(0, u64::from(n_blocks - len)) as u32;
    let us = |time: u64| Some(Duration::from_micros(time));
    let net = if slow_net { 100_000 } else { 200 };
    let figures = Figures {
        decode_block: us(rng.between(10, 8_000)),
        prefill_block: us(rng.between(1, 500)),
        visit: us(rng.between(0, net / 20)),
        wait: us(rng.between(0, net / 10)),
        delay: us(rng.between(1, net)),
        goodput: Some(rng.between(200_000, 50_000_000)),
        memory: Some(if rng.one_in(4) { rng.between(0, 40_000) } else { u64::MAX }),
        beacons: Vec::new(),
    };
    let label = [Label::Public, Label::Trusted, Label::MyDevices][rng.between(0, 2) as usize];
    Candidate { offer: offer(id, start, start + len), price: rng.between(0, 50), label, figures }
}

/// A network of a few nodes of which everything was measured, all delays between them included, and a request.
pub struct Case {
    pub candidates: Vec<Candidate>,
    pub links: Links,
    pub request: Request,
}

impl Case {
    pub fn random(seed: u64, nodes_max: u64, blocks_max: u64) -> Self {
        let mut rng = Rng(seed);
        let n_blocks = rng.between(1, blocks_max) as u32;
        let slow_net = rng.one_in(2);
        let n = rng.between(1, nodes_max) as usize;
        let candidates: Vec<Candidate> = (0..n).map(|id| candidate(&mut rng, id, n_blocks, slow_net)).collect();
        let mut links = Links::new();
        for (from, to) in (0..n).flat_map(|from| (0..n).map(move |to| (from, to))).filter(|(from, to)| from != to) {
            let delay = Duration::from_micros(rng.between(1, if slow_net { 100_000 } else { 200 }));
            links.entry(node(from)).or_default().insert(node(to), delay);
        }
        let mut request = Request::new(BlockRange::new(0, n_blocks).unwrap());
        request.prompt_tokens = rng.between(0, 300);
        request.new_tokens = rng.between(1, 100);
        request.kv_bytes = rng.between(0, 20);
        request.label_min = if rng.one_in(4) { Label::Trusted } else { Label::Public };
        request.spread_permille = 0;
        request.salt = rng.next();
        Self { candidates, links, request }
    }

    pub fn network(&self) -> Network {
        Network::new(GATEWAY, self.candidates.clone(), &self.links).unwrap()
    }

    fn us(time: Option<Duration>) -> u64 {
        time.unwrap().as_micros() as u64
    }

    /// Tokens that every block runs over.
    pub fn rows(&self) -> u64 {
        self.request.prompt_tokens + self.request.new_tokens - 1
    }

    pub fn block(&self, at: usize) -> u64 {
        let figures = &self.candidates[at].figures;
        let (prompt, steps) = (self.request.prompt_tokens, self.request.new_tokens - 1);
        prompt * Self::us(figures.prefill_block) + steps * Self::us(figures.decode_block)
    }

    pub fn visits(&self, at: usize) -> u64 {
        let figures = &self.candidates[at].figures;
        self.request.new_tokens * (Self::us(figures.wait) + Self::us(figures.visit))
    }

    /// `None` is the gateway, or what stands in its place.
    pub fn hop(&self, from: Option<usize>, to: Option<usize>) -> u64 {
        let place = |of: Option<NodeId>| of.and_then(|of| (0..self.candidates.len()).find(|id| node(*id) == of));
        let home = to.is_none() && self.request.after.is_none();
        let (from, to) = (from.or(place(self.request.before)), to.or(place(self.request.after)));
        let goodput = |at: Option<usize>| at.map_or(GATEWAY.goodput, |at| self.candidates[at].figures.goodput).unwrap();
        let delay = match (from, to) {
            (Some(from), Some(to)) => self.links[&node(from)][&node(to)].as_micros() as u64,
            (None, Some(at)) | (Some(at), None) => Self::us(self.candidates[at].figures.delay),
            (None, None) => 0,
        };
        let bytes = match home {
            false => self.rows() * self.request.row_bytes,
            true => self.request.new_tokens * self.request.reply_bytes,
        };
        let transfer = (bytes * 1_000_000).div_ceil(goodput(from).min(goodput(to)));
        self.request.new_tokens * delay + transfer
    }

    /// The most blocks that a node may run in one stage.
    pub fn stage_max(&self, at: usize) -> u64 {
        let candidate = &self.candidates[at];
        let per_block = self.request.kv_bytes * self.rows();
        if candidate.label < self.request.label_min || self.request.avoid.contains(&node(at)) {
            0
        } else {
            candidate.figures.memory.unwrap().checked_div(per_block).unwrap_or(u64::MAX)
        }
    }

    pub fn price(&self, per_thousand: u64) -> u64 {
        (per_thousand * self.rows()).div_ceil(1000)
    }
}
