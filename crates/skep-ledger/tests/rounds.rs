//! Batch capacity: sealing, revealing, clearing, and the hour that was sold.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::*;
use skep_ledger::round::*;
use skep_ledger::*;

const SALT: [u8; 32] = [8; 32];

fn network() -> (State, Round) {
    let mut state = funded(&[1, 2, 3, 4, 5, 6, 7, 8].map(node));
    let free = Params { fee_base: Amount(0), fee_byte: Amount(0), seal_deposit_min: Amount(3600), ..*state.params() };
    state.rule(&Ruling::Params(free)).unwrap();
    let start_s = (state.totals().time_s / HOUR_S + 2) * HOUR_S;
    (state, Round { class: 3, start_s })
}

fn seal(state: &mut State, round: Round, trader: u8, side: Side, price: u64) -> Result<Vec<Event>, Refusal> {
    let commitment = commitment(&round, &node(trader), side, Amount(price), &SALT).unwrap();
    let done = act(state, node(trader), Action::Seal { round, commitment, deposit: Amount(36_000) });
    assert_conserved(state);
    done
}

fn reveal(state: &mut State, round: Round, trader: u8, side: Side, price: u64) -> Result<Vec<Event>, Refusal> {
    let done = act(state, node(trader), Action::Reveal { round, side, price: Amount(price), salt: SALT });
    assert_conserved(state);
    done
}

fn wait_until(state: &mut State, time_s: u64) -> Vec<Event> {
    let seconds = time_s - state.totals().time_s;
    let events = wait(state, seconds);
    assert_conserved(state);
    events
}

fn balance(state: &State, id: u8) -> u64 {
    state.account(&node(id)).balance.0
}

/// The vector with halves, in thousands: buyers 1 to 4, sellers 5 to 8.
fn cleared() -> (State, Round, Vec<Event>) {
    let (mut state, round) = network();
    let traders = [(9, Side::Buy), (8, Side::Buy), (7, Side::Buy), (4, Side::Buy), (2, Side::Sell), (3, Side::Sell)];
    let traders: Vec<(u8, Side, u64)> = (1..)
        .zip(traders.into_iter().chain([(4, Side::Sell), (5, Side::Sell)]))
        .map(|(id, (price, side))| (id, side, price * 1000))
        .collect();
    for (id, side, price) in &traders {
        seal(&mut state, round, *id, *side, *price).unwrap();
    }
    wait_until(&mut state, round.start_s - 600);
    for (id, side, price) in &traders {
        reveal(&mut state, round, *id, *side, *price).unwrap();
    }
    let events = wait_until(&mut state, round.start_s);
    (state, round, events)
}

#[test]
fn a_round_clears_at_its_hour_and_is_paid_after_it() {
    let (mut state, round, events) = cleared();
    let sold = |seller, buyer| Event::Sold { round, seller: node(seller), buyer: node(buyer), amount: Amount(4500) };
    assert_eq!(events, [sold(5, 1), sold(6, 2), sold(7, 3)]);
    let before = [1, 4, 5, 8].map(|id| balance(&state, id));
    let paid = wait_until(&mut state, round.start_s + HOUR_S);
    assert_eq!(paid.len(), 3);
    let after = [1, 4, 5, 8].map(|id| balance(&state, id));
    assert_eq!(after, [before[0], before[1], before[2] + 4500 + 36_000, before[3]]);
    assert_eq!(state.sale(round, node(5)), None);
}

#[test]
fn a_buyer_that_ends_a_sale_pays_for_what_passed() {
    let (mut state, round, _) = cleared();
    wait(&mut state, 900);
    let before = [1, 5].map(|id| balance(&state, id));
    act(&mut state, node(1), Action::EndSale { round, seller: node(5) }).unwrap();
    assert_conserved(&state);
    let paid = 4500 / 4;
    assert_eq!([1, 5].map(|id| balance(&state, id)), [before[0] + 4500 - paid, before[1] + paid + 36_000]);
    let gone = Refusal::NotSealed { trader: node(5), round };
    assert_eq!(act(&mut state, node(1), Action::EndSale { round, seller: node(5) }), Err(gone));
}

#[test]
fn a_seller_that_leaves_gives_the_buyer_the_rest_of_its_deposit() {
    let (mut state, round, _) = cleared();
    wait(&mut state, 900);
    let before = [1, 5].map(|id| balance(&state, id));
    let strangers = act(&mut state, node(2), Action::EndSale { round, seller: node(5) });
    assert_eq!(strangers, Err(Refusal::NotYours { owner: node(1) }));
    act(&mut state, node(5), Action::EndSale { round, seller: node(5) }).unwrap();
    assert_conserved(&state);
    let (paid, lost) = (4500 / 4, 36_000 * 3 / 4);
    assert_eq!(
        [1, 5].map(|id| balance(&state, id)),
        [before[0] + 4500 - paid + lost, before[1] + paid + 36_000 - lost]
    );
}

#[test]
fn a_surplus_and_what_is_not_revealed_are_burned() {
    let (mut state, round) = network();
    let before = state.totals().burned.0;
    let traders = [(1, Side::Buy, 10_000), (2, Side::Buy, 9_000), (5, Side::Sell, 1_000), (6, Side::Sell, 2_000)];
    for (id, side, price) in traders {
        seal(&mut state, round, id, side, price).unwrap();
    }
    seal(&mut state, round, 3, Side::Buy, 9_500).unwrap();
    let has = balance(&state, 3);
    wait_until(&mut state, round.start_s - 600);
    for (id, side, price) in traders {
        reveal(&mut state, round, id, side, price).unwrap();
    }
    let events = wait_until(&mut state, round.start_s);
    assert_eq!(events, [Event::Sold { round, seller: node(5), buyer: node(1), amount: Amount(2_000) }]);
    assert_eq!(state.totals().burned.0 - before, 7_000 + 3600);
    assert_eq!(balance(&state, 3), has + 36_000 - 3600);
}

#[test]
fn what_is_out_of_time_or_not_what_was_sealed_is_refused() {
    let (mut state, round) = network();
    seal(&mut state, round, 1, Side::Buy, 9_000).unwrap();
    let too_dear = 36_001;
    seal(&mut state, round, 2, Side::Buy, too_dear).unwrap();
    let now_s = state.totals().time_s;
    let time = |now_s| Refusal::RoundTime { round, now_s };
    let wrong = |id| Refusal::NotSealed { trader: node(id), round };
    let before = format!("{state:?}");
    assert_eq!(seal(&mut state, round, 1, Side::Buy, 9_000), Err(Refusal::Field("a trader seals once in a round")));
    assert_eq!(reveal(&mut state, round, 1, Side::Buy, 9_000), Err(time(now_s)));
    let full_hours = Refusal::Field("a round begins at a full hour within a week");
    for start_s in [round.start_s + 1, round.start_s + 8 * 86_400 / HOUR_S * HOUR_S] {
        assert_eq!(seal(&mut state, Round { start_s, ..round }, 3, Side::Buy, 1), Err(full_hours.clone()));
    }
    let action = Action::Seal { round, commitment: [0; 32], deposit: Amount(3599) };
    let refusal = Refusal::Deposit { offered: Amount(3599), least: Amount(3600) };
    assert_eq!(act(&mut state, node(3), action), Err(refusal));
    assert_eq!(format!("{state:?}"), before);

    wait_until(&mut state, round.start_s - 600);
    let before = format!("{state:?}");
    assert_eq!(seal(&mut state, round, 3, Side::Buy, 1), Err(time(round.start_s - 600)));
    assert_eq!(reveal(&mut state, round, 1, Side::Buy, 8_999), Err(wrong(1)));
    assert_eq!(reveal(&mut state, round, 1, Side::Sell, 9_000), Err(wrong(1)));
    assert_eq!(reveal(&mut state, round, 3, Side::Buy, 9_000), Err(wrong(3)));
    let over = Refusal::Deposit { offered: Amount(36_000), least: Amount(too_dear) };
    assert_eq!(reveal(&mut state, round, 2, Side::Buy, too_dear), Err(over));
    assert_eq!(format!("{state:?}"), before);
    reveal(&mut state, round, 1, Side::Buy, 9_000).unwrap();
    assert_eq!(reveal(&mut state, round, 1, Side::Buy, 9_000), Err(wrong(1)), "once");
    wait_until(&mut state, round.start_s);
    assert_eq!(reveal(&mut state, round, 2, Side::Buy, too_dear), Err(wrong(2)));
}

#[test]
fn a_round_has_a_limit() {
    let mut state =
        State::new(CHAIN, Params { fee_base: Amount(0), fee_byte: Amount(0), ..Params::default() }, NOW).unwrap();
    let trader = |i: u32| {
        let mut id = [0; 32];
        id[..4].copy_from_slice(&i.to_le_bytes());
        skep_types::NodeId(id)
    };
    for i in 0..=SEALS_MAX {
        state.rule(&Ruling::Work { provider: trader(i), work: 1000 }).unwrap();
    }
    wait(&mut state, 3600);
    let round = Round { class: 0, start_s: (state.totals().time_s / HOUR_S + 2) * HOUR_S };
    let seal = Action::Seal { round, commitment: [0; 32], deposit: Amount(100_000) };
    for i in 0..SEALS_MAX {
        act(&mut state, trader(i), seal.clone()).unwrap();
    }
    let before = format!("{state:?}");
    let full = Refusal::Field("the round has as many seals as it may have");
    assert_eq!(act(&mut state, trader(SEALS_MAX), seal), Err(full));
    assert_eq!(format!("{state:?}"), before);
    assert_conserved(&state);
}

#[test]
fn the_actions_of_a_round_have_these_bytes() {
    let round = Round { class: 3, start_s: 7200 };
    let id = "03000000201c000000000000";
    let sealed = commitment(&round, &node(1), Side::Sell, Amount(5), &SALT).unwrap();
    assert_eq!(hex(&sealed), "abd99577388ca4b35a1e6c794a24aaf6cee41a9fab552ce72081600ebaf5b7d7");
    let cases = [
        (
            Action::Seal { round, commitment: [4; 32], deposit: Amount(7) },
            format!("0f{id}{}0700000000000000", "04".repeat(32)),
        ),
        (
            Action::Reveal { round, side: Side::Sell, price: Amount(5), salt: SALT },
            format!("10{id}010500000000000000{}", "08".repeat(32)),
        ),
        (Action::EndSale { round, seller: node(2) }, format!("11{id}{}", "02".repeat(32))),
    ];
    for (action, bytes) in cases {
        assert_eq!(hex(&borsh::to_vec(&action).unwrap()), bytes);
        assert_eq!(borsh::from_slice::<Action>(&borsh::to_vec(&action).unwrap()).unwrap(), action);
    }
}
