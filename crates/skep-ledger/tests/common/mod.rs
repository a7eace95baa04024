//! Keys and networks for tests.
#![allow(dead_code, reason = "each test uses some of it")]

use skep_ledger::*;
pub use skep_testkit::keys::Hashed as Fast;
use skep_types::NodeId;
use skep_types::signed::Signed;

pub const NOW: u64 = 1_700_000_000;
pub const CHAIN: ChainId = ChainId([9; 32]);

/// An account whose signatures are hashes.
pub fn node(number: u8) -> NodeId {
    NodeId([number; 32])
}

/// A ledger at [`NOW`], with work paid so that each account has money.
pub fn funded(accounts: &[NodeId]) -> State {
    seated(accounts, &[])
}

/// The same with validators.
pub fn seated(accounts: &[NodeId], validators: &[(NodeId, u64)]) -> State {
    let mut state = State::new(CHAIN, Params { subsidy_max: Amount(u64::MAX), ..Params::default() }, NOW).unwrap();
    if !validators.is_empty() {
        state.seat_first(validators).unwrap();
    }
    for account in accounts {
        state.rule(&Ruling::Work { provider: *account, work: 1 }).unwrap();
    }
    state.begin_block(1, NOW + 3600).unwrap();
    assert_conserved(&state);
    state
}

pub fn assert_conserved(state: &State) {
    assert_eq!(state.audit().unwrap().total().unwrap(), state.supply().unwrap());
}

/// A transaction with the account's next number and a fee that suffices.
pub fn tx(state: &State, payer: NodeId, action: Action) -> Tx {
    let expires = state.totals().time_s + 60;
    let mut tx = Tx { chain: CHAIN, payer, nonce: state.account(&payer).nonce, expires, fee: Amount::ZERO, action };
    tx.fee = state.fee_of(&tx).unwrap();
    tx
}

/// Signs with a hash and applies.
pub fn act(state: &mut State, payer: NodeId, action: Action) -> Result<Vec<Event>, Refusal> {
    let tx = tx(state, payer, action);
    let keys = Fast(payer);
    state.apply(&Signed::sign(tx, &keys)?, &keys)
}

/// Lets time go on by a block.
pub fn wait(state: &mut State, seconds: u64) -> Vec<Event> {
    let totals = *state.totals();
    state.begin_block(totals.height + 1, totals.time_s + seconds).unwrap()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
