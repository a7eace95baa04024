//! The law: whether the machine is lent now, and how much of it.

use crate::preferences::{Preferences, Rule};
use crate::reason::{Level, Reason, Sensor};
use crate::sensors::{Reading, Sensors};
use crate::table::Key;

/// By how much the temperature must fall below its limit before the machine is lent again.
const CELSIUS_MARGIN: u64 = 5;
/// By how many points the charge, or the free memory, must rise above its limit.
const POINTS_MARGIN: u64 = 5;
const MINUTE_MS: u64 = 60_000;

/// What of the machine may be used now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// Whether these are the caps of a machine in use.
    pub in_use: bool,
    /// Whether new work may begin; not while it finishes.
    pub new_work: bool,
    /// The most of all processors.
    pub cpu_percent: u8,
    /// The most of all memory.
    pub memory_percent: u8,
    /// The most bytes of weights on the disk; below what is there, some must go.
    pub disk_bytes: Option<u64>,
    /// Whether graphics processors may be used.
    pub gpu: bool,
    /// The most bytes sent per second.
    pub upload: Option<u64>,
    /// The most bytes received per second.
    pub download: Option<u64>,
    /// The most bytes sent and received until local midnight.
    pub transfer_left: Option<u64>,
}

/// Why nothing is lent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    /// The first reason that holds.
    pub reason: Reason,
    /// When that reason ends at the earliest, in milliseconds since 1970, where the clock alone ends it.
    pub until_ms: Option<u64>,
}

/// Whether the machine is lent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It is, within these caps.
    Run(Caps),
    /// It is not.
    Pause(Pause),
}

/// Whether the machine is lent now, by the settings and the sensors alone.
#[must_use]
pub fn decide(preferences: &Preferences, sensors: &Sensors) -> Decision {
    let law = Law { preferences, sensors, clear: false, throttled: true };
    law.first().map_or_else(|| Decision::Run(law.caps()), Decision::Pause)
}

/// The rules over one moment.
pub(crate) struct Law<'a> {
    pub preferences: &'a Preferences,
    pub sensors: &'a Sensors,
    /// Whether numbers must be clear of their limits by the margins.
    pub clear: bool,
    /// Whether lending less was tried already against too many watts.
    pub throttled: bool,
}

impl Law<'_> {
    /// The first reason not to lend.
    pub fn first(&self) -> Option<Pause> {
        let rules: [fn(&Self) -> Option<Reason>; 11] = [
            Self::schedule,
            Self::power,
            Self::charge,
            Self::use_of_it,
            Self::screen,
            Self::network,
            Self::others,
            Self::memory,
            Self::heat,
            Self::watts,
            Self::transfer,
        ];
        let reason = rules.iter().find_map(|rule| rule(self))?;
        Some(Pause { reason, until_ms: self.until(reason) })
    }

    fn until(&self, reason: Reason) -> Option<u64> {
        let clock = self.sensors.clock;
        match reason {
            Reason::Schedule => {
                Some(clock.minutes_on(u64::from(self.preferences.schedule().opens_in(clock.week_minute()))))
            }
            Reason::InUse { idle_minutes } => {
                let left = (idle_minutes * MINUTE_MS).saturating_sub(*self.sensors.idle_ms.known()?);
                Some(clock.now_ms.saturating_add(left))
            }
            Reason::DailyTransfer { .. } => Some(clock.midnight()),
            _ => None,
        }
    }

    /// Caps of this moment, before any throttle.
    pub fn caps(&self) -> Caps {
        let in_use = self.counts_as_in_use();
        let number = |key| self.preferences.number_now(key, in_use);
        let percent = |key| number(key).and_then(|percent| u8::try_from(percent).ok()).unwrap_or(100);
        let left = |max: u64| max.saturating_sub(self.sensors.own.transferred_today_bytes);
        Caps {
            in_use,
            new_work: true,
            cpu_percent: percent(Key::Cpu),
            memory_percent: percent(Key::Memory),
            disk_bytes: number(Key::Disk).into_iter().chain(self.disk_room()).min(),
            gpu: self.preferences.is_on_now(Key::Gpu, in_use),
            upload: number(Key::Upload),
            download: number(Key::Download),
            transfer_left: number(Key::DailyTransfer).map(left),
        }
    }

    /// Bytes of weights that leave free what the owner wants to be free.
    fn disk_room(&self) -> Option<u64> {
        let kept_free = self.preferences.number(Key::DiskFreeMin)?;
        let own = self.sensors.own.disk_bytes;
        let room = |free: &u64| own.saturating_add(*free).saturating_sub(kept_free);
        Some(self.sensors.disk_free_bytes.known().map_or(own, room))
    }

    fn counts_as_in_use(&self) -> bool {
        self.somebody_is_there() || self.sensors.others_cpu_percent.known().is_none()
    }

    fn somebody_is_there(&self) -> bool {
        self.sensors.idle_ms.known().is_none_or(|idle_ms| *idle_ms < self.idle_minutes() * MINUTE_MS)
    }

    fn idle_minutes(&self) -> u64 {
        self.preferences.number(Key::IdleMinutes).unwrap_or(u64::from(u16::MAX))
    }

    fn schedule(&self) -> Option<Reason> {
        (!self.preferences.schedule().contains(self.sensors.clock.week_minute())).then_some(Reason::Schedule)
    }

    fn power(&self) -> Option<Reason> {
        let on_battery = self.sensors.power.clone().map(|power| power.on_battery);
        self.state(Key::WhenOnBattery, &on_battery, [Reason::OnBattery, Reason::PowerUnsure], Sensor::Power)
    }

    fn charge(&self) -> Option<Reason> {
        let min = self.preferences.number(Key::BatteryMin)?;
        let again = (min + POINTS_MARGIN).min(100);
        let least = if self.clear { again } else { min };
        self.number(&self.sensors.power, Sensor::Power, |power| {
            let charge = u64::from(power.charge_percent?);
            let low = (power.on_battery || power.charging) && charge < least;
            low.then_some(Reason::BatteryLow(Level { is: charge, limit: min, again }))
        })
    }

    fn use_of_it(&self) -> Option<Reason> {
        let in_use = self.sensors.idle_ms.clone().map(|_| self.somebody_is_there());
        let so = Reason::InUse { idle_minutes: self.idle_minutes() };
        self.state(Key::WhenInUse, &in_use, [so, Reason::InUseUnsure], Sensor::Input)
    }

    fn screen(&self) -> Option<Reason> {
        let reasons = [Reason::FullScreen, Reason::FullScreenUnsure];
        self.state(Key::WhenFullScreen, &self.sensors.full_screen, reasons, Sensor::Screen)
    }

    fn network(&self) -> Option<Reason> {
        let reasons = [Reason::Metered, Reason::MeteredUnsure];
        self.state(Key::WhenMetered, &self.sensors.metered, reasons, Sensor::Network)
    }

    fn others(&self) -> Option<Reason> {
        let limit = self.preferences.number_now(Key::OthersCpu, self.counts_as_in_use())?;
        let by_the_first = self.preferences.number(Key::OthersCpu) == Some(limit);
        let key = if by_the_first { Key::OthersCpu } else { Key::OthersCpuInUse };
        let again = limit * 4 / 5;
        self.number(&self.sensors.others_cpu_percent, Sensor::Processors, |percent| {
            self.above(u64::from(*percent), limit, again).map(|level| Reason::OthersBusy(level, key))
        })
    }

    fn memory(&self) -> Option<Reason> {
        self.memory_pressure().or_else(|| self.memory_free())
    }

    fn memory_pressure(&self) -> Option<Reason> {
        let limit = self.preferences.number(Key::MemoryPressure)?;
        self.number(&self.sensors.memory_pressure_percent, Sensor::MemoryPressure, |percent| {
            self.above(u64::from(*percent), limit, limit / 2).map(Reason::MemoryPressure)
        })
    }

    fn memory_free(&self) -> Option<Reason> {
        let limit = self.preferences.number(Key::MemoryFreeMin)?;
        let again = (limit + POINTS_MARGIN).min(100);
        let least = if self.clear { again } else { limit };
        self.number(&self.sensors.memory_free_percent, Sensor::MemoryFree, |percent| {
            let is = u64::from(*percent);
            (is < least).then_some(Reason::MemoryShort(Level { is, limit, again }))
        })
    }

    fn heat(&self) -> Option<Reason> {
        let limit = self.preferences.number(Key::Temperature)?;
        self.number(&self.sensors.temperature_celsius, Sensor::Temperature, |celsius| {
            let is = u64::try_from(*celsius).unwrap_or(0);
            self.above(is, limit, limit.saturating_sub(CELSIUS_MARGIN)).map(Reason::Hot)
        })
    }

    fn watts(&self) -> Option<Reason> {
        let limit = self.preferences.number(Key::Watts)?;
        self.number(&self.sensors.watts, Sensor::Watts, |watts| {
            let level = Level { is: u64::from(*watts), limit, again: limit };
            (self.throttled && level.is > limit).then_some(Reason::Watts(level))
        })
    }

    fn transfer(&self) -> Option<Reason> {
        let max = self.preferences.number(Key::DailyTransfer)?;
        (self.sensors.own.transferred_today_bytes >= max).then_some(Reason::DailyTransfer { max })
    }

    /// A rule on something that is so or not.
    fn state(&self, key: Key, is_so: &Reading<bool>, [so, unsure]: [Reason; 2], sensor: Sensor) -> Option<Reason> {
        match (self.preferences.rule(key), is_so) {
            (Rule::Always, _) | (_, Reading::Known(false)) | (Rule::IfUnsure, Reading::CannotRead(_)) => None,
            (_, Reading::Known(true)) => Some(so),
            (_, Reading::Unknown) => Some(Reason::NotReadYet(sensor)),
            (Rule::Never, Reading::CannotRead(_)) => Some(unsure),
        }
    }

    /// A rule on a number, void where that cannot be read.
    fn number<T>(&self, reading: &Reading<T>, sensor: Sensor, rule: impl Fn(&T) -> Option<Reason>) -> Option<Reason> {
        match reading {
            Reading::Known(value) => rule(value),
            Reading::Unknown => Some(Reason::NotReadYet(sensor)),
            Reading::CannotRead(_) => None,
        }
    }

    fn above(&self, is: u64, limit: u64, again: u64) -> Option<Level> {
        (is > if self.clear { again } else { limit }).then_some(Level { is, limit, again })
    }
}
