//! Settings as a file, as flags, as controls.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::Chance;
use proptest::prelude::*;
use serde_json::Value as Json;
use skep_owner::{
    Changes, FILE_BYTES_MAX, Key, Kind, Layer, Layers, Preset, SETTINGS, SettingError, Value, read_file, schema,
    template, write_file,
};
use std::path::PathBuf;

fn check(name: &str, shown: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(name);
    if std::env::var_os("SKEP_BLESS").is_some() {
        std::fs::write(&path, shown).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(shown, expected, "run with SKEP_BLESS=1 to accept a change of {}", path.display());
}

#[test]
fn the_template_and_the_schema_are_what_they_were() {
    check("settings.toml", &template());
    check("settings.schema.json", &schema());
    // The page's own tests draw a control for each property of a copy of it.
    check("../../../skep-api/page/test/settings.schema.json", &schema());
}

#[test]
fn the_template_sets_nothing_and_each_of_its_lines_can_be_set() {
    assert_eq!(read_file(&template()), Ok(Changes::default()));
    let all: String = template()
        .replace("\n#", "\n")
        .lines()
        .filter(|line| !line.starts_with([' ', '#']))
        .fold(String::new(), |text, line| text + line + "\n");
    let changes = read_file(&all).unwrap();
    assert!(SETTINGS.iter().all(|setting| changes.get(setting.key) == Some(&setting.presets[1])), "{all}");
}

/// Every property of the schema, with its path.
fn properties(schema: &Json, path: &str, found: &mut Vec<(String, Json)>) {
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        if inner["properties"].is_object() {
            assert_eq!(inner["additionalProperties"], false);
            properties(inner, &path, found);
        } else {
            found.push((path, inner.clone()));
        }
    }
}

#[test]
fn every_setting_of_the_schema_is_reached_by_file_flag_and_page() {
    let mut found = Vec::new();
    properties(&serde_json::from_str(&schema()).unwrap(), "", &mut found);
    assert_eq!(found.len(), SETTINGS.len());
    for (path, property) in found {
        let key = Key::named(&path).unwrap();
        let setting = key.setting();
        assert_eq!(
            (property["x-key"].as_str(), property["description"].as_str()),
            (Some(setting.name), Some(setting.help))
        );
        let flag = property["x-flag"].as_str().unwrap();
        assert_eq!(flag, format!("--{}", setting.flag()));
        for preset in Preset::ALL {
            let given = &property["x-presets"][preset.name()];
            let value = setting.presets[preset as usize].clone();
            let (table, name) = path.split_once('.').unwrap();
            let file = read_file(&format!("[{table}]\n{name} = {given}\n")).unwrap();
            let text = given.as_str().map_or_else(|| given.to_string(), str::to_owned);
            let mut by_text = Changes::default();
            assert_eq!(by_text.set_text(&path, &text), Ok(key));
            let none = Changes::default;
            for (layer, layers) in [
                (Layer::File, Layers { file, flags: none(), page: none() }),
                (Layer::Flag, Layers { file: none(), flags: by_text.clone(), page: none() }),
                (Layer::Page, Layers { file: none(), flags: none(), page: by_text }),
            ] {
                assert_eq!(layers.get(key), (value.clone(), layer), "{path}");
                assert_eq!(layers.preferences().get(key), &value);
            }
        }
    }
}

#[test]
fn a_change_on_the_page_goes_to_its_place_in_the_file_and_back() {
    let changed = write_file(&template(), Key::Cpu, Some(&Value::Number(33))).unwrap();
    assert_eq!(changed, template().replace("#cpu_percent = 75\n", "cpu_percent = 33\n"));
    let again = write_file(&changed, Key::Cpu, Some(&Value::Number(44))).unwrap();
    assert_eq!(again, changed.replace("33", "44"));
    assert_eq!(write_file(&again, Key::Cpu, None).unwrap(), template());
    assert_eq!(write_file(&template(), Key::Cpu, None).unwrap(), template());
    assert_eq!(write_file("", Key::Disk, Some(&Value::NoLimit)).unwrap(), "[share]\ndisk = \"none\"\n");
}

#[test]
fn what_the_owner_wrote_beside_a_setting_stays() {
    let text = "# Mine.\r\n\r\n[share] # all of it\r\ncpu_percent = 20 # the fan is loud\r\n# later: gpu = true\r\ngpu = false\r\n";
    let changed = write_file(text, Key::Cpu, Some(&Value::Number(10))).unwrap();
    assert_eq!(changed.replace("\r\n", "\n"), text.replace("\r\n", "\n").replace("= 20 #", "= 10 #"));
    let more = write_file(text, Key::Memory, Some(&Value::Number(9))).unwrap();
    assert!(
        more.contains("# the fan is loud") && more.contains("# Mine.") && more.contains("# later: gpu = true"),
        "{more}"
    );
}

#[test]
fn a_setting_is_found_in_any_of_the_forms_that_toml_has() {
    for text in [
        "share.cpu_percent = 20\n",
        "share = { cpu_percent = 20 }\n",
        "[share]\n\"cpu_percent\" = 20\n",
        "[share]\ncpu_percent = \"20\"\nschedule = \"\"\"\\\n  always\"\"\"\n#cpu_percent = 7\n",
    ] {
        let mut wanted = read_file(text).unwrap();
        assert_eq!(wanted.get(Key::Cpu), Some(&Value::Number(20)), "{text}");
        wanted.set(Key::Cpu, Value::Number(30)).unwrap();
        assert_eq!(
            read_file(&write_file(text, Key::Cpu, Some(&Value::Number(30))).unwrap()).as_ref(),
            Ok(&wanted),
            "{text}"
        );
        wanted.unset(Key::Cpu);
        assert_eq!(read_file(&write_file(text, Key::Cpu, None).unwrap()).as_ref(), Ok(&wanted), "{text}");
    }
}

#[test]
fn what_is_refused_is_named() {
    let told = |text: &str| read_file(text).unwrap_err().to_string();
    for (text, sentence) in [
        ("[share]\ncpu_precent = 20\n", "there is no setting share.cpu_precent; the nearest is share.cpu_percent"),
        ("cpu_percent = 20\n", "there is no setting cpu_percent; the nearest is share.cpu_percent"),
        ("share = 5\n", "there is no setting share; the nearest is share.preset"),
        ("[share]\ncpu_percent = 0\n", "share.cpu_percent cannot be 0: it takes 1 to 100 %"),
        ("[share]\ncpu_percent = 5.0\n", "share.cpu_percent cannot be 5.0: it takes 1 to 100 %"),
        ("[share]\ncpu_percent = [5]\n", "share.cpu_percent cannot be [5]: it takes 1 to 100 %"),
        ("[share.cpu_percent]\n", "share.cpu_percent cannot be a table: it takes 1 to 100 %"),
        ("[share]\ngpu = 1\n", "share.gpu cannot be 1: it takes true or false"),
    ] {
        assert_eq!(told(text), sentence, "{text}");
    }
    assert!(told("[shared]\n").starts_with("there is no setting shared; the nearest is share."));
    assert!(told("[share]\n\ncpu_percent 20\n").starts_with("line 3 of the settings is no TOML: "));
    assert!(told("[share]\ngpu = true\ngpu = true\n").starts_with("line 3 of the settings is no TOML: "));
    assert!(matches!(read_file(&"#".repeat(FILE_BYTES_MAX + 1)), Err(SettingError::Long { .. })));
    assert!(write_file("[share]\ncpu_precent = 20\n", Key::Gpu, None).is_err());
    assert!(write_file("", Key::Gpu, Some(&Value::Number(1))).is_err());
}

proptest! {
    #[test]
    fn any_changes_survive_the_file(seed: u64, from_template: bool) {
        let chance = &mut Chance(seed);
        let mut text = if from_template { template() } else { String::new() };
        let mut wanted = Changes::default();
        for _ in 0..chance.below(12) {
            let setting = &SETTINGS[usize::try_from(chance.below(SETTINGS.len() as u64)).unwrap()];
            let value = common::value(chance, &setting.kind);
            let value = Some(value).filter(|_| !chance.one_in(4));
            text = write_file(&text, setting.key, value.as_ref()).unwrap();
            match value {
                Some(value) => wanted.set(setting.key, value).unwrap(),
                None => wanted.unset(setting.key),
            }
            prop_assert_eq!(read_file(&text), Ok(wanted.clone()));
        }
        let comments = |text: &str| text.lines().filter(|line| line.starts_with("# ")).map(str::to_owned).collect::<Vec<_>>();
        prop_assert!(!from_template || comments(&text) == comments(&template()));
    }

    #[test]
    fn no_text_makes_it_panic(text: String, line in "[a-z_.=\"\\[\\]{}# 0-9\n]{0,60}") {
        for text in [&text, &line, &format!("[share]\n{line}")] {
            if let Ok(changes) = read_file(text) {
                let written = write_file(text, Key::Upload, Some(&Value::Number(12_345))).unwrap();
                prop_assert_eq!(read_file(&written).unwrap().iter().count(), changes.iter().filter(|(key, _)| *key != Key::Upload).count() + 1);
            }
        }
    }
}

#[test]
fn kinds_that_the_page_draws_are_told_apart_by_the_schema() {
    let schema: Json = serde_json::from_str(&schema()).unwrap();
    for setting in &SETTINGS {
        let property = &schema["properties"]["share"]["properties"][setting.name.split_once('.').unwrap().1];
        match setting.kind {
            Kind::Choice(words) => assert_eq!(property["enum"].as_array().unwrap().len(), words.len()),
            Kind::Switch => assert_eq!(property["type"], "boolean"),
            Kind::Schedule => assert_eq!(property["type"], "string"),
            Kind::Number { min, max, unit, .. } => {
                assert_eq!(
                    (&property["anyOf"][0]["minimum"], &property["anyOf"][0]["maximum"]),
                    (&min.into(), &max.into())
                );
                assert_eq!(property["x-unit"], unit.sign());
            }
        }
    }
}
