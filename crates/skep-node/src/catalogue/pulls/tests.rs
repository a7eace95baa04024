use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn asked(key: &str) -> Asked {
    Asked { key: key.into(), source: format!("from {key}"), name: key.into(), id: None, total: None }
}

fn step(pulls: &mut Pulls, input: Input) -> Vec<Effect> {
    pulls.step(Duration::ZERO, input).unwrap()
}

fn ask(pulls: &mut Pulls, key: &str) -> Vec<Effect> {
    step(pulls, Input::Ask(asked(key)))
}

fn ended(pulls: &mut Pulls, key: &str, how: How) -> Vec<Effect> {
    step(pulls, Input::Ended { key: key.into(), how })
}

fn stages(pulls: &Pulls) -> Vec<Stage> {
    pulls.shown().map(|pull| pull.stage.clone()).collect()
}

fn failed() -> How {
    How::Failed { sentence: "it broke".into(), hint: "mend it".into() }
}

const DONE: How = How::Done(ModelId([1; 32]));

#[test]
fn two_work_and_others_wait_for_their_turn() {
    let mut pulls = Pulls::default();
    assert_eq!(ask(&mut pulls, "a"), [Effect::Keep(asked("a")), Effect::Start(asked("a"))]);
    assert_eq!(ask(&mut pulls, "b").len(), 2);
    assert_eq!(ask(&mut pulls, "c"), [Effect::Keep(asked("c"))]);
    assert_eq!(stages(&pulls), [Stage::Fetching, Stage::Fetching, Stage::Waiting]);
    assert_eq!(ended(&mut pulls, "b", DONE), [Effect::Forget("b".into()), Effect::Start(asked("c"))]);
    assert_eq!(stages(&pulls)[1..], [Stage::Done(ModelId([1; 32])), Stage::Fetching]);
    // Who asks again for what works changes nothing; what has ended begins anew.
    assert_eq!(ask(&mut pulls, "a"), [Effect::Keep(asked("a"))]);
    ask(&mut pulls, "b");
    assert_eq!(stages(&pulls)[1], Stage::Waiting);
}

#[test]
fn a_pause_holds_at_once_and_what_is_resumed_begins_when_the_worker_has_let_go() {
    let mut pulls = Pulls::default();
    ask(&mut pulls, "a");
    assert_eq!(step(&mut pulls, Input::Pause("a".into())), [Effect::Stop("a".into())]);
    assert_eq!(stages(&pulls), [Stage::Paused]);
    // The worker still has its files.
    assert_eq!(step(&mut pulls, Input::Resume("a".into())), []);
    assert_eq!(ended(&mut pulls, "a", How::Stopped), [Effect::Start(asked("a"))]);
    step(&mut pulls, Input::Pause("a".into()));
    assert_eq!(ended(&mut pulls, "a", How::Stopped), []);
    assert_eq!(stages(&pulls), [Stage::Paused]);
    assert_eq!(step(&mut pulls, Input::Resume("a".into())), [Effect::Start(asked("a"))]);
    // One that is being checked has nothing left to pause.
    step(&mut pulls, Input::Checking("a".into()));
    assert_eq!(step(&mut pulls, Input::Pause("a".into())), []);
    assert_eq!(stages(&pulls), [Stage::Checking]);
}

#[test]
fn a_cancelled_pull_is_gone_at_once_and_its_files_when_the_worker_has_let_go() {
    let mut pulls = Pulls::default();
    ask(&mut pulls, "a");
    let effects = step(&mut pulls, Input::Cancel("a".into()));
    assert_eq!(effects, [Effect::Forget("a".into()), Effect::Stop("a".into())]);
    assert_eq!(stages(&pulls), []);
    assert_eq!(pulls.step(Duration::ZERO, Input::Pause("a".into())), Err(Refused::Unknown));
    assert_eq!(ended(&mut pulls, "a", How::Stopped), [Effect::Discard(asked("a"))]);
    // Asked for again before that, it goes on with what is here.
    ask(&mut pulls, "b");
    step(&mut pulls, Input::Cancel("b".into()));
    ask(&mut pulls, "b");
    assert_eq!(ended(&mut pulls, "b", How::Stopped), [Effect::Start(asked("b"))]);
    // What has ended is put aside, and what failed leaves nothing behind.
    ended(&mut pulls, "b", failed());
    let effects = step(&mut pulls, Input::Cancel("b".into()));
    assert_eq!(effects, [Effect::Forget("b".into()), Effect::Discard(asked("b"))]);
    ask(&mut pulls, "c");
    ended(&mut pulls, "c", DONE);
    assert_eq!(step(&mut pulls, Input::Cancel("c".into())), [Effect::Forget("c".into())]);
}

#[test]
fn what_failed_says_why_and_goes_on_when_it_is_resumed() {
    let mut pulls = Pulls::kept(vec![(asked("a"), 700)]);
    assert_eq!((stages(&pulls), pulls.shown().next().unwrap().here), (vec![Stage::Paused], 700));
    step(&mut pulls, Input::Resume("a".into()));
    ended(&mut pulls, "a", failed());
    assert_eq!(stages(&pulls), [Stage::Failed { sentence: "it broke".into(), hint: "mend it".into() }]);
    assert_eq!(step(&mut pulls, Input::Resume("a".into())), [Effect::Start(asked("a"))]);
}

#[test]
fn a_rate_is_that_of_the_last_seconds() {
    let mut pulls = Pulls::default();
    ask(&mut pulls, "a");
    let mut at = |ms: u64, here: u64| {
        let progress = Input::Progress { key: "a".into(), here, total: Some(1 << 20) };
        pulls.step(Duration::from_millis(ms), progress).unwrap();
        pulls.shown().next().unwrap().rate()
    };
    assert_eq!(at(0, 0), None);
    assert_eq!(at(1000, 500), Some(500));
    // Too soon for another mark.
    assert_eq!(at(1100, 9_999), Some(500));
    for second in 2..10 {
        at(second * 1000, 500 + second * 100);
    }
    assert_eq!(at(10_000, 1500), Some(100));
    let missing = (1 << 20) - 1500;
    assert_eq!((pulls.missing_of_others("a"), pulls.missing_of_others("b")), (0, missing));
}

#[test]
fn no_more_are_kept_than_there_is_room_for() {
    let mut pulls = Pulls::default();
    for key in 0..KEPT_MAX {
        ask(&mut pulls, &key.to_string());
    }
    assert_eq!(pulls.step(Duration::ZERO, Input::Ask(asked("new"))), Err(Refused::Full));
    ended(&mut pulls, "1", failed());
    let effects = ask(&mut pulls, "new");
    assert!(effects.contains(&Effect::Forget("1".into())), "{effects:?}");
    assert_eq!(pulls.shown().count(), KEPT_MAX);
}

proptest! {
    /// Whatever is asked in whatever order: never more workers than may be, never two over one pull, and what was told to stop was at work.
    #[test]
    fn workers_are_bounded_and_alone(steps in prop::collection::vec((0u8..6, 0u8..5), 1..200)) {
        let mut pulls = Pulls::default();
        let mut working: BTreeSet<String> = BTreeSet::new();
        for (what, which) in steps {
            let key = which.to_string();
            let input = match what {
                0 => Input::Ask(asked(&key)),
                1 => Input::Pause(key),
                2 => Input::Resume(key),
                3 => Input::Cancel(key),
                _ if !working.remove(&key) => continue,
                4 => Input::Ended { key, how: How::Stopped },
                _ => Input::Ended { key, how: DONE },
            };
            for effect in pulls.step(Duration::ZERO, input).unwrap_or_default() {
                match effect {
                    Effect::Start(asked) => prop_assert!(working.insert(asked.key)),
                    Effect::Stop(key) => prop_assert!(working.contains(&key)),
                    Effect::Discard(asked) => prop_assert!(!working.contains(&asked.key)),
                    Effect::Keep(_) | Effect::Forget(_) => {}
                }
            }
            prop_assert!(working.len() <= ACTIVE_MAX);
            prop_assert!(pulls.shown().count() <= KEPT_MAX);
        }
    }
}
