//! What a setting may hold, and how that is written: the same way in the file, in a flag and on the page.

use crate::schedule::Schedule;

/// What a setting holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// One of the words of a [`Kind::Choice`].
    Choice(&'static str),
    /// Yes or no.
    Switch(bool),
    /// A number in the unit of its [`Kind::Number`].
    Number(u64),
    /// No limit.
    NoLimit,
    /// Hours of the week.
    Schedule(Schedule),
}

/// What values a setting takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Yes or no.
    Switch,
    /// A whole number from `min` to `max`, both allowed.
    Number {
        /// What is counted.
        unit: Unit,
        /// The least.
        min: u64,
        /// The most.
        max: u64,
        /// Whether it may also be [`Value::NoLimit`].
        or_none: bool,
    },
    /// Hours of the week.
    Schedule,
}

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Hundredths of the whole.
    Percent,
    /// Minutes.
    Minutes,
    /// Degrees Celsius.
    Celsius,
    /// Watts.
    Watts,
    /// Bytes; written with a unit, as 20GiB.
    Bytes,
    /// Bytes per second; written with a unit, as 2MB.
    BytesPerSecond,
}

/// Why a text is no value of a kind: what the kind takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it takes {wanted}")]
pub struct Misfit {
    /// What is taken instead.
    pub wanted: String,
}

impl Unit {
    /// The sign of the unit after a number.
    #[must_use]
    pub fn sign(self) -> &'static str {
        match self {
            Self::Percent => "%",
            Self::Minutes => "minutes",
            Self::Celsius => "°C",
            Self::Watts => "W",
            Self::Bytes => "bytes",
            Self::BytesPerSecond => "bytes per second",
        }
    }

    fn counts_bytes(self) -> bool {
        matches!(self, Self::Bytes | Self::BytesPerSecond)
    }

    /// The number as it is written in the file.
    #[must_use]
    pub fn text(self, number: u64) -> String {
        if self.counts_bytes() { bytes_text(number) } else { number.to_string() }
    }
}

impl Kind {
    /// What is taken, as a person reads it.
    #[must_use]
    pub fn wanted(&self) -> String {
        match self {
            Self::Choice(words) => words.join(", "),
            Self::Switch => "true or false".into(),
            Self::Number { unit, min, max, or_none } => {
                let (min, max, none) = (unit.text(*min), unit.text(*max), if *or_none { ", or none" } else { "" });
                if unit.counts_bytes() {
                    let per = if *unit == Unit::BytesPerSecond { " per second" } else { "" };
                    format!("{min} to {max}{per}{none}")
                } else {
                    format!("{min} to {max} {}{none}", unit.sign())
                }
            }
            Self::Schedule => "always, or days and hours such as mon-fri 18:00-08:00, sat-sun 00:00-24:00".into(),
        }
    }

    /// Reads a value as it stands in a flag, on the page, or in the file without its quotes.
    ///
    /// # Errors
    /// [`Misfit`] when it is none of this kind, or out of range.
    pub fn parse(&self, text: &str) -> Result<Value, Misfit> {
        let text = text.trim();
        let value = match self {
            Self::Choice(words) => words.iter().find(|word| **word == text).map(|word| Value::Choice(word)),
            Self::Switch => text.parse().ok().map(Value::Switch),
            Self::Number { or_none: true, .. } if text == "none" => Some(Value::NoLimit),
            Self::Number { unit, min, max, .. } => {
                let number = if unit.counts_bytes() { parse_bytes(text).ok() } else { digits(text) };
                number.filter(|number| (min..=max).contains(&number)).map(Value::Number)
            }
            Self::Schedule => text.parse().ok().map(Value::Schedule),
        };
        value.ok_or_else(|| Misfit { wanted: self.wanted() })
    }

    /// Whether a value is of this kind and in range.
    #[must_use]
    pub fn takes(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Choice(words), Value::Choice(word)) => words.contains(word),
            (Self::Switch, Value::Switch(_)) | (Self::Schedule, Value::Schedule(_)) => true,
            (Self::Number { min, max, .. }, Value::Number(number)) => (min..=max).contains(&number),
            (Self::Number { or_none, .. }, Value::NoLimit) => *or_none,
            _ => false,
        }
    }

    /// The value as [`parse`](Self::parse) reads it.
    #[must_use]
    pub fn text(&self, value: &Value) -> String {
        match (self, value) {
            (Self::Number { unit, .. }, Value::Number(number)) => unit.text(*number),
            (_, Value::Number(number)) => number.to_string(),
            (_, Value::Choice(word)) => (*word).into(),
            (_, Value::Switch(on)) => on.to_string(),
            (_, Value::NoLimit) => "none".into(),
            (_, Value::Schedule(schedule)) => schedule.to_string(),
        }
    }
}

fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// A number of bytes: digits, then nothing, or a unit of 1000 (kB, MB, GB, TB) or 1024 (KiB, MiB, GiB, TiB).
///
/// # Errors
/// A sentence that says how such a number is written.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let units = [("B", 0, 1), ("KB", 1, 1000), ("MB", 2, 1000), ("GB", 3, 1000), ("TB", 4, 1000)];
    let binary = [("", 0, 1), ("KIB", 1, 1024), ("MIB", 2, 1024), ("GIB", 3, 1024), ("TIB", 4, 1024)];
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let unit = unit.trim().to_ascii_uppercase();
    let of_unit = units.iter().chain(&binary).find(|(name, ..)| *name == unit);
    let (_, power, base) = of_unit.ok_or("a number of bytes is written as 4GiB, 500MB or 1000000")?;
    let number: u64 = digits.parse().map_err(|_| "a number of bytes begins with digits, at most 2^64")?;
    number.checked_mul(u64::pow(*base, *power)).ok_or_else(|| "that is more than any machine has".to_owned())
}

/// The shortest way to write exactly this number of bytes.
fn bytes_text(bytes: u64) -> String {
    let units = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let decimal = [("TB", 10u64.pow(12)), ("GB", 10u64.pow(9)), ("MB", 10u64.pow(6)), ("kB", 1000)];
    let whole = units.iter().chain(&decimal).filter(|(_, size)| bytes > 0 && bytes.is_multiple_of(*size));
    let texts = whole.map(|(unit, size)| format!("{}{unit}", bytes / size));
    texts.min_by_key(String::len).unwrap_or_else(|| format!("{bytes}B"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bytes_are_read_with_and_without_units() {
        for (text, bytes) in [
            ("0", 0),
            ("1500000", 1_500_000),
            ("12B", 12),
            ("3kB", 3000),
            ("4GiB", 4 << 30),
            ("4 gib", 4 << 30),
            ("500MB", 500_000_000),
            ("2TiB", 2 << 40),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for text in ["", "GiB", "4G", "1.5GiB", "-1", "4GiBs", "99999999999999999999", "99999999TiB"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_a_kind_does_not_take_is_refused_with_what_it_takes() {
        let percent = Kind::Number { unit: Unit::Percent, min: 1, max: 100, or_none: true };
        assert_eq!(percent.parse(" 25 "), Ok(Value::Number(25)));
        assert_eq!(percent.parse("none"), Ok(Value::NoLimit));
        for text in ["0", "101", "+5", "5%", "", "all", "18446744073709551616"] {
            assert_eq!(percent.parse(text), Err(Misfit { wanted: "1 to 100 %, or none".into() }), "{text}");
        }
        let rate = Kind::Number { unit: Unit::BytesPerSecond, min: 10_000, max: 1 << 40, or_none: false };
        assert_eq!(rate.parse("none").unwrap_err().to_string(), "it takes 10kB to 1TiB per second");
        assert!(
            !rate.takes(&Value::NoLimit) && !percent.takes(&Value::Number(0)) && !Kind::Switch.takes(&Value::NoLimit)
        );
        assert!(Kind::Switch.parse("yes").is_err() && Kind::Choice(&["a"]).parse("b").is_err());
    }

    proptest! {
        #[test]
        fn bytes_read_back(bytes in prop_oneof![any::<u64>(), (0u64..2000).prop_map(|n| n << 30), (0u64..2000).prop_map(|n| n * 1000)]) {
            prop_assert_eq!(parse_bytes(&bytes_text(bytes)), Ok(bytes));
        }
    }
}
