//! Every byte of every kind of transaction changed: refused and nothing changed, or something else that is lawful. Never a panic.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;
#[path = "common/full.rs"]
mod full;

use common::*;
use full::*;
use skep_ledger::*;
use skep_types::NodeId;
use skep_types::signed::{Keys, Signed, Statement};

fn snapshot(state: &State) -> Vec<(Key, Vec<u8>)> {
    state.keys().map(|key| (key, state.row(&key).unwrap().unwrap())).collect()
}

/// Takes every voucher, so that changed ones get as far as they can; transactions are signed anew after the change.
struct Believing(NodeId);

impl Keys for Believing {
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        Fast(self.0).sign(message)
    }

    fn verify(&self, signer: &NodeId, message: &[u8], signature: &[u8; 64]) -> bool {
        message.starts_with(b"skep voucher 1\0") || Fast(self.0).verify(signer, message, signature)
    }
}

/// Applies a changed transaction to a copy; says whether it was taken.
fn try_bytes(state: &State, before: &[(Key, Vec<u8>)], bytes: &[u8]) -> bool {
    let Ok(tx) = borsh::from_slice::<Tx>(bytes) else { return false };
    assert_eq!(borsh::to_vec(&tx).unwrap(), bytes, "one encoding of each transaction");
    if tx.check().is_err() {
        return false;
    }
    let keys = Believing(tx.payer);
    let mut copy = state.clone();
    let taken = copy.apply(&Signed::sign(tx, &keys).unwrap(), &keys).is_ok();
    assert_conserved(&copy);
    if !taken {
        assert!(snapshot(&copy) == before, "a refusal changed something");
        return false;
    }
    // What is due because of it must not stop the blocks that follow.
    for _ in 0..3 {
        wait(&mut copy, 40 * 86_400);
        assert_conserved(&copy);
    }
    true
}

#[test]
fn a_changed_transaction_is_refused_or_lawful() {
    let state = full();
    let before = snapshot(&state);
    let mut kinds = Vec::new();
    for (payer, action) in every_action(&state) {
        let mut tx = tx(&state, payer, action);
        tx.fee = Amount(tx.fee.0 + 10_000);
        let bytes = borsh::to_vec(&tx).unwrap();
        assert!(try_bytes(&state, &before, &bytes), "{:?}", tx.action);
        kinds.push(borsh::to_vec(&tx.action).unwrap()[0]);
        let mut refused = 0;
        for at in 0..bytes.len() {
            for change in [bytes[at] ^ 1, bytes[at] ^ 0x80, 0xff, 0] {
                let mut changed = bytes.clone();
                changed[at] = change;
                refused += u32::from(!try_bytes(&state, &before, &changed));
            }
        }
        assert!(refused > 100, "the chain, the payer and the number at least");
        for end in 0..bytes.len() {
            assert!(!try_bytes(&state, &before, &bytes[..end]));
        }
    }
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds, (0..19).collect::<Vec<u8>>(), "every kind of action");
}

#[test]
fn no_time_stops_the_ledger() {
    for time_s in [u64::MAX, u64::MAX - 1, u64::MAX / 2] {
        let mut state = full();
        let before = snapshot(&state);
        let height = state.totals().height + 1;
        match state.begin_block(height, time_s) {
            Ok(_) => assert_conserved(&state),
            Err(refusal) => {
                assert_eq!(refusal, Refusal::Overflow);
                assert!(snapshot(&state) == before);
            }
        }
    }
}
