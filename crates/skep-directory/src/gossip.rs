//! How a directory comes to know the other volunteers: it asks a few of them, in turn, what they have heard of.

use crate::Effect;
use crate::message::{MARKS_MAX, Mark, Message, PAGE_RECORDS};
use crate::roll::Roll;
use crate::shard::{rank, volunteer_key};
use skep_types::NodeId;
use skep_types::signed::Keys;

/// Volunteers that a directory asks, and tells that it is one: so many that where one node in five lies or is silent, few have nobody else to
/// ask, and these others in two minutes.
pub(crate) const PARTNERS: usize = 4;
/// How often the one that has been a partner for the longest is let go for another one, so that parts of a network that have few ties
/// soon have others.
const ROTATE_MS: u64 = 30_000;
/// In this time something new comes to all directories: each question doubles the number of those who know it.
const SPREAD_MS: u64 = 24_000;
/// How long a partner is waited for.
const ANSWER_MS: u64 = 3_000;
/// After this time a newcomer no longer waits for the lists that it asked for.
const NEWCOMER_MS: u64 = 10_000;
/// Draws that only the holder of the key can foretell: nobody can make keys that a certain directory will ask.
const SALT_CONTEXT: &[u8] = b"skep partners 1\0";

#[derive(Debug, Clone, PartialEq, Eq)]
enum Awaited {
    Nothing,
    Marks,
    Page(Vec<u64>),
}

#[derive(Debug, Clone)]
struct Partner {
    node: NodeId,
    /// What it has been asked from; it counts what it takes up.
    since: u64,
    /// Its list was read to the end.
    read: bool,
    /// Marked by it and not yet asked for, at most [`MARKS_MAX`].
    wants: Vec<Mark>,
    awaited: Awaited,
    asked_ms: u64,
}

impl Partner {
    fn ask(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        self.awaited = Awaited::Marks;
        self.asked_ms = now_ms;
        effects.push(Effect::Send { to: self.node, message: Message::Roll { since: self.since } });
    }

    fn is_idle(&self) -> bool {
        self.awaited == Awaited::Nothing && self.wants.is_empty()
    }
}

/// The partners, and what is asked of each.
#[derive(Debug)]
pub(crate) struct Gossip {
    me: NodeId,
    partners: Vec<Partner>,
    salt: Option<u64>,
    draws: u64,
    begun_ms: u64,
    next_ms: u64,
    rotate_ms: u64,
    /// Has read what others know, and is told of to others.
    settled: bool,
}

impl Gossip {
    pub fn new(me: NodeId, now_ms: u64) -> Self {
        Self {
            me,
            partners: Vec::new(),
            salt: None,
            draws: 0,
            begun_ms: now_ms,
            next_ms: now_ms,
            rotate_ms: now_ms + ROTATE_MS,
            settled: false,
        }
    }

    pub fn wake_ms(&self) -> u64 {
        self.next_ms
    }

    pub fn partners(&self) -> impl Iterator<Item = NodeId> {
        self.partners.iter().map(|partner| partner.node)
    }

    pub fn has(&self, node: &NodeId) -> bool {
        self.partners.iter().any(|partner| partner.node == *node)
    }

    /// Once true for ever: the directory knows what those who were asked know. It is told to others only then, because
    /// who knows few names the wrong ones.
    pub fn is_settled(&self) -> bool {
        self.settled
    }

    /// Asks the next partner; a newcomer asks all at once. `contacts` are nodes that may keep directories. Returns those that have
    /// become partners now.
    pub fn tick(
        &mut self,
        now_ms: u64,
        roll: &Roll,
        contacts: &[NodeId],
        keys: &impl Keys,
        effects: &mut Vec<Effect>,
    ) -> Vec<NodeId> {
        let silent = |partner: &Partner| partner.awaited != Awaited::Nothing && now_ms >= partner.asked_ms + ANSWER_MS;
        self.partners.retain(|partner| !silent(partner));
        if now_ms >= self.rotate_ms {
            self.rotate_ms = now_ms + ROTATE_MS;
            if roll.len() > PARTNERS + 1 && self.partners.len() == PARTNERS {
                self.partners.remove(0);
            }
        }
        let drawn = self.fill(now_ms, roll, contacts, keys, effects);
        for at in 0..self.partners.len() {
            self.fetch(at, now_ms, roll, effects);
        }
        if let Some(partner) =
            self.partners.iter_mut().filter(|partner| partner.is_idle()).min_by_key(|partner| partner.asked_ms)
        {
            partner.ask(now_ms, effects);
        }
        self.settled |= now_ms >= self.begun_ms + NEWCOMER_MS || self.all_read();
        self.next_ms = now_ms + interval_ms(roll.len());
        drawn
    }

    /// Draws new partners. One that has just been lost may come again, as far as there is no other.
    fn fill(
        &mut self,
        now_ms: u64,
        roll: &Roll,
        contacts: &[NodeId],
        keys: &impl Keys,
        effects: &mut Vec<Effect>,
    ) -> Vec<NodeId> {
        let had = self.partners.len();
        while self.partners.len() < PARTNERS {
            let salt = *self.salt.get_or_insert_with(|| salt(keys));
            self.draws += 1;
            let draw = rank(salt, self.draws);
            let met = contacts.iter().map(|node| (volunteer_key(node), *node));
            let others = roll.nodes().chain(met).filter(|(_, node)| *node != self.me && !self.has(node));
            let Some((_, node)) = others.max_by_key(|(key, _)| rank(draw, *key)) else { break };
            let awaited = Awaited::Nothing;
            let mut partner = Partner { node, since: 0, read: false, wants: Vec::new(), awaited, asked_ms: 0 };
            partner.ask(now_ms, effects);
            self.partners.push(partner);
        }
        self.partners().skip(had).collect()
    }

    /// What a partner has heard of. `fits` says which keys may be those of volunteers.
    pub fn marks(
        &mut self,
        now_ms: u64,
        from: NodeId,
        (until, marks): (u64, Vec<Mark>),
        roll: &Roll,
        fits: impl Fn(u64) -> bool,
        effects: &mut Vec<Effect>,
    ) {
        let asked = |partner: &Partner| partner.node == from && partner.awaited == Awaited::Marks;
        let Some(at) = self.partners.iter().position(asked) else { return };
        let partner = &mut self.partners[at];
        partner.awaited = Awaited::Nothing;
        partner.since = until;
        partner.read |= marks.len() < MARKS_MAX;
        partner.wants = marks.into_iter().filter(|mark| fits(mark.key)).collect();
        self.fetch(at, now_ms, roll, effects);
        self.settled |= self.all_read();
    }

    /// Whether records are awaited from this partner; they are not any more. The caller takes them up, then calls [`Self::go_on`].
    pub fn awaits_page(&mut self, from: &NodeId) -> bool {
        let asked = |partner: &&mut Partner| partner.node == *from && matches!(partner.awaited, Awaited::Page(_));
        let partner = self.partners.iter_mut().find(asked);
        partner.map(|partner| partner.awaited = Awaited::Nothing).is_some()
    }

    /// Asks a partner for more of what it has marked.
    pub fn go_on(&mut self, now_ms: u64, with: &NodeId, roll: &Roll, effects: &mut Vec<Effect>) {
        if let Some(at) = self.partners.iter().position(|partner| partner.node == *with) {
            self.fetch(at, now_ms, roll, effects);
            self.settled |= self.all_read();
        }
    }

    /// Asks for what the roll still lacks and nobody else has been asked for just now. What another one does not deliver is asked of
    /// this one later.
    fn fetch(&mut self, at: usize, now_ms: u64, roll: &Roll, effects: &mut Vec<Effect>) {
        if self.partners[at].awaited != Awaited::Nothing {
            return;
        }
        let coming: Vec<u64> = self.partners.iter().flat_map(|partner| partner.coming()).copied().collect();
        let partner = &mut self.partners[at];
        partner.wants.retain(|mark| roll.lacks(mark));
        let free = partner.wants.iter().map(|mark| mark.key).filter(|key| !coming.contains(key));
        let keys: Vec<u64> = free.take(PAGE_RECORDS).collect();
        if !keys.is_empty() {
            partner.wants.retain(|mark| !keys.contains(&mark.key));
            partner.awaited = Awaited::Page(keys.clone());
            partner.asked_ms = now_ms;
            effects.push(Effect::Send { to: partner.node, message: Message::Want { keys } });
        } else if !partner.read && partner.wants.is_empty() {
            partner.ask(now_ms, effects);
        }
    }

    fn all_read(&self) -> bool {
        self.partners.iter().all(|partner| partner.read && partner.is_idle())
    }
}

impl Partner {
    fn coming(&self) -> &[u64] {
        match &self.awaited {
            Awaited::Page(keys) => keys,
            _ => &[],
        }
    }
}

/// How often one partner is asked, so that news need about [`SPREAD_MS`] to come to so many.
fn interval_ms(volunteers: usize) -> u64 {
    SPREAD_MS / u64::from(volunteers.max(1).ilog2() + 2)
}

fn salt(keys: &impl Keys) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = keys.sign(SALT_CONTEXT);
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}
