//! Reservations: who wins an order, who is paid for how long, what leaving costs.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::*;
use skep_ledger::order::*;
use skep_ledger::*;

const OWNER: u8 = 1;
const MACHINE: Machine = Machine { class: 3, memory_mib: 1000 };

fn wanted(state: &State, count: u8) -> Wanted {
    let until_s = state.totals().time_s + 100;
    Wanted { machine: MACHINE, count, rate_max: Amount(50), reclaim_s_min: 100, until_s }
}

fn network() -> State {
    let mut state = funded(&[1, 2, 3, 4, 5].map(node));
    let params = Params { fee_base: Amount(0), fee_byte: Amount(0), bid_bond_min: Amount(1000), ..*state.params() };
    state.rule(&Ruling::Params(params)).unwrap();
    state
}

fn place(state: &mut State, count: u8, deposit: u64) -> TxId {
    let id = TxId { payer: node(OWNER), nonce: state.account(&node(OWNER)).nonce };
    let wanted = wanted(state, count);
    act(state, node(OWNER), Action::PlaceOrder { wanted, deposit: Amount(deposit) }).unwrap();
    assert_conserved(state);
    id
}

fn offer(rate: u64) -> Bid {
    Bid { rate: Amount(rate), bond: Amount(1000), reclaim_s: 100, machine: MACHINE }
}

fn bid(state: &mut State, order: TxId, provider: u8, rate: u64) {
    act(state, node(provider), Action::Bid { order, bid: offer(rate) }).unwrap();
    assert_conserved(state);
}

fn balances(state: &State) -> [u64; 5] {
    [1, 2, 3, 4, 5].map(|id| state.account(&node(id)).balance.0)
}

fn gains(state: &State, before: [u64; 5]) -> [i64; 5] {
    assert_conserved(state);
    let after = balances(state);
    std::array::from_fn(|i| after[i] as i64 - before[i] as i64)
}

/// Two machines, leased to 2 and 3 at the rate 30 that 4 bid.
fn leased(state: &mut State, deposit: u64) -> TxId {
    let order = place(state, 2, deposit);
    for (provider, rate) in [(4, 30), (2, 20), (5, 40), (3, 10)] {
        bid(state, order, provider, rate);
    }
    let events = wait(state, 100);
    let providers = vec![node(3), node(2)];
    assert_eq!(events, [Event::Awarded { order, providers, rate: Amount(30) }]);
    assert_conserved(state);
    order
}

#[test]
fn the_lowest_win_and_are_paid_the_next_lowest_bid() {
    let mut state = network();
    let before = balances(&state);
    leased(&mut state, 60_000);
    assert_eq!(gains(&state, before), [-60_000, -1000, -1000, 0, 0], "losers have their bonds back at once");
}

#[test]
fn a_single_bid_is_paid_the_most() {
    let mut state = network();
    let order = place(&mut state, 2, 60_000);
    bid(&mut state, order, 2, 7);
    wait(&mut state, 100);
    assert_eq!(state.order(&order).unwrap().parts[0].rate, Amount(50));
}

#[test]
fn an_order_without_bids_ends() {
    let mut state = network();
    let before = balances(&state);
    let order = place(&mut state, 2, 60_000);
    assert_eq!(wait(&mut state, 100), [Event::OrderEnded { order, returned: Amount(60_000) }]);
    assert_eq!(gains(&state, before), [0; 5]);
}

#[test]
fn leases_are_paid_until_the_escrow_is_empty() {
    let mut state = network();
    let before = balances(&state);
    let order = leased(&mut state, 60_010);
    wait(&mut state, 999);
    assert!(state.order(&order).is_some());
    wait(&mut state, 50);
    assert!(state.order(&order).is_none(), "it lasted 1000 s and a little");
    assert_eq!(gains(&state, before), [-60_010, 30_005, 30_005, 0, 0]);
}

#[test]
fn what_is_added_makes_it_last_longer() {
    let mut state = network();
    let before = balances(&state);
    let order = leased(&mut state, 60_000);
    wait(&mut state, 500);
    act(&mut state, node(OWNER), Action::Fund { order, amount: Amount(6_000) }).unwrap();
    wait(&mut state, 599);
    assert!(state.order(&order).is_some());
    wait(&mut state, 1);
    assert!(state.order(&order).is_none());
    assert_eq!(gains(&state, before), [-66_000, 33_000, 33_000, 0, 0]);
}

#[test]
fn who_gives_notice_leaves_with_its_bond() {
    let mut state = network();
    let before = balances(&state);
    let order = leased(&mut state, 60_000);
    act(&mut state, node(2), Action::Reclaim { order }).unwrap();
    wait(&mut state, 60);
    act(&mut state, node(2), Action::Reclaim { order }).unwrap();
    wait(&mut state, 40);
    act(&mut state, node(2), Action::Leave { order }).unwrap();
    assert_eq!(gains(&state, before), [-60_000, 3000, 2000, 0, 0], "both are paid for 100 s, and one bond is back");
    act(&mut state, node(OWNER), Action::Dismiss { order, provider: None }).unwrap();
    assert_eq!(gains(&state, before), [-6_000, 3000, 3000, 0, 0]);
    assert!(state.order(&order).is_none());
}

#[test]
fn who_leaves_early_loses_the_missing_part() {
    let mut state = network();
    let before = balances(&state);
    let order = leased(&mut state, 60_000);
    act(&mut state, node(2), Action::Leave { order }).unwrap();
    assert_eq!(gains(&state, before), [-59_000, -1000, -1000, 0, 0], "no notice: the whole bond");
    act(&mut state, node(3), Action::Reclaim { order }).unwrap();
    wait(&mut state, 75);
    act(&mut state, node(3), Action::Leave { order }).unwrap();
    let paid = 75 * 30;
    assert_eq!(
        gains(&state, before),
        [1000 + 250 - paid, -1000, paid - 250, 0, 0],
        "a quarter of the notice is missing"
    );
    assert!(state.order(&order).is_none(), "the last lease ends the order");
}

#[test]
fn a_bid_can_be_taken_back() {
    let mut state = network();
    let before = balances(&state);
    let order = place(&mut state, 1, 60_000);
    bid(&mut state, order, 2, 20);
    act(&mut state, node(2), Action::Leave { order }).unwrap();
    assert_eq!(gains(&state, before), [-60_000, 0, 0, 0, 0]);
    bid(&mut state, order, 3, 20);
    act(&mut state, node(OWNER), Action::Dismiss { order, provider: None }).unwrap();
    assert_eq!(gains(&state, before), [0; 5], "an order that is withdrawn returns bonds");
}

#[test]
fn a_machine_that_has_gone_is_dismissed() {
    let mut state = network();
    let before = balances(&state);
    let order = leased(&mut state, 60_000);
    wait(&mut state, 10);
    act(&mut state, node(OWNER), Action::Dismiss { order, provider: Some(node(2)) }).unwrap();
    wait(&mut state, 10);
    act(&mut state, node(OWNER), Action::Dismiss { order, provider: Some(node(3)) }).unwrap();
    assert_eq!(gains(&state, before), [-900, 300, 600, 0, 0], "vanishing costs no bond");
}

#[test]
fn bad_bids_are_refused_and_change_nothing() {
    let mut state = network();
    let order = place(&mut state, 2, 60_000);
    bid(&mut state, order, 2, 20);
    let most = state.params().reclaim_s_max;
    let notice = |asked| Refusal::Notice { least: 100, asked, most };
    let machine = Refusal::Field("the machine is not what the order asks for");
    let cases = [
        (3, Bid { bond: Amount(999), ..offer(20) }, Refusal::Deposit { offered: Amount(999), least: Amount(1000) }),
        (3, offer(51), Refusal::Rate { rate: Amount(51), most: Amount(50) }),
        (3, offer(0), Refusal::Rate { rate: Amount(0), most: Amount(50) }),
        (3, Bid { machine: Machine { class: 4, ..MACHINE }, ..offer(20) }, machine.clone()),
        (3, Bid { machine: Machine { memory_mib: 999, ..MACHINE }, ..offer(20) }, machine),
        (3, Bid { reclaim_s: 99, ..offer(20) }, notice(99)),
        (3, Bid { reclaim_s: most + 1, ..offer(20) }, notice(most + 1)),
        (2, offer(19), Refusal::Field("a provider bids once, and not for its own order")),
        (OWNER, offer(19), Refusal::Field("a provider bids once, and not for its own order")),
    ];
    let before = format!("{state:?}");
    for (provider, bid, refusal) in cases {
        assert_eq!(act(&mut state, node(provider), Action::Bid { order, bid }), Err(refusal));
    }
    let other = TxId { nonce: 99, ..order };
    let unknown = Refusal::Unknown { what: "order", id: other };
    assert_eq!(act(&mut state, node(3), Action::Bid { order: other, bid: offer(20) }), Err(unknown));
    let none = |id| Refusal::NotInOrder { order, provider: node(id) };
    assert_eq!(act(&mut state, node(2), Action::Reclaim { order }), Err(none(2)), "a bid is no lease");
    assert_eq!(act(&mut state, node(3), Action::Leave { order }), Err(none(3)));
    let dismiss = Action::Dismiss { order, provider: Some(node(2)) };
    assert_eq!(act(&mut state, node(OWNER), dismiss.clone()), Err(none(2)));
    assert_eq!(act(&mut state, node(2), dismiss), Err(Refusal::NotYours { owner: node(OWNER) }));
    assert_eq!(format!("{state:?}"), before);
    wait(&mut state, 100);
    let closed = act(&mut state, node(3), Action::Bid { order, bid: offer(20) });
    assert!(matches!(closed, Err(Refusal::Closed { .. })), "{closed:?}");
}

#[test]
fn exactly_the_most_bids_are_taken_and_then_only_lower_ones() {
    let many: Vec<u8> = (2..2 + BIDS_MAX as u8 + 1).collect();
    let mut state = funded(&[[1].as_slice(), &many].concat().iter().map(|id| node(*id)).collect::<Vec<_>>());
    let order = place(&mut state, 1, 60_000);
    let bond = state.params().bid_bond_min;
    let (last, fit) = many.split_last().unwrap();
    for provider in fit {
        let rate = 20 + u64::from(*provider == 7);
        act(&mut state, node(*provider), Action::Bid { order, bid: Bid { bond, ..offer(rate) } }).unwrap();
    }
    let full = Refusal::Field("the order has its bids, and none is higher");
    let late = |rate| Action::Bid { order, bid: Bid { bond, ..offer(rate) } };
    assert_eq!(act(&mut state, node(*last), late(21)), Err(full.clone()));
    let before = state.account(&node(7)).balance;
    act(&mut state, node(*last), late(20)).unwrap();
    assert_eq!(state.account(&node(7)).balance, before.plus(bond).unwrap(), "the highest has its bond back");
    assert_eq!(state.order(&order).unwrap().parts.len(), BIDS_MAX);
    assert_eq!(act(&mut state, node(7), late(20)), Err(full));
    assert_conserved(&state);
}

#[test]
fn orders_that_cannot_be_are_refused() {
    let mut state = network();
    let good = wanted(&state, 2);
    let now = state.totals().time_s;
    let most = state.params().reclaim_s_max;
    let when = Refusal::Field("an order takes bids for a week at most");
    let what = Refusal::Field("an order asks for some machines and pays for them");
    let cases = [
        (Wanted { until_s: now, ..good }, 60_000, when.clone()),
        (Wanted { until_s: now + BIDDING_S_MAX + 1, ..good }, 60_000, when),
        (Wanted { count: 0, ..good }, 60_000, what.clone()),
        (Wanted { count: MACHINES_MAX + 1, ..good }, 60_000, what.clone()),
        (Wanted { rate_max: Amount(0), ..good }, 60_000, what),
        (Wanted { reclaim_s_min: most + 1, ..good }, 60_000, Refusal::Notice { least: 0, asked: most + 1, most }),
        (good, 5999, Refusal::Deposit { offered: Amount(5999), least: Amount(6000) }),
        (Wanted { rate_max: Amount(u64::MAX), ..good }, 60_000, Refusal::Overflow),
    ];
    let before = format!("{state:?}");
    for (wanted, deposit, refusal) in cases {
        let action = Action::PlaceOrder { wanted, deposit: Amount(deposit) };
        assert_eq!(act(&mut state, node(OWNER), action), Err(refusal));
    }
    assert_eq!(format!("{state:?}"), before);
}

#[test]
fn the_actions_of_an_order_have_these_bytes() {
    let order = TxId { payer: node(1), nonce: 2 };
    let wanted = Wanted { machine: MACHINE, count: 2, rate_max: Amount(50), reclaim_s_min: 100, until_s: 9 };
    let id = "01".repeat(32) + "0200000000000000";
    let machine = "03000000e8030000";
    let cases = [
        (
            Action::PlaceOrder { wanted, deposit: Amount(7) },
            format!("09{machine}02320000000000000064000000{}{}", "0900000000000000", "0700000000000000"),
        ),
        (Action::Bid { order, bid: offer(20) }, format!("0a{id}1400000000000000e80300000000000064000000{machine}")),
        (Action::Fund { order, amount: Amount(7) }, format!("0b{id}0700000000000000")),
        (Action::Reclaim { order }, format!("0c{id}")),
        (Action::Leave { order }, format!("0d{id}")),
        (Action::Dismiss { order, provider: None }, format!("0e{id}00")),
        (Action::Dismiss { order, provider: Some(node(2)) }, format!("0e{id}01{}", "02".repeat(32))),
    ];
    for (action, bytes) in cases {
        assert_eq!(hex(&borsh::to_vec(&action).unwrap()), bytes);
        assert_eq!(borsh::from_slice::<Action>(&borsh::to_vec(&action).unwrap()).unwrap(), action);
    }
}
