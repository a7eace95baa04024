//! A disaster for one model, and how long its nodes take to make up for it, each deciding for itself.

use crate::nodes::{BLOCKS, key, model_id};
use crate::world::{Event, World};
use skep_directory::{Input, PUBLISH_MS, Shard, Span};
use skep_plan::{Holding, Move, SHORT, TURN_S, decide_move, is_short, may_drop, supply};
use skep_types::{BlockRange, NodeId};
use std::collections::BTreeMap;
use std::time::Duration;

/// Who serves one of these blocks may die.
const STRUCK: std::ops::Range<u32> = 8..16;
/// So many in a hundred of them do, without a word, and are not replaced.
const STRUCK_PERCENT: u64 = 70;
/// Each node hears from its directories how slow the slowest block is about this often. Where it is short, it looks, and looks again.
const LOOK_MS: u64 = PUBLISH_MS;
/// How long a node serves a span before it may move.
const SETTLED_MS: u64 = 120_000;
/// What loading a block takes: 200 MB at 20 MB per second.
const LOAD_MS: u64 = 10_000;

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rebalanced {
    /// Virtual seconds from the disaster until no block was short; none if that did not happen in time.
    pub seconds: Option<f64>,
    /// The supply of the slowest block after the disaster, by the average, which is the best that moving can do.
    pub from: f64,
    /// The same at the end.
    pub to: f64,
    /// Nodes of the model that were left.
    pub nodes: usize,
    /// How many of them moved until then.
    pub moves: usize,
}

impl Rebalanced {
    /// The end of a line of JSON.
    pub(crate) fn json(&self) -> String {
        let seconds = self.seconds.map_or_else(|| "null".to_owned(), |seconds| format!("{seconds:.0}"));
        format!(
            ",\"rebalance_seconds\":{seconds},\"rebalance_from\":{:.3},\"rebalance_to\":{:.3},\"rebalance_nodes\":{},\"rebalance_moves\":{}",
            self.from, self.to, self.nodes, self.moves
        )
    }
}

/// What a node is about to do.
#[derive(Debug, Default)]
struct Mover {
    /// As the last look said.
    named: Option<Move>,
    loading: Option<Move>,
    loaded: bool,
}

/// The disaster and the nodes that remain.
#[derive(Debug)]
pub(crate) struct Disaster {
    /// All machines that serve the model, dead or alive.
    machines: Vec<u32>,
    movers: BTreeMap<u32, Mover>,
    moves: usize,
}

impl World {
    /// Strikes a model of middling popularity, and waits until it has recovered, so many seconds at most.
    pub(crate) fn rebalance(&mut self, seconds_max: u64) -> Rebalanced {
        let start_ms = self.queue.now_ms();
        self.strike();
        let from = self.evenness();
        let mut seconds = None;
        while self.queue.now_ms() < start_ms + seconds_max * 1000 && seconds.is_none() {
            for event in self.queue.advance() {
                self.happen(event);
            }
            let passed_ms = self.queue.now_ms() - start_ms;
            if passed_ms.is_multiple_of(1000) && !is_short(&self.supply()) {
                seconds = Some(passed_ms as f64 / 1000.0);
            }
        }
        let moves = self.disaster.as_ref().map_or(0, |disaster| disaster.moves);
        Rebalanced { seconds, from, to: self.evenness(), nodes: self.holdings().len(), moves }
    }

    fn strike(&mut self) {
        let model = self.models() / 2;
        let machines: Vec<u32> =
            (0..self.nodes.len() as u32).filter(|index| self.nodes[*index as usize].machine.model == model).collect();
        for index in machines.iter().copied() {
            let node = &mut self.nodes[index as usize];
            let struck = node.machine.blocks.is_some_and(|held| held.start() < STRUCK.end && STRUCK.start < held.end());
            if struck && self.rng.below(100) < STRUCK_PERCENT {
                node.member = None;
                node.machine.blocks = None;
                node.life += 1;
            } else {
                let life = node.life;
                let at = self.queue.now_ms() + self.rng.below(LOOK_MS);
                self.queue.push(at, Event::Look { index, life });
            }
        }
        self.disaster = Some(Disaster { machines, movers: BTreeMap::new(), moves: 0 });
    }

    /// What the living nodes of the model truly serve.
    fn holdings(&self) -> Vec<Holding> {
        let machines = self.disaster.iter().flat_map(|disaster| &disaster.machines);
        let alive = machines.filter(|index| self.nodes[**index as usize].member.is_some());
        let holding = |index: &u32| {
            let node = &self.nodes[*index as usize];
            let block_time = Duration::from_nanos(u64::from(node.machine.decode_ns));
            let blocks = node.machine.blocks?;
            Some(Holding { node: key(*index, node.life), blocks, block_time, room: blocks.len(), settled: true })
        };
        alive.filter_map(holding).collect()
    }

    fn supply(&self) -> Vec<u64> {
        supply(BLOCKS, &self.holdings())
    }

    fn evenness(&self) -> f64 {
        let supply = self.supply();
        let (least, sum) = (supply.iter().min().copied().unwrap_or(0), supply.iter().sum::<u64>());
        least as f64 * supply.len() as f64 / sum.max(1) as f64
    }

    /// A node hears how the model is, and has a look at it if some block is short.
    pub(crate) fn look(&mut self, index: u32, life: u32) {
        let at = self.queue.now_ms() + LOOK_MS + self.rng.below(LOOK_MS);
        self.queue.push(at, Event::Look { index, life });
        let slowest = self.nodes[index as usize].member.as_ref().map_or(100, |member| member.slowest());
        let Some(disaster) = &mut self.disaster else { return };
        let mover = disaster.movers.entry(index).or_default();
        if u64::from(slowest) * SHORT.1 > 100 * SHORT.0 {
            mover.named = None;
        } else if mover.loading.is_none() {
            self.step(index, Input::Look);
        }
    }

    /// A node has all blocks of its new span, and looks whether it may drop those that it leaves.
    pub(crate) fn loaded(&mut self, index: u32) {
        if let Some(mover) = self.disaster.as_mut().and_then(|disaster| disaster.movers.get_mut(&index)) {
            mover.loaded = true;
            self.step(index, Input::Look);
        }
    }

    /// A node has seen what the others of its shard serve.
    pub(crate) fn viewed(&mut self, index: u32, view: &[Span]) {
        let now_ms = self.queue.now_ms();
        let node = &self.nodes[index as usize];
        let (life, machine) = (node.life, node.machine);
        let (Some(blocks), Some(disaster)) = (machine.blocks, &mut self.disaster) else { return };
        let mover = disaster.movers.entry(index).or_default();
        let own = Holding {
            node: by_point(Shard::point(&model_id(machine.model), &key(index, life))),
            blocks,
            block_time: Duration::from_nanos(u64::from(machine.terms(blocks).decode_ns)),
            room: 2 * blocks.len(),
            settled: now_ms >= node.since_ms + SETTLED_MS,
        };
        let others: Vec<Holding> = view.iter().filter_map(holding).collect();
        if mover.loaded {
            mover.loaded = false;
            if let Some(step) = mover.loading.take().filter(|step| may_drop(step, &others)) {
                disaster.moves += 1;
                self.serve(index, Some(step.to));
            }
            return;
        }
        let named = decide_move(BLOCKS, &own, &others, now_ms / 1000 / TURN_S);
        if let Some(step) = named.filter(|step| mover.named.as_ref() == Some(step) && mover.loading.is_none()) {
            mover.loading = named;
            let blocks = step.load().map_or(0, |load| load.len());
            self.queue.push(now_ms + LOAD_MS * u64::from(blocks), Event::Loaded { index, life });
        }
        mover.named = named;
    }
}

/// In the lists of a shard, a node is its point.
fn by_point(point: u64) -> NodeId {
    let mut node = [0; 32];
    node[..8].copy_from_slice(&point.to_be_bytes());
    NodeId(node)
}

fn holding(span: &Span) -> Option<Holding> {
    let blocks = BlockRange::new(span.start.into(), span.end.into()).ok()?;
    let block_time = Duration::from_nanos(u64::from(span.decode_ns));
    Some(Holding { node: by_point(span.point), blocks, block_time, room: 2 * blocks.len(), settled: true })
}
