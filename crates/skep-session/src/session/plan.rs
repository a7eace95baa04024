//! Chains in the presence of suspects (rules 3 and 7).

use super::{Session, SessionError, Task};
use skep_plan::{Network, NoPlan, Request, Stage};
use skep_types::{BlockRange, NodeId};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// The pause after a first offence; it doubles with every further one.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(800);
/// The planner takes an answer to have as many tokens as it may, but no more than this: few answers use what they may.
const EXPECTED_TOKENS: u32 = 256;

/// What a suspect did.
#[derive(Debug, Clone, Copy)]
pub(super) struct Health {
    /// How often.
    pub offences: u32,
    /// The last time.
    pub since: Duration,
}

impl Health {
    /// From when on it may be used again.
    fn ripe(&self) -> Duration {
        let doublings = self.offences.saturating_sub(1).min(8);
        self.since + (FIRST_PAUSE * (1 << doublings)).min(LONGEST_PAUSE)
    }
}

/// What is known of one stage of the chain.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Link {
    /// It answered the `Open` of this session.
    pub opened: bool,
    /// It has run every position below the step in flight.
    pub settled: bool,
    /// It was accused while it stood in the chain.
    pub lost: bool,
}

/// What the planner says about a whole chain.
pub(super) enum Chain {
    /// Take this one.
    Now(Vec<Stage>),
    /// Only suspects could fill this gap; one may be asked again at that time.
    Later(Duration, NoPlan),
    /// There is none.
    Nobody(NoPlan),
}

/// There is no chain because nobody holds this block.
pub(super) fn held_by_none(block: u32) -> NoPlan {
    NoPlan::Unheld { block, avoided: 0, label: 0, memory: 0 }
}

impl From<NoPlan> for SessionError {
    fn from(why: NoPlan) -> Self {
        match why {
            NoPlan::Unheld { block, .. } => Self::NoRoute { block },
            other => Self::NoPlan(other),
        }
    }
}

impl Session {
    /// What is asked of the planner for these blocks, from now to the end of the answer.
    pub(super) fn request_for(&self, wanted: BlockRange, avoid: BTreeSet<NodeId>) -> Request {
        let (left, reply_bytes, most) = match &self.config.task {
            Task::Generate(task) => {
                (task.max_new - self.drawn(), 8 * u64::from(self.needed), self.input_rows + task.max_new)
            }
            Task::Encode(task) => (1, 4 * u64::from(task.width), self.input_rows),
        };
        let (prompt_tokens, new_tokens) = (u64::from(self.end()), u64::from(left.clamp(1, EXPECTED_TOKENS)));
        // The nodes make room for the whole session when it is opened, however short the answer then is.
        let rows = (prompt_tokens + new_tokens - 1).max(1);
        let kv_bytes = self.config.kv_bytes.saturating_mul(u64::from(most)).div_ceil(rows);
        let row_bytes = 4 * u64::from(self.config.d_model);
        Request {
            prompt_tokens,
            new_tokens,
            row_bytes,
            reply_bytes,
            kv_bytes,
            avoid,
            salt: self.salt(),
            ..Request::new(wanted)
        }
    }

    /// The stages of the best plan. A peer's word on its memory may be old by now: if no plan keeps to it, the peers themselves have
    /// the last word, by a refusal.
    fn stages(network: &Network, request: Request) -> Result<Vec<Stage>, NoPlan> {
        let plan = network.plan(&request).or_else(|why| match why {
            NoPlan::Memory | NoPlan::Unheld { memory: 1.., .. } => network.plan(&Request { kv_bytes: 0, ..request }),
            _ => Err(why),
        });
        plan.map(|plan| plan.stages)
    }

    /// A chain over all blocks: without suspects if that is possible, else with those that did the least.
    pub(super) fn whole_chain(&self, now: Duration) -> Chain {
        let gap = match Self::stages(&self.network, self.request()) {
            Ok(chain) => return Chain::Now(chain),
            Err(why) => why,
        };
        let (network, idle) = self.with_least_suspects();
        let chain = Self::stages(&network, self.request_for(self.blocks, idle))
            .or_else(|_| Self::stages(&self.network, self.request_for(self.blocks, BTreeSet::new())));
        match chain {
            Err(why) => Chain::Nobody(why),
            Ok(chain) => {
                let ripe = chain.iter().filter_map(|stage| self.suspects.get(&stage.peer.node)).map(Health::ripe).max();
                match ripe.filter(|ripe| *ripe > now) {
                    Some(ripe) => Chain::Later(ripe, gap),
                    None => Chain::Now(chain),
                }
            }
        }
    }

    /// The network in which each suspect holds only what no clean machine holds, if no other suspect did less; and the suspects that
    /// are left with nothing.
    fn with_least_suspects(&self) -> (Network, BTreeSet<NodeId>) {
        let wanted = self.blocks;
        let offences = |node: &NodeId| self.suspects.get(node).map_or(0, |health| health.offences);
        let offers = || self.network.candidates().iter().map(|candidate| &candidate.offer);
        let least = |block: u32| {
            offers().filter(|offer| offer.blocks.contains(block)).map(|offer| offences(&offer.peer.node)).min()
        };
        let least: Vec<Option<u32>> = (wanted.start()..wanted.end()).map(least).collect();
        let (mut spans, mut idle) = (BTreeMap::new(), BTreeSet::new());
        for offer in offers() {
            let (node, own) = (offer.peer.node, offences(&offer.peer.node));
            if own == 0 {
                continue;
            }
            let mut needed = (wanted.start()..wanted.end())
                .filter(|block| offer.blocks.contains(*block) && least[*block as usize] == Some(own));
            let first = needed.next();
            let last = needed.next_back().or(first);
            match first.zip(last).and_then(|(first, last)| BlockRange::new(first, last + 1).ok()) {
                Some(span) => _ = spans.insert(node, span),
                None => _ = idle.insert(node),
            }
        }
        (self.network.with_spans(&spans), idle)
    }

    /// The chain with every hole filled by machines that are neither suspects nor already in this session, and which of its stages
    /// are new; nothing if a hole cannot be filled or no stage would stay.
    pub(super) fn patched_chain(&self) -> Option<(Vec<Stage>, Vec<Link>)> {
        let stays = |at: usize| self.links[at].settled && !self.links[at].lost;
        let mut avoid: BTreeSet<NodeId> = self.suspects.keys().chain(&self.closed).copied().collect();
        avoid.extend((0..self.route.len()).filter(|at| stays(*at)).map(|at| self.route[at].peer.node));
        let (mut chain, mut links) = (Vec::new(), Vec::new());
        let mut at = 0;
        while at < self.route.len() {
            if stays(at) {
                chain.push(self.route[at].clone());
                links.push(self.links[at]);
                at += 1;
                continue;
            }
            let start = self.route[at].blocks.start();
            while at + 1 < self.route.len() && !stays(at + 1) {
                at += 1;
            }
            let hole = BlockRange::new(start, self.route[at].blocks.end()).ok()?;
            let beside = |stage: Option<&Stage>| stage.map(|stage| stage.peer.node);
            let request = Request {
                before: beside(chain.last()),
                after: beside(self.route.get(at + 1)),
                ..self.request_for(hole, avoid.clone())
            };
            let filling = Self::stages(&self.network, request).ok()?;
            avoid.extend(filling.iter().map(|stage| stage.peer.node));
            links.resize(links.len() + filling.len(), Link::default());
            chain.extend(filling);
            at += 1;
        }
        links.iter().any(|link| link.settled).then_some((chain, links))
    }

    /// Chooses among equal chains; another for each request and each try.
    fn salt(&self) -> u64 {
        let hash = self.derive(b"salt", self.epoch);
        u64::from_le_bytes([hash[0], hash[1], hash[2], hash[3], hash[4], hash[5], hash[6], hash[7]])
    }

    /// Bytes that only this gateway can know, one value for each purpose, attempt and epoch.
    pub(super) fn derive(&self, purpose: &[u8], epoch: u32) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.config.id_seed);
        hasher.update(purpose).update(&self.attempt.to_le_bytes()).update(&epoch.to_le_bytes());
        *hasher.finalize().as_bytes()
    }
}
