//! What the owner wants: a value for every setting.

use crate::schedule::Schedule;
use crate::table::{Key, SETTINGS};
use crate::value::{Misfit, Value};

/// How much is lent, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Preset {
    /// Goes unnoticed.
    Quiet,
    /// Steps back while the machine is in use.
    #[default]
    Balanced,
    /// For a machine that is there for this.
    Full,
}

impl Preset {
    /// All, from the least to the most.
    pub const ALL: [Self; 3] = [Self::Quiet, Self::Balanced, Self::Full];

    /// The preset of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|preset| preset.name() == name)
    }

    /// Its name in settings.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Quiet => "quiet",
            Self::Balanced => "balanced",
            Self::Full => "full",
        }
    }
}

/// What the owner says to something that is so, is not so, or cannot be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Not lent while it is so or cannot be told.
    Never,
    /// Not lent while it is known to be so.
    IfUnsure,
    /// Lent in any case.
    Always,
}

/// A value for every setting, each of its setting's kind and in its range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preferences {
    values: Vec<Value>,
}

impl Preferences {
    /// What a preset gives.
    #[must_use]
    pub fn of(preset: Preset) -> Self {
        Self { values: SETTINGS.iter().map(|setting| setting.presets[preset as usize].clone()).collect() }
    }

    /// One value for each row of the table, in its order.
    pub(crate) fn from_values(values: Vec<Value>) -> Self {
        Self { values }
    }

    /// The value of a setting.
    #[must_use]
    pub fn get(&self, key: Key) -> &Value {
        &self.values[key as usize]
    }

    /// Changes one setting. A change of the preset changes only that word; what a preset gives is [`of`](Self::of).
    ///
    /// # Errors
    /// [`Misfit`] when the setting does not take the value.
    pub fn set(&mut self, key: Key, value: Value) -> Result<(), Misfit> {
        let kind = key.setting().kind;
        if !kind.takes(&value) {
            return Err(Misfit { wanted: kind.wanted() });
        }
        self.values[key as usize] = value;
        Ok(())
    }

    /// The number of a setting, `None` without a limit.
    #[must_use]
    pub fn number(&self, key: Key) -> Option<u64> {
        match self.get(key) {
            Value::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The number that holds now: in use the smaller of the pair.
    #[must_use]
    pub fn number_now(&self, key: Key, in_use: bool) -> Option<u64> {
        let stricter = key.setting().in_use.filter(|_| in_use).and_then(|key| self.number(key));
        self.number(key).into_iter().chain(stricter).min()
    }

    /// Whether a switch is on now: in use both of the pair must be.
    #[must_use]
    pub fn is_on_now(&self, key: Key, in_use: bool) -> bool {
        let on = |key: Key| *self.get(key) == Value::Switch(true);
        on(key) && key.setting().in_use.filter(|_| in_use).is_none_or(on)
    }

    /// What the owner says to a state of the machine.
    #[must_use]
    pub fn rule(&self, key: Key) -> Rule {
        match self.get(key) {
            Value::Choice("always") => Rule::Always,
            Value::Choice("if_unsure") => Rule::IfUnsure,
            _ => Rule::Never,
        }
    }

    /// The hours in which the machine is lent.
    #[must_use]
    pub fn schedule(&self) -> &Schedule {
        static ALWAYS: Schedule = Schedule::ALWAYS;
        match self.get(Key::Schedule) {
            Value::Schedule(schedule) => schedule,
            _ => &ALWAYS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_known_by_the_names_that_the_table_has() {
        for (index, preset) in Preset::ALL.into_iter().enumerate() {
            assert_eq!(Preset::named(preset.name()), Some(preset));
            assert_eq!(Key::Preset.setting().presets[index], Value::Choice(preset.name()));
        }
        assert_eq!(Preset::named("loud"), None);
    }

    #[test]
    fn in_use_the_smaller_of_a_pair_counts() {
        let mut preferences = Preferences::of(Preset::Full);
        assert_eq!(preferences.number_now(Key::Upload, true), None);
        preferences.set(Key::UploadInUse, Value::Number(20_000)).unwrap();
        assert_eq!(
            (preferences.number_now(Key::Upload, false), preferences.number_now(Key::Upload, true)),
            (None, Some(20_000))
        );
        preferences.set(Key::Upload, Value::Number(10_000)).unwrap();
        assert_eq!(preferences.number_now(Key::Upload, true), Some(10_000));
        preferences.set(Key::GpuInUse, Value::Switch(false)).unwrap();
        assert!(preferences.is_on_now(Key::Gpu, false) && !preferences.is_on_now(Key::Gpu, true));
    }

    #[test]
    fn what_a_setting_does_not_take_changes_nothing() {
        let mut preferences = Preferences::of(Preset::Quiet);
        let before = preferences.clone();
        for value in [Value::Number(0), Value::Number(101), Value::NoLimit, Value::Switch(true)] {
            assert_eq!(preferences.set(Key::Cpu, value).unwrap_err().wanted, "1 to 100 %");
        }
        assert_eq!(preferences, before);
    }
}
