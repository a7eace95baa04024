//! The nodes, the wire and the clock.

use crate::kinds::{KINDS, kind};
use crate::nodes::{BLOCKS, Machine, Mixed, Rng, key, mix, model_id, owner, whole};
use crate::queue::Queue;
use crate::rebalance::Disaster;
use crate::routes;
use crate::{Config, Report};
use skep_directory::{Contact, Effect, Input, Member, Message, eligible};
use skep_plan::{Holding, Joiner, join};
use skep_types::offer::Offer;
use skep_types::signed::Signed;
use skep_types::{BlockRange, NodeId};
use std::collections::BTreeMap;
use std::time::Duration;

/// What IP, UDP and QUIC add to a message.
pub const OVERHEAD_BYTES: u64 = 58;
/// What opening a connection takes on each side: the padded first flights and the certificates.
pub const HANDSHAKE_BYTES: u64 = 3_000;
/// What a kept connection sends on each side every five seconds, or every twenty between volunteers: these can be reached from
/// everywhere, so no mapping of an address translator has to be kept open.
const KEEP_ALIVE_BYTES: u64 = 65;
/// When the simulation begins, Unix milliseconds.
const EPOCH_MS: u64 = 1_700_000_000_000;
/// The last node of the start joins after this.
const RAMP_MS: u64 = 30_000;
/// Directories of the start are up by then.
const FIRST_MS: u64 = 5_000;
/// One node in so many looks for offers, once in [`BROWSE_MS`], as a gateway does.
const GATEWAYS: u32 = 10;
const BROWSE_MS: u64 = 60_000;
/// How long an invited node takes to be started again in place of one that went.
const REPLACE_MS: u64 = 5_000;
/// How long a gateway waits for nodes that do not answer its probe.
const PROBE_MS: u64 = 300;
/// Tickets of searches.
const JOINS: u64 = 1;
const BROWSES: u64 = 2;
const ROUTES: u64 = 1 << 32;

#[derive(Debug)]
pub(crate) struct Node {
    pub member: Option<Box<Member>>,
    pub machine: Machine,
    pub life: u32,
    /// When it began to serve what it serves.
    pub since_ms: u64,
    wake_ms: u64,
    servers: u32,
    sent: u64,
    /// The latest directories that it published at, to which connections are kept.
    connected: Vec<(u32, u32)>,
}

/// Directories that a node keeps connections to: three for each of its places, and some that have just been replaced.
const CONNECTED_MAX: usize = 9;

impl Node {
    /// Whether a connection must be opened to publish there.
    fn connects(&mut self, directory: (u32, u32)) -> bool {
        if self.connected.contains(&directory) {
            return false;
        }
        if self.connected.len() == CONNECTED_MAX {
            self.connected.remove(0);
        }
        self.connected.push(directory);
        true
    }
}

#[derive(Debug)]
pub(crate) struct Delivery {
    to: NodeId,
    from: NodeId,
    message: Message,
}

#[derive(Debug)]
pub(crate) enum Event {
    Start(u32),
    Wake(u32),
    Deliver(Box<Delivery>),
    End { index: u32, life: u32 },
    Browse { index: u32, life: u32 },
    Route(u32),
    Look { index: u32, life: u32 },
    Loaded { index: u32, life: u32 },
}

/// A route that is being looked for.
#[derive(Debug)]
struct Quest {
    gateway: NodeId,
    model: u32,
    start_ms: u64,
}

/// A network in the middle of its life.
#[derive(Debug)]
pub struct World {
    config: Config,
    pub(crate) rng: Rng,
    pub(crate) queue: Queue<Event>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) disaster: Option<Disaster>,
    /// Nodes that keep directories at the start.
    first: Vec<u32>,
    quests: BTreeMap<u64, Quest>,
    seconds: Vec<f64>,
    ratios: Vec<f64>,
    floors: Vec<f64>,
    failed: usize,
    hash: u64,
    deliveries: u64,
    messages: u64,
    kinds: [u64; KINDS.len()],
}

impl World {
    /// A network before its start.
    pub fn new(config: Config) -> Self {
        let mut rng = Rng(config.seed);
        let node = |rng: &mut Rng| Node {
            member: None,
            machine: Machine::draw(rng, models(config.nodes), config.liars_percent),
            life: 0,
            since_ms: 0,
            wake_ms: 0,
            servers: 0,
            sent: 0,
            connected: Vec::new(),
        };
        let nodes: Vec<Node> = (0..config.nodes).map(|_| node(&mut rng)).collect();
        let first = (0..config.nodes).filter(|index| eligible(&key(*index, 0), config.nodes, 1)).collect();
        let mut world = Self {
            config,
            rng,
            queue: Queue::new(EPOCH_MS),
            nodes,
            disaster: None,
            first,
            quests: BTreeMap::new(),
            seconds: Vec::new(),
            ratios: Vec::new(),
            floors: Vec::new(),
            failed: 0,
            hash: config.seed,
            deliveries: 0,
            messages: 0,
            kinds: [0; KINDS.len()],
        };
        world.schedule();
        world
    }

    fn schedule(&mut self) {
        for index in 0..self.config.nodes {
            let early = self.first.binary_search(&index).is_ok();
            let at = if early { self.rng.below(FIRST_MS) } else { FIRST_MS + self.rng.below(RAMP_MS - FIRST_MS) };
            self.queue.push(EPOCH_MS + at, Event::Start(index));
        }
        let (settle, measure) = (self.config.settle_s * 1000, self.config.measure_s * 1000);
        for number in 0..self.config.routes {
            // The last ones begin early enough to end.
            let at = settle + u64::from(number) * measure.saturating_sub(10_000) / u64::from(self.config.routes);
            self.queue.push(EPOCH_MS + at, Event::Route(number));
        }
    }

    /// Runs to the end.
    pub fn run(mut self) -> Report {
        let end = EPOCH_MS + (self.config.settle_s + self.config.measure_s) * 1000;
        while self.queue.now_ms() < end {
            for event in self.queue.advance() {
                self.happen(event);
            }
        }
        let mut report = self.report();
        if self.config.rebalance_s > 0 {
            report.rebalanced = Some(self.rebalance(self.config.rebalance_s));
        }
        report
    }

    /// How many models there are.
    pub(crate) fn models(&self) -> u32 {
        models(self.config.nodes)
    }

    pub(crate) fn happen(&mut self, event: Event) {
        let now = self.queue.now_ms();
        match event {
            Event::Start(index) => self.start(index),
            Event::Wake(index) => {
                if self.nodes[index as usize].wake_ms == now {
                    self.step(index, Input::Tick);
                }
            }
            Event::Deliver(delivery) => self.deliver(*delivery),
            Event::End { index, life } if self.nodes[index as usize].life == life => self.end(index),
            Event::Browse { index, life } if self.nodes[index as usize].life == life => {
                let node = &self.nodes[index as usize];
                let input = find(BROWSES, node.machine.model, node.servers, self.rng.draw());
                self.queue.push(now + BROWSE_MS, Event::Browse { index, life });
                self.step(index, input);
            }
            Event::Look { index, life } if self.nodes[index as usize].life == life => self.look(index, life),
            Event::Loaded { index, life } if self.nodes[index as usize].life == life => self.loaded(index),
            Event::End { .. } | Event::Browse { .. } | Event::Look { .. } | Event::Loaded { .. } => {}
            Event::Route(number) => self.ask_route(number),
        }
    }

    fn start(&mut self, index: u32) {
        let now = self.queue.now_ms();
        let contacts = self.invite(index);
        let (life, machine) = (self.nodes[index as usize].life, self.nodes[index as usize].machine);
        let me = Contact { node: key(index, life), addrs: Vec::new() };
        let size = if life == 0 { self.config.nodes } else { 0 };
        self.nodes[index as usize].member = Some(Box::new(Member::new(me, true, size, now)));
        self.step(index, Input::Meet(contacts));
        self.step(index, Input::Near(machine.beacons()));
        if life == 0 {
            let places = u64::from(BLOCKS / machine.room);
            let start = self.rng.below(places) as u32 * machine.room;
            self.serve(index, BlockRange::new(start, start + machine.room).ok());
        } else {
            let salt = self.rng.draw();
            self.step(index, find(JOINS, machine.model, 0, salt));
        }
        if self.config.life_s > 0 {
            // An exponential life: minus the logarithm of a uniform number.
            let uniform = (self.rng.below(1 << 30) + 1) as f64 / (1u64 << 30) as f64;
            let lives_ms = (-uniform.ln() * self.config.life_s as f64 * 1000.0) as u64;
            self.queue.push(now + lives_ms, Event::End { index, life });
        }
        if index.is_multiple_of(GATEWAYS) {
            self.queue.push(now + self.rng.below(BROWSE_MS), Event::Browse { index, life });
        }
    }

    /// The directories that an invited node hears of: at first those that all remember, later those that the inviter knows.
    fn invite(&mut self, index: u32) -> Vec<Contact> {
        if self.nodes[index as usize].life > 0 {
            for _ in 0..16 {
                let inviter = self.rng.below(self.nodes.len() as u64) as usize;
                let known = self.nodes[inviter].member.as_ref().map(|member| member.contacts().to_vec());
                if let Some(contacts) = known.filter(|contacts| !contacts.is_empty()) {
                    return contacts.into_iter().take(4).collect();
                }
            }
        }
        let mut contacts = Vec::new();
        for _ in 0..3 {
            let first = self.first[self.rng.below(self.first.len() as u64) as usize];
            contacts.push(Contact { node: key(first, self.nodes[first as usize].life), addrs: Vec::new() });
        }
        contacts
    }

    pub(crate) fn serve(&mut self, index: u32, blocks: Option<BlockRange>) {
        let node = &mut self.nodes[index as usize];
        node.since_ms = self.queue.now_ms();
        let machine = &mut node.machine;
        machine.blocks = blocks;
        let terms = blocks.map(|blocks| machine.terms(blocks));
        self.step(index, Input::Serve(terms));
    }

    /// Half of those that go say so.
    fn end(&mut self, index: u32) {
        if self.rng.below(2) == 0 {
            self.serve(index, None);
        }
        let node = &mut self.nodes[index as usize];
        node.member = None;
        node.machine.blocks = None;
        node.life += 1;
        node.connected.clear();
        node.servers = 0;
        self.queue.push(self.queue.now_ms() + REPLACE_MS, Event::Start(index));
    }

    pub(crate) fn step(&mut self, index: u32, input: Input) {
        let now = self.queue.now_ms();
        let node = &mut self.nodes[index as usize];
        let me = key(index, node.life);
        let Some(member) = &mut node.member else { return };
        let effects = member.step(now, input, &Mixed(me));
        let view = member.take_view();
        let wake = member.wake_ms().max(now + 1);
        if wake < node.wake_ms || node.wake_ms <= now {
            node.wake_ms = wake;
            self.queue.push(wake, Event::Wake(index));
        }
        for effect in effects {
            match effect {
                Effect::Send { to, message } => self.send(index, me, to, message),
                Effect::Found { ticket, offers, servers } => self.found(index, ticket, offers, servers),
            }
        }
        if let Some(view) = view {
            self.viewed(index, &view);
        }
    }

    fn send(&mut self, index: u32, from: NodeId, to: NodeId, mut message: Message) {
        let (sender, receiver) = (self.nodes[index as usize].machine, self.nodes[owner(&to).0 as usize].machine);
        if sender.liar {
            self.lie(&mut message);
        }
        let now = self.queue.now_ms() - EPOCH_MS;
        let measured = now >= self.config.settle_s * 1000;
        let keeps = |node: &Node| node.member.as_ref().is_some_and(|member| member.keeps(&to));
        let both = match message {
            Message::Who { .. } | Message::Find { .. } if measured && !keeps(&self.nodes[index as usize]) => {
                HANDSHAKE_BYTES
            }
            Message::Publish { .. } => {
                let opened = self.nodes[index as usize].connects(owner(&to));
                KEEP_ALIVE_BYTES * skep_directory::PUBLISH_MS / 5_000 + u64::from(opened) * HANDSHAKE_BYTES
            }
            // A new partner, to whom there is a connection from then on.
            Message::Roll { since: 0 } => HANDSHAKE_BYTES,
            Message::Here { .. } => KEEP_ALIVE_BYTES * skep_directory::RENEW_MS / 20_000,
            _ => 0,
        };
        if measured {
            let bytes = borsh::object_length(&message).unwrap_or(0) as u64 + OVERHEAD_BYTES;
            self.nodes[index as usize].sent += bytes + both;
            self.nodes[owner(&to).0 as usize].sent += both;
            self.messages += 1;
            self.kinds[kind(&message)] += bytes + 2 * both;
        }
        let parted = self.config.partition_s.is_some_and(|(from, to)| (from * 1000..to * 1000).contains(&now));
        if parted && sender.side() != receiver.side() {
            return;
        }
        let one_way = sender.delay_us(&receiver) / 1000;
        let mut delay = one_way + self.rng.below(11);
        while self.rng.below(1000) < u64::from(self.config.loss_permille) {
            delay += 2 * one_way + 10;
        }
        let at = self.queue.now_ms() + delay;
        self.queue.push(at, Event::Deliver(Box::new(Delivery { to, from, message })));
    }

    /// A lying directory keeps quiet about offers and names other liars only.
    fn lie(&self, message: &mut Message) {
        match message {
            Message::Found { offers, .. } => offers.clear(),
            Message::There { volunteers, .. } => {
                volunteers.retain(|record| self.nodes[owner(&record.statement.node).0 as usize].machine.liar);
            }
            _ => {}
        }
    }

    fn deliver(&mut self, delivery: Delivery) {
        let (index, life) = owner(&delivery.to);
        if self.nodes[index as usize].life != life || self.nodes[index as usize].member.is_none() {
            return;
        }
        let facts = u64::from(index) << 32 | u64::from(owner(&delivery.from).0);
        self.hash = mix(self.hash ^ mix(facts) ^ self.queue.now_ms());
        self.deliveries += 1;
        self.step(index, Input::Message { from: delivery.from, message: delivery.message });
    }

    fn found(&mut self, index: u32, ticket: u64, offers: Vec<Signed<Offer>>, servers: u32) {
        self.nodes[index as usize].servers = servers;
        if ticket == JOINS {
            let machine = self.nodes[index as usize].machine;
            let holding = |offer: &Signed<Offer>| Holding {
                node: offer.statement.node,
                blocks: offer.statement.terms.blocks,
                block_time: Duration::from_nanos(u64::from(offer.statement.terms.decode_ns)),
                room: offer.statement.terms.blocks.len(),
                settled: false,
            };
            let holdings: Vec<Holding> = offers.iter().map(holding).collect();
            let block_time = Duration::from_nanos(u64::from(machine.decode_ns));
            let blocks = join(BLOCKS, &holdings, &Joiner { blocks_max: machine.room, block_time }).ok();
            self.serve(index, blocks);
        } else if let Some(quest) = self.quests.remove(&ticket) {
            self.finish_route(index, &quest, offers);
        }
    }

    fn ask_route(&mut self, number: u32) {
        let nodes = self.nodes.len() as u64;
        let index = self.rng.below(nodes) as u32;
        let model = self.nodes[self.rng.below(nodes) as usize].machine.model;
        let ticket = ROUTES + u64::from(number);
        let gateway = key(index, self.nodes[index as usize].life);
        if self.nodes[index as usize].member.is_some() {
            self.quests.insert(ticket, Quest { gateway, model, start_ms: self.queue.now_ms() });
            let salt = self.rng.draw();
            self.step(index, find(ticket, model, 0, salt));
        }
    }

    fn finish_route(&mut self, index: u32, quest: &Quest, offers: Vec<Signed<Offer>>) {
        let from = self.nodes[index as usize].machine;
        let lives = |node: &NodeId| {
            let (index, life) = owner(node);
            let there = &self.nodes[index as usize];
            (there.life == life && there.member.is_some()).then_some(there.machine)
        };
        let named = offers.len();
        let probed: Vec<(Signed<Offer>, Machine)> = offers
            .into_iter()
            .filter_map(|offer| lives(&offer.statement.node).map(|machine| (offer, machine)))
            .collect();
        let slowest = probed.iter().map(|(_, machine)| 2 * from.delay_us(machine) / 1000).max().unwrap_or(0);
        let probe_ms = if probed.len() < named { PROBE_MS.max(slowest) } else { slowest };
        let blocks = whole();
        let salt = quest.start_ms;
        let plan = routes::plan(quest.gateway, &from, &probed, blocks, salt);
        let cost = plan.and_then(|plan| routes::true_cost(&from, &plan, lives));
        let serves = |(index, node): (usize, &Node)| {
            let machine = node.machine;
            let here = node.member.is_some() && machine.model == quest.model && machine.blocks.is_some();
            here.then(|| (key(index as u32, node.life), machine))
        };
        let all: Vec<(NodeId, Machine)> = self.nodes.iter().enumerate().filter_map(serves).collect();
        let few = routes::drawn(&all, salt);
        let best = |among| routes::optimum(quest.gateway, &from, among, blocks, salt);
        match (cost, best(few), best(all)) {
            (Some(cost), Some(least), Some(best)) => {
                self.floors.push(least as f64 / best as f64);
                self.seconds.push((self.queue.now_ms() - quest.start_ms + probe_ms) as f64 / 1000.0);
                self.ratios.push(cost as f64 / best as f64);
            }
            _ => self.failed += 1,
        }
    }

    fn report(&mut self) -> Report {
        self.seconds.sort_by(f64::total_cmp);
        let served: Vec<&Node> = self.nodes.iter().filter(|node| node.machine.blocks.is_some()).collect();
        let published = served.iter().filter(|node| node.member.as_ref().is_some_and(|member| member.is_published()));
        let sent: u64 = self.nodes.iter().map(|node| node.sent).sum();
        let busiest = self.nodes.iter().map(|node| node.sent).max().unwrap_or(0);
        let (nodes, seconds) = (f64::from(self.config.nodes.max(1)), self.config.measure_s.max(1) as f64);
        let members = self.nodes.iter().filter_map(|node| node.member.as_ref());
        // A gateway that went away has no route to wait for.
        let here = |quest: &&Quest| self.nodes[routes::index(&quest.gateway)].life == owner(&quest.gateway).1;
        Report {
            hash: self.hash,
            deliveries: self.deliveries,
            bytes_per_node_s: sent as f64 / nodes / seconds,
            messages_per_node_s: self.messages as f64 / nodes / seconds,
            kinds: KINDS.iter().zip(self.kinds).map(|(kind, bytes)| (*kind, bytes as f64 / nodes / seconds)).collect(),
            bytes_busiest_s: busiest as f64 / seconds,
            directories: members.filter(|member| member.directory().is_some()).count(),
            published_permille: (published.count() * 1000 / served.len().max(1)) as u64,
            route_seconds: self.seconds.last().copied().unwrap_or(f64::NAN),
            route_seconds_p50: self.seconds.get(self.seconds.len() / 2).copied().unwrap_or(f64::NAN),
            route_cost_floor: self.floors.iter().sum::<f64>() / self.floors.len() as f64,
            route_cost_ratio: self.ratios.iter().sum::<f64>() / self.ratios.len() as f64,
            routes_failed: self.failed + self.quests.values().filter(here).count(),
            rebalanced: None,
        }
    }
}

/// Models in a network of so many nodes.
fn models(nodes: u32) -> u32 {
    (nodes / 500).clamp(1, 64)
}

fn find(ticket: u64, model: u32, servers: u32, salt: u64) -> Input {
    Input::Find { ticket, model: model_id(model), blocks: whole(), servers, salt }
}
