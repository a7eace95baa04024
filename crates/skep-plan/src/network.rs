//! What is known of a network, made ready for planning: every figure known or guessed, and the delay between every two peers.

use crate::cost::{
    Candidate, Figures, MAX_FIGURE, PESSIMISM, PESSIMISTIC_PERCENTILE, UNKNOWN_BLOCK, UNKNOWN_DELAY, UNKNOWN_GOODPUT,
    UNKNOWN_VISIT, UNKNOWN_WAIT,
};
use crate::route::better_listing;
use skep_types::{BlockRange, NodeId};
use std::{collections::BTreeMap, time::Duration};
use thiserror::Error;

/// The most peers that a plan considers: the table of delays has a cell of four bytes for every two of them, so 64 MiB at most.
pub const MAX_PEERS: usize = 4096;
/// The most beacons that count.
pub const MAX_BEACONS: usize = 16;

/// A network is too large to be planned at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{peers} peers are more than the {MAX_PEERS} that a plan considers")]
pub struct TooManyPeers {
    /// How many there are.
    pub peers: usize,
}

/// One-way delays that peers have measured between each other: from the first to the second. A delay that only the other end has
/// measured counts for both directions, because what is measured is half a round trip.
pub type Links = BTreeMap<NodeId, BTreeMap<NodeId, Duration>>;

/// The machine that a request starts and ends at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gateway {
    /// Its key. A candidate with this key is the gateway's own machine.
    pub node: NodeId,
    /// Bytes per second that it sends and receives, if measured.
    pub goodput: Option<u64>,
}

/// A peer's figures without unknowns. Times are nanoseconds for one block over one token, microseconds otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known {
    pub decode_ns: u64,
    pub prefill_ns: u64,
    pub visit: u64,
    pub wait: u64,
    pub delay: u64,
    pub goodput: u64,
    pub own: bool,
    pub measured: bool,
}

/// A snapshot of the peers that hold blocks of one model. It is made once for many requests. The default has no peers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Network {
    /// One listing of each node, by node.
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) known: Vec<Known>,
    pub(crate) gateway_goodput: u64,
    /// One-way delay in microseconds at `from * n + to`.
    pub(crate) between: Vec<u32>,
    /// The shortest delay to each peer from any other one.
    pub(crate) inward: Vec<u32>,
    /// What every delay from a peer takes at least beyond `inward` of its other end.
    pub(crate) outward: Vec<u32>,
}

impl Network {
    /// What is known of these peers. The order of `candidates` does not matter; a node that is listed more than once counts with its
    /// longest span, the lowest of equally long ones.
    ///
    /// # Errors
    /// [`TooManyPeers`] above [`MAX_PEERS`] nodes.
    pub fn new(gateway: Gateway, candidates: Vec<Candidate>, links: &Links) -> Result<Self, TooManyPeers> {
        let mut by_node: BTreeMap<NodeId, Candidate> = BTreeMap::new();
        for candidate in candidates {
            match by_node.get_mut(&candidate.offer.peer.node) {
                Some(kept) if better_listing(&candidate.offer, &kept.offer) => *kept = candidate,
                Some(_) => {}
                None => _ = by_node.insert(candidate.offer.peer.node, candidate),
            }
        }
        if by_node.len() > MAX_PEERS {
            return Err(TooManyPeers { peers: by_node.len() });
        }
        let candidates: Vec<Candidate> = by_node.into_values().collect();
        let guess = Guess::from(&candidates, gateway);
        let known: Vec<Known> = candidates.iter().map(|candidate| guess.complete(candidate, gateway)).collect();
        let between = delays(&candidates, &known, links, micros(guess.delay));
        let (inward, outward) = least_delays(&between, known.len());
        let own_goodput = candidates.iter().find(|c| c.offer.peer.node == gateway.node).and_then(|c| c.figures.goodput);
        let gateway_goodput = gateway.goodput.or(own_goodput).unwrap_or(guess.goodput).max(1);
        Ok(Self { candidates, known, gateway_goodput, between, inward, outward })
    }

    /// The peers, by node.
    pub fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    /// The same network in which some peers hold another span.
    #[must_use]
    pub fn with_spans(&self, spans: &BTreeMap<NodeId, BlockRange>) -> Self {
        let mut network = self.clone();
        for candidate in &mut network.candidates {
            if let Some(blocks) = spans.get(&candidate.offer.peer.node) {
                candidate.offer.blocks = *blocks;
            }
        }
        network
    }

    /// Where a node stands among the candidates.
    pub(crate) fn place(&self, node: NodeId) -> Option<usize> {
        self.candidates.binary_search_by_key(&node, |candidate| candidate.offer.peer.node).ok()
    }
}

/// What an unmeasured figure is taken to be.
struct Guess {
    decode: Duration,
    prefill: Duration,
    visit: Duration,
    wait: Duration,
    delay: Duration,
    goodput: u64,
}

impl Guess {
    fn from(candidates: &[Candidate], gateway: Gateway) -> Self {
        let times = |figure: fn(&Figures) -> Option<Duration>, most: Duration| {
            let mut all: Vec<Duration> = candidates.iter().filter_map(|c| figure(&c.figures)).collect();
            all.sort_unstable();
            all.get(nearest_rank(all.len())).map(|time| ((*time).min(MAX_FIGURE) * PESSIMISM as u32).min(most))
        };
        let decode = times(|figures| figures.decode_block, UNKNOWN_BLOCK);
        let others = candidates.iter().filter(|c| c.offer.peer.node != gateway.node);
        let mut goodputs: Vec<u64> = others.filter_map(|c| c.figures.goodput).collect();
        goodputs.sort_unstable_by(|a, b| b.cmp(a));
        let goodput = goodputs.get(nearest_rank(goodputs.len())).map(|least| least / PESSIMISM);
        Self {
            decode: decode.unwrap_or(UNKNOWN_BLOCK),
            // A token of a prefill never takes longer than one that comes alone.
            prefill: times(|figures| figures.prefill_block, UNKNOWN_BLOCK).or(decode).unwrap_or(UNKNOWN_BLOCK),
            visit: times(|figures| figures.visit, UNKNOWN_VISIT).unwrap_or(UNKNOWN_VISIT),
            wait: times(|figures| figures.wait, UNKNOWN_WAIT).unwrap_or(UNKNOWN_WAIT),
            delay: times(|figures| figures.delay, UNKNOWN_DELAY).unwrap_or(UNKNOWN_DELAY),
            goodput: goodput.unwrap_or(UNKNOWN_GOODPUT).max(1),
        }
    }

    fn complete(&self, candidate: &Candidate, gateway: Gateway) -> Known {
        let figures = &candidate.figures;
        let own = candidate.offer.peer.node == gateway.node;
        let delay = if own { Duration::ZERO } else { figures.delay.unwrap_or(self.delay) };
        let speeds = [figures.decode_block, figures.prefill_block, figures.visit, figures.wait];
        Known {
            decode_ns: nanos(figures.decode_block.unwrap_or(self.decode)),
            prefill_ns: nanos(figures.prefill_block.or(figures.decode_block).unwrap_or(self.prefill)),
            visit: micros(figures.visit.unwrap_or(self.visit)),
            wait: micros(figures.wait.unwrap_or(self.wait)),
            delay: micros(delay),
            goodput: figures.goodput.unwrap_or(self.goodput).max(1),
            own,
            measured: speeds.iter().all(Option::is_some)
                && (own || (figures.delay.is_some() && figures.goodput.is_some()))
                && figures.memory.is_some(),
        }
    }
}

/// Where the percentile stands among `len` sorted values, the worst last.
fn nearest_rank(len: usize) -> usize {
    (len * PESSIMISTIC_PERCENTILE).div_ceil(100).saturating_sub(1)
}

/// Whole microseconds, rounded up, of a time within the limit.
pub(crate) fn micros(time: Duration) -> u64 {
    nanos(time).div_ceil(1000)
}

fn nanos(time: Duration) -> u64 {
    // It fits because the limit does.
    time.min(MAX_FIGURE).as_nanos() as u64
}

/// The delay of every two peers: measured, or over the gateway or a beacon, or guessed.
fn delays(candidates: &[Candidate], known: &[Known], links: &Links, guess: u64) -> Vec<u32> {
    let n = candidates.len();
    let beacons =
        candidates.iter().map(|candidate| candidate.figures.beacons.len()).max().unwrap_or(0).min(MAX_BEACONS);
    let over: Vec<Vec<u32>> =
        candidates.iter().zip(known).map(|(candidate, known)| ways(candidate, *known, beacons)).collect();
    let mut between = measured(candidates, links);
    for from in 0..n {
        for to in 0..from {
            let (there, back) = (between[from * n + to], between[to * n + from]);
            let way = || over[from].iter().zip(&over[to]).map(|(a, b)| a.saturating_add(*b)).min();
            // A delay within the limit fits.
            let guessed = || way().filter(|way| *way < UNKNOWN_WAY).unwrap_or(guess as u32);
            let (there, back) = match (there < UNKNOWN_WAY, back < UNKNOWN_WAY) {
                (true, true) => (there, back),
                (true, false) => (there, there),
                (false, true) => (back, back),
                (false, false) => {
                    let delay = guessed();
                    (delay, delay)
                }
            };
            between[from * n + to] = there;
            between[to * n + from] = back;
        }
    }
    between
}

/// The measured delays, and [`UNKNOWN_WAY`] elsewhere.
fn measured(candidates: &[Candidate], links: &Links) -> Vec<u32> {
    let n = candidates.len();
    let mut between = vec![UNKNOWN_WAY; n * n];
    for (from, candidate) in candidates.iter().enumerate() {
        let Some(row) = links.get(&candidate.offer.peer.node) else { continue };
        // Both are in the order of nodes, so one pass finds them all.
        let mut peers = candidates.iter().map(|candidate| candidate.offer.peer.node).enumerate().peekable();
        for (node, delay) in row {
            while peers.next_if(|(_, peer)| peer < node).is_some() {}
            if let Some((to, _)) = peers.next_if(|(to, peer)| peer == node && *to != from) {
                between[from * n + to] = micros(*delay) as u32;
            }
        }
    }
    between
}

/// `inward` and `outward` of a network; the sum of the two is no more than the delay between any two peers.
fn least_delays(between: &[u32], n: usize) -> (Vec<u32>, Vec<u32>) {
    let others = |from: usize| between[from * n..(from + 1) * n].iter().enumerate().filter(move |(to, _)| *to != from);
    let mut inward = vec![UNKNOWN_WAY; n];
    for from in 0..n {
        others(from).for_each(|(to, delay)| inward[to] = inward[to].min(*delay));
    }
    let beyond = |from: usize| others(from).map(|(to, delay)| delay - inward[to]).min().unwrap_or(0);
    let outward = (0..n).map(beyond).collect();
    (inward, outward)
}

/// More than any sum of two delays.
const UNKNOWN_WAY: u32 = 1 << 30;

/// The delays from a peer to the points over which a way may lead: the gateway and the beacons.
fn ways(candidate: &Candidate, known: Known, beacons: usize) -> Vec<u32> {
    let figures = &candidate.figures;
    let gateway = if known.own { Some(Duration::ZERO) } else { figures.delay };
    let mut ways = vec![UNKNOWN_WAY; 1 + beacons];
    for (way, time) in ways.iter_mut().zip(std::iter::once(&gateway).chain(&figures.beacons)) {
        if let Some(time) = time {
            *way = micros(*time) as u32;
        }
    }
    ways
}
