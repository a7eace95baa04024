//! The offers of one shard.

use crate::message::{Near, OFFERS_MAX, Refusal, SPANS_MAX, Span};
use crate::shard::rank;
use crate::{PUBLISH_MS, Shard};
use skep_types::offer::{OFFER_BLOCK_MAX, Offer, Terms};
use skep_types::signed::{Keys, Signed};
use skep_types::{BlockRange, NodeId};
use std::collections::BTreeMap;

/// Offers that a shard keeps: some 300 kB. Well above what a shard aims at, so that only the sample at depth 0 is ever full.
pub const SHELF_MAX: usize = 1024;

/// How long the number of servers is told before it is worked out again.
const TOLD_MS: u64 = 1_000;

/// How long the slowest block is told before it is worked out again.
const SLOWEST_MS: u64 = 10_000;

/// How often it is looked up who keeps a shard.
const OURS_MS: u64 = 5_000;

/// Offers by point and node.
#[derive(Debug)]
pub(crate) struct Shelf {
    offers: BTreeMap<(u64, NodeId), Signed<Offer>>,
    /// When all that publish here have done so once.
    whole_ms: u64,
    /// What was last told of the number of servers, and when.
    told: (u32, u64),
    /// What was last told of the slowest block, and when.
    slowest: (u8, u64),
    /// The most blocks that the model was seen to have.
    blocks: u32,
    /// Whether the directory is among those that keep the shard, and when that was looked up.
    ours: (bool, u64),
}

/// What became of an offer that is kept.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Renewed,
    Added,
    /// Added, and this node's offer went.
    Instead(NodeId),
}

impl Shelf {
    pub fn new(now_ms: u64) -> Self {
        Self {
            offers: BTreeMap::new(),
            whole_ms: now_ms + PUBLISH_MS,
            told: (0, 0),
            slowest: (100, 0),
            blocks: 0,
            ours: (true, now_ms),
        }
    }

    pub fn len(&self) -> usize {
        self.offers.len()
    }

    /// Whether the shard is still this directory's, as `look_up` says now and then.
    pub fn is_ours(&mut self, now_ms: u64, look_up: impl FnOnce() -> bool) -> bool {
        if now_ms >= self.ours.1 + OURS_MS {
            self.ours = (look_up(), now_ms);
        }
        self.ours.0
    }

    /// What [`Self::is_ours`] said last.
    pub fn was_ours(&self) -> bool {
        self.ours.0
    }

    /// How many servers the model has, about; 0 as long as that is not known. An estimate from a shelf that has just been put
    /// up would send a model's nodes to a lesser depth and soon back.
    pub fn servers(&mut self, shard: &Shard, now_ms: u64) -> u32 {
        if now_ms < self.whole_ms {
            return 0;
        }
        if now_ms < self.told.1 + TOLD_MS {
            return self.told.0;
        }
        let point = Shard::telling(self.len()).and_then(|k| self.offers.keys().nth(k - 1));
        self.told = (shard.servers(self.len(), point.map(|(point, _)| *point)), now_ms);
        self.told.0
    }

    /// The supply of the slowest block in hundredths of the average.
    pub fn slowest(&mut self, now_ms: u64) -> u8 {
        if now_ms >= self.slowest.1 + SLOWEST_MS {
            let spans: Vec<Span> = self.offers.iter().map(span).collect();
            self.blocks = spans.iter().map(|span| u32::from(span.end)).fold(self.blocks, u32::max);
            self.slowest = (slowest(self.blocks, &spans), now_ms);
        }
        self.slowest.0
    }

    /// What is kept, in short.
    pub fn spans(&self) -> Vec<Span> {
        self.offers.iter().take(SPANS_MAX).map(span).collect()
    }

    pub fn has(&self, point: u64, node: NodeId) -> bool {
        self.offers.contains_key(&(point, node))
    }

    /// Keeps an offer, after all checks: the number first, because replays are cheap to make, then the signature.
    pub fn insert(
        &mut self,
        point: u64,
        offer: Signed<Offer>,
        now_s: u64,
        keys: &impl Keys,
    ) -> Result<Change, Refusal> {
        let place = (point, offer.statement.node);
        let known = self.offers.get(&place);
        if let Some(known) = known {
            offer.replaces(known)?;
        } else if self.offers.len() >= SHELF_MAX && self.offers.last_key_value().is_some_and(|(last, _)| *last < place)
        {
            return Err(Refusal::Crowded);
        }
        offer.verify(now_s, keys)?;
        let renewed = self.offers.insert(place, offer).is_some();
        let gone = if self.offers.len() > SHELF_MAX { self.offers.pop_last() } else { None };
        Ok(match gone {
            Some(((_, node), _)) => Change::Instead(node),
            None if renewed => Change::Renewed,
            None => Change::Added,
        })
    }

    pub fn remove(&mut self, point: u64, node: NodeId) -> bool {
        self.offers.remove(&(point, node)).is_some()
    }

    /// Drops what is over, and says whose it was.
    pub fn drop_expired(&mut self, now_s: u64, mut gone: impl FnMut(NodeId)) {
        self.offers.retain(|(_, node), offer| {
            let keep = offer.statement.expires > now_s;
            if !keep {
                gone(*node);
            }
            keep
        });
    }

    /// Offers that hold some of `blocks`, at most [`OFFERS_MAX`]. They are chosen in rounds: in round `r` those that hold a block with
    /// fewer than `r` holders so far, alternately the one that claims to serve the asker fastest ([`claim`]) and the one that the salt
    /// draws. So every block that anyone holds is in the answer, and whoever claims to be fast can fill no more than half of it.
    pub fn find(&self, blocks: BlockRange, salt: u64, near: &Near, now_s: u64) -> Vec<Signed<Offer>> {
        let useful = |offer: &&Signed<Offer>| {
            let held = offer.statement.terms.blocks;
            offer.statement.expires > now_s && held.start() < blocks.end() && blocks.start() < held.end()
        };
        let by_draw = |((point, _), offer): (&(u64, NodeId), &'_ Signed<Offer>)| {
            (rank(*point, salt), offer.statement.terms.decode_ns)
        };
        let found: Vec<(&(u64, NodeId), &Signed<Offer>)> =
            self.offers.iter().filter(|(_, offer)| useful(offer)).collect();
        let mut fast: Vec<usize> = (0..found.len()).collect();
        fast.sort_by_cached_key(|at| (claim(&found[*at].1.statement.terms, near), rank(found[*at].0.0, salt)));
        let mut drawn: Vec<usize> = (0..found.len()).collect();
        drawn.sort_by_key(|at| by_draw(found[*at]));
        let spans: Vec<BlockRange> = found.iter().map(|(_, offer)| offer.statement.terms.blocks).collect();
        let picked = pick(&spans, blocks, [&fast, &drawn]);
        picked.into_iter().map(|at| found[at].1.clone()).collect()
    }
}

fn span((place, offer): (&(u64, NodeId), &Signed<Offer>)) -> Span {
    let terms = &offer.statement.terms;
    // No offer that is kept has a block above the limit, which fits.
    let [start, end] = <[u32; 2]>::from(terms.blocks).map(|block| block.min(OFFER_BLOCK_MAX) as u16);
    Span { point: place.0, start, end, decode_ns: terms.decode_ns }
}

fn slowest(blocks: u32, spans: &[Span]) -> u8 {
    // What changes from each block to the next one.
    let mut steps = vec![0i128; blocks as usize + 1];
    for span in spans {
        steps[usize::from(span.start)] += i128::from(span.supply());
        steps[usize::from(span.end)] -= i128::from(span.supply());
    }
    let supply = steps.iter().take(blocks as usize).scan(0, |now, step| {
        *now += step;
        Some(*now)
    });
    let (least, sum) = supply.fold((i128::MAX, 0), |(least, sum), block| (block.min(least), sum + block));
    u8::try_from((least * i128::from(blocks) * 100).checked_div(sum).unwrap_or(100)).unwrap_or(100)
}

/// What a token costs an asker for each block of an offer, by its claims, in nanoseconds: computing it, and its part of a trip there. No
/// way between two nodes is shorter than the difference of their ways to a beacon, and with beacons on all sides the greatest of these
/// is close to it. What was not measured is not fast.
fn claim(terms: &Terms, near: &Near) -> u64 {
    let known = |there: u16, here: u16| there < u16::MAX && here < u16::MAX;
    let ways = terms.beacons.iter().zip(near).filter(|(there, here)| known(**there, **here));
    let way = ways.map(|(there, here)| there.abs_diff(*here)).max().unwrap_or(0);
    let compute = if terms.decode_ns == 0 { u64::from(u32::MAX) } else { u64::from(terms.decode_ns) };
    compute + u64::from(way) * 100_000 / u64::from(terms.blocks.len())
}

/// See [`Shelf::find`].
fn pick(spans: &[BlockRange], blocks: BlockRange, orders: [&[usize]; 2]) -> Vec<usize> {
    let mut holders = vec![0usize; blocks.len() as usize];
    let mut taken = vec![false; spans.len()];
    let mut picked = Vec::new();
    let most = spans.len().min(OFFERS_MAX);
    let inside = |span: BlockRange| {
        let start = span.start().max(blocks.start()) - blocks.start();
        start as usize..(span.end().min(blocks.end()) - blocks.start()) as usize
    };
    for round in 1..=2 * OFFERS_MAX {
        if picked.len() == most {
            break;
        }
        for at in orders[(round + 1) % 2].iter().copied() {
            let scarce = |holders: &[usize]| holders[inside(spans[at])].iter().any(|count| *count < round);
            if picked.len() < most && !taken[at] && scarce(&holders) {
                taken[at] = true;
                picked.push(at);
                holders[inside(spans[at])].iter_mut().for_each(|count| *count += 1);
            }
        }
    }
    picked
}
