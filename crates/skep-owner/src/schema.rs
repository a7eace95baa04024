//! The settings as a JSON Schema, for editors and for the page, which draws a control for each property.

use crate::preferences::Preset;
use crate::table::{SETTINGS, Setting};
use crate::value::{Kind, Unit, Value};

/// The schema of a file of settings, as JSON Schema 2020-12.
///
/// Each setting has besides the standard words `x-key` (its name), `x-group` (the heading under which people find it), `x-place`
/// (where it stands among all, as the members of a JSON object have no order), `x-flag`, `x-unit` where it is a number, `x-presets` (what
/// each gives), and `x-in-use` where another setting holds as well while the machine is in use.
#[must_use]
pub fn schema() -> String {
    let mut tables: Vec<(&str, Vec<String>)> = Vec::new();
    for setting in &SETTINGS {
        let (table, name) = setting.name.rsplit_once('.').unwrap_or(("", setting.name));
        let member = format!("{}: {}", string(name), property(setting));
        match tables.last_mut() {
            Some((last, members)) if *last == table => members.push(member),
            _ => tables.push((table, vec![member])),
        }
    }
    let table = |(name, members): (&str, Vec<String>)| {
        let members = members.join(",\n        ");
        format!(
            "    {}: {{\n      \"type\": \"object\",\n      \"additionalProperties\": false,\n      \"properties\": {{\n        \
             {members}\n      }}\n    }}",
            string(name)
        )
    };
    let tables: Vec<String> = tables.into_iter().map(table).collect();
    format!(
        "{{\n  \"$schema\": \"https://json-schema.org/draft/2020-12/schema\",\n  \"title\": \"Skep's settings\",\n  \
         \"type\": \"object\",\n  \"additionalProperties\": false,\n  \"properties\": {{\n{}\n  }}\n}}\n",
        tables.join(",\n")
    )
}

fn property(setting: &Setting) -> String {
    let mut members = vec![
        ("title", string(setting.title)),
        ("description", string(setting.help)),
        ("x-key", string(setting.name)),
        ("x-group", string(setting.key.group())),
        ("x-place", (setting.key as usize).to_string()),
        ("x-flag", string(&format!("--{}", setting.flag()))),
    ];
    if let Kind::Number { unit, .. } = &setting.kind {
        members.push(("x-unit", string(unit.sign())));
    }
    if let Some(key) = setting.in_use {
        members.push(("x-in-use", string(key.setting().name)));
    }
    let preset = |preset: Preset| {
        format!("{}: {}", string(preset.name()), json(&setting.kind, &setting.presets[preset as usize]))
    };
    members.push(("x-presets", format!("{{{}}}", Preset::ALL.map(preset).join(", "))));
    members.extend(takes(&setting.kind));
    let members: Vec<String> = members.into_iter().map(|(name, value)| format!("{}: {value}", string(name))).collect();
    format!("{{{}}}", members.join(", "))
}

fn takes(kind: &Kind) -> Vec<(&'static str, String)> {
    match kind {
        Kind::Choice(words) => {
            let words: Vec<String> = words.iter().map(|word| string(word)).collect();
            vec![("enum", format!("[{}]", words.join(", ")))]
        }
        Kind::Switch => vec![("type", string("boolean"))],
        Kind::Schedule => vec![("type", string("string"))],
        Kind::Number { unit, min, max, or_none } => {
            let mut ways = vec![format!("{{\"type\": \"integer\", \"minimum\": {min}, \"maximum\": {max}}}")];
            if matches!(unit, Unit::Bytes | Unit::BytesPerSecond) {
                let pattern = string("^[0-9]+ ?([kKMGT]i?)?[bB]?$");
                ways.push(format!("{{\"type\": \"string\", \"pattern\": {pattern}}}"));
            }
            if *or_none {
                ways.push("{\"const\": \"none\"}".into());
            }
            vec![("anyOf", format!("[{}]", ways.join(", ")))]
        }
    }
}

fn json(kind: &Kind, value: &Value) -> String {
    match (kind, value) {
        (_, Value::Switch(on)) => on.to_string(),
        (Kind::Number { unit: Unit::Bytes | Unit::BytesPerSecond, .. }, _) => string(&kind.text(value)),
        (_, Value::Number(number)) => number.to_string(),
        _ => string(&kind.text(value)),
    }
}

/// A JSON string; what needs an escape is written by its number.
fn string(text: &str) -> String {
    let escaped = text.chars().map(|c| match c {
        '"' | '\\' | '\0'..='\x1f' => format!("\\u{:04x}", u32::from(c)),
        other => other.to_string(),
    });
    format!("\"{}\"", escaped.collect::<String>())
}
