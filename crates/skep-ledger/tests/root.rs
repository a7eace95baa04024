//! The state root and its proofs, and a state that comes back from a snapshot.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;
#[path = "common/full.rs"]
mod full;

use common::*;
use full::full;
use skep_ledger::round::HOUR_S;
use skep_ledger::*;

fn snapshot(state: &State) -> Vec<(Key, Vec<u8>)> {
    state.keys().map(|key| (key, state.row(&key).unwrap().unwrap())).collect()
}

#[test]
fn a_root_is_this() {
    assert_eq!(hex(&full().root().unwrap()), "eeccfa0e9b65c57fca796c7d3eaaaa3a81b1e2eff8081a0521cbb17f957bba1d");
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
    assert_eq!(kinds, (0..16).collect::<Vec<u8>>(), "a row of every kind");
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
