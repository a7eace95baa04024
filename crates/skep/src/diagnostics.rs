//! `skep diagnostics`: what helps somebody else to see what is wrong here, and nothing that is nobody else's business.
//!
//! # The law
//! What is told is chosen; nothing is told and then blackened. There are numbers, yes and no, and words that this program has itself: names of
//! settings and sensors, states, codes of errors, sentences of the log. What a person, a file, a model or another machine said is never among
//! them: no key, label, address, prompt, path or name of a user, a host or a model.
//!
//! A line of the log is its time, how grave it is, its sentence, and such of its facts as are in [`FACTS`]. The sentences are literals of the source, which
//! a test keeps so.

use crate::args::default_api;
use crate::client::Client;
use crate::error::Error;
use crate::peers::items;
use crate::settings::{self, ShareFlags};
use crate::{home, log, output};
use clap::Args;
use serde_json::{Map, Value as Json, json};
use skep_kernels::Isa;
use skep_owner::{Own, SETTINGS, Value};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Lines of the log that are told, the newest.
const LINES: usize = 200;
/// Folders inside folders that are counted; Skep makes fewer.
const DEPTH: usize = 4;
/// Facts of a line whose values are told, if they are numbers, versions, yes or no.
const FACTS: [&str; 4] = ["alive", "at_token", "stall_ms", "version"];
const LEVELS: [&str; 3] = ["ERROR", "WARN", "INFO"];
/// States and reasons, as the node names them.
const STATES: [&str; 3] = ["lending", "finishing", "paused"];

#[derive(Debug, Args)]
pub(crate) struct DiagnosticsArgs {
    /// Address of the API of the node that runs here, if one does
    #[arg(long, value_name = "URL", default_value_t = default_api())]
    pub(crate) api: String,
}

/// Prints it as JSON.
pub(crate) fn run(args: &DiagnosticsArgs) -> Result<(), Error> {
    let lines = log::kept();
    let told = json!({
        "skep": {"version": env!("CARGO_PKG_VERSION")},
        "machine": machine(),
        "settings": settings(),
        "sensors": sensors(),
        "folder": folder(&home::folder()),
        "running": running(&Client::new(&args.api)),
        "log": of_log(&lines),
    });
    output::line(serde_json::to_string_pretty(&told).unwrap_or_default())?;
    eprintln!(
        "It holds no keys, addresses, prompts, paths or names. Look at it all the same before you show it to others."
    );
    Ok(())
}

fn machine() -> Json {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    // What follows the numbers is whatever the builder of the kernel put there.
    let release: String = release.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    json!({
        "system": std::env::consts::OS, "processor": std::env::consts::ARCH,
        "release": release.trim_end_matches('.'),
        "processors": std::thread::available_parallelism().map_or(0, usize::from),
        "instructions": format!("{:?}", Isa::detect()),
    })
}

/// Each setting with who set it; its value too, but for hours of the week, which are somebody's habits.
fn settings() -> Json {
    let Ok(layers) = settings::layers(&ShareFlags::default()) else { return json!("refused") };
    let each = SETTINGS.iter().map(|setting| {
        let (value, layer) = layers.get(setting.key);
        let value = match &value {
            Value::Switch(on) => json!(on),
            Value::Number(number) => json!(number),
            Value::NoLimit => json!("no limit"),
            Value::Choice(word) => json!(word),
            _ => Json::Null,
        };
        (setting.name.to_owned(), json!({"origin": layer.name(), "value": value}))
    });
    Json::Object(each.collect())
}

/// Which sensors can be read here; not what they say.
fn sensors() -> Json {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    let mut sense = skep_sensors::of_this_machine(&home::store());
    sense.read(now_ms, Own::default());
    let read = sense.read(now_ms + 1, Own::default());
    json!({"cannot_read": read.gaps().iter().map(|(sensor, _)| sensor.name()).collect::<Vec<_>>()})
}

/// How many files there are and how large they are, for each of Skep's own folders and for all else together.
fn folder(at: &Path) -> Json {
    let known = ["models", "networks", "answers", "log", "owner"];
    let mut told = Map::new();
    for name in known {
        let (files, bytes) = size(&at.join(name), DEPTH);
        told.insert(name.to_owned(), json!({"files": files, "bytes": bytes}));
    }
    let (files, bytes) = size(at, 1);
    told.insert("beside".to_owned(), json!({"files": files, "bytes": bytes}));
    Json::Object(told)
}

fn size(at: &Path, depth: usize) -> (u64, u64) {
    let entries = std::fs::read_dir(at).into_iter().flatten().flatten();
    entries.fold((0, 0), |(files, bytes), entry| match entry.metadata() {
        Ok(about) if about.is_file() => (files + 1, bytes + about.len()),
        Ok(about) if about.is_dir() && depth > 1 => {
            let (more, larger) = size(&entry.path(), depth - 1);
            (files + more, bytes + larger)
        }
        _ => (files, bytes),
    })
}

/// What the node that runs here says of itself, in numbers; `null` where none runs.
fn running(api: &Client) -> Json {
    let Ok(network) = api.get("/skep/v1/network") else { return Json::Null };
    let nodes = items(&network["nodes"]);
    let count = |is: fn(&Json) -> bool| nodes.iter().filter(|node| is(node)).count();
    let machine = api.get("/skep/v1/machine").unwrap_or_default();
    let reason = machine["reason"]["code"].as_str().filter(|code| is_word(code));
    let keys = api.get("/skep/v1/keys").unwrap_or_default();
    json!({
        "nodes": {
            "alive": count(|node| node["alive"] == true), "gone": count(|node| node["alive"] == false),
            "relayed": count(|node| node["relayed"] == true),
        },
        "model": numbers(&network["model"]),
        "answers_active": numbers(&network["active"]),
        "state": machine["state"].as_str().filter(|state| STATES.contains(state)), "reason": reason,
        "caps": numbers(&machine["caps"]), "use": numbers(&machine["use"]),
        "blocks": numbers(&machine["blocks"]),
        "keys": items(&keys["keys"]).len(),
        "open": !items(&keys["reached_at"]).is_empty(),
        "errors": api.text("/metrics").map(|metrics| errors(&metrics)).unwrap_or_default(),
    })
}

/// The numbers of a value, by the names of its fields, which are those of the source.
fn numbers(value: &Json) -> Json {
    match value {
        Json::Null | Json::Bool(_) | Json::Number(_) => value.clone(),
        Json::Array(values) => values.iter().filter(|value| value.is_number()).cloned().collect(),
        Json::Object(fields) => {
            let plain = |value: &&Json| matches!(value, Json::Null | Json::Bool(_) | Json::Number(_));
            Json::Object(
                fields
                    .iter()
                    .filter(|(_, value)| plain(value))
                    .map(|(name, value)| (name.clone(), value.clone()))
                    .collect(),
            )
        }
        Json::String(_) => Json::Null,
    }
}

/// How often each error came, of what `/metrics` counts.
fn errors(metrics: &str) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for line in metrics.lines().filter(|line| line.starts_with("gen_ai_server_request_duration_seconds_count")) {
        let code = line.split_once("error_type=\"").and_then(|(_, rest)| rest.split_once('"')).map(|(code, _)| code);
        let count = line.rsplit_once(' ').and_then(|(_, count)| count.parse::<u64>().ok());
        if let (Some(code), Some(count)) = (code.filter(|code| is_word(code)), count) {
            *counts.entry(code.to_owned()).or_default() += count;
        }
    }
    counts
}

/// Whether it has the form of a code.
fn is_word(text: &str) -> bool {
    text.len() <= 32 && text.chars().all(|c| c.is_ascii_lowercase() || c == '_')
}

/// The newest lines, and how many of each kind there are.
fn of_log(lines: &[String]) -> Json {
    let told: Vec<_> = lines.iter().filter_map(|line| of_line(line)).collect();
    let mut counts = BTreeMap::<&str, u64>::new();
    for line in &told {
        *counts.entry(line.level).or_default() += 1;
    }
    let newest = told.iter().skip(told.len().saturating_sub(LINES)).map(|line| line.text.clone());
    json!({"counts": counts, "left_out": lines.len() - told.len(), "newest": newest.collect::<Vec<_>>()})
}

/// A line of the log that may be told.
struct Line {
    level: &'static str,
    text: String,
}

/// What may be told of a line: `2026-01-31T12:00:00.000000Z  WARN a sentence fact=1`.
fn of_line(line: &str) -> Option<Line> {
    let (time, rest) = line.split_once(' ')?;
    let is_time =
        time.ends_with('Z') && time.len() <= 30 && time.chars().all(|c| c.is_ascii_digit() || "TZ:-.".contains(c));
    let (level, rest) = rest.trim_start().split_once(' ')?;
    let level = LEVELS.into_iter().find(|known| *known == level).filter(|_| is_time)?;
    let mut words = rest.split(' ');
    let sentence: Vec<_> = words.by_ref().take_while(|word| !word.contains('=')).collect();
    let sentence = sentence.join(" ");
    let plain = |c: char| c.is_ascii_alphabetic() || " ,;'-".contains(c);
    if sentence.is_empty() || !sentence.chars().all(plain) {
        return None;
    }
    let mut text = format!("{time} {level} {sentence}");
    for (name, value) in rest[sentence.len()..].split(' ').filter_map(|fact| fact.split_once('=')) {
        let value = value.trim_matches('"');
        let is_plain = ["true", "false"].contains(&value)
            || !value.is_empty() && value.len() <= 12 && value.chars().all(|c| c.is_ascii_digit() || c == '.');
        // An address is numbers and dots as well.
        if FACTS.contains(&name) && is_plain && value.matches('.').count() < 3 {
            text.push_str(&format!(" {name}={value}"));
        }
    }
    Some(Line { level, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRETS: [&str; 9] = [
        "sk-skep-0123456789abcdefghijklmnopqrstuv0123456789abcdefghij",
        "192.0.2.77",
        "2001:db8::77",
        "/srv/ada/secret",
        "adalovelace",
        "what is the meaning of my diagnosis",
        "skep:amaqcaib",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "C:\\Users\\ada",
    ];

    #[test]
    fn a_line_of_the_log_tells_nothing_that_came_from_elsewhere() {
        for secret in SECRETS {
            for line in [
                format!("2026-01-31T12:00:00.000000Z  WARN an answer broke off error={secret}"),
                format!("2026-01-31T12:00:00.000000Z  WARN an answer broke off error=\"{secret}\" at_token=5"),
                format!(
                    "2026-01-31T12:00:00.000000Z  INFO a node joined node={secret} version={secret} alive={secret}"
                ),
                format!("2026-01-31T12:00:00.000000Z  WARN a node joined {secret}=1 fault=x {secret} =2"),
            ] {
                let told = of_line(&line).map_or(String::new(), |line| line.text);
                assert!(!told.contains(secret), "{told}");
                for word in secret.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| word.len() > 7) {
                    assert!(!told.contains(word), "{told}");
                }
            }
        }
        let kept =
            of_line("2026-01-31T12:00:00.000000Z  INFO the answer goes on over another route at_token=7 stall_ms=12.5");
        let kept = kept.unwrap();
        assert_eq!(
            (kept.level, &kept.text[28..]),
            ("INFO", "INFO the answer goes on over another route at_token=7 stall_ms=12.5")
        );
        for line in [
            "",
            "panicked at x",
            "2026-01-31T12:00:00Z  WARN",
            "2026 WARN a b",
            "x  INFO a node joined",
            "2026-01-31T12:00:00Z  NOTE a",
        ] {
            assert!(of_line(line).is_none(), "{line}");
        }
    }

    #[test]
    fn of_what_a_node_says_only_numbers_are_told() {
        let said = json!({"name": "my secret model", "blocks": 8, "whole": true, "id": "ab", "more": {"x": "y"}, "none": null});
        assert_eq!(numbers(&said), json!({"blocks": 8, "whole": true, "none": null}));
        assert_eq!((numbers(&json!("text")), numbers(&json!([1, "a", 2]))), (Json::Null, json!([1, 2])));
        let name = "gen_ai_server_request_duration_seconds_count";
        let metrics = format!(
            "{name}{{error_type=\"busy\"}} 3\n{name}{{m=\"x\",error_type=\"busy\"}} 2\n{name}{{error_type=\"My Secret\"}} 1\nother 5\n"
        );
        assert_eq!(errors(&metrics), BTreeMap::from([("busy".to_owned(), 5)]));
    }
}
