//! What a block of a thousand transfers of different accounts costs a lone validator, without its disk.
//!
//! `accept` is taking the transfers into the pool, each with one signature verified; `block` is making the block out of them, agreeing on it and applying
//! it, with each signature verified once more. The `hash` figures have hashes in the place of signatures: what is left is the engine and the ledger.
#![allow(clippy::unwrap_used, reason = "a benchmark")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ed25519_dalek::SigningKey;
use skep_consensus::*;
use skep_ledger::{Action, Amount, Params, Ruling, Tx};
use skep_testkit::keys::{Hashed, Real};
use skep_types::NodeId;
use skep_types::signed::{Keys, Signed};
use std::cell::RefCell;
use std::hint::black_box;

const TXS: u64 = 1000;
const BEGIN_S: u64 = 1_700_000_000;
const NOW: Now = Now { ms: 0, unix_s: BEGIN_S + 3600 };

struct Lone<K> {
    engine: Engine<K>,
    payers: Vec<(NodeId, K)>,
    nonce: u64,
}

impl<K: Keys> Lone<K> {
    fn new(key: impl Fn(u64) -> (NodeId, K)) -> Self {
        let payers: Vec<_> = (1..=TXS).map(&key).collect();
        let (me, keys) = key(0);
        let validators = Validators::new(vec![Validator { id: me, power: 1 }]).unwrap();
        let free = Params { fee_base: Amount::ZERO, fee_byte: Amount::ZERO, ..Params::default() };
        let params = Params { subsidy_max: Amount(u64::MAX), ..free };
        let genesis = Genesis { params, time_s: BEGIN_S, validators, grants: Vec::new() };
        let mut chain = Chain::begin(&genesis).unwrap();
        for (id, _) in &payers {
            chain.state().rule(&Ruling::Work { provider: *id, work: 1 }).unwrap();
        }
        // The first block pays them.
        let block = chain.propose(me, NOW.unix_s, &mut Mempool::default(), &keys).unwrap();
        let mut certificate = Certificate { height: 1, round: 0, block: block.id(), signatures: Vec::new() };
        let vote = vote::Signed::sign(certificate.vote(me), &chain.id(), &keys);
        certificate.signatures.push((0, vote.signature));
        chain.extend(&Decided { block, certificate }, &keys).unwrap();
        let (engine, _) = Engine::new((me, keys), chain, &[], Pace::default(), NOW).unwrap();
        Self { engine, payers, nonce: 0 }
    }

    fn transfers(&mut self) -> Vec<Signed<Tx>> {
        let (nonce, chain) = (self.nonce, self.engine.chain().id());
        self.nonce += 1;
        let to = self.payers[0].0;
        let one = |(payer, keys): &(NodeId, K)| {
            let action = Action::Transfer { to, amount: Amount(1) };
            let tx = Tx { chain, payer: *payer, nonce, expires: NOW.unix_s + 60, fee: Amount::ZERO, action };
            Signed::sign(tx, keys).unwrap()
        };
        self.payers.iter().map(one).collect()
    }

    fn accept(&mut self, transfers: Vec<Signed<Tx>>) {
        for tx in transfers {
            self.engine.submit(NOW, tx).unwrap();
        }
    }

    fn block(&mut self) -> Vec<Effect> {
        let effects = self.engine.step(NOW, Input::Tick).unwrap();
        assert_eq!(self.engine.waiting(), 0, "all of it stands in the block");
        effects
    }
}

fn measure<K: Keys>(criterion: &mut Criterion, name: &str, key: impl Fn(u64) -> (NodeId, K)) {
    let lone = RefCell::new(Lone::new(key));
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(TXS)).sample_size(20);
    group.bench_function("accept", |bencher| {
        let sign = || {
            let mut lone = lone.borrow_mut();
            if lone.engine.waiting() > 0 {
                lone.block();
            }
            lone.transfers()
        };
        bencher.iter_batched(sign, |transfers| lone.borrow_mut().accept(transfers), BatchSize::PerIteration);
    });
    group.bench_function("block", |bencher| {
        let fill = || {
            let mut lone = lone.borrow_mut();
            if lone.engine.waiting() == 0 {
                let transfers = lone.transfers();
                lone.accept(transfers);
            }
        };
        bencher.iter_batched(fill, |()| black_box(lone.borrow_mut().block()), BatchSize::PerIteration);
    });
    group.finish();
}

fn number(number: u64) -> [u8; 32] {
    let mut bytes = [7; 32];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes
}

fn benchmarks(criterion: &mut Criterion) {
    measure(criterion, "hash", |at| (NodeId(number(at)), Hashed(NodeId(number(at)))));
    measure(criterion, "ed25519", |at| {
        let key = SigningKey::from_bytes(&number(at));
        (NodeId(key.verifying_key().to_bytes()), Real(key))
    });
}

criterion_group!(benches, benchmarks);
criterion_main!(benches);
