//! What may wait for a block, and why the rest may not.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::*;
use skep_consensus::mempool::{POOL_ACCOUNT_MAX, POOL_TXS_MAX};
use skep_consensus::*;
use skep_ledger::{Action, Amount, ChainId, Refusal, Tx};
use skep_types::NodeId;
use skep_types::signed::{Signed, StatementError};

const NOW_S: u64 = BEGIN_S + 3600;

/// A chain whose nodes 1 to 8 have money, with a fee of 5 for a transaction.
fn rich() -> Chain {
    let mut genesis = genesis(1);
    genesis.params.fee_base = Amount(5);
    let mut chain = chain(&genesis);
    let block = chain.propose(node(1), NOW_S, &mut Mempool::default(), &Fast(node(1))).unwrap();
    decide(&mut chain, block);
    chain
}

fn decide(chain: &mut Chain, block: Block) {
    let (height, id) = (block.header.height, block.id());
    let mut certificate = Certificate { height, round: 0, block: id, signatures: Vec::new() };
    let vote = vote::Signed::sign(certificate.vote(node(1)), &chain.id(), &Fast(node(1)));
    certificate.signatures.push((0, vote.signature));
    chain.extend(&Decided { block, certificate }, &Fast(node(1))).unwrap();
}

fn tx(chain: ChainId, payer: NodeId, nonce: u64, fee: u64) -> Tx {
    let action = Action::Transfer { to: node(2), amount: Amount(1) };
    Tx { chain, payer, nonce, expires: NOW_S + 60, fee: Amount(fee), action }
}

fn add(pool: &mut Mempool, chain: &mut Chain, tx: Tx) -> Result<(), PoolRefusal> {
    let keys = Fast(tx.payer);
    let signed = Signed::sign(tx, &keys).unwrap();
    pool.add(signed, chain.state(), NOW_S, &keys)
}

fn refused<T>(refusal: impl Into<Refusal>) -> Result<T, PoolRefusal> {
    Err(PoolRefusal::Refused(refusal.into()))
}

#[test]
fn numbers_have_no_gaps_and_come_once() {
    let (mut chain, mut pool) = (rich(), Mempool::default());
    let id = chain.id();
    let nonce = |expected, got| refused(Refusal::Nonce { payer: node(1), expected, got });
    assert_eq!(add(&mut pool, &mut chain, tx(id, node(1), 1, 5)), nonce(0, 1));
    assert_eq!(add(&mut pool, &mut chain, tx(id, node(1), 0, 5)), Ok(()));
    assert_eq!(add(&mut pool, &mut chain, tx(id, node(1), 0, 5)), nonce(1, 0));
    assert_eq!(add(&mut pool, &mut chain, tx(id, node(1), 1, 5)), Ok(()));
    assert_eq!((pool.len(), pool.next_nonce(&node(1), chain.state())), (2, 2));
}

#[test]
fn what_cannot_apply_does_not_wait() {
    let (mut chain, mut pool) = (rich(), Mempool::default());
    let id = chain.id();
    let has = chain.state().account(&node(1)).balance;
    let cases = [
        (Tx { chain: ChainId([0; 32]), ..tx(id, node(1), 0, 5) }, Refusal::Chain),
        (tx(id, node(1), 0, 4), Refusal::Fee { offered: Amount(4), least: Amount(5) }),
        (tx(id, node(1), 0, has.0 + 1), Refusal::Underfunded { account: node(1), has, needs: Amount(has.0 + 1) }),
        (tx(id, node(99), 0, 5), Refusal::Underfunded { account: node(99), has: Amount::ZERO, needs: Amount(5) }),
        (Tx { expires: NOW_S, ..tx(id, node(1), 0, 5) }, StatementError::Expired { expires: NOW_S, now: NOW_S }.into()),
    ];
    for (tx, why) in cases {
        assert_eq!(add(&mut pool, &mut chain, tx), refused(why));
    }
    let mut forged = Signed::sign(tx(id, node(1), 0, 5), &Fast(node(1))).unwrap();
    forged.signature[0] ^= 1;
    assert_eq!(pool.add(forged, chain.state(), NOW_S, &Fast(node(1))), refused(StatementError::Forged(node(1))));
    // Fees of all that wait count together.
    assert_eq!(add(&mut pool, &mut chain, tx(id, node(1), 0, has.0 - 4)), Ok(()));
    let together = Refusal::Underfunded { account: node(1), has, needs: Amount(has.0 + 1) };
    assert_eq!(add(&mut pool, &mut chain, tx(id, node(1), 1, 5)), refused(together));
}

#[test]
fn it_is_bounded_for_each_account_and_for_all() {
    let (mut chain, mut pool) = (rich(), Mempool::default());
    let id = chain.id();
    for nonce in 0..POOL_ACCOUNT_MAX as u64 {
        add(&mut pool, &mut chain, tx(id, node(1), nonce, 5)).unwrap();
    }
    let next = tx(id, node(1), POOL_ACCOUNT_MAX as u64, 5);
    assert_eq!(add(&mut pool, &mut chain, next), Err(PoolRefusal::AccountFull(node(1))));
    add(&mut pool, &mut chain, tx(id, node(2), 0, 5)).unwrap();

    // Anyone can send what is free: there is a number and then no more.
    let (mut chain, mut pool) = (Chain::begin(&genesis(1)).unwrap(), Mempool::default());
    let id = chain.id();
    let payer = |number: usize| {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&(number as u64).to_le_bytes());
        NodeId(key)
    };
    for number in 0..POOL_TXS_MAX {
        add(&mut pool, &mut chain, tx(id, payer(number), 0, 0)).unwrap();
    }
    let full = add(&mut pool, &mut chain, tx(id, payer(POOL_TXS_MAX), 0, 0));
    assert!(matches!(full, Err(PoolRefusal::Full { txs: POOL_TXS_MAX, .. })), "{full:?}");
}

#[test]
fn a_block_takes_in_order_and_what_fails_leaves() {
    let (mut chain, mut pool) = (rich(), Mempool::default());
    let (id, keys) = (chain.id(), Fast(node(1)));
    let has = chain.state().account(&node(3)).balance;
    add(&mut pool, &mut chain, tx(id, node(1), 0, 5)).unwrap();
    // It can pay its fee, and not what it does.
    let dear = Tx { action: Action::Transfer { to: node(2), amount: has }, ..tx(id, node(3), 0, 5) };
    add(&mut pool, &mut chain, dear).unwrap();
    add(&mut pool, &mut chain, tx(id, node(3), 1, 5)).unwrap();
    add(&mut pool, &mut chain, tx(id, node(1), 1, 5)).unwrap();
    let block = chain.propose(node(1), NOW_S, &mut pool, &keys).unwrap();
    let took: Vec<_> = block.txs.iter().map(|tx| (tx.statement.payer, tx.statement.nonce)).collect();
    assert_eq!(took, [(node(1), 0), (node(1), 1)]);
    assert_eq!(pool.len(), 2, "what stands in a proposed block waits until it is final");
    let txs = block.txs.clone();
    decide(&mut chain, block);
    pool.settle(&txs, chain.state());
    assert!(pool.is_empty());
    assert_eq!(pool.next_nonce(&node(1), chain.state()), 2);
}

#[test]
fn a_block_is_no_longer_than_it_may_be() {
    let (mut chain, mut pool) = (Chain::begin(&genesis(1)).unwrap(), Mempool::default());
    let (id, keys) = (chain.id(), Fast(node(1)));
    for number in 0..8000u64 {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_le_bytes());
        let post = post(id, NOW_S, NodeId(key), 0);
        pool.add(post, chain.state(), NOW_S, &keys).unwrap();
    }
    let block = chain.propose(node(1), NOW_S, &mut pool, &keys).unwrap();
    block.check_parts().unwrap();
    assert!(block.txs.len() > 2000 && pool.len() == 8000, "{} of 8000", block.txs.len());
    assert_eq!(chain.check(&block, &keys), Ok(()));
}
