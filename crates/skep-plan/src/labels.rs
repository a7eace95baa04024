//! The fastest chain that uses no node twice and keeps a limit on its price, by a best-first search over labels.
//!
//! A *label* is a partial chain: where it stands, what it has spent in time and price, and the nodes behind it. Labels are taken in
//! the order of a lower bound on the time of any complete chain that they can become, so the first complete one is the fastest.
//!
//! The bound is the larger of two: the time spent plus the table's least time to the end; and, under a limit on the price, what
//! Lagrange's relaxation says. For a table of `a · time + b · price` every completion obeys
//! `a · time + b · price ≥ spent + table`, and its price is at most the limit, so its time is at least
//! `(spent + table − b · limit) / a`. The pair `(a, b)` is the slope between a walk that is too dear and one that is not, moved
//! closer as long as a walk lies below that line (Handler and Zang's method for the constrained shortest path).
//!
//! A label is dropped if another one at the same place was no slower and no dearer and its past excludes no node that the first may
//! still use. So both the front of price against time and the ban on coming back are exact, unless [`LABELS_MAX`] is reached; then
//! the best complete chain seen so far is the answer, and it says that it may not be the best.

use crate::search::{NEVER, Scale, Step, Table, is_simple, totals};
use crate::weights::Weights;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

/// The most labels of one search: some 30 MB.
const LABELS_MAX: usize = 1 << 18;
/// The most lines that are tried between a walk that is too dear and one that is not.
const SLOPES_MAX: usize = 6;
/// A walk that lies below the line by less than one part in so many of what separates the two ends is not worth another line.
const SLOPE_STEP: u64 = 64;
/// Above this a slope's numbers are halved, so that sums over a chain stay within 64 bits.
const SCALED_MAX: u128 = 1 << 62;

/// A chain and whether it is known to be the best.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub steps: Vec<Step>,
    pub exact: bool,
}

/// Why there is no chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failed {
    /// No chain covers the blocks.
    NoChain,
    /// Every chain costs at least this much per 1,000 tokens, which is above the limit.
    TooDear(u64),
    /// The search ended at its limit without an answer.
    GaveUp,
}

/// The fastest chain without a node twice, within the limit on the price.
pub(crate) fn fastest(weights: &Weights<'_>) -> Result<Found, Failed> {
    let mut drafts = Drafts { weights, best: None };
    let quick = drafts.walk(Scale::TIME).ok_or(Failed::NoChain)?;
    let mut least = None;
    let mut scale = None;
    if let Some(price_max) = weights.price_max {
        let table = Table::within(weights, Scale::PRICE, price_max, None);
        let Some(cheap) = table.walk(weights) else {
            let cheapest = Table::within(weights, Scale::PRICE, NEVER, None).walk(weights).ok_or(Failed::NoChain)?;
            return Err(Failed::TooDear(totals(weights, &cheapest).1));
        };
        drafts.offer(&cheap);
        let (time, price) = totals(weights, &quick);
        if price > price_max {
            // The same, but among equally cheap ones a fast one.
            let fair =
                drafts.walk(Scale { time: 1, price: time.max(1) }).filter(|fair| totals(weights, fair).1 <= price_max);
            scale = drafts.slope(quick, fair.unwrap_or(cheap), price_max);
        }
        least = Some(table);
    }
    let most = drafts.best.as_ref().map_or(NEVER, |(time, _)| *time);
    let time = Table::within(weights, Scale::TIME, most, least.as_ref());
    if let Some(walk) = time.walk(weights).filter(|walk| drafts.allows(walk)) {
        return Ok(Found { steps: walk, exact: true });
    }
    let limit = weights.price_max.zip(least.as_ref());
    let slope = scale.zip(limit).map(|(scale, (price_max, _))| {
        let most = if most < NEVER { scale.of(most, price_max) } else { NEVER };
        Table::within(weights, scale, most, Some(&time))
    });
    let limit = limit.map(|(price, least)| Limit { price, least, slope: slope.as_ref() });
    Search { weights, time: &time, limit, best: drafts.best }.run()
}

/// Good chains that are found before the exact search, so that it need not look where no better one can be.
struct Drafts<'a> {
    weights: &'a Weights<'a>,
    /// The fastest chain seen that keeps all constraints, and its time.
    best: Option<(u64, Vec<Step>)>,
}

impl Drafts<'_> {
    /// Whether a walk is a chain that keeps all constraints.
    fn allows(&self, steps: &[Step]) -> bool {
        self.weights.price_max.is_none_or(|limit| totals(self.weights, steps).1 <= limit) && is_simple(steps)
    }

    fn offer(&mut self, steps: &[Step]) {
        let (time, _) = totals(self.weights, steps);
        if self.allows(steps) && self.best.as_ref().is_none_or(|(best, _)| time < *best) {
            self.best = Some((time, steps.to_vec()));
        }
    }

    fn walk(&mut self, scale: Scale) -> Option<Vec<Step>> {
        let table = Table::draft(self.weights, scale);
        if let Some(chain) = table.chain(self.weights) {
            self.offer(&chain);
        }
        table.walk(self.weights)
    }

    /// The scale whose line lies near the limit under all walks, from a walk that is too dear and one that is not.
    fn slope(&mut self, mut dear: Vec<Step>, mut cheap: Vec<Step>, price_max: u64) -> Option<Scale> {
        let mut found = None;
        for _ in 0..SLOPES_MAX {
            let (dear_time, dear_price) = totals(self.weights, &dear);
            let (cheap_time, cheap_price) = totals(self.weights, &cheap);
            if cheap_time <= dear_time {
                break;
            }
            let (mut a, mut b) = (dear_price - cheap_price, cheap_time - dear_time);
            while u128::from(a) * u128::from(cheap_time) + u128::from(b) * u128::from(dear_price) > SCALED_MAX {
                (a, b) = ((a / 2).max(1), b / 2);
            }
            let scale = Scale { time: a, price: b };
            found = Some(scale);
            let walk = self.walk(scale)?;
            let (time, price) = totals(self.weights, &walk);
            let below = scale.of(dear_time, dear_price).saturating_sub(scale.of(time, price));
            if below <= scale.time * ((cheap_time - dear_time) / SLOPE_STEP) {
                break;
            }
            if price <= price_max {
                cheap = walk;
            } else {
                dear = walk;
            }
        }
        found
    }
}

/// A limit on the price, and the tables that look ahead for it.
struct Limit<'a> {
    price: u64,
    least: &'a Table,
    slope: Option<&'a Table>,
}

struct Search<'a> {
    weights: &'a Weights<'a>,
    time: &'a Table,
    limit: Option<Limit<'a>>,
    /// The fastest chain seen that keeps all constraints, and its time.
    best: Option<(u64, Vec<Step>)>,
}

/// Where a label stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// At a node that runs this block next.
    Entered { at: usize, node: usize },
    /// At a node that has run all blocks before this one.
    Left { at: usize, node: usize },
    /// Back at the gateway.
    Done,
}

/// A partial chain.
#[derive(Debug, Clone, Copy)]
struct Label {
    place: Place,
    time: u64,
    price: u64,
    /// The index of the label that this one continues.
    parent: Option<usize>,
}

impl Search<'_> {
    fn run(mut self) -> Result<Found, Failed> {
        let mut labels: Vec<Label> = Vec::new();
        let mut queue = BinaryHeap::new();
        let mut kept: BTreeMap<Place, Vec<(u64, u64, Vec<usize>)>> = BTreeMap::new();
        for node in self.holders(0) {
            let place = Place::Entered { at: 0, node };
            let start = Label { place, time: self.weights.nodes[node].enter, price: 0, parent: None };
            self.push(&mut labels, &mut queue, start);
        }
        while let Some(Reverse((bound, _, index))) = queue.pop() {
            if labels.len() > LABELS_MAX {
                return self.best.map(|(_, steps)| Found { steps, exact: false }).ok_or(Failed::GaveUp);
            }
            if self.best.as_ref().is_some_and(|(best, _)| bound >= *best) {
                break;
            }
            let label = labels[index];
            let past = self.past(&labels, index);
            if label.place == Place::Done {
                return Ok(Found { steps: steps(&labels, index), exact: true });
            }
            let barred = self.barred(label.place, &past);
            let rivals = kept.entry(label.place).or_default();
            let worse = |(time, price, nodes): &(u64, u64, Vec<usize>)| {
                *time <= label.time && *price <= label.price && nodes.iter().all(|node| barred.contains(node))
            };
            if rivals.iter().any(worse) {
                continue;
            }
            rivals.push((label.time, label.price, barred));
            for next in self.continuations(&label, &past) {
                self.push(&mut labels, &mut queue, Label { parent: Some(index), ..next });
            }
        }
        self.best.take().map(|(_, steps)| Found { steps, exact: true }).ok_or(Failed::NoChain)
    }

    fn holders(&self, at: usize) -> impl Iterator<Item = usize> + use<'_> {
        (0..self.weights.nodes.len()).filter(move |node| self.weights.nodes[*node].span.contains(&at))
    }

    /// All labels that are one move further. The caller sets their parent.
    fn continuations(&self, label: &Label, past: &[usize]) -> Vec<Label> {
        match label.place {
            Place::Entered { at, node } => {
                let weight = &self.weights.nodes[node];
                let last = weight.span.end.min(at.saturating_add(weight.stage_max));
                let stage = |end: usize| {
                    let blocks = (end - at) as u64;
                    let time = label.time + weight.visits + blocks * weight.block;
                    Label {
                        place: Place::Left { at: end, node },
                        time,
                        price: label.price + blocks * weight.price,
                        ..*label
                    }
                };
                (at + 1..=last).map(stage).collect()
            }
            Place::Left { at, node } if at == self.weights.blocks => {
                vec![Label { place: Place::Done, time: label.time + self.weights.nodes[node].leave, ..*label }]
            }
            Place::Left { at, node } => {
                let arrive = |to| Label {
                    place: Place::Entered { at, node: to },
                    time: label.time + self.weights.hop(node, to),
                    ..*label
                };
                self.holders(at).filter(|to| !past.contains(to)).map(arrive).collect()
            }
            Place::Done => Vec::new(),
        }
    }

    /// Takes a label up unless it cannot become a chain that beats the best one.
    fn push(&self, labels: &mut Vec<Label>, queue: &mut BinaryHeap<Reverse<(u64, u64, usize)>>, label: Label) {
        let Some(bound) = self.bound(&label) else { return };
        if self.best.as_ref().is_none_or(|(best, _)| bound < *best) {
            let lot = match label.place {
                Place::Entered { at, node } => self.weights.lot(at, node).0,
                // Among equals, later ends first and complete chains before all.
                Place::Left { at, .. } => (self.weights.blocks - at) as u64,
                Place::Done => 0,
            };
            queue.push(Reverse((bound, lot, labels.len())));
            labels.push(label);
        }
    }

    /// No chain that this label can become takes less time; nothing if it can become none.
    fn bound(&self, label: &Label) -> Option<u64> {
        let rest = |table: &Table| match label.place {
            Place::Entered { at, node } => table.enter(node, at),
            Place::Left { at, node } => table.leave(node, at),
            Place::Done => 0,
        };
        let time = rest(self.time);
        if time == NEVER {
            return None;
        }
        let mut bound = label.time + time;
        if let Some(limit) = &self.limit {
            if label.price.saturating_add(rest(limit.least)) > limit.price {
                return None;
            }
            // A sum at the end of 64 bits says nothing.
            if let Some(table) = limit.slope.filter(|table| rest(table) < NEVER) {
                let (a, b) = (u128::from(table.scale.time), u128::from(table.scale.price));
                let spent = a * u128::from(label.time) + b * u128::from(label.price) + u128::from(rest(table));
                let time = spent.saturating_sub(b * u128::from(limit.price)).div_ceil(a);
                bound = bound.max(u64::try_from(time).unwrap_or(NEVER));
            }
        }
        Some(bound)
    }

    /// The nodes of a partial chain.
    fn past(&self, labels: &[Label], index: usize) -> Vec<usize> {
        let node = |index: &usize| match labels[*index].place {
            Place::Entered { node, .. } => Some(node),
            Place::Left { .. } | Place::Done => None,
        };
        std::iter::successors(Some(index), |index| labels[*index].parent).filter_map(|index| node(&index)).collect()
    }

    /// The nodes of the past that hold blocks still to come, without the one where the label stands.
    fn barred(&self, place: Place, past: &[usize]) -> Vec<usize> {
        let (Place::Entered { at, node } | Place::Left { at, node }) = place else { return Vec::new() };
        past.iter().copied().filter(|other| *other != node && self.weights.nodes[*other].span.end > at).collect()
    }
}

/// The stages of a complete chain.
fn steps(labels: &[Label], index: usize) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut end = 0;
    for index in std::iter::successors(Some(index), |index| labels[*index].parent) {
        match labels[index].place {
            Place::Left { at, .. } => end = at,
            Place::Entered { at, node } => steps.push(Step { node, start: at, end }),
            Place::Done => {}
        }
    }
    steps.reverse();
    steps
}
