//! The plan for one request: alone, handed over whole, or as a chain; and why.

use crate::{
    Stage,
    cost::{Cost, Label, Prefer, Request, StageCost, Way},
    labels::{Failed, Found, fastest},
    network::Network,
    search::Step,
    weights::{Barred, Weights, admitted, price},
};
use skep_types::{BlockRange, NodeId};
use std::{collections::BTreeSet, time::Duration};
use thiserror::Error;

/// The most blocks that can be planned for; models have some hundreds at most.
pub const MAX_BLOCKS: u32 = 4096;

/// Why a request cannot be planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NoPlan {
    /// Nobody may run one of the blocks.
    #[error("{}", unheld(*block, [*avoided, *label, *memory]))]
    Unheld {
        /// The first such block.
        block: u32,
        /// Nodes that hold it and are avoided.
        avoided: usize,
        /// Nodes that hold it and stand below the label asked for.
        label: usize,
        /// Nodes that hold it and will not honour the memory for one block.
        memory: usize,
    },
    /// Each block could be run somewhere, but not all of them with the memory that the peers will honour.
    #[error("the peers' memory does not hold the whole request")]
    Memory,
    /// Every plan is above the price asked for.
    #[error("every plan costs at least {least}, which is above the limit of {limit}")]
    TooDear {
        /// What the cheapest costs at least.
        least: u64,
        /// The limit.
        limit: u64,
    },
    /// There may be a plan, but finding it takes more work than is allowed.
    #[error("no plan was found within the limit of the search")]
    GaveUp,
    /// The model has more blocks than can be planned for.
    #[error("{blocks} blocks are more than the {MAX_BLOCKS} that a plan considers")]
    TooManyBlocks {
        /// How many are wanted.
        blocks: u32,
    },
}

/// Why none of those that hold a block may run it: how many are avoided, have too low a label, and lack memory.
fn unheld(block: u32, why: [usize; 3]) -> String {
    let faults = [
        ["is avoided", "are avoided"],
        ["has too low a label", "have too low a label"],
        ["lacks memory", "lack memory"],
    ];
    let told = why.into_iter().zip(faults).filter(|(count, _)| *count > 0);
    let told: Vec<String> =
        told.map(|(count, [one, more])| format!("{count} {}", if count == 1 { one } else { more })).collect();
    match told.as_slice() {
        [] => format!("nobody holds block {block}"),
        told => format!("nobody may run block {block}: of those that hold it, {}", told.join(", ")),
    }
}

/// How one request is to be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Alone, handed over, or as a chain.
    pub way: Way,
    /// Who runs which blocks, in order. No node comes twice.
    pub stages: Vec<Stage>,
    /// What it is expected to take.
    pub cost: Cost,
    /// Whether no plan of this way is better, but for the share that spreading may take.
    pub exact: bool,
}

/// A plan, and what else there was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The plan that is taken.
    pub chosen: Plan,
    /// The best plan of each way that was considered, the chosen one included.
    pub ways: Vec<(Way, Result<Plan, NoPlan>)>,
    /// The best plan without each of the chosen nodes, in their order: what would take over if it vanished.
    pub without: Vec<(NodeId, Result<Plan, NoPlan>)>,
    /// What the fastest plan would take if any price were allowed; nothing if the request sets no limit.
    pub any_price: Option<Result<Plan, NoPlan>>,
}

impl Network {
    /// The plan for a request.
    ///
    /// A chain never uses a node twice, even where coming back would be faster: a node keeps one span and one cache per session.
    ///
    /// # Errors
    /// [`NoPlan`] with what stands in the way of the last way considered, the chain.
    pub fn plan(&self, request: &Request) -> Result<Plan, NoPlan> {
        let mut ways = self.ways(request);
        let best = match request.prefer {
            Prefer::FewestMachines => ways.iter().position(|(_, plan)| plan.is_ok()),
            Prefer::LeastTime => {
                let time = |(_, plan): &(Way, Result<Plan, NoPlan>)| plan.as_ref().ok().map(|plan| plan.cost.total);
                (0..ways.len()).filter(|at| ways[*at].1.is_ok()).min_by_key(|at| time(&ways[*at]))
            }
        };
        // Without a plan, the chain stands last and says why.
        ways.swap_remove(best.unwrap_or(ways.len() - 1)).1
    }

    /// The plan for a request, with the best of what was passed over.
    ///
    /// # Errors
    /// As [`Self::plan`].
    pub fn explain(&self, request: &Request) -> Result<Explanation, NoPlan> {
        let chosen = self.plan(request)?;
        let all = Request { prefer: Prefer::LeastTime, ..request.clone() };
        let free = || Request { price_max: None, ..request.clone() };
        Ok(Explanation {
            ways: self.ways(&all),
            without: self.standbys(request, &chosen),
            any_price: request.price_max.map(|_| self.plan(&free())),
            chosen,
        })
    }

    /// The best plan without each node of `plan`, in the order of its stages.
    pub fn standbys(&self, request: &Request, plan: &Plan) -> Vec<(NodeId, Result<Plan, NoPlan>)> {
        let without = |stage: &Stage| {
            let mut request = request.clone();
            request.avoid.insert(stage.peer.node);
            (stage.peer.node, self.plan(&request))
        };
        plan.stages.iter().map(without).collect()
    }

    /// The best plan of each way, in the order of preference. After a way that will be taken, the others are left out.
    fn ways(&self, request: &Request) -> Vec<(Way, Result<Plan, NoPlan>)> {
        let settled = |plan: &Result<Plan, NoPlan>| request.prefer == Prefer::FewestMachines && plan.is_ok();
        let mut ways = Vec::new();
        for way in [Way::Solo, Way::Handoff] {
            if let Some(plan) = self.single(request, way) {
                let done = settled(&plan);
                ways.push((way, plan));
                if done {
                    return ways;
                }
            }
        }
        ways.push((Way::Chain, self.chain(request)));
        ways
    }

    /// The fastest machine that answers the whole request itself; nothing if none is able to.
    fn single(&self, request: &Request, way: Way) -> Option<Result<Plan, NoPlan>> {
        let hole = request.before.is_some() || request.after.is_some();
        if hole || (way == Way::Handoff && !request.handoff) {
            return None;
        }
        let weights = Weights::new(self, request, request.spread_permille);
        let whole = |node: &usize| {
            let weight = &weights.nodes[*node];
            self.known[*node].own == (way == Way::Solo)
                && weight.span == (0..weights.blocks)
                && weight.stage_max >= weights.blocks
        };
        let able: Vec<usize> = (0..weights.nodes.len()).filter(whole).collect();
        let blocks = weights.blocks as u64;
        let dear = |node: &usize| weights.price_max.is_some_and(|limit| weights.nodes[*node].price * blocks > limit);
        let time = |node: &usize| {
            let weight = &weights.nodes[*node];
            (2 * self.known[*node].delay + weight.visits + blocks * weight.block, weights.lot(0, *node))
        };
        let best = able.iter().copied().filter(|node| !dear(node)).min_by_key(time);
        let Some(node) = best else {
            let least = able.iter().map(|node| weights.nodes[*node].price * blocks).min()?;
            let least = price(least, request.shape());
            return Some(Err(NoPlan::TooDear { least, limit: request.price_max.unwrap_or(u64::MAX) }));
        };
        let stages = vec![Stage { peer: self.candidates[node].offer.peer.clone(), blocks: request.wanted }];
        let cost = self.cost(request, way, &stages)?;
        Some(Ok(Plan { way, stages, cost, exact: true }))
    }

    /// The fastest chain.
    fn chain(&self, request: &Request) -> Result<Plan, NoPlan> {
        let blocks = request.wanted.len();
        if blocks > MAX_BLOCKS {
            return Err(NoPlan::TooManyBlocks { blocks });
        }
        let weights = Weights::new(self, request, request.spread_permille);
        let Found { steps, exact } = fastest(&weights).map_err(|failed| match failed {
            Failed::NoChain => self.gap(request),
            Failed::GaveUp => NoPlan::GaveUp,
            Failed::TooDear(least) => {
                NoPlan::TooDear { least: price(least, request.shape()), limit: request.price_max.unwrap_or(u64::MAX) }
            }
        })?;
        let stage = |step: &Step| {
            // It fits because the wanted blocks are counted in 32 bits.
            let block = |at: usize| request.wanted.start() + at as u32;
            let blocks = BlockRange::new(block(step.start), block(step.end)).ok()?;
            Some(Stage { peer: self.candidates[step.node].offer.peer.clone(), blocks })
        };
        let stages = steps.iter().map(stage).collect::<Option<Vec<_>>>().ok_or(NoPlan::GaveUp)?;
        let cost = self.cost(request, Way::Chain, &stages).ok_or(NoPlan::GaveUp)?;
        Ok(Plan { way: Way::Chain, stages, cost, exact })
    }

    /// What stands in the way of every chain.
    fn gap(&self, request: &Request) -> NoPlan {
        for block in request.wanted.start()..request.wanted.end() {
            let (mut avoided, mut label, mut memory, mut able) = (0, 0, 0, false);
            for at in (0..self.candidates.len()).filter(|at| self.candidates[*at].offer.blocks.contains(block)) {
                match admitted(self, at, request) {
                    Ok(_) => able = true,
                    Err(Barred::Avoided) => avoided += 1,
                    Err(Barred::Label) => label += 1,
                    Err(Barred::Memory) => memory += 1,
                }
            }
            if !able {
                return NoPlan::Unheld { block, avoided, label, memory };
            }
        }
        NoPlan::Memory
    }

    /// What these stages are expected to take by the formula of [`crate::cost`], whether or not they keep the request's constraints;
    /// nothing if a stage's node is unknown or no stages are given.
    pub fn cost(&self, request: &Request, way: Way, stages: &[Stage]) -> Option<Cost> {
        let parts = self.parts(request, way, stages)?;
        let first = self.parts(&Request { new_tokens: 1, ..request.clone() }, way, stages)?;
        let shape = request.shape();
        let (total, first) = (parts.total(), first.total());
        let steps = u32::try_from(shape.laps - 1).unwrap_or(u32::MAX);
        Some(Cost {
            first_token: first,
            per_token: total.saturating_sub(first).checked_div(steps).unwrap_or(Duration::ZERO),
            total,
            price: price(parts.price, shape),
            stages: parts.stages,
            back: parts.back,
        })
    }

    fn parts(&self, request: &Request, way: Way, stages: &[Stage]) -> Option<Parts> {
        // The true figures, without the share that spreads requests, and whether or not a node takes part.
        let open = Request { avoid: BTreeSet::new(), label_min: Label::Public, ..request.clone() };
        let weights = Weights::new(self, &open, 0);
        let mut parts = Parts { stages: Vec::new(), back: Duration::ZERO, price: 0 };
        let mut before: Option<usize> = None;
        for stage in stages {
            let node = self.place(stage.peer.node)?;
            let weight = &weights.nodes[node];
            let hop = match (way, before) {
                (Way::Chain, Some(before)) => weights.hop(before, node),
                (Way::Chain, None) => weight.enter,
                (Way::Solo | Way::Handoff, _) => self.known[node].delay,
            };
            let blocks = u64::from(stage.blocks.len());
            parts.stages.push(StageCost {
                stage: stage.clone(),
                hop: Duration::from_micros(hop),
                visits: Duration::from_micros(weight.visits),
                compute: Duration::from_micros(blocks * weight.block),
                measured: self.known[node].measured,
            });
            parts.price += blocks * weight.price;
            before = Some(node);
        }
        let last = before?;
        let back = if way == Way::Chain { weights.nodes[last].leave } else { self.known[last].delay };
        parts.back = Duration::from_micros(back);
        Some(parts)
    }
}

/// The summands of a cost.
struct Parts {
    stages: Vec<StageCost>,
    back: Duration,
    /// Per 1,000 tokens.
    price: u64,
}

impl Parts {
    fn total(&self) -> Duration {
        self.stages.iter().map(|stage| stage.hop + stage.visits + stage.compute).sum::<Duration>() + self.back
    }
}
