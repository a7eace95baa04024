//! A node in the role of a directory.

use crate::message::{Message, PAGE_RECORDS, Refusal, THERE_MAX};
use crate::pace::Pace;
use crate::roll::Roll;
use crate::shard::{Shard, below, rank, volunteer_key};
use crate::shelf::{Change, Shelf};
use crate::{Effect, OFFERS_PER_NODE, PAGE_MS, PUBLISH_MS, RENEW_MS, SHELVES_MAX};
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
/// How long a newcomer waits for a page before it asks another volunteer.
const PAGE_WAIT_MS: u64 = 2_000;

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
    page_ms: u64,
    /// Who was asked for a page and from where, and the node from which all are read without a break.
    paging: Option<(NodeId, NodeId)>,
    complete: bool,
    size: u32,
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
            page_ms: now_ms,
            paging: None,
            complete: false,
            size,
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

    /// Offers in the network, as far as it can tell.
    pub fn size(&self) -> u32 {
        self.size
    }

    /// When it wants to be woken.
    pub(crate) fn wake_ms(&self) -> u64 {
        self.renew_ms.min(self.tidy_ms).min(self.page_ms)
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
        if now_ms >= self.page_ms {
            self.read_page(now_ms, contacts, effects);
        }
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
            Message::Roll { after } => Some(Message::Page { records: self.roll.page(&after, PAGE_RECORDS) }),
            Message::Page { records } => {
                self.page(now_ms, from, records, keys, effects);
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
        if !self.shelves.contains_key(&shard) {
            // One of the three may have died unnoticed: the fourth takes its place. Those that step down have none.
            let stay = |volunteer: &Volunteer| volunteer.expires > now_ms / 1000 + LEAVING_S;
            let volunteers = self.roll.highest_of(&shard, THERE_MAX, stay);
            if volunteers.iter().all(|volunteer| volunteer.statement.node != self.me) {
                return self.there(shard);
            }
            if self.shelves.len() >= SHELVES_MAX {
                return refused(Refusal::NoRoom, 0);
            }
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
        // A shard that has become another's is left to run dry: its publishers are told when they ask who keeps it.
        self.shelves.retain(|_, shelf| shelf.len() > 0);
        self.roll.drop_expired(now_ms / 1000);
        self.pace.tidy(now_ms);
        // It rises at once and falls slowly: a directory that has just started, or lost sight of others, must not call for
        // more directories.
        self.size = self.roll.size().max(self.size - self.size.div_ceil(16));
    }

    /// Signs a new record and tells it to all; the one by which it steps down replaces the last one and soon ends.
    fn renew(&mut self, now_ms: u64, keys: &impl Keys, effects: &mut Vec<Effect>) {
        let statement = Volunteer {
            node: self.me,
            seq: now_ms,
            expires: now_ms / 1000 + if self.retired { LEAVING_S } else { VOLUNTEER_LIFETIME_S },
            held: u32::try_from(self.held()).unwrap_or(u32::MAX),
            addrs: self.addrs.clone(),
        };
        if let Ok(record) = Signed::sign(statement, keys) {
            self.announce(&record, effects);
            if self.retired {
                self.roll.remove(&self.me);
            } else {
                self.roll.insert(record);
            }
        }
    }

    fn announce(&self, record: &Signed<Volunteer>, effects: &mut Vec<Effect>) {
        let others = self.roll.records().map(|other| other.statement.node).filter(|node| *node != self.me);
        effects.extend(others.map(|to| Effect::Send { to, message: Message::Here { record: record.clone() } }));
    }

    fn read_page(&mut self, now_ms: u64, contacts: &[NodeId], effects: &mut Vec<Effect>) {
        let (_, after) = self.paging.unwrap_or((self.me, NodeId([0; 32])));
        // Another one each time, by a rank that the clock changes.
        let others = self.roll.records().map(|other| other.statement.node).chain(contacts.iter().copied());
        let turn = |node: &NodeId| rank(now_ms / 1000, volunteer_key(node));
        let asked = others.filter(|node| *node != self.me).max_by_key(turn);
        let Some(to) = asked else {
            self.complete = true;
            self.page_ms = now_ms + PAGE_MS;
            return;
        };
        self.page_ms = now_ms + if self.complete { PAGE_MS } else { PAGE_WAIT_MS };
        self.paging = Some((to, after));
        effects.push(Effect::Send { to, message: Message::Roll { after } });
    }

    fn page(
        &mut self,
        now_ms: u64,
        from: NodeId,
        records: Vec<Signed<Volunteer>>,
        keys: &impl Keys,
        effects: &mut Vec<Effect>,
    ) {
        let Some((_, after)) = self.paging.filter(|(asked, _)| *asked == from) else { return };
        let last = records.last().map(|record| record.statement.node).filter(|last| *last > after);
        let more = last.filter(|_| records.len() == PAGE_RECORDS);
        for record in records {
            _ = self.take(now_ms, record, keys);
        }
        self.size = self.roll.size().max(self.size);
        self.paging = more.map(|after| (from, after));
        if self.complete {
            return;
        }
        match more {
            Some(after) => {
                self.page_ms = now_ms + PAGE_WAIT_MS;
                effects.push(Effect::Send { to: from, message: Message::Roll { after } });
            }
            None => {
                // The newcomer knows all: now all get to know it.
                self.complete = true;
                self.page_ms = now_ms + PAGE_MS;
                if let Some(record) = self.roll.get(&self.me).cloned() {
                    self.announce(&record, effects);
                }
            }
        }
    }

    /// Takes a volunteer's record up if it is new, holds, and the node is eligible.
    fn take(&mut self, now_ms: u64, record: Signed<Volunteer>, keys: &impl Keys) -> bool {
        let node = record.statement.node;
        let new = node != self.me && self.roll.is_news(&record).is_ok();
        let eligible = below(volunteer_key(&node), self.size, REFUSED_SLACK);
        let holds = new && eligible && record.verify(now_ms / 1000, keys).is_ok();
        if holds {
            self.roll.insert(record);
        }
        holds
    }
}

fn forget(kept: &mut BTreeMap<NodeId, u8>, node: NodeId) {
    if let Some(count) = kept.get_mut(&node) {
        *count -= 1;
        if *count == 0 {
            kept.remove(&node);
        }
    }
}
