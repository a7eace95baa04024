//! Asks, tabs and vouchers: who is paid what, and what is refused.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::*;
use proptest::prelude::*;
use skep_ledger::meter::*;
use skep_ledger::tab::{LEGS_MAX, VOUCHERS_MAX};
use skep_ledger::*;
use skep_testkit::keys::Real;
use skep_types::signed::{Keys, Signed, StatementError};
use skep_types::{BlockRange, ModelId, NodeId};

const CLIENT: u8 = 1;
const MODEL: ModelId = ModelId([5; 32]);
const MOST: Units = Units { input: 10_000, output: 10_000 };

fn price(input: u64, output: u64) -> Price {
    Price { input, output }
}

fn units(input: u64, output: u64) -> Units {
    Units { input, output }
}

fn ask(state: &State, price: Price) -> Ask {
    Ask { blocks: BlockRange::new(0, 8).unwrap(), price, until_s: state.totals().time_s + 86_400 }
}

/// A client and two providers that ask for 100/300 and 50/50 per thousand tokens.
fn market() -> State {
    let mut state = funded(&[node(CLIENT), node(2), node(3)]);
    for (provider, price) in [(2, price(100, 300)), (3, price(50, 50))] {
        let ask = ask(&state, price);
        act(&mut state, node(provider), Action::Post { model: MODEL, ask }).unwrap();
        act(&mut state, node(provider), Action::Bond { amount: Amount(1_000_000) }).unwrap();
    }
    state
}

fn hires(providers: &[u8]) -> Vec<Hire> {
    providers.iter().map(|id| Hire { provider: node(*id), model: MODEL, price_max: price(1000, 1000) }).collect()
}

fn open(state: &mut State, providers: &[u8]) -> TxId {
    let id = TxId { payer: node(CLIENT), nonce: state.account(&node(CLIENT)).nonce };
    let until_s = state.totals().time_s + 7200;
    act(state, node(CLIENT), Action::OpenTab { hires: hires(providers), most: MOST, until_s }).unwrap();
    assert_conserved(state);
    id
}

fn voucher(tab: TxId, provider: u8, seq: u32, units: Units) -> Voucher {
    Voucher { chain: CHAIN, tab, provider: node(provider), seq, units, output: [6; 32] }
}

fn signed(tab: TxId, provider: u8, seq: u32, units: Units) -> SignedVoucher {
    voucher(tab, provider, seq, units).sign(&Fast(node(CLIENT))).unwrap()
}

fn claim(state: &mut State, by: u8, vouchers: Vec<SignedVoucher>, last: bool) -> Result<Vec<Event>, Refusal> {
    let done = act(state, node(by), Action::Claim { vouchers, last });
    assert_conserved(state);
    done
}

fn balance(state: &State, id: u8) -> u64 {
    state.account(&node(id)).balance.0
}

#[test]
fn a_voucher_has_these_bytes() {
    let keys = Real::of(7);
    let tab = TxId { payer: keys.id(), nonce: 3 };
    let signed = voucher(tab, 2, 1, units(32, 64)).sign(&keys).unwrap();
    let voucher = "09".repeat(32)
        + "ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c"
        + "0300000000000000"
        + &"02".repeat(32)
        + "01000000"
        + "20000000000000004000000000000000"
        + &"06".repeat(32);
    let signature = "d4d39ecc5f65f1a2d13a25273e56b0feb73d1f18050da637c6c484e27bd71eb391455be7eb67834ca6b9b52d6dbe296d893e2ece298ba41609a256ba9ddad606";
    assert_eq!(hex(&borsh::to_vec(&signed).unwrap()), voucher + signature);
    signed.verify(&keys).unwrap();
}

#[test]
fn the_actions_of_a_tab_have_these_bytes() {
    let tab = TxId { payer: node(1), nonce: 2 };
    let ask = Ask { blocks: BlockRange::new(4, 12).unwrap(), price: price(1, 2), until_s: 3 };
    let (model, id) = ("05".repeat(32), "01".repeat(32) + "0200000000000000");
    let price = "01000000000000000200000000000000";
    let cases = [
        (Action::Post { model: MODEL, ask }, format!("01{model}040000000c000000{price}0300000000000000")),
        (Action::Withdraw { model: MODEL }, format!("02{model}")),
        (
            Action::OpenTab {
                hires: vec![Hire { provider: node(2), model: MODEL, price_max: ask.price }],
                most: units(7, 8),
                until_s: 9,
            },
            format!("0301000000{}{model}{price}070000000000000008000000000000000900000000000000", "02".repeat(32)),
        ),
        (Action::Claim { vouchers: vec![], last: true }, "040000000001".to_owned()),
        (Action::LetGo { tab }, format!("05{id}")),
        (Action::CloseTab { tab }, format!("06{id}")),
        (Action::Bond { amount: Amount(3) }, "070300000000000000".to_owned()),
        (Action::Unbond { amount: Amount(3) }, "080300000000000000".to_owned()),
    ];
    for (action, bytes) in cases {
        assert_eq!(hex(&borsh::to_vec(&action).unwrap()), bytes);
        assert_eq!(borsh::from_slice::<Action>(&borsh::to_vec(&action).unwrap()).unwrap(), action);
    }
}

#[test]
fn each_provider_is_paid_its_own_price_and_the_rest_returns() {
    let mut state = market();
    let (before, burned) = ([CLIENT, 2, 3].map(|id| balance(&state, id)), state.totals().burned.0);
    let tab = open(&mut state, &[2, 3]);
    let deposit = (10 * (100 + 300)) + (10 * (50 + 50));
    assert_eq!(state.tab(&tab).unwrap().held().unwrap(), Amount(deposit));
    claim(&mut state, 2, vec![signed(tab, 2, 1, units(1000, 0))], false).unwrap();
    claim(&mut state, 2, vec![signed(tab, 2, 4, units(1500, 2000))], true).unwrap();
    claim(&mut state, 3, vec![signed(tab, 3, 9, units(1500, 2001))], true).unwrap();
    assert!(state.tab(&tab).is_none(), "the last part ends the tab at once");
    let fees = state.totals().burned.0 - burned;
    let after = [CLIENT, 2, 3].map(|id| balance(&state, id));
    assert_eq!(after.iter().sum::<u64>() + fees, before.iter().sum::<u64>());
    let legs = [150 + 600, 75 + 100];
    let paid = [claimed(&mut market(), 2, units(1500, 2000)), claimed(&mut market(), 3, units(1500, 2001))];
    assert_eq!(paid, legs);
}

/// What one claim pays.
fn claimed(state: &mut State, provider: u8, units: Units) -> u64 {
    let tab = open(state, &[provider]);
    let events = claim(state, provider, vec![signed(tab, provider, 1, units)], false).unwrap();
    let [Event::Claimed { amount, .. }] = events[..] else { panic!("{events:?}") };
    amount.0
}

#[test]
fn anyone_may_send_a_claim_and_only_the_provider_is_paid() {
    let mut state = market();
    let tab = open(&mut state, &[2, 3]);
    let before = balance(&state, 2);
    let vouchers = vec![signed(tab, 2, 1, units(1000, 0)), signed(tab, 3, 1, units(1000, 0))];
    claim(&mut state, CLIENT, vouchers.clone(), false).unwrap();
    assert_eq!(balance(&state, 2), before + 100);
    let newer = vec![signed(tab, 2, 2, units(1000, 0))];
    assert_eq!(claim(&mut state, CLIENT, newer, true), Err(Refusal::NotYours { owner: node(2) }));
}

#[test]
fn bad_vouchers_are_refused_and_change_nothing() {
    let mut state = market();
    let tab = open(&mut state, &[2]);
    claim(&mut state, 2, vec![signed(tab, 2, 5, units(100, 100))], false).unwrap();
    let other = TxId { payer: node(CLIENT), nonce: 99 };
    let forged = SignedVoucher { signature: [1; 64], ..signed(tab, 2, 6, units(200, 200)) };
    let self_signed = voucher(tab, 2, 6, units(200, 200)).sign(&Fast(node(2))).unwrap();
    let elsewhere = Voucher { chain: ChainId([0; 32]), ..voucher(tab, 2, 6, units(200, 200)) };
    let known = units(100, 100);
    let cases = [
        (signed(tab, 2, 5, units(200, 200)), Refusal::VoucherOrder { seq: 5, known: 5 }),
        (signed(tab, 2, 4, units(200, 200)), Refusal::VoucherOrder { seq: 4, known: 5 }),
        (signed(tab, 2, 6, units(99, 200)), Refusal::VoucherFell { units: units(99, 200), known }),
        (signed(tab, 2, 6, units(200, 10_001)), Refusal::OverDeposit { units: units(200, 10_001), most: MOST }),
        (signed(tab, 2, 6, units(u64::MAX, 0)), Refusal::VoucherFell { units: units(u64::MAX, 0), known }),
        (signed(other, 2, 6, units(200, 200)), Refusal::Unknown { what: "tab", id: other }),
        (signed(tab, 3, 6, units(200, 200)), Refusal::NotInTab { tab, provider: node(3) }),
        (elsewhere.sign(&Fast(node(CLIENT))).unwrap(), Refusal::Chain),
        (forged, Refusal::VoucherForged { client: node(CLIENT) }),
        (self_signed, Refusal::VoucherForged { client: node(CLIENT) }),
    ];
    let before = format!("{state:?}");
    let good = signed(tab, 2, 6, units(200, 200));
    for (bad, refusal) in cases {
        assert!(claim(&mut state, 2, vec![good, bad], false).is_err(), "{bad:?}");
        assert_eq!(claim(&mut state, 2, vec![bad], false), Err(refusal));
        assert_eq!(format!("{state:?}"), before, "a good voucher beside a bad one is not paid either");
    }
    assert_eq!(claim(&mut state, 2, vec![], false), Err(Refusal::Field("a claim without vouchers")));
    claim(&mut state, 2, vec![good], true).unwrap();
    let newer = signed(tab, 2, 7, units(300, 300));
    assert_eq!(claim(&mut state, 2, vec![newer], false), Err(Refusal::Unknown { what: "tab", id: tab }));
}

#[test]
fn tabs_that_cannot_be_are_refused() {
    let mut state = market();
    let now = state.totals().time_s;
    let open = |hires, most, until_s| Action::OpenTab { hires, most, until_s };
    let dear = Hire { price_max: price(100, 299), ..hires(&[2])[0] };
    let has = balance(&state, CLIENT);
    let twice = Refusal::Field("a tab names each of its providers once");
    let when = Refusal::Field("a tab ends later than now, and not later than is allowed");
    let cases = [
        (open(hires(&[4]), MOST, now + 60), Refusal::NoAsk { provider: node(4), model: MODEL }),
        (
            open(vec![dear], MOST, now + 60),
            Refusal::TooDear { provider: node(2), asks: price(100, 300), most: price(100, 299) },
        ),
        (open(hires(&[2, 3, 2]), MOST, now + 60), twice.clone()),
        (open(vec![], MOST, now + 60), twice),
        (open(hires(&[2]), MOST, now), when.clone()),
        (open(hires(&[2]), MOST, u64::MAX), when),
    ];
    let before = format!("{state:?}");
    for (action, refusal) in cases {
        assert_eq!(act(&mut state, node(CLIENT), action), Err(refusal));
        assert_eq!(format!("{state:?}"), before);
    }
    for beyond in [units(has * 10, 0), units(u64::MAX, u64::MAX)] {
        let refusal = act(&mut state, node(CLIENT), open(hires(&[2]), beyond, now + 60)).unwrap_err();
        assert!(matches!(refusal, Refusal::Underfunded { .. }), "{refusal}");
    }
    let crowd = open((0..=LEGS_MAX).map(|i| hires(&[i as u8])[0]).collect(), MOST, now + 60);
    let stuffed = Action::Claim {
        vouchers: vec![signed(TxId { payer: node(1), nonce: 0 }, 2, 1, MOST); VOUCHERS_MAX + 1],
        last: false,
    };
    for action in [crowd, stuffed] {
        let tx = tx(&state, node(CLIENT), action);
        assert!(matches!(Signed::sign(tx, &Fast(node(CLIENT))), Err(StatementError::Field(_))));
    }
    let full = Action::Claim {
        vouchers: vec![signed(TxId { payer: node(1), nonce: 0 }, 2, 1, MOST); VOUCHERS_MAX],
        last: false,
    };
    assert!(Signed::sign(tx(&state, node(CLIENT), full), &Fast(node(CLIENT))).is_ok(), "the longest claim fits");
}

#[test]
fn an_ask_is_consent_until_it_is_withdrawn_or_over() {
    let mut state = market();
    let until_s = state.totals().time_s + 60;
    let open = Action::OpenTab { hires: hires(&[2]), most: MOST, until_s };
    act(&mut state, node(2), Action::Withdraw { model: MODEL }).unwrap();
    let gone = Refusal::NoAsk { provider: node(2), model: MODEL };
    assert_eq!(act(&mut state, node(CLIENT), open.clone()), Err(gone.clone()));
    assert_eq!(act(&mut state, node(2), Action::Withdraw { model: MODEL }), Err(gone.clone()));
    let now = state.totals().time_s;
    for until_s in [now, now + ask::ASK_LIFETIME_S + 1] {
        let ask = Ask { until_s, ..ask(&state, price(1, 1)) };
        assert!(matches!(act(&mut state, node(2), Action::Post { model: MODEL, ask }), Err(Refusal::Field(_))));
    }
    let ask = Ask { until_s: now + 10, ..ask(&state, price(1, 1)) };
    act(&mut state, node(2), Action::Post { model: MODEL, ask }).unwrap();
    assert_eq!(state.ask(&node(2), &MODEL), Some(&ask));
    wait(&mut state, 10);
    assert_eq!(state.ask(&node(2), &MODEL), None);
    assert_eq!(act(&mut state, node(CLIENT), open), Err(gone));
}

#[test]
fn a_client_that_closes_waits_for_the_last_claims() {
    let mut state = market();
    let tab = open(&mut state, &[2, 3]);
    assert_eq!(act(&mut state, node(2), Action::CloseTab { tab }), Err(Refusal::NotYours { owner: node(CLIENT) }));
    act(&mut state, node(CLIENT), Action::CloseTab { tab }).unwrap();
    let closes_s = state.totals().time_s + 3600;
    assert_eq!(state.tab(&tab).unwrap().closes_s, closes_s);
    wait(&mut state, 3599);
    act(&mut state, node(CLIENT), Action::CloseTab { tab }).unwrap();
    assert_eq!(state.tab(&tab).unwrap().closes_s, closes_s, "closing again postpones nothing");
    claim(&mut state, 2, vec![signed(tab, 2, 1, units(1000, 0))], false).unwrap();
    let returned = Amount(10 * 400 - 100 + 10 * 100);
    assert_eq!(wait(&mut state, 1), [Event::TabEnded { tab, returned }]);
    assert_conserved(&state);
    let late = claim(&mut state, 3, vec![signed(tab, 3, 1, units(1000, 0))], false);
    assert_eq!(late, Err(Refusal::Unknown { what: "tab", id: tab }));
}

#[test]
fn what_expires_unclaimed_returns() {
    let mut state = market();
    let tab = open(&mut state, &[2, 3]);
    let before = balance(&state, CLIENT);
    act(&mut state, node(3), Action::LetGo { tab }).unwrap();
    assert_eq!(balance(&state, CLIENT), before + 1000);
    assert_eq!(act(&mut state, node(3), Action::LetGo { tab }), Err(Refusal::NotInTab { tab, provider: node(3) }));
    assert_eq!(wait(&mut state, 7200)[0], Event::TabEnded { tab, returned: Amount(4000) });
    assert_eq!(balance(&state, CLIENT), before + 5000);
    assert_conserved(&state);
}

fn meters(tab: TxId, window: u64) -> (ClientMeter, ProviderMeter) {
    let first = voucher(tab, 2, 0, Units::default());
    (ClientMeter::new(first, MOST), ProviderMeter::new(first, MOST, window))
}

#[test]
fn a_provider_stops_one_window_after_the_last_voucher() {
    let tab = TxId { payer: node(CLIENT), nonce: 0 };
    let keys = Fast(node(CLIENT));
    let (mut client, mut provider) = meters(tab, WINDOW_UNITS);
    assert_eq!(provider.serve(units(65, 0)), Err(Refusal::AheadOfVouchers { units: 65, allowance: 64 }));
    provider.serve(units(60, 4)).unwrap();
    assert_eq!(provider.allowance(), 0);
    assert!(client.receive(units(60, 4)).unwrap());
    let voucher = client.sign([0; 32], &keys).unwrap().unwrap();
    assert_eq!(client.sign([0; 32], &keys).unwrap(), None, "nothing new, nothing signed");
    provider.take(&voucher, &keys).unwrap();
    assert_eq!((provider.allowance(), provider.best()), (64, Some(&voucher)));
    assert_eq!(provider.take(&voucher, &keys), Err(Refusal::VoucherOrder { seq: 1, known: 1 }));
    let others = signed(tab, 3, 9, units(64, 9));
    assert_eq!(provider.take(&others, &keys), Err(Refusal::NotInTab { tab, provider: node(3) }));
    assert_eq!(client.receive(units(10_000, 0)), Err(Refusal::OverDeposit { units: units(10_060, 4), most: MOST }));
}

proptest! {
    /// Whoever stops when it likes, the other side has lost at most one window, and the ledger pays for nothing else.
    #[test]
    fn neither_side_loses_more_than_a_window(
        steps in prop::collection::vec((1u64..40, any::<bool>(), 0u8..20), 1..80), window in 0u64..200
    ) {
        let mut state = market();
        let tab = open(&mut state, &[2]);
        let keys = Fast(node(CLIENT));
        let (mut client, mut provider) = meters(tab, window);
        let window = window.max(VOUCHER_UNITS);
        let mut delivered = 0;
        for (count, output, luck) in steps {
            let count = count.min(provider.allowance());
            let more = if output { units(0, count) } else { units(count, 0) };
            if count == 0 || provider.serve(more).is_err() { break }
            if luck == 0 { break } // The provider vanishes with what it was about to send.
            delivered += count;
            let due = client.receive(more).unwrap();
            if luck == 1 { break } // The client keeps what it has and signs no more.
            if due {
                let voucher = client.sign([0; 32], &keys).unwrap().unwrap();
                if luck != 2 { provider.take(&voucher, &keys).unwrap() } // A voucher may be lost: the next one covers it.
            }
        }
        let served = provider.served();
        let best = provider.best().map_or(Units::default(), |best| best.voucher.units);
        prop_assert!(best.input + best.output <= delivered, "nothing is signed for that did not arrive");
        prop_assert!(served.input + served.output - best.input - best.output <= window);
        let before = balance(&state, 2);
        if let Some(best) = provider.best() {
            let fee = tx(&state, node(CLIENT), Action::Claim { vouchers: vec![*best], last: false }).fee;
            prop_assert!(fee.0 > 0);
            claim(&mut state, CLIENT, vec![*best], false).unwrap();
        }
        prop_assert_eq!(balance(&state, 2) - before, price(100, 300).of(best).unwrap().0);
    }

    #[test]
    fn no_changed_voucher_is_paid(at in 0usize..220, flip in 1u8..) {
        let mut state = market();
        let tab = open(&mut state, &[2]);
        let mut bytes = borsh::to_vec(&signed(tab, 2, 1, units(32, 32))).unwrap();
        bytes[at] ^= flip;
        let changed: SignedVoucher = borsh::from_slice(&bytes).unwrap();
        prop_assert!(claim(&mut state, 2, vec![changed], false).is_err());
    }
}

#[test]
fn verification_is_asked_of_the_clients_key() {
    struct Deaf;
    impl Keys for Deaf {
        fn sign(&self, _: &[u8]) -> [u8; 64] {
            [0; 64]
        }
        fn verify(&self, signer: &NodeId, message: &[u8], _: &[u8; 64]) -> bool {
            *signer == node(CLIENT) && message.starts_with(b"skep voucher 1\0")
        }
    }
    let tab = TxId { payer: node(CLIENT), nonce: 0 };
    voucher(tab, 2, 1, MOST).sign(&Deaf).unwrap().verify(&Deaf).unwrap();
}
