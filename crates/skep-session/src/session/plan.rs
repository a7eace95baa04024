//! Chains in the presence of suspects (rules 3 and 6).

use super::Session;
use skep_plan::{NoRoute, Offer, Stage, route};
use skep_types::{BlockRange, NodeId};
use std::{collections::BTreeSet, time::Duration};

/// The pause after a first offence; it doubles with every further one.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(800);

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
    /// Only suspects hold this block; one may be asked again at that time.
    Later(Duration, u32),
    /// Nobody holds this block.
    Nobody(u32),
}

impl Session {
    /// A chain over all blocks: without suspects if that is possible, else with those that did the least.
    pub(super) fn whole_chain(&self, now: Duration) -> Chain {
        let Ok(wanted) = BlockRange::new(0, self.config.n_blocks) else { return Chain::Nobody(0) };
        let suspects: BTreeSet<NodeId> = self.suspects.keys().copied().collect();
        let gap = match route(&self.offers, wanted, &suspects, self.salt()) {
            Ok(chain) => return Chain::Now(chain),
            Err(NoRoute { block }) => block,
        };
        let nobody = BTreeSet::new();
        let chain = route(&self.with_least_suspects(wanted), wanted, &nobody, self.salt())
            .or_else(|_| route(&self.offers, wanted, &nobody, self.salt()));
        match chain {
            Err(NoRoute { block }) => Chain::Nobody(block),
            Ok(chain) => {
                let ripe = chain.iter().filter_map(|stage| self.suspects.get(&stage.peer.node)).map(Health::ripe).max();
                match ripe.filter(|ripe| *ripe > now) {
                    Some(ripe) => Chain::Later(ripe, gap),
                    None => Chain::Now(chain),
                }
            }
        }
    }

    /// All clean offers, and of each suspect's offer the part that no clean machine holds, if no other suspect did less.
    fn with_least_suspects(&self, wanted: BlockRange) -> Vec<Offer> {
        let offences = |offer: &Offer| self.suspects.get(&offer.peer.node).map_or(0, |health| health.offences);
        let least = |block: u32| self.offers.iter().filter(|o| o.blocks.contains(block)).map(offences).min();
        let trimmed = |offer: &Offer| {
            let own = (wanted.start()..wanted.end()).filter(|block| offer.blocks.contains(*block));
            let mut needed = own.filter(|block| least(*block) == Some(offences(offer)));
            let first = needed.next()?;
            let last = needed.next_back().unwrap_or(first);
            Some(Offer { peer: offer.peer.clone(), blocks: BlockRange::new(first, last + 1).ok()? })
        };
        let keep = |offer: &Offer| if offences(offer) == 0 { Some(offer.clone()) } else { trimmed(offer) };
        self.offers.iter().filter_map(keep).collect()
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
            let filling = route(&self.offers, hole, &avoid, self.salt()).ok()?;
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
