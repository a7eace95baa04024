//! Transfers applied per second, in blocks of a thousand, on a ledger of 100,000 accounts: `cargo bench -p skep-ledger`.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "criterion's macros make undocumented functions; a bench may panic"
)]

#[path = "../tests/common/mod.rs"]
mod common;

use common::{CHAIN, NOW};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ed25519_dalek::SigningKey;
use skep_ledger::{Action, Amount, Params, Ruling, State, Tx};
use skep_testkit::keys::Real;
use skep_types::NodeId;
use skep_types::signed::{Keys, Signed};
use std::cell::RefCell;

const ACCOUNTS: u32 = 100_000;
const BLOCK: u32 = 1000;

/// Takes every signature: what the ledger itself costs.
struct Trusting;

impl Keys for Trusting {
    fn sign(&self, _: &[u8]) -> [u8; 64] {
        [0; 64]
    }

    fn verify(&self, _: &NodeId, _: &[u8], _: &[u8; 64]) -> bool {
        true
    }
}

fn account(number: u32) -> NodeId {
    NodeId(*blake3::hash(&number.to_le_bytes()).as_bytes())
}

fn ledger(accounts: &[NodeId]) -> State {
    let mut state = State::new(CHAIN, Params { subsidy_max: Amount(u64::MAX), ..Params::default() }, NOW).unwrap();
    accounts.iter().for_each(|id| drop(state.rule(&Ruling::Work { provider: *id, work: 1 }).unwrap()));
    state.begin_block(1, NOW + 3600).unwrap();
    // Each account has a hundred thousandth of an epoch's money, which real fees would use up.
    state.rule(&Ruling::Params(Params { fee_base: Amount(1), fee_byte: Amount(0), ..*state.params() })).unwrap();
    state.root().unwrap();
    state
}

/// A transfer of 1.
fn transfer(state: &State, payer: NodeId, to: u32) -> Tx {
    let action = Action::Transfer { to: account(to % ACCOUNTS), amount: Amount(1) };
    let expires = state.totals().time_s + 60;
    Tx { chain: CHAIN, payer, nonce: state.account(&payer).nonce, expires, fee: Amount(1), action }
}

fn apply(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("a block of 1000 transfers");
    group.throughput(Throughput::Elements(BLOCK.into())).sample_size(20);
    let everyone: Vec<NodeId> = (0..ACCOUNTS).map(account).collect();
    let state = RefCell::new(ledger(&everyone));
    let round = RefCell::new(0u32);
    let unsigned = || {
        *round.borrow_mut() += 1;
        let (state, start) = (state.borrow(), *round.borrow() * BLOCK);
        let to = |i: u32| i.wrapping_mul(2_654_435_761);
        let one = |i| transfer(&state, everyone[(i % ACCOUNTS) as usize], to(i));
        (start..start + BLOCK).map(|i| Signed { statement: one(i), signature: [0; 64] }).collect::<Vec<_>>()
    };
    let carry_out = |block: Vec<Signed<Tx>>| {
        let mut state = state.borrow_mut();
        block.iter().for_each(|tx| drop(state.apply(tx, &Trusting).unwrap()));
    };
    group.bench_function("applied", |bench| bench.iter_batched(unsigned, carry_out, BatchSize::PerIteration));
    let with_root = |block: Vec<Signed<Tx>>| {
        carry_out(block);
        state.borrow_mut().root().unwrap()
    };
    group
        .bench_function("applied, with root", |bench| bench.iter_batched(unsigned, with_root, BatchSize::PerIteration));

    let keys: Vec<Real> =
        (0..BLOCK).map(|i| Real(SigningKey::from_bytes(blake3::hash(&i.to_be_bytes()).as_bytes()))).collect();
    let payers: Vec<NodeId> = keys.iter().map(Real::id).collect();
    let signed_state = RefCell::new(ledger(&payers));
    let signed = || {
        let state = signed_state.borrow();
        let one = |i: usize| Signed::sign(transfer(&state, payers[i], i as u32), &keys[i]).unwrap();
        (0..keys.len()).map(one).collect::<Vec<_>>()
    };
    let verified = |block: Vec<Signed<Tx>>| {
        let mut state = signed_state.borrow_mut();
        block.iter().for_each(|tx| drop(state.apply(tx, &keys[0]).unwrap()));
    };
    group.bench_function("verified one by one and applied", |bench| {
        bench.iter_batched(signed, verified, BatchSize::PerIteration);
    });
    group.finish();
}

criterion_group!(benches, apply);
criterion_main!(benches);
