//! The state root and its proofs, and a state that comes back from a snapshot.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::*;
use skep_ledger::round::{HOUR_S, Side, commitment};
use skep_ledger::*;
use skep_types::{BlockRange, ModelId};

/// A state with a row of every kind.
fn full() -> State {
    let mut state = funded(&[1, 2, 3, 4].map(node));
    let model = ModelId([5; 32]);
    let (price, until_s) = (Price { input: 1, output: 2 }, state.totals().time_s + 7000);
    let ask = Ask { blocks: BlockRange::new(0, 8).unwrap(), price, until_s };
    act(&mut state, node(2), Action::Post { model, ask }).unwrap();
    act(&mut state, node(2), Action::Bond { amount: Amount(1_000_000) }).unwrap();
    let hires = vec![Hire { provider: node(2), model, price_max: price }];
    act(&mut state, node(1), Action::OpenTab { hires, most: Units { input: 9000, output: 9000 }, until_s }).unwrap();
    let machine = Machine { class: 1, memory_mib: 1 };
    let wanted = Wanted { machine, count: 1, rate_max: Amount(5), reclaim_s_min: 0, until_s };
    act(&mut state, node(1), Action::PlaceOrder { wanted, deposit: Amount(1000) }).unwrap();
    let start_s = state.totals().time_s / HOUR_S * HOUR_S + 2 * HOUR_S;
    let rounds = [Round { class: 1, start_s }, Round { class: 1, start_s: start_s + 2 * HOUR_S }];
    for (round, trader, side) in
        [(0, 3, Side::Buy), (0, 1, Side::Buy), (0, 4, Side::Sell), (0, 2, Side::Sell), (1, 3, Side::Buy)]
    {
        let round = rounds[round];
        let commitment = commitment(&round, &node(trader), side, Amount(90), &[0; 32]).unwrap();
        act(&mut state, node(trader), Action::Seal { round, commitment, deposit: Amount(100_000) }).unwrap();
    }
    let to_reveal = start_s - 600 - state.totals().time_s;
    wait(&mut state, to_reveal);
    for (trader, side) in [(3, Side::Buy), (1, Side::Buy), (4, Side::Sell), (2, Side::Sell)] {
        let reveal = Action::Reveal { round: rounds[0], side, price: Amount(90), salt: [0; 32] };
        act(&mut state, node(trader), reveal).unwrap();
    }
    let to_clear = start_s - state.totals().time_s;
    wait(&mut state, to_clear);
    state.rule(&Ruling::Work { provider: node(2), work: 7 }).unwrap();
    let (provider, victim, reporter) = (node(2), node(1), node(3));
    let fraud = Fraud { case: [1; 32], provider, share_ppm: 1, victim, harm: Amount(1), reporter };
    state.rule(&Ruling::Fraud(fraud)).unwrap();
    state.rule(&Ruling::Work { provider: node(2), work: 7 }).unwrap();
    assert_conserved(&state);
    state
}

fn snapshot(state: &State) -> Vec<(Key, Vec<u8>)> {
    state.keys().map(|key| (key, state.row(&key).unwrap().unwrap())).collect()
}

#[test]
fn a_root_is_this() {
    assert_eq!(hex(&full().root().unwrap()), "f186cdd0cf9a13171ebfbc24f6b228b1e010b8e889d55ef37755f77a87ee8818");
}

#[test]
fn every_row_is_proved_and_what_is_not_there_too() {
    let mut state = full();
    let root = state.root().unwrap();
    let mut kinds: Vec<u8> = Vec::new();
    for (key, row) in snapshot(&state) {
        kinds.push(borsh::to_vec(&key).unwrap()[0]);
        let proof = state.prove(&key).unwrap();
        assert_eq!(proof.shows(&root, &key, Some(&row)), Ok(()));
        let other = Err(Refusal::Proof("the row is another one"));
        assert_eq!(proof.shows(&root, &key, None), other);
        assert_eq!(proof.shows(&root, &key, Some(&[row, vec![0]].concat())), other);
    }
    kinds.dedup();
    assert_eq!(kinds, (0..13).collect::<Vec<u8>>(), "a row of every kind");
    for key in [Key::Account(node(9)), Key::Tab(TxId { payer: node(1), nonce: 77 })] {
        let proof = state.prove(&key).unwrap();
        assert_eq!(proof.shows(&root, &key, None), Ok(()));
        assert!(proof.shows(&root, &key, Some(&[])).is_err());
    }
}

#[test]
fn every_change_changes_the_root_and_a_refusal_does_not() {
    let mut state = full();
    let before = state.root().unwrap();
    assert_eq!(state.root().unwrap(), before);
    assert!(act(&mut state, node(1), Action::Transfer { to: node(2), amount: Amount(u64::MAX) }).is_err());
    assert_eq!(state.root().unwrap(), before);
    act(&mut state, node(1), Action::Transfer { to: node(2), amount: Amount(1) }).unwrap();
    let after = state.root().unwrap();
    assert_ne!(after, before);
    wait(&mut state, 0);
    assert_ne!(state.root().unwrap(), after, "time is state too");
}

#[test]
fn a_snapshot_brings_back_the_same_ledger() {
    let mut state = full();
    let mut back = State::restore(CHAIN, snapshot(&state)).unwrap();
    assert_eq!(back.root().unwrap(), state.root().unwrap());
    for _ in 0..40 {
        assert_eq!(wait(&mut back, 9 * HOUR_S), wait(&mut state, 9 * HOUR_S));
        assert_eq!(back.root().unwrap(), state.root().unwrap());
    }
    assert_conserved(&back);
}

#[test]
fn a_broken_snapshot_is_refused() {
    let rows = snapshot(&full());
    for kind in [0, 1] {
        let without = rows.iter().filter(|(key, _)| borsh::to_vec(key).unwrap()[0] != kind).cloned();
        assert!(matches!(State::restore(CHAIN, without), Err(Refusal::Field(_))));
    }
    for place in 0..rows.len() {
        let mut broken = rows.clone();
        broken[place].1.push(0);
        assert!(matches!(State::restore(CHAIN, broken), Err(Refusal::Field(_))));
    }
    let mut unsound = rows;
    unsound[1].1 = borsh::to_vec(&Params { epoch_s: 0, ..Params::default() }).unwrap();
    assert!(matches!(State::restore(CHAIN, unsound), Err(Refusal::Field(_))));
}
