//! The one table of settings. Everything that a person reads or writes of them is made from its rows.

use crate::schedule::Schedule;
use crate::value::{Kind, Unit, Value};

/// A setting; its row is `SETTINGS[key as usize]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the help of each stands in its row")]
pub enum Key {
    Preset,
    Schedule,
    WhenOnBattery,
    BatteryMin,
    WhenInUse,
    IdleMinutes,
    WhenFullScreen,
    WhenMetered,
    OthersCpu,
    OthersCpuInUse,
    MemoryPressure,
    MemoryFreeMin,
    Temperature,
    Watts,
    Cpu,
    CpuInUse,
    Memory,
    MemoryInUse,
    Disk,
    DiskFreeMin,
    Gpu,
    GpuInUse,
    Upload,
    UploadInUse,
    Download,
    DownloadInUse,
    DailyTransfer,
}

/// A row: all that is known of a setting.
#[derive(Debug)]
pub struct Setting {
    /// Which one.
    pub key: Key,
    /// Its name in the file, where the part before the dot is the table.
    pub name: &'static str,
    /// What people call it; the two of a pair share one.
    pub title: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// What the presets Quiet, Balanced and Full give it.
    pub presets: [Value; 3],
    /// The setting that holds as well while the machine is in use; the smaller value counts.
    pub in_use: Option<Key>,
    /// What it does, in one sentence.
    pub help: &'static str,
}

impl Key {
    /// Its row.
    #[must_use]
    pub fn setting(self) -> &'static Setting {
        &SETTINGS[self as usize]
    }

    /// The heading under which people find it.
    #[must_use]
    pub fn group(self) -> &'static str {
        match self {
            Self::Preset
            | Self::Schedule
            | Self::WhenOnBattery
            | Self::BatteryMin
            | Self::WhenInUse
            | Self::IdleMinutes
            | Self::WhenFullScreen
            | Self::WhenMetered => "When it is lent",
            Self::OthersCpu | Self::OthersCpuInUse | Self::MemoryPressure | Self::MemoryFreeMin => {
                "Beside other programs"
            }
            Self::Temperature | Self::Watts => "Heat and power",
            Self::Cpu
            | Self::CpuInUse
            | Self::Memory
            | Self::MemoryInUse
            | Self::Disk
            | Self::DiskFreeMin
            | Self::Gpu
            | Self::GpuInUse => "How much is lent",
            Self::Upload | Self::UploadInUse | Self::Download | Self::DownloadInUse | Self::DailyTransfer => {
                "How much goes over the network"
            }
        }
    }

    /// The setting of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        SETTINGS.iter().find(|setting| setting.name == name).map(|setting| setting.key)
    }
}

impl Setting {
    /// The name of its flag without the leading dashes: `share` for the preset, `share-cpu-percent` for `share.cpu_percent`.
    #[must_use]
    pub fn flag(&self) -> String {
        if self.key == Key::Preset { "share".into() } else { self.name.replace(['.', '_'], "-") }
    }
}

const fn row(
    key: Key,
    name: &'static str,
    title: &'static str,
    kind: Kind,
    presets: [Value; 3],
    help: &'static str,
) -> Setting {
    Setting { key, name, title, kind, presets, in_use: None, help }
}

/// A row with a stricter value while the machine is in use.
const fn pair(
    key: Key,
    in_use: Key,
    name: &'static str,
    title: &'static str,
    kind: Kind,
    presets: [Value; 3],
    help: &'static str,
) -> Setting {
    Setting { key, name, title, kind, presets, in_use: Some(in_use), help }
}

const fn number(unit: Unit, min: u64, max: u64) -> Kind {
    Kind::Number { unit, min, max, or_none: false }
}

const fn limit(unit: Unit, min: u64, max: u64) -> Kind {
    Kind::Number { unit, min, max, or_none: true }
}

const fn numbers(quiet: u64, balanced: u64, full: u64) -> [Value; 3] {
    [Value::Number(quiet), Value::Number(balanced), Value::Number(full)]
}

const fn numbers_but_full(quiet: u64, balanced: u64) -> [Value; 3] {
    [Value::Number(quiet), Value::Number(balanced), Value::NoLimit]
}

const fn words(quiet: &'static str, balanced: &'static str, full: &'static str) -> [Value; 3] {
    [Value::Choice(quiet), Value::Choice(balanced), Value::Choice(full)]
}

const fn switches(quiet: bool, balanced: bool, full: bool) -> [Value; 3] {
    [Value::Switch(quiet), Value::Switch(balanced), Value::Switch(full)]
}

const NONE: [Value; 3] = [Value::NoLimit, Value::NoLimit, Value::NoLimit];
const ALWAYS: [Value; 3] =
    [Value::Schedule(Schedule::ALWAYS), Value::Schedule(Schedule::ALWAYS), Value::Schedule(Schedule::ALWAYS)];
const PRESET: Kind = Kind::Choice(&["quiet", "balanced", "full"]);
const RULE: Kind = Kind::Choice(&["never", "if_unsure", "always"]);
const SHARE: Kind = number(Unit::Percent, 1, 100);
const SHARE_OR_NONE: Kind = limit(Unit::Percent, 1, 100);
/// Below this a row of activations takes longer than a person waits for a token.
const RATE: Kind = limit(Unit::BytesPerSecond, 10 * KB, TIB);
const SIZE: Kind = limit(Unit::Bytes, MIB, 1024 * TIB);
const KB: u64 = 1000;
const MB: u64 = 1000 * KB;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// Every setting, in the order in which people meet them: first when the machine is lent, then how much of it.
#[rustfmt::skip]
pub static SETTINGS: [Setting; 27] = [
    row(Key::Preset, "share.preset", "Preset", PRESET, words("quiet", "balanced", "full"),
        "How much of this machine is lent: quiet goes unnoticed, balanced steps back while you use it, full is for a machine that is there for this."),
    row(Key::Schedule, "share.schedule", "Hours of the week", Kind::Schedule, ALWAYS,
        "Hours of the week, in local time, in which this machine is lent."),
    row(Key::WhenOnBattery, "share.when_on_battery", "On battery", RULE, words("never", "never", "always"),
        "Whether this machine is lent while it runs on a battery; if_unsure means yes where that cannot be told."),
    row(Key::BatteryMin, "share.battery_min_percent", "Least charge of the battery", SHARE_OR_NONE, numbers(80, 50, 30),
        "The charge below which this machine is not lent, on the battery and while that charges."),
    row(Key::WhenInUse, "share.when_in_use", "While somebody uses it", RULE, words("never", "always", "always"),
        "Whether this machine is lent while somebody uses keyboard, mouse, screen or a terminal; if_unsure means yes where that cannot be told."),
    row(Key::IdleMinutes, "share.idle_minutes", "Counts as unused after", number(Unit::Minutes, 1, 1440), numbers(15, 5, 2),
        "Minutes without any input after which this machine is no longer in use."),
    row(Key::WhenFullScreen, "share.when_full_screen", "Beside a full-screen program", RULE, words("if_unsure", "if_unsure", "always"),
        "Whether this machine is lent while a game, a film or a talk fills the screen; if_unsure means yes where that cannot be told."),
    row(Key::WhenMetered, "share.when_metered", "On a metered network", RULE, words("if_unsure", "if_unsure", "if_unsure"),
        "Whether this machine is lent while its network counts what is used; if_unsure means yes where that cannot be told."),
    pair(Key::OthersCpu, Key::OthersCpuInUse, "share.others_cpu_percent", "Work of other programs", SHARE_OR_NONE, numbers_but_full(25, 50),
        "The share of all processors that other programs may use before this machine is not lent."),
    row(Key::OthersCpuInUse, "share.others_cpu_percent_in_use", "Work of other programs", SHARE_OR_NONE, numbers_but_full(25, 40),
        "The same while the machine is in use."),
    row(Key::MemoryPressure, "share.memory_pressure_percent", "Waiting for memory", SHARE_OR_NONE, numbers(5, 10, 20),
        "The share of time that programs may wait for memory before this machine is not lent."),
    row(Key::MemoryFreeMin, "share.memory_free_min_percent", "Memory left to other programs", SHARE_OR_NONE, numbers(20, 10, 5),
        "The share of all memory that must be available to other programs, else this machine is not lent."),
    row(Key::Temperature, "share.temperature_max_celsius", "Highest temperature", limit(Unit::Celsius, 30, 110), numbers(70, 80, 90),
        "The temperature of the processor above which this machine is not lent."),
    row(Key::Watts, "share.watts_max", "Highest power", limit(Unit::Watts, 5, 10_000), NONE,
        "The power in watts that the processor may draw, with all that runs on it; above it less is lent, at last nothing."),
    pair(Key::Cpu, Key::CpuInUse, "share.cpu_percent", "Processors", SHARE, numbers(50, 75, 100),
        "The most of all processors that is lent."),
    row(Key::CpuInUse, "share.cpu_percent_in_use", "Processors", SHARE, numbers(10, 25, 50),
        "The same while the machine is in use."),
    pair(Key::Memory, Key::MemoryInUse, "share.memory_percent", "Memory", SHARE, numbers(25, 50, 80),
        "The most of all memory that is lent."),
    row(Key::MemoryInUse, "share.memory_percent_in_use", "Memory", SHARE, numbers(10, 25, 50),
        "The same while the machine is in use."),
    row(Key::Disk, "share.disk", "Disk", SIZE, numbers_but_full(20 * GIB, 50 * GIB),
        "The most room on the disk for the weights of models."),
    row(Key::DiskFreeMin, "share.disk_free_min", "Disk left free", SIZE, numbers(20 * GIB, 10 * GIB, 5 * GIB),
        "The room on the disk that stays free."),
    pair(Key::Gpu, Key::GpuInUse, "share.gpu", "Graphics", Kind::Switch, switches(false, true, true),
        "Whether graphics processors are lent."),
    row(Key::GpuInUse, "share.gpu_in_use", "Graphics", Kind::Switch, switches(false, false, true),
        "The same while the machine is in use."),
    pair(Key::Upload, Key::UploadInUse, "share.upload", "Upload", RATE, numbers_but_full(500 * KB, 2 * MB),
        "The most bytes sent per second."),
    row(Key::UploadInUse, "share.upload_in_use", "Upload", RATE, numbers_but_full(100 * KB, 500 * KB),
        "The same while the machine is in use."),
    pair(Key::Download, Key::DownloadInUse, "share.download", "Download", RATE, numbers_but_full(2 * MB, 5 * MB),
        "The most bytes received per second."),
    row(Key::DownloadInUse, "share.download_in_use", "Download", RATE, numbers_but_full(500 * KB, MB),
        "The same while the machine is in use."),
    row(Key::DailyTransfer, "share.daily_transfer", "Transfer in a day", SIZE, numbers_but_full(5 * GIB, 50 * GIB),
        "The most bytes sent and received from midnight to midnight, local time."),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_row_stands_at_its_key_and_keeps_its_own_law() {
        for (index, setting) in SETTINGS.iter().enumerate() {
            let name = setting.name;
            assert_eq!(setting.key as usize, index, "{name}");
            assert_eq!(Key::named(name), Some(setting.key));
            assert!(setting.help.ends_with('.') && !setting.help.contains('\n'), "{name}");
            for value in &setting.presets {
                assert!(setting.kind.takes(value), "{name} {value:?}");
                assert_eq!(setting.kind.parse(&setting.kind.text(value)).as_ref(), Ok(value), "{name}");
            }
        }
        let names: BTreeSet<&str> = SETTINGS.iter().map(|setting| setting.name).collect();
        let flags: BTreeSet<String> = SETTINGS.iter().map(Setting::flag).collect();
        assert_eq!((names.len(), flags.len()), (SETTINGS.len(), SETTINGS.len()));
        assert_eq!(
            (Key::Preset.setting().flag(), Key::CpuInUse.setting().flag()),
            ("share".into(), "share-cpu-percent-in-use".into())
        );
    }

    #[test]
    fn a_pair_is_of_one_kind_and_is_called_so() {
        let mut seen = BTreeSet::new();
        for setting in &SETTINGS {
            let Some(in_use) = setting.in_use.map(Key::setting) else { continue };
            assert_eq!(in_use.name, format!("{}_in_use", setting.name));
            assert_eq!(in_use.kind, setting.kind, "{}", setting.name);
            assert_eq!((in_use.title, in_use.key.group()), (setting.title, setting.key.group()));
            assert!(in_use.in_use.is_none() && seen.insert(in_use.key), "{}", setting.name);
        }
        let called_so =
            SETTINGS.iter().filter(|setting| setting.name.ends_with("_in_use") && setting.key != Key::WhenInUse);
        assert_eq!(called_so.count(), seen.len());
    }

    #[test]
    fn a_preset_that_lends_more_is_never_stricter() {
        for setting in &SETTINGS {
            let Kind::Number { .. } = setting.kind else { continue };
            let keeps_back =
                matches!(setting.key, Key::BatteryMin | Key::IdleMinutes | Key::MemoryFreeMin | Key::DiskFreeMin);
            let number = |value: &Value| if let Value::Number(number) = value { *number } else { u64::MAX };
            let [quiet, balanced, full] = [0, 1, 2].map(|preset| number(&setting.presets[preset]));
            let ordered =
                if keeps_back { quiet >= balanced && balanced >= full } else { quiet <= balanced && balanced <= full };
            assert!(ordered, "{}", setting.name);
        }
    }
}
