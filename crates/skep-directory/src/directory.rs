//! A node in the role of a directory.

use crate::gossip::Gossip;
use crate::message::{MARKS_MAX, Message, Refusal, THERE_MAX};
use crate::pace::Pace;
use crate::roll::Roll;
use crate::shard::{Shard, below, volunteer_key};
use crate::shelf::{Change, Shelf};
use crate::{Effect, OFFERS_PER_NODE, PUBLISH_MS, RENEW_MS, SHELVES_MAX};
use skep_types::offer::{OFFER_LIFETIME_S, Offer, VOLUNTEER_LIFETIME_S, Volunteer};
use skep_types::signed::{Keys, Signed};
use skep_types::{ModelId, NodeId};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// A volunteer is refused at so many times the share of nodes that should be one: those who judge may see different sizes.
const REFUSED_SLACK: u32 = 4;
/// How long the last record of a directory that steps down holds: so long it still has all offers of its shards.
const LEAVING_S: u64 = OFFER_LIFETIME_S - PUBLISH_MS / 1000;
/// An idle volunteer's list is cleared of the expired this often.
const TIDY_MS: u64 = 10_000;

/// What a directory keeps.
#[derive(Debug)]
pub struct Directory {
    me: NodeId,
    addrs: Vec<SocketAddr>,
    shelves: BTreeMap<Shard, Shelf>,
    /// Offers per node.
    kept: BTreeMap<NodeId, u8>,
    roll: Roll,
    pace: Pace,
    renew_ms: u64,
    tidy_ms: u64,
    gossip: Gossip,
    /// Others were told of it.
    greeted: bool,
    size: u32,
    /// Until then it takes the network for as large as it was told: nobody has said yet how many offers it keeps.
    firm_ms: u64,
    /// Takes no offers, but goes on to say who keeps what: many nodes know it.
    retired: bool,
}

impl Directory {
    /// A directory that knows nobody yet. `size` is what the node has been told of the network's size.
    pub fn new(me: NodeId, addrs: Vec<SocketAddr>, size: u32, now_ms: u64) -> Self {
        Self {
            me,
            addrs,
            shelves: BTreeMap::new(),
            kept: BTreeMap::new(),
            roll: Roll::default(),
            pace: Pace::default(),
            renew_ms: now_ms,
            tidy_ms: now_ms,
            gossip: Gossip::new(me, now_ms),
            greeted: false,
            size,
            firm_ms: now_ms + 2 * RENEW_MS,
            retired: false,
        }
    }

    /// Whether it has stepped down.
    pub(crate) fn is_retired(&self) -> bool {
        self.retired
    }

    /// Steps down or up again; the next tick tells the others.
    pub(crate) fn set_retired(&mut self, now_ms: u64, retired: bool) {
        if self.retired != retired {
            self.retired = retired;
            self.renew_ms = now_ms;
        }
    }

    /// The volunteers it knows; itself included, unless it has stepped down.
    pub fn roll(&self) -> &Roll {
        &self.roll
    }

    /// Offers that it keeps.
    pub fn held(&self) -> usize {
        self.shelves.values().map(Shelf::len).sum()
    }

    fn kept_for_long(&self) -> usize {
        self.shelves.values().filter(|shelf| shelf.was_ours()).map(Shelf::len).sum()
    }

    /// Offers in the network, as far as it can tell.
    pub fn size(&self) -> u32 {
        self.size
    }

    /// When it wants to be woken.
    pub(crate) fn wake_ms(&self) -> u64 {
        self.renew_ms.min(self.tidy_ms).min(self.gossip.wake_ms())
    }

    /// Whether it asks this volunteer what is new.
    pub(crate) fn asks(&self, node: &NodeId) -> bool {
        self.gossip.has(node)
    }

    /// Does what is due. `contacts` are nodes to learn the list from where the own one is empty.
    pub(crate) fn tick(&mut self, now_ms: u64, contacts: &[NodeId], keys: &impl Keys, effects: &mut Vec<Effect>) {
        if now_ms >= self.tidy_ms {
            self.tidy_ms = now_ms + TIDY_MS;
            self.tidy(now_ms);
        }
        if now_ms >= self.renew_ms {
            self.renew(now_ms, keys, effects);
            self.renew_ms = if self.retired { u64::MAX } else { now_ms + RENEW_MS };
        }
        if now_ms >= self.gossip.wake_ms() {
            let drawn = self.gossip.tick(now_ms, &self.roll, contacts, keys, effects);
            if let Some(record) = self.roll.get(&self.me).filter(|_| self.greeted) {
                greet(record, drawn.into_iter(), effects);
            }
        }
        self.greet_once(effects);
    }

    /// Answers a message; those that it does not understand or that come too fast are dropped.
    pub(crate) fn receive(
        &mut self,
        now_ms: u64,
        from: NodeId,
        message: Message,
        keys: &impl Keys,
        effects: &mut Vec<Effect>,
    ) {
        if from != self.me && !self.pace.allows(from, now_ms) {
            return;
        }
        let reply = match message {
            Message::Who { shard } => Some(self.there(shard)),
            Message::Publish { depth, offer } => Some(self.publish(now_ms, from, depth, *offer, keys)),
            Message::Leave { model } => {
                self.leave(from, model);
                None
            }
            Message::Find { shard, blocks, salt, near } => {
                let shelf = self.shelves.get_mut(&shard);
                let offers =
                    shelf.as_ref().map_or_else(Vec::new, |shelf| shelf.find(blocks, salt, &near, now_ms / 1000));
                let servers = shelf.map_or(0, |shelf| shelf.servers(&shard, now_ms));
                Some(Message::Found { shard, servers, size: self.size, offers })
            }
            Message::Here { record } => {
                // Who is new here has not heard of this directory either.
                let new = self.roll.get(&from).is_none();
                let taken = record.statement.node == from && self.take(now_ms, record, keys);
                let mine = self.roll.get(&self.me).filter(|_| taken && new);
                mine.map(|record| Message::Here { record: record.clone() })
            }
            Message::Look { shard } => {
                let spans = self.shelves.get(&shard).map_or_else(Vec::new, Shelf::spans);
                Some(Message::Spans { shard, spans })
            }
            Message::Roll { since } => {
                let (until, marks) = self.roll.since(since, MARKS_MAX);
                Some(Message::Marks { until, marks })
            }
            Message::Marks { until, marks } => {
                let size = self.size;
                let fits = |key| below(key, size, REFUSED_SLACK);
                self.gossip.marks(now_ms, from, (until, marks), &self.roll, fits, effects);
                self.greet_once(effects);
                None
            }
            Message::Want { keys } => Some(Message::Page { records: self.roll.of(&keys) }),
            Message::Page { records } => {
                if self.gossip.awaits_page(&from) {
                    records.into_iter().for_each(|record| _ = self.take(now_ms, record, keys));
                    self.size = self.roll.size().max(self.size);
                    self.gossip.go_on(now_ms, &from, &self.roll, effects);
                    self.greet_once(effects);
                }
                None
            }
            _ => None,
        };
        effects.extend(reply.map(|message| Effect::Send { to: from, message }));
    }

    fn there(&self, shard: Shard) -> Message {
        let volunteers = self.roll.highest(&shard, THERE_MAX).into_iter().cloned().collect();
        Message::There { shard, volunteers, size: self.size }
    }

    fn publish(&mut self, now_ms: u64, from: NodeId, depth: u8, offer: Signed<Offer>, keys: &impl Keys) -> Message {
        let model = offer.statement.terms.model;
        let point = Shard::point(&model, &from);
        let shard = Shard::at(model, depth, point);
        let refused = |reason, servers| Message::Refused { shard, reason, servers };
        if offer.statement.node != from {
            return refused(Refusal::NotYours, 0);
        }
        if self.retired {
            return self.there(shard);
        }
        // One of the three may have died unnoticed: the fourth takes its place. Those that step down have none.
        let stay = |volunteer: &Volunteer| volunteer.expires > now_ms / 1000 + LEAVING_S;
        let mine = || {
            let keepers = self.roll.highest_of(&shard, THERE_MAX, stay);
            keepers.iter().any(|volunteer| volunteer.statement.node == self.me)
        };
        let shelf = self.shelves.get_mut(&shard);
        let known = shelf.is_some();
        if !shelf.map_or_else(mine, |shelf| shelf.is_ours(now_ms, mine)) {
            return self.there(shard);
        }
        if !known && self.shelves.len() >= SHELVES_MAX {
            return refused(Refusal::NoRoom, 0);
        }
        let kept = self.kept.get(&from).copied().unwrap_or(0);
        let shelf = self.shelves.entry(shard).or_insert_with(|| Shelf::new(now_ms));
        if kept >= OFFERS_PER_NODE && !shelf.has(point, from) {
            let servers = shelf.servers(&shard, now_ms);
            return refused(Refusal::TooMany, servers);
        }
        let change = shelf.insert(point, offer, now_ms / 1000, keys);
        let servers = shelf.servers(&shard, now_ms);
        let slowest = shelf.slowest(now_ms);
        if shelf.len() == 0 {
            self.shelves.remove(&shard);
        }
        match change {
            Err(reason) => return refused(reason, servers),
            Ok(Change::Renewed) => {}
            Ok(Change::Added) => *self.kept.entry(from).or_default() += 1,
            Ok(Change::Instead(gone)) => {
                *self.kept.entry(from).or_default() += 1;
                forget(&mut self.kept, gone);
            }
        }
        Message::Kept { shard, servers, size: self.size, slowest }
    }

    fn leave(&mut self, node: NodeId, model: ModelId) {
        let point = Shard::point(&model, &node);
        for (shard, shelf) in &mut self.shelves {
            if shard.model == model && shelf.remove(point, node) {
                forget(&mut self.kept, node);
            }
        }
        self.shelves.retain(|_, shelf| shelf.len() > 0);
    }

    fn tidy(&mut self, now_ms: u64) {
        let kept = &mut self.kept;
        for shelf in self.shelves.values_mut() {
            shelf.drop_expired(now_ms / 1000, |node| forget(kept, node));
        }
        // A shard that has become another's is left to run dry: its publishers are told who keeps it, and searches still find them.
        self.shelves.retain(|_, shelf| shelf.len() > 0);
        self.roll.drop_expired(now_ms / 1000);
        self.pace.tidy(now_ms);
        // It rises at once and falls slowly: a directory that has just started, or lost sight of others, must not call for
        // more directories.
        let least = if now_ms < self.firm_ms { self.size } else { self.size - self.size.div_ceil(16) };
        self.size = self.roll.size().max(least);
    }

    /// Signs a new record and tells it to a few, from whom all hear it; the one by which it steps down replaces the last one and soon ends.
    fn renew(&mut self, now_ms: u64, keys: &impl Keys, effects: &mut Vec<Effect>) {
        let statement = Volunteer {
            node: self.me,
            seq: now_ms,
            expires: now_ms / 1000 + if self.retired { LEAVING_S } else { VOLUNTEER_LIFETIME_S },
            // What others have taken over is not counted twice.
            held: u32::try_from(self.kept_for_long()).unwrap_or(u32::MAX),
            addrs: self.addrs.clone(),
        };
        if let Ok(record) = Signed::sign(statement, keys) {
            if self.gossip.is_settled() {
                greet(&record, self.gossip.partners(), effects);
            }
            if self.retired {
                self.roll.remove(&self.me);
            } else {
                self.roll.insert(now_ms, record);
            }
        }
    }

    /// A newcomer is told of when it knows the others.
    fn greet_once(&mut self, effects: &mut Vec<Effect>) {
        if self.greeted || !self.gossip.is_settled() {
            return;
        }
        self.greeted = true;
        if let Some(record) = self.roll.get(&self.me) {
            greet(record, self.gossip.partners(), effects);
        }
    }

    /// Takes a volunteer's record up if it is new, holds, and the node is eligible.
    fn take(&mut self, now_ms: u64, record: Signed<Volunteer>, keys: &impl Keys) -> bool {
        let node = record.statement.node;
        let new = node != self.me && self.roll.is_news(&record).is_ok();
        let eligible = below(volunteer_key(&node), self.size, REFUSED_SLACK);
        let holds = new && eligible && record.verify(now_ms / 1000, keys).is_ok();
        if holds {
            self.roll.insert(now_ms, record);
        }
        holds
    }
}

fn greet(record: &Signed<Volunteer>, nodes: impl Iterator<Item = NodeId>, effects: &mut Vec<Effect>) {
    let here = |to| Effect::Send { to, message: Message::Here { record: record.clone() } };
    effects.extend(nodes.map(here));
}

fn forget(kept: &mut BTreeMap<NodeId, u8>, node: NodeId) {
    if let Some(count) = kept.get_mut(&node) {
        *count -= 1;
        if *count == 0 {
            kept.remove(&node);
        }
    }
}
