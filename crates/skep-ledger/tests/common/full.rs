//! A ledger with a row of every kind, and a good transaction of every kind.
#![allow(dead_code, reason = "each test uses some of it")]

use crate::common::*;
use skep_ledger::round::{HOUR_S, Side, commitment};
use skep_ledger::*;
use skep_types::{BlockRange, ModelId, NodeId};

pub const MODEL: ModelId = ModelId([5; 32]);
const MACHINE: Machine = Machine { class: 1, memory_mib: 1 };
const PRICE: Price = Price { input: 1000, output: 2000 };

fn ask(state: &State) -> Ask {
    Ask { blocks: BlockRange::new(0, 8).unwrap(), price: PRICE, until_s: state.totals().time_s + 80_000 }
}

fn open_tab(state: &State) -> Action {
    let hires = vec![Hire { provider: node(2), model: MODEL, price_max: PRICE }];
    Action::OpenTab { hires, most: Units { input: 9000, output: 9000 }, until_s: state.totals().time_s + 50_000 }
}

fn order(state: &State, bidding_s: u64) -> Action {
    let until_s = state.totals().time_s + bidding_s;
    let wanted = Wanted { machine: MACHINE, count: 1, rate_max: Amount(5), reclaim_s_min: 0, until_s };
    Action::PlaceOrder { wanted, deposit: Amount(1_000_000) }
}

fn bid() -> Bid {
    Bid { rate: Amount(4), bond: Amount(200_000), reclaim_s: 100, machine: MACHINE }
}

fn seal(state: &mut State, round: Round, trader: u8, side: Side) {
    let commitment = commitment(&round, &node(trader), side, Amount(90), &[0; 32]).unwrap();
    act(state, node(trader), Action::Seal { round, commitment, deposit: Amount(100_000) }).unwrap();
}

/// The rounds of a full ledger: the first is cleared, the second takes reveals, the third takes seals.
pub fn rounds() -> [Round; 3] {
    let start_s = (NOW + HOUR_S) / HOUR_S * HOUR_S + 2 * HOUR_S;
    [0, 1, 3].map(|hour| Round { class: 1, start_s: start_s + hour * HOUR_S })
}

/// Node 1 has a tab with 2, an order that takes bids and one that is leased to 2; an hour of the first round is sold.
pub fn full() -> State {
    let mut state = seated(&[1, 2, 3, 4].map(node), &[(node(1), 2), (node(2), 1)]);
    act(&mut state, node(2), Action::Endorse { validator: node(9), power: 4 }).unwrap();
    let [first, second, third] = rounds();
    let post = Action::Post { model: MODEL, ask: ask(&state) };
    act(&mut state, node(2), post).unwrap();
    act(&mut state, node(2), Action::Bond { amount: Amount(3_000_000) }).unwrap();
    for (trader, side) in [(3, Side::Buy), (1, Side::Buy), (4, Side::Sell), (2, Side::Sell)] {
        seal(&mut state, first, trader, side);
        seal(&mut state, second, trader, side);
    }
    seal(&mut state, third, 3, Side::Buy);
    let to_reveal = first.start_s - 600 - state.totals().time_s;
    wait(&mut state, to_reveal);
    for (trader, side) in [(3, Side::Buy), (1, Side::Buy), (4, Side::Sell), (2, Side::Sell)] {
        let reveal = Action::Reveal { round: first, side, price: Amount(90), salt: [0; 32] };
        act(&mut state, node(trader), reveal).unwrap();
    }
    wait(&mut state, 600);
    let [leased, open] = [order(&state, 60), order(&state, 7200)];
    let id = next(&state, 1);
    act(&mut state, node(1), leased).unwrap();
    act(&mut state, node(2), Action::Bid { order: id, bid: bid() }).unwrap();
    let to_reveal = second.start_s - 600 - state.totals().time_s;
    wait(&mut state, to_reveal);
    act(&mut state, node(1), open).unwrap();
    let tab = open_tab(&state);
    act(&mut state, node(1), tab).unwrap();
    state.rule(&Ruling::Work { provider: node(2), work: 7 }).unwrap();
    let (provider, victim, reporter) = (node(2), node(1), node(3));
    let fraud = Fraud { case: [1; 32], provider, share_ppm: 1, victim, harm: Amount(1), reporter };
    state.rule(&Ruling::Fraud(fraud)).unwrap();
    state.rule(&Ruling::Work { provider: node(2), work: 7 }).unwrap();
    assert_conserved(&state);
    state
}

/// What the account's next transaction opens.
fn next(state: &State, payer: u8) -> TxId {
    TxId { payer: node(payer), nonce: state.account(&node(payer)).nonce }
}

/// A transaction of every kind that a full ledger takes, and who sends it.
pub fn every_action(state: &State) -> Vec<(NodeId, Action)> {
    let before = |steps: u64| TxId { nonce: next(state, 1).nonce - steps, ..next(state, 1) };
    let [tab, open, leased] = [1, 2, 3].map(before);
    let [first, second, third] = rounds();
    let units = Units { input: 100, output: 200 };
    let voucher = Voucher { chain: CHAIN, tab, provider: node(2), seq: 3, units, output: [6; 32] };
    let vouchers = vec![voucher.sign(&Fast(node(1))).unwrap()];
    let sealed = commitment(&third, &node(1), Side::Sell, Amount(5), &[0; 32]).unwrap();
    let reveal = Action::Reveal { round: second, side: Side::Buy, price: Amount(90), salt: [0; 32] };
    let actions = [
        (1, Action::Transfer { to: node(2), amount: Amount(1000) }),
        (2, Action::Post { model: MODEL, ask: ask(state) }),
        (2, Action::Withdraw { model: MODEL }),
        (1, open_tab(state)),
        (2, Action::Claim { vouchers: vouchers.clone(), last: false }),
        (2, Action::Claim { vouchers, last: true }),
        (2, Action::LetGo { tab }),
        (1, Action::CloseTab { tab }),
        (2, Action::Bond { amount: Amount(1000) }),
        (2, Action::Unbond { amount: Amount(1000) }),
        (1, order(state, 60)),
        (3, Action::Bid { order: open, bid: bid() }),
        (1, Action::Fund { order: leased, amount: Amount(1000) }),
        (2, Action::Reclaim { order: leased }),
        (2, Action::Leave { order: leased }),
        (1, Action::Dismiss { order: leased, provider: Some(node(2)) }),
        (1, Action::Seal { round: third, commitment: sealed, deposit: Amount(100_000) }),
        (3, reveal),
        (1, Action::Endorse { validator: node(9), power: 3 }),
    ];
    let seller = if state.sale(first, node(4)).is_some() { node(4) } else { node(2) };
    let sale = (state.sale(first, seller).unwrap().buyer, Action::EndSale { round: first, seller });
    actions.into_iter().map(|(id, action)| (node(id), action)).chain([sale]).collect()
}
