//! A validator that lost power says what it said before: at every byte at which its log may end.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::world::{Links, World};
use common::*;
use skep_consensus::log::{self, Record};
use skep_consensus::vote::{Kind, Proposal, Signed, Vote};
use skep_consensus::*;
use std::collections::BTreeMap;

type Slot = (u64, u32, u8);
type Said = BTreeMap<Slot, Option<BlockId>>;

const ME: u8 = 1;

/// What machine 0 heard, with the times, in a network that loses one message in four.
fn heard(seed: u64) -> (Genesis, Vec<(Now, Input)>) {
    let links = Links { delay_ms: (1, 60), loss_percent: 25 };
    let mut world = World::new(seed, genesis(4), &[1, 2, 3, 4].map(node), links);
    world.inputs = Some(Vec::new());
    for number in [8, 7, 6] {
        let now = world.now();
        let tx = post(world.genesis.chain(), now.unix_s, node(number), 0);
        // Not this machine itself: then all that happens to it is what it hears.
        world.submit_tx(1 + usize::from(number) % 3, tx);
        world.run_until(world.now_ms + 6000);
    }
    assert!(world.height(0) >= 2, "it came to some blocks");
    (world.genesis, world.inputs.unwrap())
}

/// A validator with a disk.
struct Machine {
    engine: Engine<Fast>,
    chain: Chain,
    log: Vec<u8>,
    synced: usize,
    said: Said,
}

/// Whether a statement is this validator's, and which.
fn statement(message: &Message) -> Option<(Slot, Option<BlockId>)> {
    match message {
        Message::Vote(Signed { said, .. }) if said.validator == node(ME) => {
            Some(((said.height, said.round, 1 + said.kind as u8), said.block))
        }
        Message::Proposal(Signed { said, .. }, _) if said.validator == node(ME) => {
            Some(((said.height, said.round, 0), Some(said.block)))
        }
        _ => None,
    }
}

impl Machine {
    fn new(chain: Chain, log: &[u8], said: Said, now: Now) -> Self {
        let keys = (node(ME), Fast(node(ME)));
        let (engine, effects) = Engine::new(keys, chain.clone(), log, Pace::default(), now).unwrap();
        let mut machine = Self { engine, chain, log: log.to_vec(), synced: 0, said };
        machine.carry_out(effects, &mut |_| {});
        machine
    }

    /// Carries out effects; `between` looks at the machine after each.
    fn carry_out(&mut self, effects: Vec<Effect>, between: &mut impl FnMut(&Self)) {
        for effect in effects {
            match effect {
                Effect::Cut(bytes) => {
                    self.log.truncate(bytes);
                    self.synced = self.synced.min(bytes);
                }
                Effect::Append(bytes) => self.log.extend(bytes),
                Effect::Sync => self.synced = self.log.len(),
                Effect::Broadcast(message) => {
                    if let Some((slot, block)) = statement(&message) {
                        let before = *self.said.entry(slot).or_insert(block);
                        assert_eq!(before, block, "it contradicts itself in {slot:?}");
                    }
                }
                Effect::Commit(committed) => {
                    self.chain.extend(&committed.decided, &Fast(node(ME))).unwrap();
                }
                Effect::Trouble(what) => assert_eq!(what, "", "trouble"),
                _ => {}
            }
            between(self);
        }
    }

    fn step(&mut self, now: Now, input: Input, between: &mut impl FnMut(&Self)) {
        let effects = self.engine.step(now, input).unwrap();
        self.carry_out(effects, between);
    }

    /// Loses power with so many bytes of the log on disk, starts again, and is tempted to say something else.
    fn tempt(&self, bytes: usize, now: Now, later: &[(Now, Input)]) {
        let mut again = Self::new(self.chain.clone(), &self.log[..bytes], self.said.clone(), now);
        let height = self.chain.head().height + 1;
        let rivals = (0..4).flat_map(|round| rivals(&self.chain, height, round));
        for message in rivals {
            let from = node(3);
            again.step(now, Input::Message { from, message }, &mut |_| {});
        }
        for (now, input) in later.iter().take(40) {
            again.step(*now, input.clone(), &mut |_| {});
        }
    }
}

/// An empty block of another time, proposed by whoever's turn it is, and votes of the others for it and for nothing.
fn rivals(chain: &Chain, height: u64, round: u32) -> Vec<Message> {
    let mut other = chain.clone();
    let head = chain.head();
    let turn = usize::from(head.turns()[round as usize % 4]);
    let proposer = head.next.at(turn).unwrap().id;
    let time_s = BEGIN_S + 3600 + 7;
    let block = other.propose(proposer, time_s, &mut Mempool::default(), &Fast(proposer)).unwrap();
    let id = block.id();
    let proposal = Proposal { height, round, locked: None, block: id, validator: proposer };
    let signed = Signed::sign(proposal, &chain.id(), &Fast(proposer));
    let mut messages = vec![Message::Proposal(signed, Box::new(block))];
    let vote = |number: u8, kind, block| {
        let vote = Vote { height, round, kind, block, validator: node(number) };
        Message::Vote(Signed::sign(vote, &chain.id(), &Fast(node(number))))
    };
    for number in 2..=4 {
        messages.push(vote(number, Kind::Prevote, if round.is_multiple_of(2) { Some(id) } else { None }));
        messages.push(vote(number, Kind::Precommit, None));
    }
    messages.retain(|message| statement(message).is_none());
    messages
}

#[test]
fn no_validator_contradicts_what_it_said_before_a_crash() {
    let (mut restarts, mut spoken) = (0, 0);
    for seed in 0..6 {
        let (genesis, inputs) = heard(seed);
        let mut machine = Machine::new(chain(&genesis), &[], Said::new(), inputs[0].0);
        let mut tried = (0, 0);
        for (place, (now, input)) in inputs.iter().enumerate() {
            let later = &inputs[place + 1..];
            machine.step(*now, input.clone(), &mut |machine| {
                // Each length that the log can have now and was not tried with what had been said then.
                let from = if machine.said.len() == tried.0 { machine.synced.max(tried.1 + 1) } else { machine.synced };
                // Inside a frame one length is as good as another, as the next test shows.
                let matters = |bytes: &usize| bytes.is_multiple_of(64) || log::read(&machine.log[..*bytes]).1 == *bytes;
                for bytes in (from..=machine.log.len()).filter(matters) {
                    machine.tempt(bytes, *now, later);
                    restarts += 1;
                }
                tried = (machine.said.len(), machine.log.len());
            });
        }
        spoken += machine.said.len();
    }
    assert!(restarts > 500 && spoken > 20, "{restarts} {spoken}");
}

/// The longest log of a height.
fn a_log() -> (Genesis, Chain, Vec<u8>) {
    let (genesis, inputs) = heard(1);
    let mut machine = Machine::new(chain(&genesis), &[], Said::new(), inputs[0].0);
    let mut longest = (machine.chain.clone(), Vec::new());
    for (now, input) in inputs {
        machine.step(now, input, &mut |machine| {
            if machine.log.len() > longest.1.len() {
                longest = (machine.chain.clone(), machine.log.clone());
            }
        });
    }
    (genesis, longest.0, longest.1)
}

#[test]
fn a_log_is_read_up_to_whatever_byte_it_has() {
    let (_, chain, log) = a_log();
    let (records, whole) = log::read(&log);
    assert!(records.len() > 8 && whole == log.len(), "{}", records.len());
    let mut ends: Vec<usize> = records
        .iter()
        .scan(0, |end, record| {
            *end += record.frame().len();
            Some(*end)
        })
        .collect();
    ends.insert(0, 0);
    for bytes in 0..=log.len() {
        let (read, whole) = log::read(&log[..bytes]);
        assert_eq!(read, records[..read.len()]);
        assert_eq!(whole, *ends.iter().rfind(|end| **end <= bytes).unwrap());
        let started =
            Engine::new((node(ME), Fast(node(ME))), chain.clone(), &log[..bytes], Pace::default(), Now::default());
        let (_, effects) = started.unwrap();
        assert_eq!(effects[0], Effect::Cut(whole), "what is broken is cut off");
    }
    for at in 0..log.len() {
        let mut broken = log.clone();
        broken[at] ^= 0x10;
        let (read, whole) = log::read(&broken);
        assert!(whole <= at && read == records[..read.len()], "reading ends before the byte that changed");
    }
}

#[test]
fn a_restart_brings_back_everything_that_was_said() {
    let (_, chain, log) = a_log();
    let own = |record: &Record| match record {
        Record::Vote(vote) if vote.said.validator == node(ME) => Some(Message::Vote(vote.clone())),
        _ => None,
    };
    let said: Vec<Message> = log::read(&log).0.iter().filter_map(own).collect();
    let started = Engine::new((node(ME), Fast(node(ME))), chain, &log, Pace::default(), Now::default());
    let (_, effects) = started.unwrap();
    assert!(!said.is_empty());
    for message in said {
        assert!(effects.contains(&Effect::Broadcast(message)), "with the same signature");
    }
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Append(_))), "nothing is logged twice");
}

#[test]
fn a_log_of_another_height_is_emptied() {
    let (genesis, _, _) = a_log();
    let log = Record::Begin { height: 7 }.frame();
    let started = Engine::new((node(ME), Fast(node(ME))), chain(&genesis), &log, Pace::default(), Now::default());
    assert_eq!(started.unwrap().1[0], Effect::Cut(0));
}

#[test]
fn a_frame_is_this() {
    let frame = Record::Begin { height: 5 }.frame();
    let record = [0u8, 5, 0, 0, 0, 0, 0, 0, 0];
    let hash = blake3::hash(&[&b"skep log 1\0"[..], &record].concat());
    assert_eq!(frame, [&[9, 0, 0, 0][..], &hash.as_bytes()[..8], &record].concat());
}
