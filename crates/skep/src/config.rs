//! `skep config`: the settings, who set them, and what they make of this machine now.

use crate::args::{CheckConfigArgs, ConfigCommand, ShowConfigArgs};
use crate::error::Error;
use crate::settings::{self, ShareFlags};
use crate::{home, output};
use serde_json::{Value as Json, json};
use skep_owner::{
    Caps, Changes, Decision, Key, Kind, Layers, Own, Pause, SETTINGS, Sensors, Unit, Value, decide, schema, template,
};
use std::fmt::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Between two readings: enough for what is measured as a difference.
const BETWEEN: Duration = Duration::from_millis(1500);

pub(crate) fn run(command: ConfigCommand) -> Result<(), Error> {
    match command {
        ConfigCommand::Show(args) => show(&args),
        ConfigCommand::Set(args) => {
            let mut changes = Changes::default();
            let key = changes.set_text(&args.name, &args.value)?;
            settings::change(key, changes.get(key))?;
            output::line(assignment(key, &settings::layers(&ShareFlags::default())?))
        }
        ConfigCommand::Unset(args) => {
            let key = skep_owner::key_named(&args.name)?;
            settings::change(key, None)?;
            output::line(assignment(key, &settings::layers(&ShareFlags::default())?))
        }
        ConfigCommand::Check(args) => check(&args),
        ConfigCommand::Template => output::write(&template()),
        ConfigCommand::Schema => output::write(&schema()),
    }
}

/// A line that the file could hold.
fn assignment(key: Key, layers: &Layers) -> String {
    let setting = key.setting();
    format!("{} = {}", setting.name, setting.toml(&layers.get(key).0))
}

fn show(args: &ShowConfigArgs) -> Result<(), Error> {
    let layers = settings::layers(&args.flags)?;
    if args.json {
        let each = SETTINGS.iter().map(|setting| {
            let (value, layer) = layers.get(setting.key);
            json!({"name": setting.name, "value": json_value(&setting.kind, &value), "origin": layer.name()})
        });
        let shown = json!({"file": settings::path().display().to_string(), "settings": each.collect::<Vec<Json>>()});
        return output::line(shown);
    }
    let lines: Vec<String> = SETTINGS.iter().map(|setting| assignment(setting.key, &layers)).collect();
    let width = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for (line, setting) in lines.iter().zip(&SETTINGS) {
        let origin = layers.get(setting.key).1.name();
        if args.origin {
            text.push_str(&format!("{line:width$}  # {origin}\n"));
        } else {
            text.push_str(&format!("{line}\n"));
        }
    }
    output::write(&text)
}

fn json_value(kind: &Kind, value: &Value) -> Json {
    match (kind, value) {
        (_, Value::Switch(on)) => json!(on),
        (Kind::Number { unit: Unit::Bytes | Unit::BytesPerSecond, .. }, _) => json!(kind.text(value)),
        (_, Value::Number(number)) => json!(number),
        _ => json!(kind.text(value)),
    }
}

/// Reads this machine twice, for what is a difference, and decides.
fn check(args: &CheckConfigArgs) -> Result<(), Error> {
    let layers = settings::layers(&args.flags)?;
    let mut sensors = skep_sensors::of_this_machine(&home::store());
    sensors.read(now_ms(), Own::default());
    std::thread::sleep(BETWEEN);
    let read = sensors.read(now_ms(), Own::default());
    let decision = decide(&layers.preferences(), &read);
    if args.json { output::line(as_json(&decision, &read)) } else { output::write(&as_text(&decision, &read)) }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn as_text(decision: &Decision, read: &Sensors) -> String {
    let mut text = match decision {
        Decision::Run(caps) => lent(caps),
        Decision::Pause(pause) => paused(pause, read.clock.now_ms),
    };
    for (sensor, gap) in read.gaps() {
        // Writing to a string does not fail.
        let _ = writeln!(text, "cannot read {}: {}\n    {}", sensor.name(), gap.why, gap.advice);
    }
    text
}

fn lent(caps: &Caps) -> String {
    let rate = |rate: Option<u64>| {
        rate.map_or("unlimited".into(), |rate| format!("{} per second", Unit::BytesPerSecond.text(rate)))
    };
    let size = |size: Option<u64>| size.map_or("unlimited".into(), |size| indicatif::HumanBytes(size).to_string());
    let rows = [
        ("processors", format!("{} %", caps.cpu_percent)),
        ("memory", format!("{} %", caps.memory_percent)),
        ("graphics", if caps.gpu { "yes" } else { "no" }.into()),
        ("disk", size(caps.disk_bytes)),
        ("sending", rate(caps.upload)),
        ("receiving", rate(caps.download)),
        ("left today", size(caps.transfer_left)),
    ];
    let state = if caps.in_use { "it counts as in use" } else { "nobody uses it" };
    let rows: String = rows.iter().map(|(name, cap)| format!("    {name:<12}{cap}\n")).collect();
    format!("lent: this machine would be lent now, and {state}\n{rows}")
}

fn paused(pause: &Pause, now_ms: u64) -> String {
    let ends = pause.until_ms.map(|until_ms| {
        let seconds = Duration::from_millis(until_ms.saturating_sub(now_ms)).as_secs();
        format!("    In {} at the earliest.\n", indicatif::HumanDuration(Duration::from_secs(seconds)))
    });
    format!("paused: {}\n    {}\n{}", pause.reason, pause.reason.remedy(), ends.unwrap_or_default())
}

fn as_json(decision: &Decision, read: &Sensors) -> Json {
    let gaps = read.gaps().into_iter();
    let gaps = gaps.map(|(sensor, gap)| json!({"reading": sensor.name(), "why": gap.why, "advice": gap.advice}));
    let gaps: Vec<Json> = gaps.collect();
    match decision {
        Decision::Run(caps) => json!({
            "lent": true,
            "in_use": caps.in_use,
            "cpu_percent": caps.cpu_percent,
            "memory_percent": caps.memory_percent,
            "gpu": caps.gpu,
            "disk_bytes": caps.disk_bytes,
            "upload": caps.upload,
            "download": caps.download,
            "transfer_left": caps.transfer_left,
            "cannot_read": gaps,
        }),
        Decision::Pause(pause) => json!({
            "lent": false,
            "reason": pause.reason.to_string(),
            "remedy": pause.reason.remedy(),
            "setting": pause.reason.setting().map(|key| key.setting().name),
            "until_ms": pause.until_ms,
            "cannot_read": gaps,
        }),
    }
}
