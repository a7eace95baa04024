//! Who validates: two thirds of the power decide, one key has one power, and a state that was tried out leaves nothing behind.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::*;
use proptest::prelude::*;
use skep_ledger::*;

fn endorse(state: &mut State, voter: u8, validator: u8, power: u64) -> Result<Vec<Event>, Refusal> {
    act(state, node(voter), Action::Endorse { validator: node(validator), power })
}

fn four() -> State {
    seated(&[1, 2, 3, 4, 5].map(node), &[1, 2, 3, 4].map(|number| (node(number), 1)))
}

#[test]
fn one_lone_validator_seats_by_one_transaction() {
    let mut state = seated(&[node(1)], &[(node(1), 1)]);
    let seated = Event::Seated { validator: node(2), power: 1 };
    assert_eq!(endorse(&mut state, 1, 2, 1), Ok(vec![seated]));
    assert_eq!(state.validators().collect::<Vec<_>>(), [(node(1), 1), (node(2), 1)]);
}

#[test]
fn more_than_two_thirds_must_be_of_one_mind() {
    let mut state = four();
    endorse(&mut state, 1, 5, 1).unwrap();
    endorse(&mut state, 2, 5, 2).unwrap();
    endorse(&mut state, 3, 5, 1).unwrap();
    assert_eq!(state.validators().count(), 4, "two of four want the same");
    assert_eq!(state.endorsement(&node(2)), Some(Endorsement { validator: node(5), power: 2 }));
    endorse(&mut state, 2, 5, 1).unwrap();
    assert_eq!(state.validators().last(), Some((node(5), 1)));
    assert_eq!(state.endorsement(&node(2)), None, "what was carried out is forgotten");
}

#[test]
fn who_was_unseated_has_no_say() {
    let mut state = four();
    endorse(&mut state, 4, 5, 1).unwrap();
    for voter in 1..=3 {
        endorse(&mut state, voter, 4, 0).unwrap();
    }
    assert_eq!((state.validators().count(), state.endorsement(&node(4))), (3, None));
    assert_eq!(endorse(&mut state, 4, 5, 1), Err(Refusal::NotValidator { who: node(4) }));
}

#[test]
fn nonsense_is_refused() {
    let mut state = seated(&[node(1)], &[(node(1), 1)]);
    assert_eq!(endorse(&mut state, 1, 1, 0), Err(Refusal::Field("a ledger has 1 to 100 validators")));
    assert_eq!(endorse(&mut state, 1, 1, 1), Err(Refusal::Field("it has this power already")));
    assert_eq!(endorse(&mut state, 1, 2, 0), Err(Refusal::Field("it has this power already")));
    assert_eq!(endorse(&mut state, 1, 2, POWER_MAX + 1), Err(Refusal::Field("no validator may have so much power")));
    let mut fresh = State::new(CHAIN, Params::default(), NOW).unwrap();
    let many: Vec<_> = (0..=VALIDATORS_MAX as u8).map(|number| (node(number), 1)).collect();
    for wrong in [&[] as &[_], &[(node(1), 0)], &[(node(1), 1), (node(1), 2)], &[(node(1), POWER_MAX + 1)], &many] {
        assert!(matches!(fresh.seat_first(wrong), Err(Refusal::Field(_))), "{}", wrong.len());
    }
    fresh.seat_first(&many[1..]).unwrap();
    assert!(matches!(fresh.seat_first(&many[1..]), Err(Refusal::Field(_))), "twice");
    // With a hundred of them, the next one is one too many.
    let mut state = seated(&[node(100)], &[(node(100), POWER_MAX)]);
    for number in 0..99 {
        endorse(&mut state, 100, number, 1).unwrap();
    }
    assert_eq!(endorse(&mut state, 100, 101, 1), Err(Refusal::Field("a ledger has 1 to 100 validators")));
}

proptest! {
    /// What is tried out from a mark and taken back leaves rows, sums and root as they were.
    #[test]
    fn a_rewound_block_leaves_nothing(steps in prop::collection::vec((1u8..5, 0u8..8, 0u64..3), 0..20), twice: bool) {
        let mut state = four();
        let (root, totals) = (state.root().unwrap(), *state.totals());
        let rows = |state: &State| state.keys().map(|key| state.row(&key).unwrap()).collect::<Vec<_>>();
        let before = rows(&state);
        for _ in 0..=u8::from(twice) {
            state.mark();
            wait(&mut state, 5000);
            for (voter, other, power) in &steps {
                let _ = endorse(&mut state, *voter, *other, *power);
                let _ = act(&mut state, node(*voter), Action::Transfer { to: node(*other), amount: Amount(5) });
            }
            prop_assert_ne!(state.root().unwrap(), root, "the block itself changed the sums");
            state.rewind();
        }
        prop_assert_eq!((rows(&state), *state.totals(), state.root().unwrap()), (before, totals, root));
        // A block that is kept is not taken back by a later rewind.
        state.mark();
        wait(&mut state, 1);
        state.keep();
        let kept = state.root().unwrap();
        state.rewind();
        prop_assert_eq!(state.root().unwrap(), kept);
    }
}
