//! Finding who serves a model.

use crate::message::{Message, Near};
use crate::shard::{Shard, depth_for, rank, volunteer_key};
use crate::{Contact, Effect};
use skep_types::offer::Offer;
use skep_types::signed::Signed;
use skep_types::{BlockRange, ModelId, NodeId};
use std::collections::BTreeMap;

/// How long the second answer is waited for when the first is there, and how long the first before others are asked.
const PATIENCE_MS: u64 = 500;
/// How long a search lasts at most.
const SEARCH_MS_MAX: u64 = 10_000;
/// How long a search that has what it needs looks elsewhere for better.
const BETTER_MS: u64 = 400;
/// Directories that are asked at once, out of three.
const ASKED: usize = 2;

/// What is looked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question {
    pub blocks: BlockRange,
    pub salt: u64,
    pub near: Near,
}

/// A question for the offers of some blocks.
#[derive(Debug)]
pub(crate) struct Search {
    pub ticket: u64,
    shard: Shard,
    question: Question,
    /// Asked who keeps the shard, and how many have answered.
    guides: Vec<NodeId>,
    guided: usize,
    /// Directories of the shard, the highest first.
    directories: Vec<Contact>,
    asked: Vec<NodeId>,
    answered: Vec<NodeId>,
    offers: BTreeMap<NodeId, Signed<Offer>>,
    servers: u32,
    next_ms: u64,
    end_ms: u64,
    /// Where it looks next: a search that knew nothing begins with the sample, one that finds too little ends there.
    elsewhere: Elsewhere,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Elsewhere {
    /// In the shard of the model's depth in which this point lies, if the model has that many servers.
    Deeper { point: u64 },
    /// In the sample.
    Sample,
    /// Nowhere.
    No,
}

/// What a search came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub offers: Vec<Signed<Offer>>,
    pub servers: u32,
}

impl Search {
    /// `servers` is how many the model is known to have, and 0 if nothing is known.
    pub fn new(ticket: u64, model: ModelId, servers: u32, question: Question, now_ms: u64) -> Self {
        let point = rank(question.salt, ticket);
        let shard = Shard::at(model, depth_for(servers, 0), point);
        let elsewhere = match (servers, shard.depth) {
            (0, _) => Elsewhere::Deeper { point },
            (_, 0) => Elsewhere::No,
            _ => Elsewhere::Sample,
        };
        Self {
            ticket,
            shard,
            question,
            guides: Vec::new(),
            guided: 0,
            directories: Vec::new(),
            asked: Vec::new(),
            answered: Vec::new(),
            offers: BTreeMap::new(),
            servers: 0,
            next_ms: now_ms,
            end_ms: now_ms + SEARCH_MS_MAX,
            elsewhere,
        }
    }

    pub fn wake_ms(&self) -> u64 {
        self.next_ms.min(self.end_ms)
    }

    pub fn model(&self) -> ModelId {
        self.shard.model
    }

    /// Whether this node was asked for this.
    pub fn is_asked(&self, shard: &Shard, node: &NodeId) -> bool {
        *shard == self.shard && self.asked.contains(node)
    }

    /// Directories that it has heard of.
    pub fn directories(&self) -> &[Contact] {
        &self.directories
    }

    /// Does what is due; says when it is over.
    pub fn tick(&mut self, now_ms: u64, contacts: &[NodeId], effects: &mut Vec<Effect>) -> bool {
        if now_ms >= self.end_ms {
            return true;
        }
        if now_ms < self.next_ms {
            return false;
        }
        self.next_ms = now_ms + PATIENCE_MS;
        if self.directories.is_empty() {
            // When all were asked in vain, they are asked again.
            if !self.ask_guides(contacts, effects) {
                self.guides.clear();
            }
            return false;
        }
        // Somebody is silent, or omits. One answer will do if nobody is left to be asked.
        let left = self.directories.iter().any(|contact| !self.asked.contains(&contact.node));
        if !left {
            // The guides may have named liars only.
            let more = !self.is_covered() && self.ask_guides(contacts, effects);
            let over = !more && (!self.answered.is_empty() || now_ms + PATIENCE_MS >= self.end_ms);
            return over && !self.goes_on(now_ms, effects);
        }
        let wanted = if self.asked.is_empty() { ASKED } else { 1 };
        self.find(wanted, effects);
        false
    }

    /// Verified volunteers; says whether they answer this search.
    pub fn there(
        &mut self,
        now_ms: u64,
        from: NodeId,
        shard: &Shard,
        volunteers: &[Contact],
        effects: &mut Vec<Effect>,
    ) {
        if *shard != self.shard || !self.guides.contains(&from) {
            return;
        }
        self.guided += 1;
        for contact in volunteers {
            if self.directories.iter().all(|known| known.node != contact.node) {
                self.directories.push(contact.clone());
            }
        }
        let key = shard.key();
        self.directories.sort_by_key(|contact| std::cmp::Reverse(rank(key, volunteer_key(&contact.node))));
        if self.asked.is_empty() && !self.directories.is_empty() && self.guided >= self.guides.len().min(ASKED) {
            self.find(ASKED, effects);
            self.next_ms = now_ms + PATIENCE_MS;
        }
    }

    /// Verified offers; says whether the search is over.
    pub fn found(
        &mut self,
        now_ms: u64,
        from: NodeId,
        shard: &Shard,
        servers: u32,
        offers: Vec<Signed<Offer>>,
        effects: &mut Vec<Effect>,
    ) -> bool {
        if *shard != self.shard || !self.asked.contains(&from) || self.answered.contains(&from) {
            return false;
        }
        self.answered.push(from);
        self.servers = self.servers.max(servers);
        for offer in offers {
            let node = offer.statement.node;
            if self.offers.get(&node).is_none_or(|known| offer.replaces(known).is_ok()) {
                self.offers.insert(node, offer);
            }
        }
        // Two that cover everything will do; else the third is asked when patience ends.
        self.answered.len() >= ASKED && self.is_covered() && !self.goes_on(now_ms, effects)
    }

    /// Looks elsewhere, if there is such a place; those who have answered say who keeps it.
    fn goes_on(&mut self, now_ms: u64, effects: &mut Vec<Effect>) -> bool {
        let next = match self.elsewhere {
            Elsewhere::Deeper { point } => Shard::at(self.shard.model, depth_for(self.servers, 0), point),
            Elsewhere::Sample if !self.is_covered() => Shard::at(self.shard.model, 0, 0),
            _ => self.shard,
        };
        self.elsewhere = Elsewhere::No;
        if next == self.shard {
            return false;
        }
        self.shard = next;
        self.guided = 0;
        self.directories.clear();
        self.asked.clear();
        self.guides = std::mem::take(&mut self.answered);
        for to in self.guides.clone() {
            effects.push(Effect::Send { to, message: Message::Who { shard: next } });
        }
        self.next_ms = now_ms + PATIENCE_MS;
        if self.is_covered() {
            self.end_ms = self.end_ms.min(now_ms + BETTER_MS);
        }
        true
    }

    pub fn finish(self) -> Outcome {
        Outcome { offers: self.offers.into_values().collect(), servers: self.servers }
    }

    /// Asks two more nodes who keeps the shard; says whether there was one to ask.
    fn ask_guides(&mut self, contacts: &[NodeId], effects: &mut Vec<Effect>) -> bool {
        let fresh: Vec<NodeId> =
            contacts.iter().copied().filter(|node| !self.guides.contains(node)).take(ASKED).collect();
        for to in &fresh {
            self.guides.push(*to);
            effects.push(Effect::Send { to: *to, message: Message::Who { shard: self.shard } });
        }
        !fresh.is_empty()
    }

    fn find(&mut self, count: usize, effects: &mut Vec<Effect>) {
        let fresh = self.directories.iter().map(|contact| contact.node).filter(|node| !self.asked.contains(node));
        let fresh: Vec<NodeId> = fresh.take(count).collect();
        for to in fresh {
            self.asked.push(to);
            let Question { blocks, salt, near } = self.question;
            let salt = rank(salt, self.asked.len() as u64);
            let message = Message::Find { shard: self.shard, blocks, salt, near };
            effects.push(Effect::Send { to, message });
        }
    }

    fn is_covered(&self) -> bool {
        let held = |block| self.offers.values().any(|offer| offer.statement.terms.blocks.contains(block));
        (self.question.blocks.start()..self.question.blocks.end()).all(held)
    }
}
