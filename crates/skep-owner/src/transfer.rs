//! What was sent and received since midnight.

use crate::sensors::Clock;
use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

/// The bytes of a local day. Kept over a restart by its text.
///
/// A day that lies before the one that is counted (a clock set back, a journey west) is counted with it, so that no limit is lent twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Transfer {
    day: u64,
    bytes: u64,
}

impl Transfer {
    /// Counts bytes that were sent or received now.
    pub fn add(&mut self, clock: Clock, bytes: u64) {
        self.bytes = self.today(clock).saturating_add(bytes);
        self.day = self.day.max(clock.day());
    }

    /// The bytes since the last midnight.
    #[must_use]
    pub fn today(&self, clock: Clock) -> u64 {
        if clock.day() > self.day { 0 } else { self.bytes }
    }
}

impl Display for Transfer {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes on day {}", self.bytes, self.day)
    }
}

/// A text that is no [`Transfer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not of the form: N bytes on day D, counted from 1970")]
pub struct UnknownTransfer;

impl FromStr for Transfer {
    type Err = UnknownTransfer;

    fn from_str(text: &str) -> Result<Self, UnknownTransfer> {
        let (bytes, day) = text.trim().split_once(" bytes on day ").ok_or(UnknownTransfer)?;
        let number = |text: &str| text.parse().map_err(|_| UnknownTransfer);
        Ok(Self { day: number(day)?, bytes: number(bytes)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: u64 = 86_400_000;

    fn at(now_ms: u64, offset_minutes: i16) -> Clock {
        Clock { now_ms, offset_minutes }
    }

    #[test]
    fn a_day_ends_at_local_midnight() {
        let mut transfer = Transfer::default();
        transfer.add(at(DAY_MS - 1, 0), 70);
        transfer.add(at(DAY_MS - 1, 0), 7);
        assert_eq!(transfer.today(at(DAY_MS - 1, 0)), 77);
        assert_eq!(transfer.today(at(DAY_MS, 0)), 0);
        assert_eq!(transfer.today(at(DAY_MS, -1)), 77, "it is a minute before midnight there");
        transfer.add(at(DAY_MS, 0), 1);
        assert_eq!(transfer.today(at(DAY_MS, 0)), 1);
    }

    #[test]
    fn a_clock_that_is_set_back_gives_nothing_anew() {
        let mut transfer = Transfer::default();
        transfer.add(at(5 * DAY_MS, 0), 50);
        assert_eq!(transfer.today(at(4 * DAY_MS, 0)), 50);
        transfer.add(at(4 * DAY_MS, 0), 5);
        assert_eq!((transfer.today(at(5 * DAY_MS, 0)), transfer.today(at(6 * DAY_MS, 0))), (55, 0));
        transfer.add(at(5 * DAY_MS, 0), u64::MAX);
        assert_eq!(transfer.today(at(5 * DAY_MS, 0)), u64::MAX);
    }

    #[test]
    fn a_count_survives_a_restart() {
        let mut transfer = Transfer::default();
        transfer.add(at(5 * DAY_MS, 0), 50);
        assert_eq!(transfer.to_string().parse(), Ok(transfer));
        for text in ["", "50", "x bytes on day 5", "50 bytes on day -5", "50 bytes on day"] {
            assert_eq!(text.parse::<Transfer>(), Err(UnknownTransfer), "{text}");
        }
    }
}
