//! A handful of members whose messages arrive at once, and keys that are none.
#![allow(dead_code, clippy::unwrap_used, reason = "shared by tests, which use different parts")]

use skep_directory::{Contact, Effect, Input, Member, Message, Near};
use skep_types::offer::{Audience, BEACONS, Offer, Terms};
use skep_types::signed::{Keys, Signed};
use skep_types::{BlockRange, ModelId, NodeId};
use std::collections::BTreeMap;

pub const START_MS: u64 = 1_700_000_000_000;
pub const FAR: Near = [u16::MAX; BEACONS];
pub const MODEL: ModelId = ModelId([5; 32]);

/// Signs with its own key, which anyone could forge, and verifies against the signer's.
pub struct Toy(pub NodeId);

impl Keys for Toy {
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        let mut seal = [0; 64];
        seal[..32].copy_from_slice(blake3::keyed_hash(&self.0.0, message).as_bytes());
        seal
    }

    fn verify(&self, signer: &NodeId, message: &[u8], signature: &[u8; 64]) -> bool {
        Toy(*signer).sign(message) == *signature
    }
}

pub fn node(id: u32) -> NodeId {
    let mut key = [0; 32];
    // The key of zeros is none: lists begin after it.
    key[..4].copy_from_slice(&(id + 1).to_be_bytes());
    NodeId(key)
}

pub fn contact(id: u32) -> Contact {
    Contact { node: node(id), addrs: vec![([127, 0, 0, 1], 4000).into()] }
}

pub fn blocks(start: u32, end: u32) -> BlockRange {
    BlockRange::new(start, end).unwrap()
}

pub fn terms(blocks: BlockRange) -> Terms {
    Terms {
        model: MODEL,
        blocks,
        price: 1,
        decode_ns: 1_000_000,
        prefill_ns: 100_000,
        visit_us: 0,
        wait_us: 0,
        goodput_kib_s: 1000,
        room: 0,
        memory: 1 << 30,
        audience: Audience::Anyone,
        beacons: [u16::MAX; BEACONS],
    }
}

/// An offer of node `id` for `model`, signed by it.
pub fn offer(id: u32, model: ModelId, seq: u64, expires: u64) -> Signed<Offer> {
    let statement =
        Offer { node: node(id), seq, expires, terms: Terms { model, ..terms(blocks(0, 4)) }, addrs: Vec::new() };
    Signed::sign(statement, &Toy(node(id))).unwrap()
}

/// What a search came to: the offers, and how many servers the model is said to have.
pub type Found = (Vec<Signed<Offer>>, u32);

pub struct Net {
    pub now_ms: u64,
    pub members: BTreeMap<NodeId, Member>,
    pub found: BTreeMap<u64, Found>,
    /// Nodes that get no message and send none.
    pub dead: Vec<NodeId>,
    /// Directories that answer every search with nothing.
    pub silent: Vec<NodeId>,
    /// Directories that name nobody to those who look.
    pub blind: Vec<NodeId>,
    /// Directories that say whose records they have and hand none out.
    pub withholding: Vec<NodeId>,
    /// Messages so far: greetings, and all.
    pub greetings: usize,
    pub messages: usize,
}

impl Net {
    /// Node 0 is alone; each further node meets those before it, at most three of them, and serves two of eight blocks.
    pub fn new(nodes: u32) -> Self {
        let mut net = Self::empty();
        for id in 0..nodes {
            net.members.insert(node(id), Member::new(contact(id), true, 0, net.now_ms));
            net.step(node(id), Input::Meet((0..id).rev().take(3).map(contact).collect()));
            net.step(node(id), Input::Serve(Some(terms(blocks(id % 4 * 2, id % 4 * 2 + 2)))));
            net.pass(1_000);
        }
        net
    }

    /// Directories that start within the same second and each remember three others, as after a power cut. They serve nothing.
    pub fn of_directories(count: u32) -> Self {
        let mut net = Self::empty();
        for id in 0..count {
            net.now_ms = START_MS + u64::from(id) * 1000 / u64::from(count);
            net.members.insert(node(id), Member::new(contact(id), true, 1, net.now_ms));
            let known = (1..=3).map(|nth| contact((id * 7919 + nth * nth * 104_729) % count)).collect();
            net.step(node(id), Input::Meet(known));
        }
        net
    }

    fn empty() -> Self {
        Self {
            now_ms: START_MS,
            members: BTreeMap::new(),
            found: BTreeMap::new(),
            dead: vec![],
            silent: vec![],
            blind: vec![],
            withholding: vec![],
            greetings: 0,
            messages: 0,
        }
    }

    /// How many directories each of the living ones knows at least.
    pub fn least_known(&self) -> usize {
        let living = self.members.iter().filter(|(node, _)| !self.dead.contains(node));
        living.map(|(_, member)| member.directory().unwrap().roll().len()).min().unwrap()
    }

    pub fn step(&mut self, at: NodeId, input: Input) {
        let mut work = vec![(at, input)];
        while let Some((at, input)) = work.pop() {
            let Some(member) = self.members.get_mut(&at).filter(|_| !self.dead.contains(&at)) else { continue };
            for effect in member.step(self.now_ms, input, &Toy(at)) {
                match effect {
                    Effect::Send { to, mut message } => {
                        if let Message::Found { offers, .. } = &mut message
                            && self.silent.contains(&at)
                        {
                            offers.clear();
                        }
                        if let Message::Spans { spans, .. } = &mut message
                            && self.blind.contains(&at)
                        {
                            spans.clear();
                        }
                        if let Message::Page { records } = &mut message
                            && self.withholding.contains(&at)
                        {
                            records.clear();
                        }
                        self.messages += 1;
                        self.greetings += usize::from(matches!(message, Message::Here { .. }));
                        work.push((to, Input::Message { from: at, message }));
                    }
                    Effect::Found { ticket, offers, servers } => _ = self.found.insert(ticket, (offers, servers)),
                }
            }
        }
    }

    /// Lets time pass.
    pub fn pass(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        while self.now_ms < end {
            self.now_ms += 100;
            let due = |(node, member): (&NodeId, &Member)| (member.wake_ms() <= self.now_ms).then_some(*node);
            for node in self.members.iter().filter_map(due).collect::<Vec<_>>() {
                self.step(node, Input::Tick);
            }
        }
    }

    /// What node `id` finds for all eight blocks.
    pub fn find(&mut self, id: u32, ticket: u64) -> Found {
        let input = Input::Find { ticket, model: MODEL, blocks: blocks(0, 8), servers: 0, salt: ticket };
        self.step(node(id), input);
        self.pass(12_000);
        self.found.remove(&ticket).unwrap()
    }

    /// Which blocks of eight the offers hold.
    pub fn covered(offers: &[Signed<Offer>]) -> usize {
        (0..8).filter(|block| offers.iter().any(|offer| offer.statement.terms.blocks.contains(*block))).count()
    }
}

/// One directory alone, and what it answers to a message.
pub struct Lone(pub Member);

impl Lone {
    pub fn new() -> Self {
        let mut member = Member::new(contact(0), true, 0, START_MS);
        member.step(START_MS, Input::Tick, &Toy(node(0)));
        Self(member)
    }

    pub fn ask(&mut self, from: u32, now_ms: u64, message: Message) -> Option<Message> {
        let effects = self.0.step(now_ms, Input::Message { from: node(from), message }, &Toy(node(0)));
        effects.into_iter().find_map(|effect| match effect {
            Effect::Send { to, message } if to == node(from) => Some(message),
            _ => None,
        })
    }
}
