//! A chain that is brought back from what a machine kept goes on as if it had never stopped.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::{BEGIN_S, Fast, chain, equals, genesis, node, transfer};
use skep_consensus::*;
use skep_ledger::{Key, Refusal};

/// Makes the next block final with the transfers that nodes 1 to 3 have not made yet.
fn extend(chain: &mut Chain, nonce: u64) -> Decided {
    let (mut pool, keys, now_s) = (Mempool::default(), Fast(node(1)), BEGIN_S + 3600 + nonce);
    let id = chain.id();
    for payer in 1..=3 {
        // Before the first block nobody has been paid.
        if nonce > 0 {
            pool.add(transfer(id, now_s, node(payer), nonce - 1), chain.state(), now_s, &keys).unwrap();
        }
    }
    let block = chain.propose(node(1), now_s, &mut pool, &keys).unwrap();
    let mut certificate = Certificate { height: nonce + 1, round: 0, block: block.id(), signatures: Vec::new() };
    let vote = vote::Signed::sign(certificate.vote(node(1)), &chain.id(), &keys);
    certificate.signatures.push((0, vote.signature));
    let decided = Decided { block, certificate };
    chain.extend(&decided, &keys).unwrap();
    decided
}

fn three_blocks() -> (Chain, Header) {
    let mut chain = chain(&Genesis { validators: equals(1), ..genesis(1) });
    let last = (0..3).map(|nonce| extend(&mut chain, nonce)).last().unwrap();
    (chain, last.block.header)
}

#[test]
fn a_restored_chain_goes_on_as_the_one_it_was_made_of() {
    let (mut chain, header) = three_blocks();
    let bytes = borsh::to_vec(&chain.snapshot().unwrap()).unwrap();
    let mut restored = Chain::restore(chain.id(), &header, borsh::from_slice(&bytes).unwrap()).unwrap();
    assert_eq!(restored.head(), chain.head());
    assert_eq!(extend(&mut restored, 3), extend(&mut chain, 3));
    assert_eq!(restored.state().root(), chain.state().root());
}

#[test]
fn a_snapshot_of_something_else_is_refused() {
    let (mut chain, header) = three_blocks();
    let (id, good) = (chain.id(), chain.snapshot().unwrap());
    let refused = |header: &Header, snapshot: Snapshot| Chain::restore(id, header, snapshot).unwrap_err();

    let mut richer = good.clone();
    let row = richer.rows.iter_mut().find(|(key, _)| matches!(key, Key::Account(_))).unwrap();
    row.1[0] ^= 1;
    assert_eq!(refused(&header, richer), BlockError::Outcome);
    let mut fewer = good.clone();
    fewer.rows.retain(|(key, _)| !matches!(key, Key::Account(_)));
    assert_eq!(refused(&header, fewer), BlockError::Outcome);
    let mut nothing = good.clone();
    nothing.rows.clear();
    assert_eq!(refused(&header, nothing), Refusal::Field("a snapshot without totals").into());
    let mut others = good.clone();
    others.head.next = equals(2);
    assert_eq!(refused(&header, others), BlockError::Outcome);
    assert_eq!(refused(&Header { height: 2, ..header.clone() }, good.clone()), BlockError::Outcome);
    assert!(Chain::restore(id, &header, good).is_ok());
}

#[test]
fn the_encoding_is_this() {
    let (mut chain, _) = three_blocks();
    let bytes = borsh::to_vec(&chain.snapshot().unwrap()).unwrap();
    assert_eq!(
        (bytes.len(), blake3::hash(&bytes).to_hex().as_str()),
        (1294, "9f4caae7ef822313f508c6832fb94dd043c62f1e25ef1e2da69f7adbd2ec18c4")
    );
}
