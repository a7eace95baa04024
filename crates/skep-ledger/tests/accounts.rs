//! Transfers, fees and emission; refusal of everything that was not signed like this, now, once.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::*;
use proptest::prelude::*;
use skep_ledger::tx::{TX_BYTES_MAX, TX_LIFETIME_S};
use skep_ledger::*;
use skep_testkit::keys::Real;
use skep_types::signed::{CLOCK_SKEW_S, Signed, StatementError};

fn transfer(amount: u64) -> Action {
    Action::Transfer { to: node(2), amount: Amount(amount) }
}

/// Whatever a state tells of itself: equal before and after a refusal.
fn face(state: &State) -> String {
    format!("{state:?}")
}

#[test]
fn a_transfer_has_these_bytes() {
    let keys = Real::of(7);
    let tx = Tx {
        chain: CHAIN,
        payer: keys.id(),
        nonce: 3,
        expires: NOW + 60,
        fee: Amount(500),
        action: Action::Transfer { to: node(2), amount: Amount(1000) },
    };
    let signed = Signed::sign(tx, &keys).unwrap();
    let statement = "09".repeat(32)
        + "ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c"
        + "0300000000000000"
        + "3cf1536500000000"
        + "f401000000000000"
        + "00"
        + &"02".repeat(32)
        + "e803000000000000";
    let signature = "6a6ccc8302a44c5039778dbab49a2d274ec0f6fd9fde0ce6c7b4b5e2ef82a48c00e63aabb803548d78df05482d9d3ebc329f4ab70097315a168ae71a71e7ec0b";
    assert_eq!(hex(&signed.encode().unwrap()), statement + signature);
    assert_eq!(Signed::<Tx>::decode(&signed.encode().unwrap()), Ok(signed));
}

#[test]
fn money_moves_and_the_fee_is_burned() {
    let mut state = funded(&[node(1)]);
    let before = state.account(&node(1)).balance;
    assert_eq!(state.supply().unwrap(), before);
    let fee = tx(&state, node(1), transfer(1000)).fee;
    let events = act(&mut state, node(1), transfer(1000)).unwrap();
    assert_eq!(events, [Event::Transferred { from: node(1), to: node(2), amount: Amount(1000) }]);
    assert_eq!(state.account(&node(1)), Account { balance: Amount(before.0 - 1000 - fee.0), nonce: 1 });
    assert_eq!(state.account(&node(2)), Account { balance: Amount(1000), nonce: 0 });
    assert_eq!((state.totals().burned, state.supply().unwrap()), (fee, Amount(before.0 - fee.0)));
    assert_conserved(&state);
}

#[test]
fn bad_transactions_are_refused_and_change_nothing() {
    let keys = Real::of(7);
    let mut state = funded(&[keys.id()]);
    let has = state.account(&keys.id()).balance;
    let now = state.totals().time_s;
    let good = tx(&state, keys.id(), transfer(1));
    let fee = good.fee;
    let latest = now + TX_LIFETIME_S + CLOCK_SKEW_S;
    let cases = [
        (Tx { chain: ChainId([8; 32]), ..good.clone() }, Refusal::Chain),
        (Tx { nonce: 1, ..good.clone() }, Refusal::Nonce { payer: keys.id(), expected: 0, got: 1 }),
        (Tx { fee: Amount(fee.0 - 1), ..good.clone() }, Refusal::Fee { offered: Amount(fee.0 - 1), least: fee }),
        (Tx { expires: now, ..good.clone() }, StatementError::Expired { expires: now, now }.into()),
        (Tx { expires: latest + 1, ..good.clone() }, StatementError::TooFar { expires: latest + 1, latest }.into()),
        (Tx { action: transfer(0), ..good.clone() }, Refusal::Field("a transfer of nothing")),
        (
            Tx { action: transfer(has.0), ..good.clone() },
            Refusal::Underfunded { account: keys.id(), has: Amount(has.0 - fee.0), needs: has },
        ),
        (
            Tx { fee: Amount(has.0 + 1), ..good.clone() },
            Refusal::Underfunded { account: keys.id(), has, needs: Amount(has.0 + 1) },
        ),
    ];
    let before = face(&state);
    for (tx, refusal) in cases {
        let signature = skep_types::signed::Keys::sign(&keys, &signed_bytes(&tx));
        assert_eq!(state.apply(&Signed { statement: tx, signature }, &keys), Err(refusal));
        assert_eq!(face(&state), before);
    }
    let forged = Signed { statement: good.clone(), signature: [1; 64] };
    assert_eq!(state.apply(&forged, &keys), Err(StatementError::Forged(keys.id()).into()));
    let others = Signed::sign(good.clone(), &Real::of(8)).unwrap();
    assert_eq!(state.apply(&others, &keys), Err(StatementError::Forged(keys.id()).into()));
    assert_eq!(face(&state), before);

    let signed = Signed::sign(good, &keys).unwrap();
    state.apply(&signed, &keys).unwrap();
    let replay = Refusal::Nonce { payer: keys.id(), expected: 1, got: 0 };
    assert_eq!(state.apply(&signed, &keys), Err(replay));
}

fn signed_bytes(tx: &Tx) -> Vec<u8> {
    [b"skep tx 1\0".as_slice(), &borsh::to_vec(tx).unwrap()].concat()
}

#[test]
fn oversized_and_truncated_bytes_are_no_transaction() {
    let state = funded(&[node(1)]);
    let bytes = Signed::sign(tx(&state, node(1), transfer(1)), &Fast(node(1))).unwrap().encode().unwrap();
    let long = vec![0; TX_BYTES_MAX + 1];
    assert!(matches!(Signed::<Tx>::decode(&long), Err(StatementError::TooLong { .. })));
    for end in 0..bytes.len() {
        assert!(matches!(Signed::<Tx>::decode(&bytes[..end]), Err(StatementError::Malformed(_))));
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    assert!(matches!(Signed::<Tx>::decode(&longer), Err(StatementError::Malformed(_))));
}

#[test]
fn every_changed_byte_is_refused() {
    let keys = Real::of(7);
    let mut state = funded(&[keys.id()]);
    let signed = Signed::sign(tx(&state, keys.id(), transfer(1)), &keys).unwrap();
    let bytes = signed.encode().unwrap();
    let before = face(&state);
    for at in 0..bytes.len() {
        for flip in [1u8, 0x80, 0xff] {
            let mut changed = bytes.clone();
            changed[at] ^= flip;
            let Ok(decoded) = Signed::<Tx>::decode(&changed) else { continue };
            assert_eq!(decoded.encode().unwrap(), changed, "one encoding of each transaction");
            assert!(state.apply(&decoded, &keys).is_err(), "byte {at}");
        }
    }
    assert_eq!(face(&state), before);
}

proptest! {
    #[test]
    fn any_bytes_are_a_transaction_or_a_clear_refusal(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(signed) = Signed::<Tx>::decode(&bytes) {
            prop_assert_eq!(signed.encode().unwrap(), bytes);
        }
    }
}

#[test]
fn a_block_follows_the_last_one() {
    let mut state = funded(&[node(1)]);
    let last = *state.totals();
    for (height, time_s) in
        [(last.height, last.time_s), (last.height + 2, last.time_s), (last.height + 1, last.time_s - 1)]
    {
        let refusal = Refusal::Block { height: last.height, last_s: last.time_s, got: height, time_s };
        assert_eq!(state.begin_block(height, time_s), Err(refusal));
    }
    assert_eq!(state.totals(), &last);
    state.begin_block(last.height + 1, last.time_s).unwrap();
}

#[test]
fn only_verified_work_is_subsidised() {
    let mut state = State::new(CHAIN, Params::default(), NOW).unwrap();
    assert_eq!(wait(&mut state, 10 * 3600), []);
    assert_eq!(state.supply().unwrap(), Amount::ZERO, "idle epochs issue nothing");
    state.rule(&Ruling::Work { provider: node(1), work: 1_000_000_000 }).unwrap();
    state.rule(&Ruling::Work { provider: node(2), work: 2_000_000_000 }).unwrap();
    state.rule(&Ruling::Work { provider: node(3), work: 7 }).unwrap();
    let budget = 300 * 1_000_000_000u64;
    let share = |work: u64| Amount((u128::from(budget) * u128::from(work) / 3_000_000_007) as u64);
    let expect = [(1, share(1_000_000_000)), (2, share(2_000_000_000)), (3, share(7))];
    let events = wait(&mut state, 3600);
    assert_eq!(events, expect.map(|(id, amount)| Event::Issued { provider: node(id), amount }));
    assert!(state.supply().unwrap() <= Amount(budget));
    assert_conserved(&state);
    assert_eq!(wait(&mut state, 3600), [], "work is subsidised once");
    let faded = Standing { score: 1_000_000_000, at_s: 0 }.faded(3600);
    assert_eq!(state.standing(&node(1)), faded, "but it stands for longer");
    state.rule(&Ruling::Work { provider: node(1), work: 5 }).unwrap();
    let capped = Event::Issued { provider: node(1), amount: Amount(5 * Params::default().subsidy_max.0) };
    assert_eq!(wait(&mut state, 3600), [capped], "one token does not earn an epoch");
}

#[test]
fn unsound_figures_are_refused() {
    let mut state = funded(&[node(1)]);
    let before = face(&state);
    let unsound = Params { epoch_s: 0, ..Params::default() };
    assert!(matches!(state.rule(&Ruling::Params(unsound)), Err(Refusal::Field(_))));
    assert!(matches!(State::new(CHAIN, unsound, NOW), Err(Refusal::Field(_))));
    assert_eq!(face(&state), before);
    let dear = Params { fee_base: Amount(1_000_000), ..Params::default() };
    state.rule(&Ruling::Params(dear)).unwrap();
    assert_eq!(state.params(), &dear);
}
