//! What is known of the machine at one moment, as sensors say.

use crate::reason::Sensor;
use crate::schedule::WEEK_MINUTES;

const MINUTE_MS: u64 = 60_000;
const DAY_MINUTES: u64 = 24 * 60;

/// What a sensor says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading<T> {
    /// This.
    Known(T),
    /// Nothing now, though this machine has what it takes.
    Unknown,
    /// This machine does not tell.
    CannotRead(Gap),
}

impl<T> Reading<T> {
    /// What is known.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Unknown | Self::CannotRead(_) => None,
        }
    }

    /// Why this machine does not tell.
    pub fn gap(&self) -> Option<&Gap> {
        match self {
            Self::CannotRead(gap) => Some(gap),
            Self::Known(_) | Self::Unknown => None,
        }
    }

    /// Turns what is known into something else.
    pub fn map<U>(self, turn: impl FnOnce(T) -> U) -> Reading<U> {
        match self {
            Self::Known(value) => Reading::Known(turn(value)),
            Self::Unknown => Reading::Unknown,
            Self::CannotRead(gap) => Reading::CannotRead(gap),
        }
    }
}

/// Why a machine does not tell, and what the owner can do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Why, as a clause: "the kernel was built without pressure information".
    pub why: String,
    /// What to do, as a sentence.
    pub advice: String,
}

impl<T> Reading<T> {
    /// A reading that this machine cannot give.
    pub fn cannot(why: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::CannotRead(Gap { why: why.into(), advice: advice.into() })
    }
}

/// What the wall shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// Milliseconds since 1970, UTC.
    pub now_ms: u64,
    /// Minutes by which local time is ahead of UTC now.
    pub offset_minutes: i16,
}

impl Clock {
    fn local_minutes(self) -> u64 {
        (self.now_ms / MINUTE_MS).saturating_add_signed(i64::from(self.offset_minutes))
    }

    /// The local minute of the week, from Monday 0:00.
    #[must_use]
    pub fn week_minute(self) -> u16 {
        // 1970 began on a Thursday.
        let minute = (self.local_minutes() + 3 * DAY_MINUTES) % u64::from(WEEK_MINUTES);
        u16::try_from(minute).unwrap_or(0)
    }

    /// The local day, counted from 1970.
    #[must_use]
    pub fn day(self) -> u64 {
        self.local_minutes() / DAY_MINUTES
    }

    /// The beginning of the minute that is so many minutes after this one, if the zone's offset stays.
    #[must_use]
    pub fn minutes_on(self, minutes: u64) -> u64 {
        (self.now_ms / MINUTE_MS).saturating_add(minutes).saturating_mul(MINUTE_MS)
    }

    /// The next local midnight, if the zone's offset stays.
    #[must_use]
    pub fn midnight(self) -> u64 {
        self.minutes_on(DAY_MINUTES - self.local_minutes() % DAY_MINUTES)
    }
}

/// Where the machine's power comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Power {
    /// Whether a battery feeds it.
    pub on_battery: bool,
    /// Whether a battery fills.
    pub charging: bool,
    /// The charge of all batteries; `None` without one.
    pub charge_percent: Option<u8>,
}

/// What the node knows of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Own {
    /// Answers in progress, and whatever else would be lost.
    pub work: u32,
    /// Bytes of the disk that hold weights.
    pub disk_bytes: u64,
    /// Bytes sent and received since local midnight.
    pub transferred_today_bytes: u64,
}

/// Everything that [`decide`](crate::decide) looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sensors {
    /// The time.
    pub clock: Clock,
    /// Where power comes from.
    pub power: Reading<Power>,
    /// Milliseconds since somebody last typed, clicked or touched.
    pub idle_ms: Reading<u64>,
    /// Whether a program fills the screen.
    pub full_screen: Reading<bool>,
    /// Whether the network counts what is used.
    pub metered: Reading<bool>,
    /// The share of all processors that other programs use.
    pub others_cpu_percent: Reading<u8>,
    /// The share of time in which some program waits for memory.
    pub memory_pressure_percent: Reading<u8>,
    /// The share of all memory that programs can still get.
    pub memory_free_percent: Reading<u8>,
    /// The hottest part of the processor, in °C.
    pub temperature_celsius: Reading<i16>,
    /// What the processor draws, in watts.
    pub watts: Reading<u32>,
    /// Free bytes of the disk that holds the weights.
    pub disk_free_bytes: Reading<u64>,
    /// The node itself.
    pub own: Own,
}

impl Sensors {
    /// What this machine does not tell, each with its reason and its advice.
    #[must_use]
    pub fn gaps(&self) -> Vec<(Sensor, &Gap)> {
        let gaps = [
            (Sensor::Power, self.power.gap()),
            (Sensor::Input, self.idle_ms.gap()),
            (Sensor::Screen, self.full_screen.gap()),
            (Sensor::Network, self.metered.gap()),
            (Sensor::Processors, self.others_cpu_percent.gap()),
            (Sensor::MemoryPressure, self.memory_pressure_percent.gap()),
            (Sensor::MemoryFree, self.memory_free_percent.gap()),
            (Sensor::Temperature, self.temperature_celsius.gap()),
            (Sensor::Watts, self.watts.gap()),
            (Sensor::Disk, self.disk_free_bytes.gap()),
        ];
        gaps.into_iter().filter_map(|(sensor, gap)| Some((sensor, gap?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_week_begins_on_monday_and_the_zone_moves_it() {
        // Sunday 2024-03-31 00:30 UTC, the night in which Berlin went from +1 to +2 hours.
        let utc = |offset_minutes| Clock { now_ms: 1_711_845_000_000, offset_minutes };
        assert_eq!(utc(0).week_minute(), 6 * 1440 + 30);
        assert_eq!(utc(60).week_minute(), 6 * 1440 + 90);
        assert_eq!(utc(-60).week_minute(), 5 * 1440 + 23 * 60 + 30);
        assert_eq!(utc(24 * 60).week_minute(), 30);
        assert_eq!(utc(-60).day() + 1, utc(0).day());
        assert_eq!(utc(0).midnight(), utc(0).now_ms + (23 * 60 + 30) * MINUTE_MS);
        assert_eq!(Clock { now_ms: 0, offset_minutes: -60 }.week_minute(), 3 * 1440);
    }

    proptest! {
        #[test]
        fn any_clock_has_a_minute_and_a_midnight(now_ms: u64, offset_minutes: i16) {
            let clock = Clock { now_ms, offset_minutes };
            prop_assert!(clock.week_minute() < WEEK_MINUTES);
            prop_assert!(clock.midnight() > now_ms || now_ms > u64::MAX - 2 * DAY_MINUTES * MINUTE_MS);
        }
    }
}
