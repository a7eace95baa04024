//! What the owner is shown: of the machine, and of the settings. Times are milliseconds since 1970.

use serde::Serialize;
use skep_owner::{Caps, Kind, Layers, Reading, Reason, SETTINGS, Sensor, Sensors, Setting, Unit, Value};
use skep_types::BlockRange;
use std::collections::BTreeMap;

/// What is lent of a machine now, why not more, and what that takes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MachineView {
    /// Whether it is lent.
    pub state: State,
    /// Why not, while it is paused.
    pub reason: Option<ReasonView>,
    /// When that reason ends, where the clock alone ends it.
    pub until_ms: Option<u64>,
    /// Since when it is so.
    pub since_ms: u64,
    /// Whether somebody uses the machine, where that is known.
    pub in_use: Option<bool>,
    /// What may be used; none while it is paused.
    pub caps: Option<CapsView>,
    /// What is used.
    #[serde(rename = "use")]
    pub used: UseView,
    /// The machine itself.
    pub machine: WholeView,
    /// The blocks that it serves, or serves again when it is lent.
    pub blocks: Option<[u32; 2]>,
    /// The model's name.
    pub model: Option<String>,
    /// What was read, each kind once.
    pub sensors: Vec<SensorView>,
    /// The last 24 hours, oldest first.
    pub timeline: Vec<TimelineEntry>,
}

/// Whether a machine is lent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// To whoever asks, within its caps.
    Lending,
    /// To those for whom it works already.
    Finishing,
    /// To nobody.
    Paused,
}

/// Why a machine is not lent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReasonView {
    /// For programs.
    pub code: &'static str,
    /// A clause that reads on from "paused: ".
    pub text: String,
    /// A sentence: what would change it.
    pub remedy: String,
    /// The setting behind it, where there is one.
    pub setting: Option<&'static str>,
}

/// What may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct CapsView {
    /// Of all processors.
    pub cpu_percent: u8,
    /// For weights and sessions together.
    pub memory_bytes: u64,
    /// For weights.
    pub disk_bytes: Option<u64>,
    /// Whether graphics processors may be used.
    pub gpu: bool,
    /// Bytes sent per second.
    pub upload: Option<u64>,
    /// Bytes received per second.
    pub download: Option<u64>,
    /// Bytes sent and received until local midnight.
    pub transfer_left: Option<u64>,
}

/// What this process uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct UseView {
    /// Of all processors, in the last second.
    pub cpu_percent: f64,
    /// Resident, weights included as far as they were touched.
    pub memory_bytes: u64,
    /// Weights that are mapped.
    pub weights_bytes: u64,
    /// Weights on the disk.
    pub disk_bytes: u64,
    /// Bytes sent per second.
    pub upload: u64,
    /// Bytes received per second.
    pub download: u64,
    /// Bytes sent and received since local midnight.
    pub transferred_today_bytes: u64,
    /// Answers of others in progress.
    pub work: u32,
}

/// The machine itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct WholeView {
    /// All memory; zero where the system does not say.
    pub memory_bytes: u64,
    /// All processors.
    pub processors: u32,
}

/// One reading.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SensorView {
    /// For programs.
    pub name: &'static str,
    /// What it reads, for people.
    pub text: &'static str,
    /// What it read; none before it could, and where it cannot.
    pub value: Option<String>,
    /// Why it cannot.
    pub gap: Option<GapView>,
}

/// Why a machine does not tell something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GapView {
    /// A clause.
    pub why: String,
    /// A sentence: what can be done.
    pub advice: String,
}

/// A stretch of the last 24 hours; it lasts until the next one begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TimelineEntry {
    /// When it began.
    pub from_ms: u64,
    /// What held.
    pub state: State,
    /// Why, while it was paused.
    pub reason: Option<String>,
}

/// All settings: what each takes, what it is, and who said so.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SettingsView {
    /// [`skep_owner::schema`].
    pub schema: String,
    /// By their names.
    pub values: BTreeMap<&'static str, ValueView>,
    /// The file that keeps them.
    pub file: String,
}

/// The value of a setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ValueView {
    /// For people.
    pub value: String,
    /// As the file takes it.
    pub raw: Raw,
    /// Who set it: preset, file, flag, page.
    pub origin: &'static str,
}

/// A value as the file takes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Raw {
    /// Yes or no.
    Switch(bool),
    /// A number that does not count bytes.
    Number(u64),
    /// Everything else.
    Text(String),
}

impl From<&Reason> for ReasonView {
    fn from(reason: &Reason) -> Self {
        Self {
            code: reason.code(),
            text: reason.to_string(),
            remedy: reason.remedy(),
            setting: reason.setting().map(|key| key.setting().name),
        }
    }
}

impl CapsView {
    pub(super) fn new(caps: &Caps, memory_bytes: u64) -> Self {
        Self {
            cpu_percent: caps.cpu_percent,
            memory_bytes,
            disk_bytes: caps.disk_bytes,
            gpu: caps.gpu,
            upload: caps.upload,
            download: caps.download,
            transfer_left: caps.transfer_left,
        }
    }
}

impl SettingsView {
    pub(super) fn new(layers: &Layers, file: String) -> Self {
        let view = |setting: &'static Setting| {
            let (value, layer) = layers.get(setting.key);
            let view = ValueView { value: shown(setting, &value), raw: raw(setting, &value), origin: layer.name() };
            (setting.name, view)
        };
        Self { schema: skep_owner::schema(), values: SETTINGS.iter().map(view).collect(), file }
    }
}

fn raw(setting: &Setting, value: &Value) -> Raw {
    match (&setting.kind, value) {
        (_, Value::Switch(on)) => Raw::Switch(*on),
        (Kind::Number { unit: Unit::Bytes | Unit::BytesPerSecond, .. }, _) => Raw::Text(setting.kind.text(value)),
        (_, Value::Number(number)) => Raw::Number(*number),
        _ => Raw::Text(setting.kind.text(value)),
    }
}

fn shown(setting: &Setting, value: &Value) -> String {
    let text = setting.kind.text(value);
    match (&setting.kind, value) {
        (_, Value::NoLimit) => "no limit".into(),
        (_, Value::Switch(on)) => if *on { "yes" } else { "no" }.into(),
        (Kind::Number { unit: Unit::Bytes, .. }, _) => text,
        (Kind::Number { unit: Unit::BytesPerSecond, .. }, _) => format!("{text} per second"),
        (Kind::Number { unit, .. }, _) => format!("{text} {}", unit.sign()),
        _ => text,
    }
}

/// All sensors, in a fixed order.
pub(super) fn sensors(read: &Sensors) -> Vec<SensorView> {
    let percent = |percent: &u8| format!("{percent} %");
    let yes = |yes: &bool| if *yes { "yes" } else { "no" }.to_owned();
    vec![
        sensor(Sensor::Power, &read.power, |power| {
            let source = match (power.on_battery, power.charging) {
                (true, _) => "on the battery",
                (false, true) => "plugged in, charging",
                (false, false) => "plugged in",
            };
            power.charge_percent.map_or(source.to_owned(), |charge| format!("{source}, {charge} %"))
        }),
        sensor(Sensor::Input, &read.idle_ms, |idle_ms| match idle_ms / 1000 {
            seconds @ 0..120 => format!("{seconds} seconds ago"),
            seconds => format!("{} minutes ago", seconds / 60),
        }),
        sensor(Sensor::Screen, &read.full_screen, yes),
        sensor(Sensor::Network, &read.metered, yes),
        sensor(Sensor::Processors, &read.others_cpu_percent, percent),
        sensor(Sensor::MemoryPressure, &read.memory_pressure_percent, percent),
        sensor(Sensor::MemoryFree, &read.memory_free_percent, percent),
        sensor(Sensor::Temperature, &read.temperature_celsius, |celsius| format!("{celsius} °C")),
        sensor(Sensor::Watts, &read.watts, |watts| format!("{watts} W")),
        sensor(Sensor::Disk, &read.disk_free_bytes, |bytes| format!("{:.1} GB", *bytes as f64 / 1e9)),
    ]
}

fn sensor<T>(sensor: Sensor, reading: &Reading<T>, text: impl Fn(&T) -> String) -> SensorView {
    SensorView {
        name: sensor.code(),
        text: sensor.name(),
        value: reading.known().map(text),
        gap: reading.gap().map(|gap| GapView { why: gap.why.clone(), advice: gap.advice.clone() }),
    }
}

pub(super) fn blocks(range: BlockRange) -> [u32; 2] {
    [range.start(), range.end()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_owner::Changes;

    #[test]
    fn a_value_is_shown_to_people_and_as_the_file_takes_it() {
        let mut layers = Layers::default();
        for (name, text) in
            [("share.cpu_percent", "40"), ("share.upload", "2MB"), ("share.disk", "none"), ("share.gpu", "false")]
        {
            layers.page.set_text(name, text).unwrap();
        }
        layers.flags = Changes::default();
        let view = SettingsView::new(&layers, "f".into());
        let of = |name| {
            let ValueView { value, raw, origin } = view.values[name].clone();
            (value, raw, origin)
        };
        assert_eq!(view.values.len(), SETTINGS.len());
        assert_eq!(of("share.cpu_percent"), ("40 %".into(), Raw::Number(40), "page"));
        assert_eq!(of("share.upload"), ("2MB per second".into(), Raw::Text("2MB".into()), "page"));
        assert_eq!(of("share.disk"), ("no limit".into(), Raw::Text("none".into()), "page"));
        assert_eq!(of("share.gpu"), ("no".into(), Raw::Switch(false), "page"));
        assert_eq!(of("share.when_in_use"), ("always".into(), Raw::Text("always".into()), "preset"));
        assert_eq!(of("share.idle_minutes"), ("5 minutes".into(), Raw::Number(5), "preset"));
    }

    #[test]
    fn a_sensor_says_its_value_or_its_gap_or_nothing_yet() {
        let mut read = skep_sensors::Scripted::at_rest();
        read.watts = Reading::Unknown;
        read.full_screen = Reading::cannot("it is dark", "Turn it on.");
        read.power = Reading::Known(skep_owner::Power { on_battery: false, charging: true, charge_percent: Some(80) });
        let views = sensors(&read);
        let of = |name| views.iter().find(|view| view.name == name).unwrap();
        assert_eq!(views.len(), 10);
        assert_eq!(of("power").value.as_deref(), Some("plugged in, charging, 80 %"));
        assert_eq!(of("input").value.as_deref(), Some("60 minutes ago"));
        assert_eq!((&of("watts").value, &of("watts").gap), (&None, &None));
        assert_eq!((of("screen").gap.as_ref().unwrap().why.as_str(), &of("screen").value), ("it is dark", &None));
    }
}
