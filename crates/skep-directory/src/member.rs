//! One node's part: what it serves, what it looks for, and the role of a directory when it falls to it.

use crate::directory::Directory;
use crate::guide::Guide;
use crate::look::Look;
use crate::message::{Message, Near, Span};
use crate::search::{Question, Search};
use crate::service::Service;
use crate::shard::eligible;
use skep_types::offer::{BEACONS, Offer, Terms, Volunteer};
use skep_types::signed::{Keys, Signed};
use skep_types::{BlockRange, ModelId, NodeId};
use std::net::SocketAddr;

/// Volunteers that an ordinary node remembers.
const CONTACTS_MAX: usize = 8;
/// Searches at once; more are refused.
const SEARCHES_MAX: usize = 64;
/// Directories that are asked for all of a shard.
const LOOKED_AT: usize = 2;
/// How often a node considers whether it should keep a directory.
const ROLE_MS: u64 = 15_000;
/// A directory steps down at so many times the share at which it stepped up.
const STEP_DOWN: u32 = 2;
/// Messages to itself that a step carries out at most; a node's message to itself calls for one answer.
const OWN_MAX: usize = 64;

/// A node and where it may be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// Its key.
    pub node: NodeId,
    /// Its addresses.
    pub addrs: Vec<SocketAddr>,
}

/// What happens to a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Time has passed: [`Member::wake_ms`] is over.
    Tick,
    /// Nodes that may know the network: from an invite, the local network or the address book.
    Meet(Vec<Contact>),
    /// Where the node is, once that is measured.
    Near(Near),
    /// The node serves this from now on, or nothing.
    Serve(Option<Terms>),
    /// Find who serves these blocks; the answer is [`Effect::Found`] with the ticket.
    Find {
        /// Names the question.
        ticket: u64,
        /// The model.
        model: ModelId,
        /// The blocks.
        blocks: BlockRange,
        /// How many servers the model has, from the last answer; 0 at first.
        servers: u32,
        /// Another one for each question.
        salt: u64,
    },
    /// Look at all of the shard that the node publishes in; [`Member::take_view`] has the answer.
    Look,
    /// A message came.
    Message {
        /// From the node with this key, which the connection has proved.
        from: NodeId,
        /// What it says.
        message: Message,
    },
}

/// What the shell must do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send a message. [`Member::addresses`] says where to.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        message: Message,
    },
    /// A search has ended.
    Found {
        /// Which.
        ticket: u64,
        /// Verified offers, one for each node; nothing if nobody answered.
        offers: Vec<Signed<Offer>>,
        /// How many servers the model has, about.
        servers: u32,
    },
}

/// See the documentation of the crate.
#[derive(Debug)]
pub struct Member {
    me: Contact,
    near: Near,
    willing: bool,
    contacts: Vec<Contact>,
    /// What the last answers said of the network's size.
    sizes: [u32; 3],
    heard: bool,
    role_ms: u64,
    role: Option<Box<Directory>>,
    guide: Guide,
    service: Option<Box<Service>>,
    searches: Vec<Search>,
    look: Option<Box<Look>>,
    view: Option<Vec<Span>>,
}

impl Member {
    /// A node that knows nobody. Only a `willing` one takes the role of a directory: it must be reachable from everywhere. `size` is what
    /// it remembers of the network's size from its last run; 0 if it has none.
    pub fn new(me: Contact, willing: bool, size: u32, now_ms: u64) -> Self {
        Self {
            me,
            near: [u16::MAX; BEACONS],
            willing,
            contacts: Vec::new(),
            sizes: [size; 3],
            heard: size > 0,
            role_ms: now_ms,
            role: None,
            guide: Guide::default(),
            service: None,
            searches: Vec::new(),
            look: None,
            view: None,
        }
    }

    /// The supply of the slowest block of the shard that the node publishes in, in hundredths of the average block's, as the last
    /// directory said.
    pub fn slowest(&self) -> u8 {
        self.service.as_ref().map_or(100, |service| service.slowest)
    }

    /// What the last look has seen, once: what both directories named. Nodes are there by their points.
    pub fn take_view(&mut self) -> Option<Vec<Span>> {
        self.view.take()
    }

    /// The directory that it keeps, if it has the role.
    pub fn directory(&self) -> Option<&Directory> {
        self.role.as_deref().filter(|role| !role.is_retired())
    }

    /// Directories that it remembers, the latest first: what an invite names.
    pub fn contacts(&self) -> &[Contact] {
        &self.contacts
    }

    /// Whether a connection to this node is worth keeping: the member publishes there, or asks it who else keeps
    /// directories.
    pub fn keeps(&self, node: &NodeId) -> bool {
        let publishes = self.service.iter().flat_map(|service| service.targets()).any(|target| target.node == *node);
        publishes || self.role.as_ref().is_some_and(|role| role.asks(node))
    }

    /// Whether some directory has confirmed each of the offer's places.
    pub fn is_published(&self) -> bool {
        self.service.as_ref().is_some_and(|service| service.is_published())
    }

    /// Offers in the network, as the last three answers say: their median.
    pub fn size(&self) -> u32 {
        let mut sizes = self.sizes;
        sizes.sort_unstable();
        if sizes[0] == 0 { sizes[2] } else { sizes[1] }
    }

    /// Where a node may be reached, if this member has heard of it.
    pub fn addresses(&self, node: &NodeId) -> Option<&[SocketAddr]> {
        let targets = self.service.iter().flat_map(|service| service.targets());
        let searched = self.searches.iter().flat_map(|search| search.directories());
        let known = self.contacts.iter().chain(targets).chain(searched).find(|contact| contact.node == *node);
        let listed = self.role.as_ref().and_then(|role| role.roll().get(node));
        known.map(|contact| contact.addrs.as_slice()).or(listed.map(|record| record.statement.addrs.as_slice()))
    }

    /// When a tick is due, Unix milliseconds.
    pub fn wake_ms(&self) -> u64 {
        let role = self.role.as_ref().map_or(u64::MAX, |role| role.wake_ms());
        let service = self.service.as_ref().map_or(u64::MAX, |service| service.wake_ms());
        let searches = self.searches.iter().map(Search::wake_ms).min().unwrap_or(u64::MAX);
        let look = self.look.as_ref().map_or(u64::MAX, |look| look.wake_ms());
        role.min(service).min(searches).min(look).min(if self.willing { self.role_ms } else { u64::MAX })
    }

    /// One step, at a clock that never goes back.
    pub fn step(&mut self, now_ms: u64, input: Input, keys: &impl Keys) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            Input::Tick => {}
            Input::Meet(contacts) => contacts.into_iter().for_each(|contact| self.meet(contact)),
            Input::Near(near) => self.near = near,
            Input::Serve(terms) => self.serve(now_ms, terms, &mut effects),
            Input::Find { ticket, model, blocks, servers, salt } => {
                if self.searches.len() < SEARCHES_MAX {
                    let near = self.near;
                    self.searches.push(Search::new(ticket, model, servers, Question { blocks, salt, near }, now_ms));
                } else {
                    effects.push(Effect::Found { ticket, offers: Vec::new(), servers: 0 });
                }
            }
            Input::Look => {
                let ask = |service: &Service, effects: &mut Vec<Effect>| {
                    let asked: Vec<NodeId> = service.home_directories().take(LOOKED_AT).collect();
                    Box::new(Look::new(now_ms, service.home(), asked, effects))
                };
                self.look = self.service.as_ref().map(|service| ask(service, &mut effects));
            }
            Input::Message { from, message } if message.is_valid() => {
                self.receive(now_ms, from, message, keys, &mut effects)
            }
            Input::Message { .. } => {}
        }
        self.tick(now_ms, keys, &mut effects);
        self.deliver_own(now_ms, keys, effects)
    }

    fn serve(&mut self, now_ms: u64, terms: Option<Terms>, effects: &mut Vec<Effect>) {
        let model = terms.as_ref().map(|terms| terms.model);
        match (&mut self.service, terms) {
            // The places stay; the next offer says what is new.
            (Some(service), Some(terms)) if Some(service.terms.model) == model => service.terms = terms,
            (service, terms) => {
                effects.extend(service.iter().flat_map(|service| service.leave()));
                *service = terms.map(|terms| Box::new(Service::new(terms, self.me.clone(), now_ms)));
            }
        }
    }

    fn tick(&mut self, now_ms: u64, keys: &impl Keys, effects: &mut Vec<Effect>) {
        if now_ms >= self.role_ms {
            self.role_ms = now_ms + ROLE_MS;
            self.consider_role(now_ms);
            self.guide.tidy(now_ms);
        }
        if let Some(look) = self.look.take_if(|look| look.is_over(now_ms)) {
            self.view = Some(look.finish());
        }
        let service_ms = self.service.as_ref().map_or(u64::MAX, |service| service.wake_ms());
        if now_ms < service_ms
            && self.searches.is_empty()
            && self.role.as_ref().is_none_or(|role| now_ms < role.wake_ms())
        {
            return;
        }
        let mut contacts: Vec<NodeId> = self.contacts.iter().map(|contact| contact.node).collect();
        if let Some(role) = &mut self.role {
            if now_ms >= role.wake_ms() {
                role.tick(now_ms, &contacts, keys, effects);
            }
            // A directory asks itself first.
            contacts.insert(0, self.me.node);
        }
        if let Some(service) = self.service.as_mut().filter(|service| now_ms >= service.wake_ms()) {
            service.tick(now_ms, &contacts, keys, effects);
        }
        let mut at = 0;
        while at < self.searches.len() {
            if self.searches[at].tick(now_ms, &contacts, effects) {
                self.finish(at, effects);
            } else {
                at += 1;
            }
        }
    }

    /// Who knows nobody is a network alone; others first hear how large the network is.
    fn consider_role(&mut self, now_ms: u64) {
        if !self.willing || !self.heard && !self.contacts.is_empty() {
            return;
        }
        let size = self.role.as_ref().map_or(self.size(), |role| role.size());
        let (up, stay) = (eligible(&self.me.node, size, 1), eligible(&self.me.node, size, STEP_DOWN));
        match &mut self.role {
            Some(role) => role.set_retired(now_ms, if role.is_retired() { !up } else { !stay }),
            None if up => {
                self.role = Some(Box::new(Directory::new(self.me.node, self.me.addrs.clone(), size, now_ms)));
            }
            None => {}
        }
    }

    fn receive(&mut self, now_ms: u64, from: NodeId, message: Message, keys: &impl Keys, effects: &mut Vec<Effect>) {
        // Answers count only from those who may have been asked.
        let known = from == self.me.node || self.addresses(&from).is_some();
        match message {
            Message::There { .. } | Message::Kept { .. } | Message::Refused { .. } if !known => {}
            Message::There { shard, volunteers, size } => {
                let holds = |record: &&Signed<Volunteer>| record.verify(now_ms / 1000, keys).is_ok();
                let records: Vec<Signed<Volunteer>> = volunteers.iter().filter(holds).cloned().collect();
                let volunteers: Vec<Contact> = records.iter().map(contact).collect();
                records.into_iter().for_each(|record| self.guide.learn(record));
                self.hear(size);
                volunteers.iter().for_each(|contact| self.meet(contact.clone()));
                if let Some(service) = &mut self.service {
                    service.there(now_ms, from, &shard, &volunteers, keys, effects);
                }
                for search in &mut self.searches {
                    search.there(now_ms, from, &shard, &volunteers, effects);
                }
            }
            Message::Spans { shard, spans } => {
                if let Some(look) = &mut self.look {
                    look.seen(from, &shard, spans);
                }
            }
            Message::Kept { shard, servers, size, slowest } => {
                self.hear(size);
                if let Some(service) = &mut self.service {
                    if shard == service.home() {
                        service.slowest = slowest;
                    }
                    service.answered(now_ms, from, &shard, None, servers);
                }
            }
            Message::Refused { shard, reason, servers } => {
                if let Some(service) = &mut self.service {
                    service.answered(now_ms, from, &shard, Some(&reason), servers);
                }
            }
            Message::Found { shard, servers, size, offers } => {
                let Some(at) = self.searches.iter().position(|search| search.is_asked(&shard, &from)) else { return };
                self.hear(size);
                let model = self.searches[at].model();
                let holds = |offer: &Signed<Offer>| {
                    offer.statement.terms.model == model && offer.verify(now_ms / 1000, keys).is_ok()
                };
                let offers = offers.into_iter().filter(holds).collect();
                if self.searches[at].found(now_ms, from, &shard, servers, offers, effects) {
                    self.finish(at, effects);
                }
            }
            message => {
                let size = self.size();
                match (&mut self.role, message) {
                    (Some(role), message) => role.receive(now_ms, from, message, keys, effects),
                    (None, Message::Who { shard }) => {
                        let there = self.guide.there(now_ms, from, shard, size);
                        effects.extend(there.map(|message| Effect::Send { to: from, message }));
                    }
                    (None, _) => {}
                }
            }
        }
    }

    fn finish(&mut self, at: usize, effects: &mut Vec<Effect>) {
        let search = self.searches.remove(at);
        let ticket = search.ticket;
        let outcome = search.finish();
        effects.push(Effect::Found { ticket, offers: outcome.offers, servers: outcome.servers });
    }

    fn hear(&mut self, size: u32) {
        self.heard = true;
        self.sizes.rotate_right(1);
        self.sizes[0] = size;
    }

    /// Remembers a node, the latest first.
    fn meet(&mut self, contact: Contact) {
        if contact.node != self.me.node {
            self.contacts.retain(|known| known.node != contact.node);
            self.contacts.insert(0, contact);
            self.contacts.truncate(CONTACTS_MAX);
        }
    }

    /// A directory is its own client too.
    fn deliver_own(&mut self, now_ms: u64, keys: &impl Keys, mut effects: Vec<Effect>) -> Vec<Effect> {
        for _ in 0..OWN_MAX {
            let own = |effect: &Effect| matches!(effect, Effect::Send { to, .. } if *to == self.me.node);
            let Some(at) = effects.iter().position(own) else { break };
            if let Effect::Send { message, .. } = effects.remove(at) {
                self.receive(now_ms, self.me.node, message, keys, &mut effects);
            }
        }
        effects
    }
}

fn contact(record: &Signed<Volunteer>) -> Contact {
    Contact { node: record.statement.node, addrs: record.statement.addrs.clone() }
}
