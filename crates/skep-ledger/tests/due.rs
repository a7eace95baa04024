//! More is due than one block carries out: the rest waits, and no law waits for it.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::*;
use skep_ledger::due::DUE_MAX;
use skep_ledger::round::{HOUR_S, commitment};
use skep_ledger::*;
use skep_types::{BlockRange, ModelId};

const MODEL: ModelId = ModelId([5; 32]);
const FREE: Price = Price { input: 0, output: 0 };

fn open(until_s: u64) -> Action {
    let hires = vec![Hire { provider: node(2), model: MODEL, price_max: FREE }];
    Action::OpenTab { hires, most: Units { input: 9, output: 9 }, until_s }
}

#[test]
fn what_is_over_is_over_before_it_is_carried_out() {
    let mut state = funded(&[1, 2, 3].map(node));
    let free = Params { fee_base: Amount(0), fee_byte: Amount(0), ..*state.params() };
    state.rule(&Ruling::Params(free)).unwrap();
    let end_s = (state.totals().time_s / HOUR_S + 2) * HOUR_S;
    let ask = Ask { blocks: BlockRange::new(0, 8).unwrap(), price: FREE, until_s: end_s };
    act(&mut state, node(2), Action::Post { model: MODEL, ask }).unwrap();
    let machine = Machine { class: 1, memory_mib: 1 };
    let wanted = Wanted { machine, count: 1, rate_max: Amount(5), reclaim_s_min: 0, until_s: end_s };
    let order = TxId { payer: node(1), nonce: 0 };
    act(&mut state, node(1), Action::PlaceOrder { wanted, deposit: Amount(1000) }).unwrap();
    let round = Round { class: 1, start_s: end_s };
    let sealed = commitment(&round, &node(3), Side::Buy, Amount(5), &[0; 32]).unwrap();
    let seal = Action::Seal { round, commitment: sealed, deposit: Amount(100_000) };
    act(&mut state, node(3), seal).unwrap();
    for _ in 0..=DUE_MAX {
        act(&mut state, node(1), open(end_s)).unwrap();
    }
    let to_end = end_s - state.totals().time_s;
    assert_eq!(wait(&mut state, to_end).len(), DUE_MAX);
    assert_conserved(&state);

    let tab = TxId { payer: node(1), nonce: 1 + DUE_MAX as u64 };
    assert!(state.tab(&tab).is_some(), "the last one still waits");
    let units = Units { input: 1, output: 1 };
    let voucher = Voucher { chain: CHAIN, tab, provider: node(2), seq: 1, units, output: [0; 32] };
    let claim = Action::Claim { vouchers: vec![voucher.sign(&Fast(node(1))).unwrap()], last: false };
    let closed = |what, id| Refusal::Closed { what, id, closed_s: end_s };
    assert_eq!(act(&mut state, node(2), claim), Err(closed("tab", tab)));
    assert_eq!(act(&mut state, node(2), Action::LetGo { tab }), Err(closed("tab", tab)));
    let no_ask = Refusal::NoAsk { provider: node(2), model: MODEL };
    assert_eq!(act(&mut state, node(1), open(end_s + 60)), Err(no_ask));
    let bid = Bid { rate: Amount(4), bond: Amount(200_000), reclaim_s: 100, machine };
    assert_eq!(act(&mut state, node(2), Action::Bid { order, bid }), Err(closed("order", order)));
    let reveal = Action::Reveal { round, side: Side::Buy, price: Amount(5), salt: [0; 32] };
    assert_eq!(act(&mut state, node(3), reveal), Err(Refusal::RoundTime { round, now_s: end_s }));

    wait(&mut state, 0);
    assert!(state.tab(&tab).is_none() && state.order(&order).is_none() && state.sealed(round, node(3)).is_none());
    assert_conserved(&state);
}
