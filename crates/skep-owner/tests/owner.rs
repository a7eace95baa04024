//! The owner's word, and the calm, one case at a time.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::{NOON_MS, at_rest};
use skep_owner::{
    CALM_MS, Command, Decision, Key, Owner, Preferences, Preset, Reading, Reason, Sensors, Standing, Value, decide,
};

fn balanced() -> Preferences {
    Preferences::of(Preset::Balanced)
}

fn at(after_ms: u64) -> Sensors {
    let mut sensors = at_rest();
    sensors.clock.now_ms = NOON_MS + after_ms;
    sensors
}

/// The reason of a pause, and when it ends, after noon.
fn pause(decision: Decision) -> (Reason, Option<u64>) {
    let Decision::Pause(pause) = decision else { panic!("lent: {decision:?}") };
    (pause.reason, pause.until_ms.map(|until_ms| until_ms - NOON_MS))
}

fn runs(decision: &Decision) -> bool {
    matches!(decision, Decision::Run(_))
}

#[test]
fn a_pause_for_a_time_ends_to_the_millisecond() {
    let mut owner = Owner::new(Standing::Open);
    assert!(runs(&owner.step(&balanced(), &at(0))));
    owner.command(Command::Pause { until_ms: Some(NOON_MS + 5000) });
    assert_eq!(pause(owner.step(&balanced(), &at(4999))), (Reason::Owner, Some(5000)));
    assert!(runs(&owner.step(&balanced(), &at(5000))));
    assert_eq!(owner.standing(), Standing::Open);
}

#[test]
fn who_finishes_takes_nothing_new_and_pauses_when_all_is_done() {
    let mut owner = Owner::new(Standing::Open);
    owner.command(Command::Finish);
    let mut busy = at(0);
    busy.own.work = 1;
    let Decision::Run(caps) = owner.step(&balanced(), &busy) else { panic!("the work in progress was lost") };
    assert!(!caps.new_work);
    assert_eq!(pause(owner.step(&balanced(), &at(1))), (Reason::Finished, None));
    assert_eq!(pause(owner.step(&balanced(), &busy)), (Reason::Finished, None));
    owner.command(Command::Resume);
    assert!(runs(&owner.step(&balanced(), &at(2))));
}

#[test]
fn a_rule_does_not_wait_for_work_to_finish() {
    let mut owner = Owner::new(Standing::Finishing);
    let mut hot = at(0);
    hot.own.work = 1;
    hot.temperature_celsius = Reading::Known(81);
    assert!(matches!(pause(owner.step(&balanced(), &hot)).0, Reason::Hot(_)));
}

#[test]
fn the_first_reading_needs_no_calm_and_a_sensor_that_falls_silent_does() {
    let mut owner = Owner::new(Standing::Open);
    let mut silent = at(0);
    silent.others_cpu_percent = Reading::Unknown;
    assert!(matches!(pause(owner.step(&balanced(), &silent)).0, Reason::NotReadYet(_)));
    assert!(runs(&owner.step(&balanced(), &at(1000))));
    silent.clock.now_ms += 2000;
    assert!(matches!(pause(owner.step(&balanced(), &silent)).0, Reason::NotReadYet(_)));
    assert_eq!(pause(owner.step(&balanced(), &at(3000))), (Reason::Calming, Some(3000 + CALM_MS)));
    assert!(runs(&owner.step(&balanced(), &at(3000 + CALM_MS))));
}

#[test]
fn a_load_that_comes_and_goes_does_not_flap() {
    let mut owner = Owner::new(Standing::Open);
    let changes = (0..3600u64).filter(|second| {
        let mut sensors = at(second * 1000);
        sensors.others_cpu_percent = Reading::Known(if second % 20 < 10 { 60 } else { 10 });
        runs(&owner.step(&balanced(), &sensors))
    });
    assert_eq!(changes.count(), 0, "half of each time is never a calm of a minute");
}

#[test]
fn the_load_of_others_is_held_against_the_setting_that_counts_now() {
    let mut sensors = at(0);
    sensors.others_cpu_percent = Reading::Known(45);
    assert!(runs(&decide(&balanced(), &sensors)), "50 % when nobody is there");
    sensors.idle_ms = Reading::Known(0);
    let reason = pause(decide(&balanced(), &sensors)).0;
    assert_eq!(reason.setting(), Some(Key::OthersCpuInUse));
    assert!(reason.to_string().contains("40 %") && reason.remedy().contains("share.others_cpu_percent_in_use"));
}

#[test]
fn a_clock_that_is_set_back_begins_a_calm_anew() {
    let mut owner = Owner::new(Standing::Open);
    let mut hot = at(3_600_000);
    hot.temperature_celsius = Reading::Known(99);
    owner.step(&balanced(), &hot);
    assert_eq!(pause(owner.step(&balanced(), &at(3_600_001))).0, Reason::Calming);
    assert_eq!(pause(owner.step(&balanced(), &at(0))), (Reason::Calming, Some(CALM_MS)));
    assert!(runs(&owner.step(&balanced(), &at(CALM_MS))));
}

#[test]
fn a_schedule_says_when_it_opens_and_follows_the_zone() {
    let mut preferences = balanced();
    preferences.set(Key::Schedule, Value::Schedule("sat-sun 00:00-24:00".parse().unwrap())).unwrap();
    let mut sensors = at(30_000);
    let until = (2 * 24 + 12) * 3_600_000;
    assert_eq!(pause(decide(&preferences, &sensors)), (Reason::Schedule, Some(until)));
    sensors.clock.offset_minutes = 14 * 60;
    assert_eq!(pause(decide(&preferences, &sensors)), (Reason::Schedule, Some(until - 14 * 3_600_000)));
    sensors.clock.now_ms = NOON_MS + until - 14 * 3_600_000;
    assert!(runs(&decide(&preferences, &sensors)));
}

#[test]
fn no_battery_is_waited_for_that_its_charger_keeps_below_full() {
    let mut preferences = Preferences::of(Preset::Quiet);
    preferences.set(Key::BatteryMin, Value::Number(100)).unwrap();
    let mut sensors = at(0);
    let held = |charging| skep_owner::Power { on_battery: false, charging, charge_percent: Some(60) };
    sensors.power = Reading::Known(held(true));
    assert!(matches!(pause(decide(&preferences, &sensors)).0, Reason::BatteryLow(_)));
    sensors.power = Reading::Known(held(false));
    assert!(runs(&decide(&preferences, &sensors)));
}

#[test]
fn a_word_survives_a_restart_and_nonsense_is_no_word() {
    for standing in [
        Standing::Open,
        Standing::Paused { until_ms: None },
        Standing::Paused { until_ms: Some(u64::MAX) },
        Standing::Finishing,
        Standing::Finished,
    ] {
        assert_eq!(standing.to_string().parse(), Ok(standing));
    }
    for text in ["", "Open", "paused until", "paused until -1", "paused until 99999999999999999999"] {
        assert!(text.parse::<Standing>().is_err(), "{text}");
    }
}
