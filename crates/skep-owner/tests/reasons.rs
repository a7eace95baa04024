//! What a person reads when a machine is not lent.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::at_rest;
use skep_owner::{
    Command, Decision, Key, Owner, Power, Preferences, Preset, Reading, Reason, Rule, Sensor, Sensors, Standing, Value,
};
use std::fmt::Write;
use std::path::PathBuf;

/// A setting, what the owner wants of it, and what happens to a machine at rest.
type State = (Key, &'static str, fn(&mut Sensors));

/// Every reason, each as a machine comes to it.
fn reasons() -> Vec<Reason> {
    let mut found = vec![after(Command::Pause { until_ms: None }), after(Command::Finish)];
    let states: [State; 18] = [
        (Key::Schedule, "sat-sun 00:00-24:00", |_| {}),
        (Key::WhenOnBattery, "never", |s| s.power = power(true, 90)),
        (Key::WhenOnBattery, "never", |s| s.power = cannot()),
        (Key::BatteryMin, "80", |s| s.power = power(false, 41)),
        (Key::WhenInUse, "never", |s| s.idle_ms = Reading::Known(0)),
        (Key::WhenInUse, "never", |s| s.idle_ms = cannot()),
        (Key::WhenFullScreen, "never", |s| s.full_screen = Reading::Known(true)),
        (Key::WhenFullScreen, "never", |s| s.full_screen = cannot()),
        (Key::WhenMetered, "never", |s| s.metered = Reading::Known(true)),
        (Key::WhenMetered, "never", |s| s.metered = cannot()),
        (Key::OthersCpu, "50", |s| s.others_cpu_percent = Reading::Known(61)),
        (Key::MemoryPressure, "10", |s| s.memory_pressure_percent = Reading::Known(12)),
        (Key::MemoryFreeMin, "20", |s| s.memory_free_percent = Reading::Known(7)),
        (Key::Temperature, "80", |s| s.temperature_celsius = Reading::Known(84)),
        (Key::Watts, "65", |s| s.watts = Reading::Known(90)),
        (Key::DailyTransfer, "5GiB", |s| s.own.transferred_today_bytes = 5 << 30),
        (Key::WhenInUse, "if_unsure", |s| s.idle_ms = Reading::Unknown),
        (Key::Watts, "65", |s| s.watts = Reading::Unknown),
    ];
    for (key, value, change) in states {
        found.push(when(key, value, change));
    }
    found.push(calming());
    found
}

fn cannot<T>() -> Reading<T> {
    Reading::cannot("a test", "None.")
}

fn power(on_battery: bool, charge: u8) -> Reading<Power> {
    Reading::Known(Power { on_battery, charging: !on_battery, charge_percent: Some(charge) })
}

fn when(key: Key, value: &str, change: fn(&mut Sensors)) -> Reason {
    let mut preferences = Preferences::of(Preset::Full);
    preferences.set(key, key.setting().kind.parse(value).unwrap()).unwrap();
    let mut sensors = at_rest();
    change(&mut sensors);
    let Decision::Pause(pause) = skep_owner::decide(&preferences, &sensors) else { panic!("lent: {key:?}") };
    pause.reason
}

fn after(command: Command) -> Reason {
    let mut owner = Owner::new(Standing::Open);
    owner.command(command);
    let Decision::Pause(pause) = owner.step(&Preferences::of(Preset::Full), &at_rest()) else { panic!("lent") };
    pause.reason
}

fn calming() -> Reason {
    let preferences = Preferences::of(Preset::Full);
    let mut owner = Owner::new(Standing::Open);
    let mut sensors = at_rest();
    sensors.temperature_celsius = Reading::Known(100);
    owner.step(&preferences, &sensors);
    sensors.temperature_celsius = Reading::Known(40);
    let Decision::Pause(pause) = owner.step(&preferences, &sensors) else { panic!("lent") };
    pause.reason
}

/// The place of a reason in their order; a new one does not compile until it is here, and is not found until it is above.
fn place(reason: &Reason) -> usize {
    match reason {
        Reason::Owner => 0,
        Reason::Finished => 1,
        Reason::Schedule => 2,
        Reason::OnBattery => 3,
        Reason::PowerUnsure => 4,
        Reason::BatteryLow(_) => 5,
        Reason::InUse { .. } => 6,
        Reason::InUseUnsure => 7,
        Reason::FullScreen => 8,
        Reason::FullScreenUnsure => 9,
        Reason::Metered => 10,
        Reason::MeteredUnsure => 11,
        Reason::OthersBusy(..) => 12,
        Reason::MemoryPressure(_) => 13,
        Reason::MemoryShort(_) => 14,
        Reason::Hot(_) => 15,
        Reason::Watts(_) => 16,
        Reason::DailyTransfer { .. } => 17,
        Reason::NotReadYet(_) => 18,
        Reason::Calming => 19,
    }
}

#[test]
fn each_reason_reads_as_it_should() {
    let reasons = reasons();
    let mut places: Vec<usize> = reasons.iter().map(place).collect();
    places.dedup();
    assert_eq!(places, (0..20).collect::<Vec<_>>(), "each reason, in their order");
    let mut shown = String::new();
    for reason in reasons {
        assert!(!reason.to_string().ends_with('.') && reason.remedy().ends_with('.'), "{reason:?}");
        writeln!(shown, "paused: {reason}\n    {}", reason.remedy()).unwrap();
    }
    for sensor in SENSORS {
        writeln!(shown, "paused: {}", Reason::NotReadYet(sensor)).unwrap();
    }
    check("reasons.txt", &shown);
}

const SENSORS: [Sensor; 10] = [
    Sensor::Power,
    Sensor::Input,
    Sensor::Screen,
    Sensor::Network,
    Sensor::Processors,
    Sensor::MemoryPressure,
    Sensor::MemoryFree,
    Sensor::Temperature,
    Sensor::Watts,
    Sensor::Disk,
];

#[test]
fn a_reason_names_a_setting_that_ends_it() {
    for reason in reasons() {
        let Some(key) = reason.setting() else { continue };
        assert!(reason.remedy().contains(key.setting().name), "{reason:?}");
        let mut preferences = Preferences::of(Preset::Full);
        let most = if key == Key::Schedule { "always" } else { "none" };
        let ends = key.setting().kind.parse(most).unwrap_or(Value::Choice("always"));
        preferences.set(key, ends).unwrap();
        assert_ne!(preferences.rule(key), Rule::IfUnsure);
        assert!(matches!(skep_owner::decide(&preferences, &at_rest()), Decision::Run(_)));
    }
}

fn check(name: &str, shown: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(name);
    if std::env::var_os("SKEP_BLESS").is_some() {
        std::fs::write(&path, shown).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(shown, expected, "run with SKEP_BLESS=1 to accept a change of {}", path.display());
}
