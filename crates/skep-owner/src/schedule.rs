//! The hours of the week in which a machine is lent.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

/// The minutes of a week.
pub const WEEK_MINUTES: u16 = 7 * DAY_MINUTES;
/// The most windows of a schedule: two for each day and some more.
pub const WINDOWS_MAX: usize = 21;

const DAY_MINUTES: u16 = 24 * 60;
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// Windows of local time; without any, always.
///
/// Written as `always`, or as days and hours with commas between: `mon-fri 18:00-08:00, sat-sun 00:00-24:00`. Hours that end at or
/// before they begin end on the next day; the days are those on which they begin. Minutes are counted from Monday 0:00.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Schedule {
    windows: Vec<Window>,
}

/// Hours on a range of days, which may go over the end of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window {
    first_day: u16,
    last_day: u16,
    from: u16,
    to: u16,
}

/// Why a text is no schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// A window is not days and hours.
    #[error("it is `always`, or days and hours such as `mon-fri 18:00-08:00, sat-sun 00:00-24:00`")]
    Form,
    /// More than [`WINDOWS_MAX`] windows.
    #[error("it has at most {WINDOWS_MAX} windows")]
    Many,
}

impl Schedule {
    /// Every minute of the week.
    pub const ALWAYS: Self = Self { windows: Vec::new() };

    /// Whether the machine is lent in this minute of the week.
    #[must_use]
    pub fn contains(&self, minute: u16) -> bool {
        let minute = minute % WEEK_MINUTES;
        let open = |(start, length): (u16, u16)| (minute + WEEK_MINUTES - start) % WEEK_MINUTES < length;
        self.windows.is_empty() || self.windows.iter().flat_map(Window::spans).any(open)
    }

    /// The minutes from this one until a window begins; 0 inside one.
    #[must_use]
    pub fn opens_in(&self, minute: u16) -> u16 {
        if self.contains(minute) {
            return 0;
        }
        let starts = self.windows.iter().flat_map(Window::spans).map(|(start, _)| start);
        starts.map(|start| (start + WEEK_MINUTES - minute % WEEK_MINUTES) % WEEK_MINUTES).min().unwrap_or(0)
    }
}

impl Window {
    /// Start and length in minutes, one for each day.
    fn spans(&self) -> impl Iterator<Item = (u16, u16)> + use<> {
        let Self { first_day, last_day, from, to } = *self;
        let days = (last_day + 7 - first_day) % 7 + 1;
        let length = if to > from { to - from } else { to + DAY_MINUTES - from };
        (0..days).map(move |day| ((first_day + day) % 7 * DAY_MINUTES + from, length))
    }

    fn parse(text: &str) -> Option<Self> {
        let (days, hours) = text.trim().split_once(' ')?;
        let (first, last) = days.split_once('-').unwrap_or((days, days));
        let (from, to) = hours.trim().split_once('-')?;
        let day = |name: &str| DAYS.iter().position(|day| *day == name).and_then(|at| u16::try_from(at).ok());
        let from = minute_of_day(from).filter(|minute| *minute < DAY_MINUTES)?;
        Some(Self { first_day: day(first)?, last_day: day(last)?, from, to: minute_of_day(to)? })
    }
}

/// `8:30` or `08:30`; 24:00 is the end of the day.
fn minute_of_day(text: &str) -> Option<u16> {
    let (hours, minutes) = text.trim().split_once(':')?;
    let digits = |text: &str, most: usize| (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(hours, 2) || minutes.len() != 2 || !digits(minutes, 2) {
        return None;
    }
    let (hours, minutes): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
    Some(hours * 60 + minutes).filter(|minute| minutes < 60 && *minute <= DAY_MINUTES)
}

impl FromStr for Schedule {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        let text = text.trim().to_ascii_lowercase();
        if text == "always" {
            return Ok(Self::ALWAYS);
        }
        if text.split(',').count() > WINDOWS_MAX {
            return Err(ScheduleError::Many);
        }
        let windows: Option<Vec<Window>> = text.split(',').map(Window::parse).collect();
        Ok(Self { windows: windows.ok_or(ScheduleError::Form)? })
    }
}

impl Display for Schedule {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.windows.is_empty() {
            return f.write_str("always");
        }
        for (index, Window { first_day, last_day, from, to }) in self.windows.iter().enumerate() {
            let name = |day: &u16| DAYS[usize::from(*day) % 7];
            f.write_str(if index > 0 { ", " } else { "" })?;
            f.write_str(name(first_day))?;
            if first_day != last_day {
                write!(f, "-{}", name(last_day))?;
            }
            write!(f, " {:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(day: u16, hour: u16, minute: u16) -> u16 {
        day * DAY_MINUTES + hour * 60 + minute
    }

    #[test]
    fn a_night_belongs_to_the_day_on_which_it_begins_and_a_week_goes_on_into_the_next() {
        let nights: Schedule = "mon-fri 18:00-08:00, sun 22:30-1:00".parse().unwrap();
        for (minute, open) in [
            (at(0, 17, 59), false),
            (at(0, 18, 0), true),
            (at(5, 7, 59), true),
            (at(5, 8, 0), false),
            (at(6, 22, 30), true),
            (at(0, 0, 59), true),
            (at(0, 1, 0), false),
        ] {
            assert_eq!(nights.contains(minute), open, "{minute}");
        }
        assert_eq!(nights.opens_in(at(5, 8, 0)), at(6, 22, 30) - at(5, 8, 0));
        assert_eq!(nights.opens_in(at(6, 22, 31)), 0);
        assert_eq!(nights.opens_in(at(0, 1, 0)), 17 * 60);
    }

    #[test]
    fn days_go_over_the_end_of_the_week_and_a_whole_day_is_a_window() {
        let schedule: Schedule = "Sat-Mon 0:00-24:00".parse().unwrap();
        let open: Vec<bool> = (0..7).map(|day| schedule.contains(at(day, 12, 0))).collect();
        assert_eq!(open, [true, false, false, false, false, true, true]);
        assert_eq!(schedule.to_string(), "sat-mon 00:00-24:00");
        assert_eq!(schedule.opens_in(at(1, 0, 0)), 4 * DAY_MINUTES);
        assert!((0..WEEK_MINUTES).all(|minute| Schedule::ALWAYS.contains(minute)));
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        for text in [
            "",
            "never",
            "mon",
            "mon 8-9",
            "mon 8:0-9:00",
            "mon 24:00-9:00",
            "mon 8:60-9:00",
            "mon 8:00-24:01",
            "moon 8:00-9:00",
            "mon 8:00-9:00,",
            "mon-tue-wed 8:00-9:00",
            "mon +8:00-9:00",
            "mon 8:00-9:00 10:00",
        ] {
            assert_eq!(text.parse::<Schedule>(), Err(ScheduleError::Form), "{text}");
        }
        let many = vec!["mon 8:00-9:00"; WINDOWS_MAX + 1].join(",");
        assert_eq!(many.parse::<Schedule>(), Err(ScheduleError::Many));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_and_opens_when_it_says(
            windows in prop::collection::vec((0u16..7, 0u16..7, 0u16..1440, 0u16..=1440), 1..5),
            minute in 0..WEEK_MINUTES,
        ) {
            let window = |(first_day, last_day, from, to)| Window { first_day, last_day, from, to };
            let schedule = Schedule { windows: windows.into_iter().map(window).collect() };
            prop_assert_eq!(schedule.to_string().parse::<Schedule>(), Ok(schedule.clone()));
            let wait = schedule.opens_in(minute);
            prop_assert!(schedule.contains((minute + wait) % WEEK_MINUTES));
            prop_assert!((0..wait).all(|early| !schedule.contains((minute + early) % WEEK_MINUTES)));
        }
    }
}
