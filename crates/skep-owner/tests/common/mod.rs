//! Machines made by chance from a seed, and one at rest.

#![allow(dead_code, reason = "each test uses some of it")]

use skep_owner::{Clock, Key, Kind, Own, Power, Preferences, Preset, Reading, SETTINGS, Sensors, Value};

/// SplitMix64.
pub struct Chance(pub u64);

impl Chance {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()].clone()
    }
}

/// A Wednesday noon, UTC.
pub const NOON_MS: u64 = 1_711_540_800_000;

/// A desktop on mains at which nobody has sat for an hour.
pub fn at_rest() -> Sensors {
    Sensors {
        clock: Clock { now_ms: NOON_MS, offset_minutes: 0 },
        power: Reading::Known(Power::default()),
        idle_ms: Reading::Known(3_600_000),
        full_screen: Reading::Known(false),
        metered: Reading::Known(false),
        others_cpu_percent: Reading::Known(3),
        memory_pressure_percent: Reading::Known(0),
        memory_free_percent: Reading::Known(60),
        temperature_celsius: Reading::Known(45),
        watts: Reading::Known(20),
        disk_free_bytes: Reading::Known(200 << 30),
        own: Own::default(),
    }
}

/// A preset of which some settings were changed to anything that they take.
pub fn preferences(chance: &mut Chance) -> Preferences {
    let mut preferences = Preferences::of(chance.pick(&Preset::ALL));
    for _ in 0..chance.below(8) {
        let setting = &SETTINGS[usize::try_from(chance.below(SETTINGS.len() as u64)).unwrap()];
        preferences.set(setting.key, value(chance, &setting.kind)).unwrap();
    }
    preferences
}

pub fn value(chance: &mut Chance, kind: &Kind) -> Value {
    match kind {
        Kind::Choice(words) => Value::Choice(chance.pick(words)),
        Kind::Switch => Value::Switch(chance.one_in(2)),
        Kind::Number { or_none: true, .. } if chance.one_in(5) => Value::NoLimit,
        Kind::Number { min, max, .. } => Value::Number(min + chance.below((max - min).min(200) + 1)),
        Kind::Schedule => {
            let texts = ["always", "mon-fri 18:00-08:00", "sat-sun 00:00-24:00", "wed 12:00-12:05, sun 23:00-01:00"];
            Value::Schedule(chance.pick(&texts).parse().unwrap())
        }
    }
}

/// A reading that is mostly known.
fn reading<T>(chance: &mut Chance, known: impl FnOnce(&mut Chance) -> T) -> Reading<T> {
    match chance.below(24) {
        0 => Reading::Unknown,
        1 => Reading::cannot("a test", "None."),
        _ => Reading::Known(known(chance)),
    }
}

/// A number near a limit of the preferences, or any.
fn near(chance: &mut Chance, preferences: &Preferences, key: Key, any: u64) -> u64 {
    match preferences.number(key) {
        Some(limit) if !chance.one_in(3) => (limit + 9).saturating_sub(chance.below(16)),
        _ => chance.below(any),
    }
}

fn percent(number: u64) -> u8 {
    u8::try_from(number.min(100)).unwrap()
}

/// Changes some of what sensors say.
pub fn change(chance: &mut Chance, preferences: &Preferences, sensors: &mut Sensors) {
    for _ in 0..1 + chance.below(3) {
        let near = |chance: &mut Chance, key, any| near(chance, preferences, key, any);
        match chance.below(12) {
            0 => {
                sensors.power = reading(chance, |chance| Power {
                    on_battery: chance.one_in(2),
                    charging: chance.one_in(2),
                    charge_percent: (!chance.one_in(3)).then(|| percent(near(chance, Key::BatteryMin, 101))),
                });
            }
            1 => {
                let idle = |chance: &mut Chance| near(chance, Key::IdleMinutes, 60) * 60_000 + chance.below(3);
                sensors.idle_ms = reading(chance, idle);
            }
            2 => sensors.full_screen = reading(chance, |chance| chance.one_in(2)),
            3 => sensors.metered = reading(chance, |chance| chance.one_in(2)),
            4 => {
                let key = chance.pick(&[Key::OthersCpu, Key::OthersCpuInUse]);
                sensors.others_cpu_percent = reading(chance, |chance| percent(near(chance, key, 101)));
            }
            5 => {
                sensors.memory_pressure_percent =
                    reading(chance, |chance| percent(near(chance, Key::MemoryPressure, 101)));
            }
            6 => sensors.memory_free_percent = reading(chance, |chance| percent(near(chance, Key::MemoryFreeMin, 101))),
            7 => {
                let celsius = |chance: &mut Chance| i16::try_from(near(chance, Key::Temperature, 120)).unwrap() - 3;
                sensors.temperature_celsius = reading(chance, celsius);
            }
            8 => sensors.watts = reading(chance, |chance| u32::try_from(near(chance, Key::Watts, 200)).unwrap()),
            9 => sensors.disk_free_bytes = reading(chance, |chance| near(chance, Key::DiskFreeMin, 1 << 40)),
            10 => {
                sensors.own.work = u32::try_from(chance.below(3)).unwrap();
                sensors.own.disk_bytes = chance.below(1 << 40);
            }
            _ => sensors.own.transferred_today_bytes = near(chance, Key::DailyTransfer, 1 << 40),
        }
    }
}
