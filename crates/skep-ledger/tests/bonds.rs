//! Bonds: what may be at stake with one provider, what leaves when, and what a conviction takes.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::*;
use proptest::prelude::*;
use skep_ledger::bond::LEAVING_MAX;
use skep_ledger::*;
use skep_types::{BlockRange, ModelId};

const MODEL: ModelId = ModelId([5; 32]);
const HOUR: u64 = 3600;
const DAY: u64 = 86_400;

/// A client, and a provider that asks for 1 a token and has bonded so much that 1000 may be at stake with it.
fn market() -> State {
    let mut state = funded(&[node(1), node(2)]);
    let exact = Params { reporter_ppm: 0, ..*state.params() };
    state.rule(&Ruling::Params(exact)).unwrap();
    let price = Price { input: 1000, output: 1000 };
    let ask = Ask { blocks: BlockRange::new(0, 8).unwrap(), price, until_s: state.totals().time_s + 20 * DAY };
    act(&mut state, node(2), Action::Post { model: MODEL, ask }).unwrap();
    act(&mut state, node(2), Action::Bond { amount: Amount(19_000) }).unwrap();
    state
}

fn open(state: &mut State, tokens: u64) -> Result<TxId, Refusal> {
    let id = TxId { payer: node(1), nonce: state.account(&node(1)).nonce };
    let price_max = Price { input: 1000, output: 1000 };
    let hires = vec![Hire { provider: node(2), model: MODEL, price_max }];
    let until_s = state.totals().time_s + 2 * HOUR;
    act(state, node(1), Action::OpenTab { hires, most: Units { input: 0, output: tokens }, until_s })?;
    assert_conserved(state);
    Ok(id)
}

fn claim(state: &mut State, tab: TxId, tokens: u64, last: bool) {
    let units = Units { input: 0, output: tokens };
    let voucher = Voucher { chain: CHAIN, tab, provider: node(2), seq: 1, units, output: [0; 32] };
    let vouchers = vec![voucher.sign(&Fast(node(1))).unwrap()];
    act(state, node(2), Action::Claim { vouchers, last }).unwrap();
    assert_conserved(state);
}

fn exposed(at_stake: u64) -> Refusal {
    Refusal::Exposure { provider: node(2), at_stake: Amount(at_stake), limit: Amount(1000) }
}

#[test]
fn no_more_is_at_stake_than_the_bond_stands_for() {
    let mut state = market();
    let first = open(&mut state, 600).unwrap();
    assert_eq!(open(&mut state, 401), Err(exposed(1001)));
    open(&mut state, 400).unwrap();
    assert_eq!(open(&mut state, 1), Err(exposed(1001)));
    claim(&mut state, first, 250, true);
    assert_eq!(open(&mut state, 351), Err(exposed(1001)), "what was paid is still at stake, what returned is not");
    open(&mut state, 350).unwrap();
}

#[test]
fn what_was_paid_is_at_stake_until_audits_are_over() {
    let mut state = market();
    let tab = open(&mut state, 1000).unwrap();
    claim(&mut state, tab, 1000, true);
    wait(&mut state, HOUR - 1);
    assert_eq!(open(&mut state, 1), Err(exposed(1001)));
    wait(&mut state, HOUR / 8 + 1);
    open(&mut state, 1000).unwrap();
}

#[test]
fn a_tab_that_ends_by_time_frees_the_bond() {
    let mut state = market();
    open(&mut state, 1000).unwrap();
    wait(&mut state, 2 * HOUR);
    open(&mut state, 1000).unwrap();
}

#[test]
fn whoever_asks_for_nothing_needs_no_bond() {
    let mut state = funded(&[node(1)]);
    state.rule(&Ruling::Params(Params { fee_base: Amount(0), fee_byte: Amount(0), ..*state.params() })).unwrap();
    let ask = |output| Ask {
        blocks: BlockRange::new(0, 8).unwrap(),
        price: Price { input: 0, output },
        until_s: NOW + 2 * HOUR,
    };
    act(&mut state, node(2), Action::Post { model: MODEL, ask: ask(0) }).unwrap();
    let tab = open(&mut state, 1000).unwrap();
    claim(&mut state, tab, 1000, true);
    assert_eq!(state.account(&node(2)).balance, Amount::ZERO);
    act(&mut state, node(2), Action::Post { model: MODEL, ask: ask(1000) }).unwrap();
    let refusal = Refusal::Exposure { provider: node(2), at_stake: Amount(1), limit: Amount(0) };
    assert_eq!(open(&mut state, 1), Err(refusal));
}

#[test]
fn a_bond_leaves_after_its_time_and_not_below_what_is_at_stake() {
    let mut state = market();
    let bond = |amount| Action::Unbond { amount: Amount(amount) };
    for amount in [0, 19_001, u64::MAX] {
        let refusal = Refusal::Bond { provider: node(2), active: Amount(19_000), asked: Amount(amount) };
        assert_eq!(act(&mut state, node(2), bond(amount)), Err(refusal));
    }
    open(&mut state, 500).unwrap();
    let low = Refusal::Exposure { provider: node(2), at_stake: Amount(500), limit: Amount(499) };
    assert_eq!(act(&mut state, node(2), bond(9501)), Err(low));
    act(&mut state, node(2), bond(9500)).unwrap();
    let before = state.account(&node(2)).balance;
    wait(&mut state, 14 * DAY - 1);
    assert_eq!(state.account(&node(2)).balance, before);
    wait(&mut state, 1);
    assert_eq!(state.account(&node(2)).balance, Amount(before.0 + 9500));
    for _ in 0..LEAVING_MAX {
        act(&mut state, node(2), bond(1)).unwrap();
    }
    assert!(matches!(act(&mut state, node(2), bond(1)), Err(Refusal::Field(_))));
    wait(&mut state, 14 * DAY);
    act(&mut state, node(2), bond(9500 - LEAVING_MAX as u64)).unwrap();
    wait(&mut state, 14 * DAY);
    assert_eq!(state.bond(&node(2)), None, "what is empty is forgotten");
    assert_conserved(&state);
}

fn fraud(case: u8, share_ppm: u32, harm: u64) -> Ruling {
    let (provider, victim, reporter) = (node(2), node(1), node(3));
    Ruling::Fraud(Fraud { case: [case; 32], provider, share_ppm, victim, harm: Amount(harm), reporter })
}

#[test]
fn a_conviction_refunds_the_victim_and_burns_half_at_least() {
    let mut state = market();
    let generous = Params { reporter_ppm: 50_000, ..*state.params() };
    state.rule(&Ruling::Params(generous)).unwrap();
    act(&mut state, node(2), Action::Unbond { amount: Amount(9_000) }).unwrap();
    let slashed = |amount, victim, reporter| {
        [Event::Slashed {
            provider: node(2),
            amount: Amount(amount),
            victim: Amount(victim),
            reporter: Amount(reporter),
        }]
    };
    assert_eq!(state.rule(&fraud(1, 100_000, 300)).unwrap(), slashed(1900, 300, 95));
    assert_conserved(&state);
    let before = format!("{state:?}");
    assert_eq!(state.rule(&fraud(1, 100_000, 300)), Err(Refusal::Judged { provider: node(2) }));
    assert!(matches!(state.rule(&fraud(2, 1_000_001, 300)), Err(Refusal::Field(_))));
    assert_eq!(format!("{state:?}"), before);
    assert_eq!(state.rule(&fraud(2, 1_000_000, 1_000_000)).unwrap(), slashed(17_100, 8550, 0));
    assert_eq!(state.bond(&node(2)).unwrap().held(), Ok(Amount::ZERO), "what is being taken out is slashed too");
    assert_eq!(state.rule(&fraud(3, 1_000_000, 1)).unwrap(), slashed(0, 0, 0));
    wait(&mut state, 14 * DAY);
    assert_eq!(
        state.rule(&fraud(1, 0, 0)).unwrap(),
        slashed(0, 0, 0),
        "a case is forgotten when its evidence is too old"
    );
    assert_conserved(&state);
}

#[test]
fn a_convict_loses_its_work_and_its_standing() {
    let mut state = market();
    for id in [1, 2] {
        state.rule(&Ruling::Work { provider: node(id), work: 1000 }).unwrap();
    }
    wait(&mut state, HOUR);
    assert_eq!([1, 2].map(|id| state.standing(&node(id))), [1000, 1000]);
    state.rule(&Ruling::Work { provider: node(2), work: 100 }).unwrap();
    state.rule(&Ruling::Work { provider: node(1), work: 100 }).unwrap();
    state.rule(&fraud(1, 1_000_000, 0)).unwrap();
    let events = wait(&mut state, HOUR);
    assert!(matches!(events[..], [Event::Issued { provider, .. }] if provider == node(1)), "{events:?}");
    assert_eq!([1, 2].map(|id| state.standing(&node(id))), [999 + 100, 0]);
}

proptest! {
    /// A cheat that is convicted with probability q, and reports itself, gains nothing on average, whatever it dares.
    #[test]
    fn cheating_never_pays(bond in 1u64..1 << 50, audit in 1u32..1_000_000, reporter in 0u32..=500_000) {
        let gain = u128::from(exposure_limit(Amount(bond), audit, reporter).0);
        let lost = u128::from(bond - Amount(bond).ppm(reporter).unwrap().0);
        let (q, million) = (u128::from(audit), 1_000_000u128);
        prop_assert!(gain * (million - q) <= lost * q);
    }
}
