//! Publishing what the node serves.

use crate::message::{Message, Refusal};
use crate::shard::{Shard, depth_for, rank, volunteer_key};
use crate::{COPIES, Contact, Effect, FAILED_MS, PUBLISH_MS};
use skep_types::NodeId;
use skep_types::offer::{OFFER_LIFETIME_S, Offer, Terms};
use skep_types::signed::{Keys, Signed};

/// How long an answer is waited for: two round trips around the world and a busy machine.
pub(crate) const ANSWER_MS: u64 = 3_000;
/// While a shard has too few directories, it is asked for again after this long, then after twice as long and so on.
const ASK_MS_MIN: u64 = 2_000;
/// A shard's directories are looked up this often, for they change.
const ASK_MS_MAX: u64 = 120_000;
/// A node that was crowded out of the sample tries again after this long.
const SAMPLE_MS: u64 = 600_000;
/// Nodes that are asked at once who keeps a shard.
const ASKED: usize = 2;
/// Directories that are passed over, at most.
const FAILED_MAX: usize = 8;

#[derive(Debug, Clone)]
struct Target {
    contact: Contact,
    sent_ms: u64,
    /// Sent and not answered.
    tries: u8,
}

/// A shard that the node publishes in.
#[derive(Debug, Clone)]
struct Place {
    shard: Shard,
    targets: Vec<Target>,
    ask_ms: u64,
    ask_every_ms: u64,
    /// How many of the contacts were asked: the next ones are next.
    asked: usize,
    /// Directories that did not answer or do not keep the shard, and until when they are passed over.
    failed: Vec<(NodeId, u64)>,
}

/// The offer of one node, on its way to the directories.
#[derive(Debug)]
pub(crate) struct Service {
    pub terms: Terms,
    me: Contact,
    point: u64,
    seq: u64,
    publish_ms: u64,
    /// When the sample is tried again; it stands first in `places` if the node is in it or about to try.
    sample_ms: u64,
    depth: u8,
    places: Vec<Place>,
    /// How many servers the model has, as the last directories said.
    servers: [u32; COPIES],
}

impl Service {
    pub fn new(terms: Terms, me: Contact, now_ms: u64) -> Self {
        let point = Shard::point(&terms.model, &me.node);
        let places = vec![Place::new(Shard::at(terms.model, 0, point), now_ms)];
        let (publish_ms, sample_ms) = (now_ms + PUBLISH_MS, now_ms + SAMPLE_MS);
        Self { terms, me, point, seq: 0, publish_ms, sample_ms, depth: 0, places, servers: [0; COPIES] }
    }

    pub fn wake_ms(&self) -> u64 {
        let places = self.places.iter().map(Place::wake_ms).min().unwrap_or(u64::MAX);
        places.min(self.publish_ms).min(self.sample_ms)
    }

    /// The directories that it publishes at.
    pub fn targets(&self) -> impl Iterator<Item = &Contact> {
        self.places.iter().flat_map(|place| &place.targets).map(|target| &target.contact)
    }

    /// Whether some directory has confirmed the offer and none of its places is without one.
    pub fn is_published(&self) -> bool {
        self.places.iter().all(|place| place.targets.iter().any(|target| target.tries == 0))
    }

    pub fn tick(&mut self, now_ms: u64, contacts: &[NodeId], keys: &impl Keys, effects: &mut Vec<Effect>) {
        if now_ms >= self.sample_ms {
            self.sample_ms = now_ms + SAMPLE_MS;
            if self.places.iter().all(|place| place.shard.depth > 0) {
                self.places.insert(0, Place::new(Shard::at(self.terms.model, 0, self.point), now_ms));
            }
        }
        let renew = now_ms >= self.publish_ms;
        if renew {
            self.publish_ms = now_ms + PUBLISH_MS;
        }
        let offer = self.offer(now_ms, keys);
        for place in &mut self.places {
            place.give_up(now_ms);
            place.ask(now_ms, contacts, effects);
            let late = |target: &Target| target.tries > 0 && now_ms >= target.sent_ms + ANSWER_MS;
            for target in place.targets.iter_mut().filter(|target| renew || late(target)) {
                effects.extend(offer.as_ref().map(|offer| target.send(place.shard.depth, offer, now_ms)));
            }
        }
    }

    /// Takes the directories of a shard up, whose records are verified. A target that does not name itself keeps the shard no more.
    pub fn there(
        &mut self,
        now_ms: u64,
        from: NodeId,
        shard: &Shard,
        volunteers: &[Contact],
        keys: &impl Keys,
        effects: &mut Vec<Effect>,
    ) {
        let offer = self.offer(now_ms, keys);
        let Some(place) = self.places.iter_mut().find(|place| place.shard == *shard) else { return };
        let had = place.targets.iter().any(|target| target.contact.node == from);
        if had && volunteers.iter().all(|contact| contact.node != from) {
            place.pass_over(from, now_ms);
        }
        for contact in volunteers {
            let failed = place.failed.iter().any(|(node, until)| *node == contact.node && *until > now_ms);
            if !failed && place.targets.iter().all(|target| target.contact.node != contact.node) {
                place.targets.push(Target { contact: contact.clone(), sent_ms: 0, tries: 0 });
            }
        }
        let key = shard.key();
        place.targets.sort_by_key(|target| std::cmp::Reverse(rank(key, volunteer_key(&target.contact.node))));
        place.targets.truncate(COPIES);
        if had && place.targets.is_empty() {
            place.fail(from, now_ms);
        }
        for target in place.targets.iter_mut().filter(|target| target.sent_ms == 0) {
            effects.extend(offer.as_ref().map(|offer| target.send(shard.depth, offer, now_ms)));
        }
    }

    /// An answer to the offer.
    pub fn answered(&mut self, now_ms: u64, from: NodeId, shard: &Shard, refusal: Option<&Refusal>, servers: u32) {
        let Some(at) = self.places.iter().position(|place| place.shard == *shard) else { return };
        let Some(target) = self.places[at].targets.iter_mut().find(|target| target.contact.node == from) else {
            return;
        };
        target.tries = 0;
        self.servers.rotate_right(1);
        self.servers[0] = servers;
        let crowded = refusal == Some(&Refusal::Crowded);
        let mut seen = self.servers;
        seen.sort_unstable();
        let known = seen.iter().filter(|servers| **servers > 0).count();
        if known > 0 {
            let median = seen[COPIES - 1 - (known - 1) / 2];
            self.depth = depth_for(median, self.depth);
        }
        if refusal.is_some() && !crowded {
            self.places[at].fail(from, now_ms);
        }
        // One directory that says that it is full is not believed alone.
        let sample = shard.depth == 0 && self.depth > 0;
        if crowded && (sample || shard.depth != self.depth) {
            self.places.remove(at);
        }
        self.places.retain(|place| place.shard.depth == 0 || place.shard.depth == self.depth);
        let shard = Shard::at(self.terms.model, self.depth, self.point);
        if self.places.iter().all(|place| place.shard != shard) {
            self.places.push(Place::new(shard, now_ms));
        }
    }

    /// What ends the service.
    pub fn leave(&self) -> impl Iterator<Item = Effect> {
        let model = self.terms.model;
        self.targets().map(move |target| Effect::Send { to: target.node, message: Message::Leave { model } })
    }

    fn offer(&mut self, now_ms: u64, keys: &impl Keys) -> Option<Box<Signed<Offer>>> {
        self.seq = now_ms.max(self.seq + 1);
        let statement = Offer {
            node: self.me.node,
            seq: self.seq,
            expires: now_ms / 1000 + OFFER_LIFETIME_S,
            terms: self.terms.clone(),
            addrs: self.me.addrs.clone(),
        };
        Signed::sign(statement, keys).ok().map(Box::new)
    }
}

impl Target {
    fn send(&mut self, depth: u8, offer: &Signed<Offer>, now_ms: u64) -> Effect {
        self.sent_ms = now_ms;
        self.tries += 1;
        Effect::Send { to: self.contact.node, message: Message::Publish { depth, offer: Box::new(offer.clone()) } }
    }
}

impl Place {
    fn new(shard: Shard, now_ms: u64) -> Self {
        Self { shard, targets: Vec::new(), ask_ms: now_ms, ask_every_ms: ASK_MS_MIN, asked: 0, failed: Vec::new() }
    }

    fn wake_ms(&self) -> u64 {
        let waiting = self.targets.iter().filter(|target| target.tries > 0);
        waiting.map(|target| target.sent_ms + ANSWER_MS).min().unwrap_or(u64::MAX).min(self.ask_ms)
    }

    /// Asks two nodes who keeps the shard: its directories, else contacts in turn, of which some may be gone or know nothing.
    fn ask(&mut self, now_ms: u64, contacts: &[NodeId], effects: &mut Vec<Effect>) {
        if now_ms < self.ask_ms {
            return;
        }
        self.ask_ms = now_ms + self.ask_every_ms;
        self.ask_every_ms =
            if self.targets.len() >= COPIES { ASK_MS_MAX } else { (2 * self.ask_every_ms).min(ASK_MS_MAX) };
        let mut asked: Vec<NodeId> = self.targets.iter().take(ASKED).map(|target| target.contact.node).collect();
        let from = self.asked;
        for at in from..from + contacts.len() {
            if asked.len() == ASKED {
                break;
            }
            self.asked = at + 1;
            let to = contacts[at % contacts.len()];
            if !asked.contains(&to) {
                asked.push(to);
            }
        }
        effects.extend(asked.into_iter().map(|to| Effect::Send { to, message: Message::Who { shard: self.shard } }));
    }

    /// Passes over those that have not answered twice.
    fn give_up(&mut self, now_ms: u64) {
        let dead = |target: &&Target| target.tries >= 2 && now_ms >= target.sent_ms + ANSWER_MS;
        let dead: Vec<NodeId> = self.targets.iter().filter(dead).map(|target| target.contact.node).collect();
        dead.into_iter().for_each(|node| self.fail(node, now_ms));
    }

    fn fail(&mut self, node: NodeId, now_ms: u64) {
        self.pass_over(node, now_ms);
        self.ask_every_ms = ASK_MS_MIN;
        self.ask_ms = self.ask_ms.min(now_ms);
    }

    /// Unlike [`Self::fail`] this asks nobody: the node itself has just named others.
    fn pass_over(&mut self, node: NodeId, now_ms: u64) {
        self.targets.retain(|target| target.contact.node != node);
        self.failed.retain(|(known, until)| *until > now_ms && *known != node);
        if self.failed.len() >= FAILED_MAX {
            self.failed.remove(0);
        }
        self.failed.push((node, now_ms + FAILED_MS));
    }
}
