//! Settings at the terminal: shown, set, refused, and reached by flag and by file.

#![allow(clippy::unwrap_used, reason = "a test")]

use serde_json::Value as Json;
use skep_owner::{Layer, SETTINGS, Setting, Value, template};
use std::path::Path;
use std::process::{Command, Output};

fn skep(home: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_skep")).args(arguments).env("SKEP_HOME", home).output().unwrap()
}

fn told(home: &Path, arguments: &[&str]) -> String {
    let output = skep(home, arguments);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The sentence and the hint of a refusal.
fn refused(home: &Path, arguments: &[&str], exit_code: i32) -> (String, String) {
    let output = skep(home, arguments);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(exit_code), "{text}");
    assert!(output.stdout.is_empty(), "standard output is for data");
    let (sentence, hint) = text.trim_end().split_once("\n\nhint: ").unwrap();
    (sentence.replace(&home.display().to_string(), "HOME"), hint.into())
}

/// What `skep config show --json` says of a setting: its value as the file has it, and its layer.
fn shown(json: &Json, setting: &Setting) -> (String, String) {
    let settings = json["settings"].as_array().unwrap();
    let one = settings.iter().find(|one| one["name"] == setting.name).unwrap();
    (one["value"].to_string(), one["origin"].as_str().unwrap().into())
}

/// A value that no preset has where one exists, else that of the full preset.
fn other(setting: &Setting) -> Value {
    let texts = ["mon 8:00-9:00", "37", "37MiB", "true", "never", "quiet"];
    let values = texts.iter().filter_map(|text| setting.kind.parse(text).ok());
    values.into_iter().find(|value| !setting.presets.contains(value)).unwrap_or_else(|| setting.presets[2].clone())
}

#[test]
fn every_setting_is_reached_by_a_flag_and_by_the_file() {
    let home = tempfile::tempdir().unwrap();
    let by_flag: Vec<String> =
        SETTINGS.iter().flat_map(|s| [format!("--{}", s.flag()), s.kind.text(&other(s))]).collect();
    let mut arguments = vec!["config", "show", "--json"];
    arguments.extend(by_flag.iter().map(String::as_str));
    let flags: Json = serde_json::from_str(&told(home.path(), &arguments)).unwrap();
    for setting in &SETTINGS {
        let line = told(home.path(), &["config", "set", setting.name, &setting.kind.text(&other(setting))]);
        assert_eq!(line, format!("{} = {}\n", setting.name, setting.toml(&other(setting))));
    }
    let file: Json = serde_json::from_str(&told(home.path(), &["config", "show", "--json"])).unwrap();
    for setting in &SETTINGS {
        let value = setting.toml(&other(setting));
        assert_eq!(shown(&flags, setting), (value.clone(), Layer::Flag.name().into()), "{}", setting.name);
        assert_eq!(shown(&file, setting), (value, Layer::File.name().into()), "{}", setting.name);
    }
}

#[test]
fn what_is_set_stays_with_its_comments_and_what_is_unset_is_the_presets_again() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("settings.toml");
    assert_eq!(told(home.path(), &["config", "unset", "share.cpu_percent"]), "share.cpu_percent = 75\n");
    assert!(!file.exists(), "nothing was set");
    assert_eq!(told(home.path(), &["config", "set", "share.cpu_percent", "33"]), "share.cpu_percent = 33\n");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), template().replace("#cpu_percent = 75", "cpu_percent = 33"));
    let origins = told(home.path(), &["config", "show", "--origin", "--share", "full"]);
    for (line, origin) in
        [("share.cpu_percent = 33", "file"), ("share.preset = \"full\"", "flag"), ("share.idle_minutes = 2", "preset")]
    {
        let found = origins.lines().find(|shown| shown.starts_with(&format!("{line} "))).unwrap();
        assert!(found.ends_with(&format!("  # {origin}")), "{found}");
    }
    assert_eq!(told(home.path(), &["config", "unset", "share.cpu_percent"]), "share.cpu_percent = 75\n");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), template());
    let entries = std::fs::read_dir(home.path()).unwrap().count();
    assert_eq!(entries, 1, "nothing is left beside the file");
}

#[test]
fn what_is_shown_is_a_file_that_says_the_same() {
    let home = tempfile::tempdir().unwrap();
    let first = told(home.path(), &["config", "show", "--origin", "--share", "quiet"]);
    std::fs::write(home.path().join("settings.toml"), &first).unwrap();
    assert_eq!(told(home.path(), &["config", "show"]), told(home.path(), &["config", "show", "--share", "quiet"]));
    assert_eq!(told(home.path(), &["config", "template"]), template());
    assert_eq!(told(home.path(), &["config", "schema"]), skep_owner::schema());
}

#[test]
fn what_is_refused_is_named_with_what_helps() {
    let home = tempfile::tempdir().unwrap();
    let (sentence, hint) = refused(home.path(), &["config", "set", "share.cpu_precent", "5"], 3);
    assert_eq!(sentence, "error: there is no setting share.cpu_precent; the nearest is share.cpu_percent");
    assert_eq!(hint, "`skep config show` lists every setting");
    let (sentence, hint) = refused(home.path(), &["config", "set", "share.cpu_percent", "500"], 3);
    assert_eq!(sentence, "error: share.cpu_percent cannot be 500: it takes 1 to 100 %");
    assert_eq!(hint, "`skep config template` explains every setting");
    assert!(refused(home.path(), &["config", "unset", "cpu"], 3).0.ends_with("the nearest is share.cpu_percent"));
    assert!(!home.path().join("settings.toml").exists());
    for (text, sentence) in [
        (
            "[share]\ngpus = true\n",
            "error: HOME/settings.toml: there is no setting share.gpus; the nearest is share.gpu",
        ),
        ("[share]\ngpu = 1\n", "error: HOME/settings.toml: share.gpu cannot be 1: it takes true or false"),
    ] {
        std::fs::write(home.path().join("settings.toml"), text).unwrap();
        assert_eq!(refused(home.path(), &["config", "show"], 3).0, sentence);
        assert_eq!(refused(home.path(), &["config", "set", "share.gpu", "true"], 3).0, sentence);
        assert_eq!(std::fs::read_to_string(home.path().join("settings.toml")).unwrap(), text, "the file is as it was");
    }
    std::fs::write(home.path().join("settings.toml"), "[share\n").unwrap();
    assert!(
        refused(home.path(), &["config", "show"], 3)
            .0
            .starts_with("error: HOME/settings.toml: line 1 of the settings is no TOML")
    );
    let output = skep(home.path(), &["config", "show", "--share-cpu-percent", "0"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("it takes 1 to 100 %"));
}

#[test]
fn a_check_says_whether_this_machine_would_be_lent_and_what_it_does_not_tell() {
    let home = tempfile::tempdir().unwrap();
    let full =
        ["--share", "full", "--share-memory-free-min-percent", "none", "--share-memory-pressure-percent", "none"];
    let rules =
        ["--share-disk-free-min", "none", "--share-temperature-max-celsius", "none", "--share-when-metered", "always"];
    let charge = ["--share-battery-min-percent", "none", "--json"];
    let lent: Json =
        serde_json::from_str(&told(home.path(), &[&["config", "check"], &full[..], &rules, &charge].concat())).unwrap();
    assert_eq!((&lent["lent"], &lent["gpu"], &lent["disk_bytes"]), (&true.into(), &true.into(), &Json::Null), "{lent}");
    let paused: Json =
        serde_json::from_str(&told(home.path(), &["config", "check", "--json", "--share-schedule", &closed_now()]))
            .unwrap();
    assert_eq!((&paused["lent"], &paused["setting"]), (&false.into(), &"share.schedule".into()), "{paused}");
    assert!(paused["until_ms"].as_u64().unwrap() > 1_700_000_000_000);
    let gaps = paused["cannot_read"].as_array().unwrap();
    assert!(gaps.iter().any(|gap| gap["reading"] == "whether a program fills the screen"));
    let text = told(home.path(), &["config", "check", "--share-schedule", &closed_now()]);
    assert!(
        text.starts_with("paused: it is outside the hours in which this machine is lent\n    It is lent again"),
        "{text}"
    );
    assert!(text.contains("\ncannot read whether a program fills the screen: "), "{text}");
}

/// A schedule that opens half a week from now, for one minute.
fn closed_now() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let minute = skep_sensors::clock(u64::try_from(now.as_millis()).unwrap()).week_minute();
    let day = (usize::from(minute / 1440) + 3) % 7;
    let day = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"][day];
    format!("{day} 12:00-12:01")
}
