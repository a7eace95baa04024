//! The fastest walk over all wanted blocks, by dynamic programming from the last block to the first.
//!
//! Two values per node and block: `enter`, the least cost from the arrival at a node that runs this block next, and `leave`, the
//! least cost from the moment when the node has run the block before. A stage may end at any block of its span that its memory lets
//! it reach, and the next one may begin anywhere in its own.
//!
//! A *walk* may come back to a node, which one table cannot see; [`crate::labels`] settles those cases.
//!
//! Looking at all n² pairs of nodes at every block would be too slow for a thousand nodes. Two bounds leave most of them out, and
//! neither changes the answer:
//!
//! - Every delay is at least the sum of a number of its first end and one of its second. So the nodes that may come next are tried
//!   in one order that holds for all nodes that come before, until the bound passes the best.
//! - With hops at those sums, the least costs from the gateway to everywhere follow from one pass over nodes and blocks. A place
//!   where that bound and the rest together pass a walk that is known already is left out.
//!
//! That known walk comes from a *draft*, a table that tries only the first [`DRAFT_TRIES`] next nodes.

use crate::weights::Weights;

/// No way on.
pub(crate) const NEVER: u64 = u64::MAX;

/// What one unit of time and one unit of price count in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scale {
    pub time: u64,
    pub price: u64,
}

impl Scale {
    pub const TIME: Self = Self { time: 1, price: 0 };
    pub const PRICE: Self = Self { time: 0, price: 1 };

    pub fn of(self, time: u64, price: u64) -> u64 {
        self.time.saturating_mul(time).saturating_add(self.price.saturating_mul(price))
    }
}

/// One stage: a node and the blocks it runs, counted from the first wanted one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    pub node: usize,
    pub start: usize,
    pub end: usize,
}

/// How many next nodes a draft tries.
const DRAFT_TRIES: usize = 6;

/// The least costs from everywhere to the end.
#[derive(Debug)]
pub(crate) struct Table {
    pub scale: Scale,
    blocks: usize,
    enter: Vec<u64>,
    leave: Vec<u64>,
}

impl Table {
    /// A table of good walks, not always the best.
    pub fn draft(weights: &Weights<'_>, scale: Scale) -> Self {
        Self::fill(weights, scale, &Bounds { most: NEVER, tries: DRAFT_TRIES, only: None })
    }

    /// The exact table, but for places that lie on no walk that costs `most` or less, or that another table has left out.
    pub fn within(weights: &Weights<'_>, scale: Scale, most: u64, only: Option<&Self>) -> Self {
        Self::fill(weights, scale, &Bounds { most, tries: usize::MAX, only })
    }

    fn fill(weights: &Weights<'_>, scale: Scale, bounds: &Bounds<'_>) -> Self {
        let Bounds { most, tries, only } = *bounds;
        let (n, blocks) = (weights.nodes.len(), weights.blocks);
        let cells = n * (blocks + 1);
        let mut table = Self { scale, blocks, enter: vec![NEVER; cells], leave: vec![NEVER; cells] };
        let past = (most < NEVER).then(|| Past::new(weights, scale));
        let mut arrivals: Vec<Arrival> = Vec::with_capacity(n);
        let mut runs = vec![NEVER; n];
        for at in (0..=blocks).rev() {
            arrivals.clear();
            for node in (0..n).filter(|node| weights.nodes[*node].span.contains(&at)) {
                let cell = node * (blocks + 1) + at;
                let left_out = only.is_some_and(|only| only.enter[cell] == NEVER);
                let cost = table.best_stage(weights, node, at, &mut runs[node]);
                if cost < NEVER
                    && !left_out
                    && past.as_ref().is_none_or(|past| past.enter[cell].saturating_add(cost) <= most)
                {
                    table.enter[cell] = cost;
                    let bound = cost.saturating_add(scale.of(weights.least_to(node), 0));
                    arrivals.push(Arrival { bound, cost, node });
                }
            }
            let order = |arrival: &Arrival| (arrival.bound, arrival.node);
            if tries < arrivals.len() {
                // One more, as a node may be among its own next ones.
                arrivals.select_nth_unstable_by_key(tries, order);
                arrivals.truncate(tries + 1);
            }
            arrivals.sort_unstable_by_key(order);
            let first = arrivals.first().map_or(NEVER, |arrival| arrival.bound);
            for (node, weight) in weights.nodes.iter().enumerate() {
                if !(weight.span.start < at && at <= weight.span.end) {
                    continue;
                }
                let cell = node * (blocks + 1) + at;
                if only.is_some_and(|only| only.leave[cell] == NEVER) {
                    continue;
                }
                if at == blocks {
                    table.leave[cell] = scale.of(weight.leave, 0);
                    continue;
                }
                let out = scale.of(weights.least_from(node), 0);
                let spent = past.as_ref().map_or(0, |past| past.leave[cell].saturating_sub(out));
                let below = most.saturating_sub(spent).saturating_add(1);
                if spent <= most && first.saturating_add(out) < below {
                    table.leave[cell] = table.best_hop(weights, node, &arrivals, below);
                }
            }
        }
        table
    }

    /// The least cost of a stage that begins at `at` and of all that follows. `run` holds that of a stage that goes on at `at + 1`,
    /// without its visits, and then that of one that goes on at `at`; it serves nodes whose memory holds their whole span.
    fn best_stage(&self, weights: &Weights<'_>, node: usize, at: usize, run: &mut u64) -> u64 {
        let weight = &weights.nodes[node];
        let block = self.scale.of(weight.block, weight.price);
        let visits = self.scale.of(weight.visits, 0);
        let row = &self.leave[node * (self.blocks + 1)..(node + 1) * (self.blocks + 1)];
        if weight.stage_max >= weight.span.len() {
            *run = row[at + 1].min(*run).saturating_add(block);
            return run.saturating_add(visits);
        }
        let last = weight.span.end.min(at.saturating_add(weight.stage_max));
        let (mut run, mut best) = (visits, NEVER);
        for rest in &row[at + 1..=last] {
            run = run.saturating_add(block);
            best = best.min(run.saturating_add(*rest));
        }
        best
    }

    /// The least cost of going on to one of `arrivals` if it is less than `below`.
    fn best_hop(&self, weights: &Weights<'_>, from: usize, arrivals: &[Arrival], below: u64) -> u64 {
        let out = self.scale.of(weights.least_from(from), 0);
        let (mut best, mut below) = (NEVER, below);
        for arrival in arrivals {
            if arrival.bound.saturating_add(out) >= below {
                break;
            }
            let cost = arrival.cost.saturating_add(self.scale.of(weights.hop(from, arrival.node), 0));
            if cost < below && arrival.node != from {
                (best, below) = (cost, cost);
            }
        }
        best
    }

    /// The least cost from the arrival at `node` before block `at`.
    pub fn enter(&self, node: usize, at: usize) -> u64 {
        self.enter[node * (self.blocks + 1) + at]
    }

    /// The least cost from the moment when `node` has run all blocks before `at`.
    pub fn leave(&self, node: usize, at: usize) -> u64 {
        self.leave[node * (self.blocks + 1) + at]
    }

    /// A walk of the least cost; of equal ones, each next node is the one that the salt draws, and it is left as late as possible.
    pub fn walk(&self, weights: &Weights<'_>) -> Option<Vec<Step>> {
        self.follow(weights, |steps, node| steps.last().is_none_or(|last| last.node != node))
    }

    /// A chain that takes the best node that it has not used yet, wherever it stands; nothing if that leads nowhere.
    pub fn chain(&self, weights: &Weights<'_>) -> Option<Vec<Step>> {
        self.follow(weights, |steps, node| steps.iter().all(|step| step.node != node))
    }

    fn follow(&self, weights: &Weights<'_>, may: impl Fn(&[Step], usize) -> bool) -> Option<Vec<Step>> {
        let mut steps: Vec<Step> = Vec::new();
        let mut at = 0;
        while at < self.blocks {
            let arrive = |node: usize| {
                let hop = match steps.last() {
                    None => weights.nodes[node].enter,
                    Some(last) => weights.hop(last.node, node),
                };
                self.enter(node, at).saturating_add(self.scale.of(hop, 0))
            };
            let holders = (0..weights.nodes.len()).filter(|node| weights.nodes[*node].span.contains(&at));
            let mut best: Option<(u64, usize)> = None;
            for node in holders.filter(|node| may(&steps, *node)) {
                let cost = arrive(node);
                let better = |(least, kept): (u64, usize)| {
                    cost < least || (cost == least && weights.lot(at, node) < weights.lot(at, kept))
                };
                if cost < NEVER && best.is_none_or(better) {
                    best = Some((cost, node));
                }
            }
            let (_, node) = best?;
            let end = self.end_of_stage(weights, node, at)?;
            steps.push(Step { node, start: at, end });
            at = end;
        }
        Some(steps)
    }

    /// Where the best stage that begins at `at` ends; the last of equal ones.
    fn end_of_stage(&self, weights: &Weights<'_>, node: usize, at: usize) -> Option<usize> {
        let weight = &weights.nodes[node];
        let cost = |end: usize| {
            let blocks = (end - at) as u64;
            let run = self.scale.of(weight.visits + blocks * weight.block, blocks * weight.price);
            run.saturating_add(self.leave(node, end))
        };
        let last = weight.span.end.min(at.saturating_add(weight.stage_max));
        (at + 1..=last).rev().min_by_key(|end| cost(*end)).filter(|end| cost(*end) < NEVER)
    }
}

/// What a table leaves out.
struct Bounds<'a> {
    /// Places on no walk that costs this or less.
    most: u64,
    /// Next nodes after the first so many.
    tries: usize,
    /// Places that this table leaves out.
    only: Option<&'a Table>,
}

/// A node that may be entered at the block at hand.
struct Arrival {
    /// No arrival from anywhere costs less, hop included, even without what hops take at least by where they come from.
    bound: u64,
    /// The cost from the arrival on.
    cost: u64,
    node: usize,
}

/// Lower bounds on the cost from the gateway to everywhere.
struct Past {
    /// Up to the arrival at a node that runs this block next.
    enter: Vec<u64>,
    /// Up to the moment when a node has run all blocks before this one, and what every hop from it takes.
    leave: Vec<u64>,
}

impl Past {
    fn new(weights: &Weights<'_>, scale: Scale) -> Self {
        let (n, blocks) = (weights.nodes.len(), weights.blocks);
        let mut past = Self { enter: vec![NEVER; n * (blocks + 1)], leave: vec![NEVER; n * (blocks + 1)] };
        for at in 0..=blocks {
            let mut least = NEVER;
            for (node, weight) in weights.nodes.iter().enumerate() {
                let cell = node * (blocks + 1) + at;
                let out = scale.of(weights.least_from(node), 0);
                if weight.span.start < at && at <= weight.span.end {
                    // A stage goes on, or began with the last block.
                    let began = past.enter[cell - 1].saturating_add(scale.of(weight.visits, 0));
                    let ran = past.leave[cell - 1];
                    let run = if ran < NEVER { began.min(ran.saturating_sub(out)) } else { began };
                    let cost = run.saturating_add(scale.of(weight.block, weight.price)).saturating_add(out);
                    past.leave[cell] = cost;
                    least = least.min(cost);
                }
            }
            for (node, weight) in weights.nodes.iter().enumerate().filter(|(_, weight)| weight.span.contains(&at)) {
                past.enter[node * (blocks + 1) + at] = match at {
                    0 => scale.of(weight.enter, 0),
                    _ => least.saturating_add(scale.of(weights.least_to(node), 0)),
                };
            }
        }
        past
    }
}

/// Time and price per 1,000 tokens of a walk.
pub(crate) fn totals(weights: &Weights<'_>, steps: &[Step]) -> (u64, u64) {
    let (mut time, mut price) = (0u64, 0u64);
    for (at, step) in steps.iter().enumerate() {
        let weight = &weights.nodes[step.node];
        let blocks = (step.end - step.start) as u64;
        time += if at == 0 { weight.enter } else { weights.hop(steps[at - 1].node, step.node) };
        time += weight.visits + blocks * weight.block;
        price += blocks * weight.price;
    }
    (time + steps.last().map_or(0, |last| weights.nodes[last.node].leave), price)
}

/// Whether no node comes twice.
pub(crate) fn is_simple(steps: &[Step]) -> bool {
    let mut nodes: Vec<usize> = steps.iter().map(|step| step.node).collect();
    nodes.sort_unstable();
    nodes.windows(2).all(|two| two[0] != two[1])
}
