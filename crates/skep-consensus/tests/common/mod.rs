//! Keys, ledgers and transactions for tests.
#![allow(dead_code, reason = "each test uses some of it")]

pub mod linear;
pub mod rng;
pub mod world;

use skep_consensus::*;
use skep_ledger::{Action, Amount, Ask, Params, Price, Ruling, Tx};
pub use skep_testkit::keys::Hashed as Fast;
use skep_types::signed::Signed;
use skep_types::{BlockRange, ModelId, NodeId};

/// When ledgers begin, Unix seconds.
pub const BEGIN_S: u64 = 1_700_000_000;

pub fn node(number: u8) -> NodeId {
    NodeId([number; 32])
}

/// Validators 1 to `count` of equal power.
pub fn equals(count: u8) -> Validators {
    Validators::new((1..=count).map(|number| Validator { id: node(number), power: 1 }).collect()).unwrap()
}

pub fn genesis(validators: u8) -> Genesis {
    let free = Params { fee_base: Amount::ZERO, fee_byte: Amount::ZERO, ..Params::default() };
    let params = Params { subsidy_max: Amount(u64::MAX), ..free };
    Genesis { params, time_s: BEGIN_S, validators: equals(validators), grants: Vec::new() }
}

/// A chain without blocks in which nodes 1 to 8 have work to be paid for, with the first block that comes an hour later.
pub fn chain(genesis: &Genesis) -> Chain {
    let mut chain = Chain::begin(genesis).unwrap();
    for number in 1..=8 {
        chain.state().rule(&Ruling::Work { provider: node(number), work: 1 }).unwrap();
    }
    chain
}

pub fn signed(chain: skep_ledger::ChainId, now_s: u64, payer: NodeId, nonce: u64, action: Action) -> Signed<Tx> {
    let tx = Tx { chain, payer, nonce, expires: now_s + 600, fee: Amount::ZERO, action };
    Signed::sign(tx, &Fast(payer)).unwrap()
}

/// What needs no money.
pub fn post(chain: skep_ledger::ChainId, now_s: u64, payer: NodeId, nonce: u64) -> Signed<Tx> {
    let ask =
        Ask { blocks: BlockRange::new(0, 8).unwrap(), price: Price { input: 1, output: 1 }, until_s: now_s + 600 };
    signed(chain, now_s, payer, nonce, Action::Post { model: ModelId([5; 32]), ask })
}

/// A transfer of one unit from a node to the next.
pub fn transfer(chain: skep_ledger::ChainId, now_s: u64, payer: NodeId, nonce: u64) -> Signed<Tx> {
    signed(chain, now_s, payer, nonce, Action::Transfer { to: node(payer.0[0] % 8 + 1), amount: Amount(1) })
}
