//! Machines with disks and links on virtual time.
//!
//! A machine's disk keeps what was synced; of what was only appended a crash leaves a part that ends at any byte. A crash may also fall between
//! two effects of one step. Twins are machines with one key; they do not hear each other.

use super::rng::Rng;
use super::*;
use skep_consensus::message::BLOCKS_MAX;
use skep_consensus::{log, vote};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::rc::Rc;

/// Where a validator may say one thing: height, round, proposal or which vote, whose.
pub type Slot = (u64, u32, u8, NodeId);

/// What the network does.
#[derive(Clone, Copy, Debug)]
pub struct Links {
    pub delay_ms: (u64, u64),
    pub loss_percent: u64,
}

#[derive(Default)]
pub struct Disk {
    pub blocks: Vec<Decided>,
    pub log: Vec<u8>,
    pub synced: usize,
}

pub struct Machine {
    pub id: NodeId,
    pub engine: Option<Engine<Fast>>,
    /// It will not start again.
    pub broken: bool,
    pub disk: Disk,
    pub side: u64,
    /// Dies after so many more effects.
    pub fuse: Option<u64>,
    /// What its clock says more than the others', seconds.
    pub skew_s: i64,
    /// It stands still until then; what reaches it meanwhile waits.
    pub paused_until: u64,
    wake: Option<u64>,
    /// What reached this machine since it started, by who said it where.
    heard: BTreeMap<Slot, Vec<Option<BlockId>>>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Deliver(usize, NodeId, u64),
    Wake(usize),
}

pub struct World {
    pub rng: Rng,
    pub now_ms: u64,
    pub genesis: Genesis,
    pub machines: Vec<Machine>,
    pub links: Links,
    pub pace: Pace,
    events: BinaryHeap<Reverse<(u64, u64, What)>>,
    messages: BTreeMap<u64, Rc<Message>>,
    seq: u64,
    /// The first block of each height that anyone took for final.
    pub finals: BTreeMap<u64, BlockId>,
    pub violations: Vec<String>,
    pub troubles: Vec<String>,
    pub evidence: BTreeMap<NodeId, u64>,
    /// Equivocations that reached one machine in both halves.
    pub seen: BTreeSet<(usize, Slot)>,
    pub shown: BTreeSet<(usize, Slot)>,
    pub deliveries: u64,
    /// What machine 0 was handed and when, if that is to be kept.
    pub inputs: Option<Vec<(Now, Input)>>,
}

impl World {
    /// A machine for each key, in this order; the genesis names who validates.
    pub fn new(seed: u64, genesis: Genesis, keys: &[NodeId], links: Links) -> Self {
        let machine = |id: &NodeId| Machine {
            id: *id,
            engine: None,
            broken: false,
            disk: Disk::default(),
            side: 0,
            fuse: None,
            skew_s: 0,
            paused_until: 0,
            wake: None,
            heard: BTreeMap::new(),
        };
        let mut world = Self {
            rng: Rng::new(seed),
            now_ms: 0,
            genesis,
            machines: keys.iter().map(machine).collect(),
            links,
            pace: Pace::default(),
            events: BinaryHeap::new(),
            messages: BTreeMap::new(),
            seq: 0,
            finals: BTreeMap::new(),
            violations: Vec::new(),
            troubles: Vec::new(),
            evidence: BTreeMap::new(),
            seen: BTreeSet::new(),
            shown: BTreeSet::new(),
            deliveries: 0,
            inputs: None,
        };
        (0..keys.len()).for_each(|at| world.start(at));
        world
    }

    pub fn now(&self) -> Now {
        Now { ms: self.now_ms, unix_s: BEGIN_S + 3600 + self.now_ms / 1000 }
    }

    /// By the clock of a machine.
    fn now_at(&self, at: usize) -> Now {
        let now = self.now();
        Now { unix_s: now.unix_s.saturating_add_signed(self.machines[at].skew_s), ..now }
    }

    /// Starts a machine from its disk.
    pub fn start(&mut self, at: usize) {
        if self.machines[at].broken {
            return;
        }
        let mut chain = chain(&self.genesis);
        let machine = &mut self.machines[at];
        let keys = Fast(machine.id);
        for decided in &machine.disk.blocks {
            chain.extend(decided, &keys).unwrap();
        }
        machine.fuse = None;
        machine.heard.clear();
        let now = self.now_at(at);
        let machine = &mut self.machines[at];
        match Engine::new((machine.id, keys), chain, &machine.disk.log, self.pace, now) {
            Ok((engine, effects)) => {
                machine.engine = Some(engine);
                self.carry_out(at, effects);
            }
            Err(error) => self.fault(at, &error),
        }
    }

    /// Power goes: what was not synced may be there, up to any byte.
    pub fn crash(&mut self, at: usize) {
        let machine = &mut self.machines[at];
        machine.engine = None;
        let (synced, all) = (machine.disk.synced, machine.disk.log.len());
        let left = synced + self.rng.below((all - synced) as u64 + 1) as usize;
        machine.disk.log.truncate(left);
        machine.disk.synced = left;
    }

    fn carry_out(&mut self, at: usize, effects: Vec<Effect>) {
        for effect in effects {
            let machine = &mut self.machines[at];
            if machine.fuse == Some(0) {
                return self.crash(at);
            }
            machine.fuse = machine.fuse.map(|left| left - 1);
            let disk = &mut machine.disk;
            match effect {
                Effect::Cut(bytes) => {
                    disk.log.truncate(bytes);
                    disk.synced = disk.synced.min(bytes);
                }
                Effect::Append(bytes) => disk.log.extend(bytes),
                Effect::Sync => disk.synced = disk.log.len(),
                Effect::Broadcast(message) => self.send(at, None, message),
                Effect::Send(to, message) => self.send(at, Some(to), message),
                Effect::Serve { to, from } => {
                    let blocks = disk.blocks.iter().skip(from as usize - 1).take(BLOCKS_MAX).cloned().collect();
                    self.send(at, Some(to), Message::Blocks(blocks));
                }
                Effect::Commit(committed) => self.commit(at, committed.decided),
                Effect::Evidence(evidence) => self.convict(at, &evidence),
                Effect::Trouble(what) => self.troubles.push(format!("machine {at} at {} ms: {what}", self.now_ms)),
            }
        }
        self.schedule_wake(at);
    }

    fn commit(&mut self, at: usize, decided: Decided) {
        let (height, id) = (decided.block.header.height, decided.block.id());
        let first = *self.finals.entry(height).or_insert(id);
        if first != id {
            self.violations.push(format!("two blocks of height {height} are final"));
        }
        let disk = &mut self.machines[at].disk;
        if disk.blocks.len() as u64 + 1 != height {
            self.violations.push(format!("machine {at} commits {height} after {}", disk.blocks.len()));
        }
        disk.blocks.push(decided);
    }

    fn convict(&mut self, at: usize, evidence: &Evidence) {
        let validators = equals(self.genesis.validators.len() as u8);
        if !evidence.convicts(&self.genesis.chain(), &validators, &Fast(node(0))) {
            self.violations.push("evidence that convicts nobody".into());
        }
        *self.evidence.entry(evidence.validator()).or_default() += 1;
        let slot = match evidence {
            Evidence::Votes(one, _) => (one.said.height, one.said.round, 1 + one.said.kind as u8, one.said.validator),
            Evidence::Proposals(one, _) => (one.said.height, one.said.round, 0, one.said.validator),
        };
        self.shown.insert((at, slot));
    }

    fn schedule_wake(&mut self, at: usize) {
        let now = self.now_ms;
        let machine = &mut self.machines[at];
        let wake = machine.engine.as_ref().and_then(Engine::wake_at).map(|wake| wake.max(now));
        if wake != machine.wake {
            machine.wake = wake;
            if let Some(wake) = wake {
                self.push(wake, What::Wake(at));
            }
        }
    }

    fn push(&mut self, at_ms: u64, what: What) {
        self.seq += 1;
        self.events.push(Reverse((at_ms, self.seq, what)));
    }

    fn send(&mut self, from: usize, to: Option<NodeId>, message: Message) {
        let id = self.machines[from].id;
        let message = Rc::new(message);
        for at in 0..self.machines.len() {
            let other = &self.machines[at];
            let meant = other.id != id && to.is_none_or(|to| to == other.id);
            let lost = other.side != self.machines[from].side || self.rng.percent(self.links.loss_percent);
            if !meant || lost {
                continue;
            }
            let (least, most) = self.links.delay_ms;
            let delay = least + self.rng.below(most - least + 1);
            self.seq += 1;
            self.messages.insert(self.seq, message.clone());
            let number = self.seq;
            self.push(self.now_ms + delay, What::Deliver(at, id, number));
        }
    }

    /// Until no event is left before this time.
    pub fn run_until(&mut self, until_ms: u64) {
        while let Some(Reverse((at_ms, _, _))) = self.events.peek() {
            if *at_ms > until_ms {
                break;
            }
            let Some(Reverse((at_ms, _, what))) = self.events.pop() else { break };
            self.now_ms = at_ms;
            let (What::Deliver(at, ..) | What::Wake(at)) = what;
            let paused_until = self.machines[at].paused_until;
            if paused_until > at_ms {
                if matches!(what, What::Wake(_)) {
                    self.machines[at].wake = Some(paused_until);
                }
                self.push(paused_until, what);
                continue;
            }
            match what {
                What::Wake(at) if self.machines[at].wake == Some(at_ms) => {
                    self.machines[at].wake = None;
                    self.step(at, Input::Tick);
                }
                What::Wake(_) => {}
                What::Deliver(at, from, number) => {
                    let Some(message) = self.messages.remove(&number) else { continue };
                    let contradiction = self.note(at, &message);
                    self.deliveries += 1;
                    self.step(at, Input::Message { from, message: (*message).clone() });
                    // A machine that dies of the very step in which it hears something takes that with it.
                    self.seen
                        .extend(contradiction.filter(|_| self.machines[at].engine.is_some()).map(|slot| (at, slot)));
                }
            }
        }
        self.now_ms = until_ms;
    }

    pub fn step(&mut self, at: usize, input: Input) {
        let now = self.now_at(at);
        if let Some(inputs) = self.inputs.as_mut().filter(|_| at == 0) {
            inputs.push((now, input.clone()));
        }
        let Some(engine) = &mut self.machines[at].engine else { return };
        match engine.step(now, input) {
            Ok(effects) => self.carry_out(at, effects),
            Err(error) => self.fault(at, &error),
        }
    }

    /// A machine stops for good. A twin may: it can find out that its key speaks elsewhere too.
    fn fault(&mut self, at: usize, error: &EngineError) {
        if !self.is_twin(at) {
            self.violations.push(format!("machine {at}: {error}"));
        }
        self.machines[at].engine = None;
        self.machines[at].broken = true;
    }

    pub fn is_twin(&self, at: usize) -> bool {
        self.machines.iter().filter(|other| other.id == self.machines[at].id).count() > 1
    }

    /// Somebody asks a machine to take a transfer; says whether it was taken.
    pub fn submit(&mut self, at: usize, payer: NodeId) -> bool {
        let (now, chain) = (self.now(), self.genesis.chain());
        let Some(engine) = &self.machines[at].engine else { return false };
        let nonce = engine.next_nonce(&payer);
        self.submit_tx(at, transfer(chain, now.unix_s, payer, nonce))
    }

    pub fn submit_tx(&mut self, at: usize, tx: Signed<Tx>) -> bool {
        let now = self.now_at(at);
        let Some(engine) = &mut self.machines[at].engine else { return false };
        let taken = engine.submit(now, tx);
        let done = taken.is_ok();
        self.carry_out(at, taken.unwrap_or_default());
        done
    }

    /// The first block, which issues the money of the first epoch: it needs a transaction of somebody without money.
    pub fn begin(&mut self) {
        let now = self.now();
        let tx = post(self.genesis.chain(), now.unix_s, node(8), 0);
        assert!(self.submit_tx(0, tx));
        self.run_until(self.now_ms + 2000);
    }

    /// Notes what reaches a machine while it is about where that was said, and says whether it contradicts what came before.
    fn note(&mut self, at: usize, message: &Message) -> Option<Slot> {
        let head = self.height(at);
        let (slot, block) = match message {
            Message::Vote(vote::Signed { said, .. }) => {
                ((said.height, said.round, 1 + said.kind as u8, said.validator), said.block)
            }
            Message::Proposal(vote::Signed { said, .. }, _) => {
                ((said.height, said.round, 0, said.validator), Some(said.block))
            }
            _ => return None,
        };
        // A proposal that comes late is not looked at any more.
        let oldest = if slot.2 == 0 { head + 1 } else { head };
        let machine = &mut self.machines[at];
        if machine.engine.is_none() || slot.0 < oldest || slot.0 > head + 1 {
            return None;
        }
        let heard = machine.heard.entry(slot).or_default();
        if !heard.contains(&block) {
            heard.push(block);
        }
        (heard.len() > 1).then_some(slot)
    }

    pub fn height(&self, at: usize) -> u64 {
        self.machines[at].disk.blocks.len() as u64
    }

    /// The log of a machine, as its records.
    pub fn log(&self, at: usize) -> Vec<log::Record> {
        log::read(&self.machines[at].disk.log).0
    }
}
