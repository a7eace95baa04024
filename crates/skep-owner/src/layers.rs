//! Who set what: the preset, the file, the flags, the page; each over the one before.

use crate::nearest::nearest;
use crate::preferences::{Preferences, Preset};
use crate::table::{Key, SETTINGS};
use crate::value::Value;
use std::collections::BTreeMap;

/// Where a value comes from; a later one wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layer {
    /// The preset, where nobody set the setting.
    Preset,
    /// The file.
    File,
    /// A flag of this run.
    Flag,
    /// The page, while this run lasts. What the page sets is also written to the file, and is of the file after a restart.
    Page,
}

impl Layer {
    /// Its name as `skep config show --origin` shows it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Preset => "preset",
            Self::File => "file",
            Self::Flag => "flag",
            Self::Page => "page",
        }
    }
}

/// Why a change of settings is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// A name that no setting has.
    #[error("there is no setting {name}; the nearest is {nearest}")]
    Unknown {
        /// What was given.
        name: String,
        /// The setting whose name is most like it.
        nearest: &'static str,
    },
    /// A value that the setting does not take.
    #[error("{name} cannot be {found}: it takes {wanted}")]
    Misfit {
        /// The setting.
        name: &'static str,
        /// What was given, its beginning.
        found: String,
        /// What it takes.
        wanted: String,
    },
    /// The file is no TOML.
    #[error("line {line} of the settings is no TOML: {what}")]
    Syntax {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
    /// The file is too long.
    #[error("the settings have {bytes} bytes, and {max} is the limit")]
    Long {
        /// How long it is.
        bytes: usize,
        /// The limit.
        max: usize,
    },
}

/// The most bytes of a name or value that an error repeats.
const REPEATED_MAX: usize = 60;

/// The settings that one layer sets, each with a value that it takes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    values: BTreeMap<Key, Value>,
}

impl Changes {
    /// Sets one.
    ///
    /// # Errors
    /// [`SettingError::Misfit`] when the setting does not take the value.
    pub fn set(&mut self, key: Key, value: Value) -> Result<(), SettingError> {
        let setting = key.setting();
        if !setting.kind.takes(&value) {
            return Err(misfit(key, &setting.kind.text(&value)));
        }
        self.values.insert(key, value);
        Ok(())
    }

    /// Sets one by its name and the text of its value, as a flag, the page or `skep config set` give them.
    ///
    /// # Errors
    /// [`SettingError::Unknown`] with the nearest name, [`SettingError::Misfit`] with what the setting takes.
    pub fn set_text(&mut self, name: &str, text: &str) -> Result<Key, SettingError> {
        let key = key_named(name)?;
        let value = key.setting().kind.parse(text).map_err(|_| misfit(key, text))?;
        self.values.insert(key, value);
        Ok(key)
    }

    /// Leaves one to the layers below.
    pub fn unset(&mut self, key: Key) {
        self.values.remove(&key);
    }

    /// What this layer says of a setting.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&Value> {
        self.values.get(&key)
    }

    /// All that this layer sets.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &Value)> {
        self.values.iter().map(|(key, value)| (*key, value))
    }
}

/// The layers of a running Skep.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Layers {
    /// What the file sets.
    pub file: Changes,
    /// What flags set.
    pub flags: Changes,
    /// What the page set since the start.
    pub page: Changes,
}

impl Layers {
    /// The preset that holds; without any layer that names one, Balanced.
    #[must_use]
    pub fn preset(&self) -> Preset {
        match self.set_by(Key::Preset) {
            Some((Value::Choice(name), _)) => Preset::named(name).unwrap_or_default(),
            _ => Preset::default(),
        }
    }

    /// The value of a setting and the layer that gave it.
    #[must_use]
    pub fn get(&self, key: Key) -> (Value, Layer) {
        let of_preset = || (key.setting().presets[self.preset() as usize].clone(), Layer::Preset);
        self.set_by(key).map_or_else(of_preset, |(value, layer)| (value.clone(), layer))
    }

    /// What holds.
    #[must_use]
    pub fn preferences(&self) -> Preferences {
        Preferences::from_values(SETTINGS.iter().map(|setting| self.get(setting.key).0).collect())
    }

    fn set_by(&self, key: Key) -> Option<(&Value, Layer)> {
        let layers = [(&self.page, Layer::Page), (&self.flags, Layer::Flag), (&self.file, Layer::File)];
        layers.into_iter().find_map(|(changes, layer)| Some((changes.get(key)?, layer)))
    }
}

/// The setting of a name that somebody wrote.
///
/// # Errors
/// [`SettingError::Unknown`] with the nearest name.
pub fn key_named(name: &str) -> Result<Key, SettingError> {
    Key::named(name).ok_or_else(|| unknown(name))
}

pub(crate) fn unknown(name: &str) -> SettingError {
    SettingError::Unknown { name: beginning(name), nearest: nearest(name) }
}

pub(crate) fn misfit(key: Key, found: &str) -> SettingError {
    let setting = key.setting();
    SettingError::Misfit { name: setting.name, found: beginning(found), wanted: setting.kind.wanted() }
}

/// As much of a text as an error repeats, without what would break its line.
fn beginning(text: &str) -> String {
    let mut kept: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(REPEATED_MAX).collect();
    if kept.len() < text.len() {
        kept.push('…');
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(texts: &[(&str, &str)]) -> Changes {
        let mut changes = Changes::default();
        for (name, text) in texts {
            changes.set_text(name, text).unwrap();
        }
        changes
    }

    #[test]
    fn a_later_layer_wins_and_says_so() {
        let mut layers = Layers {
            file: changes(&[("share.preset", "quiet"), ("share.cpu_percent", "40"), ("share.gpu", "true")]),
            flags: changes(&[("share.cpu_percent", "30")]),
            page: changes(&[("share.cpu_percent", "20")]),
        };
        assert_eq!(layers.get(Key::Cpu), (Value::Number(20), Layer::Page));
        layers.page.unset(Key::Cpu);
        assert_eq!(layers.get(Key::Cpu), (Value::Number(30), Layer::Flag));
        assert_eq!(layers.get(Key::Gpu), (Value::Switch(true), Layer::File));
        assert_eq!(layers.get(Key::IdleMinutes), (Value::Number(15), Layer::Preset));
        layers.page.set(Key::Preset, Value::Choice("full")).unwrap();
        assert_eq!(layers.get(Key::IdleMinutes), (Value::Number(2), Layer::Preset));
        assert_eq!(layers.get(Key::Gpu), (Value::Switch(true), Layer::File));
        let preferences = layers.preferences();
        assert!(SETTINGS.iter().all(|setting| *preferences.get(setting.key) == layers.get(setting.key).0));
    }

    #[test]
    fn without_layers_the_preset_is_balanced() {
        assert_eq!(Layers::default().preferences(), Preferences::of(Preset::Balanced));
        assert_eq!(Layers::default().get(Key::Preset), (Value::Choice("balanced"), Layer::Preset));
    }

    #[test]
    fn what_is_refused_is_said_in_one_line_and_changes_nothing() {
        let mut changes = Changes::default();
        let told =
            |changes: &mut Changes, name: &str, text: &str| changes.set_text(name, text).unwrap_err().to_string();
        assert_eq!(
            told(&mut changes, "share.cpu_precent", "5"),
            "there is no setting share.cpu_precent; the nearest is share.cpu_percent"
        );
        assert_eq!(told(&mut changes, "share.cpu_percent", "0"), "share.cpu_percent cannot be 0: it takes 1 to 100 %");
        let long = told(&mut changes, "share.when_in_use", &"x\n".repeat(500));
        assert!(
            long.len() < 200 && !long.contains('\n') && long.ends_with("…: it takes never, if_unsure, always"),
            "{long}"
        );
        assert!(changes.set(Key::Gpu, Value::Number(1)).is_err());
        assert_eq!(changes, Changes::default());
    }
}
