//! A bank whose validators die, stand still and have wrong clocks: to its clients it is one ledger that does one thing after another.
//!
//! Each client moves money of its own account or reads all accounts, one thing at a time. It asks the validator that it knows, and says
//! the same signed transaction to another when that one does not answer: what is asked twice may be done once only. A transfer is
//! answered when it is in a final block of the validator that is asked. A read waits for a transaction of the client's own in the same
//! way, and is answered by what that validator's state says then. What the clients saw must be linearizable (`common/linear.rs`).
//!
//! Reads that wait for nothing may be old: with them the same histories are not linearizable, which shows that the check can fail.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::linear::{ACCOUNTS, Balances, Did, Op, is_linearizable};
use common::rng::Rng;
use common::world::{Links, World};
use common::*;
use skep_ledger::{Action, Amount, Tx};
use skep_types::NodeId;
use skep_types::signed::{CLOCK_SKEW_S, Signed};

const CLIENTS: usize = 4;
/// How long clients ask, virtual milliseconds.
const ASK_MS: u64 = 12_000;
/// How long they wait for what they asked last, once the network is good again.
const END_MS: u64 = 20_000;
/// How often a client looks whether it was answered.
const LOOK_MS: u64 = 10;
/// After how long it asks another validator.
const PATIENCE_MS: u64 = 800;

struct Asked {
    did: Did,
    tx: Signed<Tx>,
    since_ms: u64,
    said_ms: u64,
}

struct Client {
    account: usize,
    validator: usize,
    nonce: u64,
    asked: Option<Asked>,
}

struct Bank {
    world: World,
    rng: Rng,
    clients: Vec<Client>,
    history: Vec<Op>,
    begin: Balances,
    /// Reads answer from what the validator has, without waiting.
    stale: bool,
    kills: u64,
    pauses: u64,
}

fn balances(world: &mut World, at: usize) -> Option<Balances> {
    let state = world.machines[at].engine.as_mut()?.chain().state();
    Some(std::array::from_fn(|account| state.account(&holder(account)).balance.0))
}

fn holder(account: usize) -> NodeId {
    node(account as u8 + 1)
}

impl Bank {
    fn open(seed: u64, stale: bool) -> Self {
        let mut rng = Rng::new(seed ^ 0xba2c);
        let links = Links {
            delay_ms: (1, [10, 60, 200][rng.below(3) as usize]),
            loss_percent: [0, 2, 10][rng.below(3) as usize],
        };
        let mut world =
            World::new(seed, genesis(4), &[1, 2, 3, 4].map(node), Links { delay_ms: (1, 5), loss_percent: 0 });
        world.begin();
        world.links = links;
        for machine in &mut world.machines {
            machine.skew_s = rng.below(2 * CLOCK_SKEW_S) as i64 - CLOCK_SKEW_S as i64;
        }
        // One clock is wrong by more than anybody accepts.
        if rng.percent(30) {
            world.machines[3].skew_s = [-86_400, 86_400][rng.below(2) as usize];
        }
        let begin = balances(&mut world, 0).unwrap();
        let client = |at: usize| Client { account: at + 2, validator: at % 4, nonce: 0, asked: None };
        let clients = (0..CLIENTS).map(client).collect();
        Self { world, rng, clients, history: Vec::new(), begin, stale, kills: 0, pauses: 0 }
    }

    /// A validator may die, stand still, or come back.
    fn disturb(&mut self) {
        let at = self.rng.below(4) as usize;
        let now = self.world.now_ms;
        let machine = &mut self.world.machines[at];
        match machine.engine {
            None if self.rng.percent(10) => self.world.start(at),
            None => {}
            Some(_) if self.rng.below(1000) < 4 => {
                self.world.crash(at);
                self.kills += 1;
            }
            Some(_) if machine.paused_until <= now && self.rng.below(1000) < 6 => {
                machine.paused_until = now + 100 + self.rng.below(2000);
                self.pauses += 1;
            }
            Some(_) => {}
        }
    }

    fn new_ask(&mut self, who: usize) {
        let (now, chain) = (self.world.now(), self.world.genesis.chain());
        let (read, to, amount) =
            (self.rng.percent(40), self.rng.below(ACCOUNTS as u64) as usize, 1 + self.rng.below(3));
        let client = &mut self.clients[who];
        if read && self.stale {
            let (asked_ms, at) = (self.world.now_ms, client.validator);
            // A validator that stands still or is down answers nothing.
            if self.world.machines[at].paused_until > asked_ms {
                return;
            }
            let seen = balances(&mut self.world, at);
            let op = |seen| Op { asked_ms, answered_ms: Some(asked_ms), did: Did::Read(seen) };
            return self.history.extend(seen.map(op));
        }
        // A read is a transfer of one to oneself: it changes nothing, and comes after all that was answered before.
        let (to, amount) = if read { (client.account, 1) } else { (to, amount) };
        let did = if read { Did::Read([0; ACCOUNTS]) } else { Did::Transfer { from: client.account, to, amount } };
        let action = Action::Transfer { to: holder(to), amount: Amount(amount) };
        let tx = signed(chain, now.unix_s, holder(client.account), client.nonce, action);
        client.nonce += 1;
        client.asked = Some(Asked { did, tx: tx.clone(), since_ms: self.world.now_ms, said_ms: self.world.now_ms });
        self.world.submit_tx(client.validator, tx);
    }

    /// Looks whether a client was answered, and asks another validator if that takes too long.
    fn look(&mut self, who: usize) {
        let (now, client) = (self.world.now_ms, &mut self.clients[who]);
        let Some(asked) = &mut client.asked else { return };
        let machine = &self.world.machines[client.validator];
        let is_up = machine.engine.is_some() && machine.paused_until <= now;
        let done = machine.disk.blocks.iter().rev().any(|decided| decided.block.txs.contains(&asked.tx));
        if is_up && done {
            let seen = balances(&mut self.world, client.validator).unwrap();
            let did = match asked.did.clone() {
                Did::Read(_) => Did::Read(seen),
                transfer => transfer,
            };
            self.history.push(Op { asked_ms: asked.since_ms, answered_ms: Some(now), did });
            client.asked = None;
        } else if now - asked.said_ms > PATIENCE_MS {
            client.validator = self.rng.below(4) as usize;
            asked.said_ms = now;
            let tx = asked.tx.clone();
            self.world.submit_tx(client.validator, tx);
        }
    }

    fn run(&mut self) {
        let begin = self.world.now_ms;
        let until = |ms: u64| begin + ms;
        while self.world.now_ms < until(ASK_MS) && self.history.len() < 110 {
            self.disturb();
            for who in 0..CLIENTS {
                if self.clients[who].asked.is_none() && self.rng.percent(10) {
                    self.new_ask(who);
                }
            }
            self.pass();
        }
        self.world.links = Links { delay_ms: (1, 20), loss_percent: 0 };
        for at in 0..4 {
            self.world.machines[at].paused_until = 0;
            if self.world.machines[at].engine.is_none() {
                self.world.start(at);
            }
        }
        let end = self.world.now_ms + END_MS;
        while self.clients.iter().any(|client| client.asked.is_some()) && self.world.now_ms < end {
            self.pass();
        }
    }

    fn pass(&mut self) {
        self.world.run_until(self.world.now_ms + LOOK_MS);
        (0..CLIENTS).for_each(|who| self.look(who));
    }
}

#[test]
fn clients_see_one_ledger_whatever_happens_to_validators() {
    let (mut ops, mut kills, mut pauses) = (0, 0, 0);
    for seed in 0..100 {
        let mut bank = Bank::open(seed, false);
        bank.run();
        assert_eq!(bank.world.violations, Vec::<String>::new(), "seed {seed}");
        let waiting = bank.clients.iter().filter(|client| client.asked.is_some()).count();
        assert_eq!(waiting, 0, "seed {seed}: everybody is answered in the end");
        assert!(is_linearizable(bank.begin, &bank.history), "seed {seed}: {:#?}", bank.history);
        bank.world.run_until(bank.world.now_ms + 5000);
        let end = balances(&mut bank.world, 0).unwrap();
        let total = |balances: Balances| balances.iter().sum::<u64>();
        assert_eq!(total(end), total(bank.begin), "seed {seed}: nothing was done twice or half");
        assert!((1..4).all(|at| balances(&mut bank.world, at) == Some(end)), "seed {seed}: all say the same");
        (ops, kills, pauses) = (ops + bank.history.len(), kills + bank.kills, pauses + bank.pauses);
    }
    println!("{ops} operations, {kills} kills, {pauses} pauses");
    assert!(ops > 3000 && kills > 300 && pauses > 300, "{ops} operations, {kills} kills, {pauses} pauses");
}

#[test]
fn reads_that_wait_for_nothing_are_found_out() {
    let broken = |seed| {
        let mut bank = Bank::open(seed, true);
        bank.run();
        assert_eq!(bank.world.violations, Vec::<String>::new(), "seed {seed}");
        !is_linearizable(bank.begin, &bank.history)
    };
    let broken = (0..10).filter(|seed| broken(*seed)).count();
    assert!(broken > 0, "the check never fails");
}

#[test]
fn the_check_knows_what_cannot_have_happened() {
    let begin = [10; ACCOUNTS];
    let op = |asked_ms, answered_ms, did| Op { asked_ms, answered_ms, did };
    let pay = |amount| Did::Transfer { from: 0, to: 1, amount };
    let mut paid = begin;
    (paid[0], paid[1]) = (7, 13);
    let read = |seen| Did::Read(seen);
    let history = [op(0, Some(5), pay(3)), op(1, Some(9), read(begin)), op(6, Some(7), read(paid))];
    assert!(is_linearizable(begin, &history), "the first read may have come before the transfer");
    let late = [op(0, Some(5), pay(3)), op(6, Some(9), read(begin))];
    assert!(!is_linearizable(begin, &late), "the transfer was answered before the read was asked");
    let unanswered = |seen| [op(0, None, pay(3)), op(6, Some(9), read(seen))];
    assert!(is_linearizable(begin, &unanswered(begin)) && is_linearizable(begin, &unanswered(paid)));
    let back = [op(0, None, pay(3)), op(6, Some(9), read(paid)), op(10, Some(12), read(begin))];
    assert!(!is_linearizable(begin, &back), "what was seen cannot be undone");
    assert!(!is_linearizable(begin, &[op(0, Some(1), pay(11))]), "nobody pays what they do not have");
}
