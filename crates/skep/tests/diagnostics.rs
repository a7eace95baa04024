//! What `skep diagnostics` prints holds nothing that is nobody else's business, whatever there is to find.

#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "common/up.rs"]
mod up;

use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use up::{skep, succeed, up};

/// Words of people, which end up in names, prompts, labels and settings.
const PLANTED: [&str; 8] = [
    "adalovelace",
    "quicksilver",
    "diagnosis",
    "grandmother",
    "hunter2hunter2",
    "Amsterdam",
    "192.0.2.77",
    "sk-skep-0000000000000000000000000000000000000000000000000000",
];

/// All texts in a value, those of names of fields too.
fn texts(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::String(text) => into.push(text.clone()),
        Value::Array(values) => values.iter().for_each(|value| texts(value, into)),
        Value::Object(fields) => fields.iter().for_each(|(name, value)| {
            into.push(name.clone());
            texts(value, into);
        }),
        _ => {}
    }
}

fn plant(home: &Path) {
    fs::create_dir_all(home.join("log")).unwrap();
    let lines: Vec<String> = PLANTED
        .iter()
        .flat_map(|secret| {
            let at = "2026-01-31T12:00:00.000000Z";
            [
                format!("{at}  WARN an answer broke off error=no node runs {secret} file=/srv/{secret}/x"),
                format!("{at}  WARN {secret}: something else"),
                format!("thread '{secret}' panicked at /srv/{secret}/x.rs:1:1"),
            ]
        })
        .collect();
    fs::write(home.join("log/skep.log"), lines.join("\n") + "\n").unwrap();
    fs::write(home.join("settings.toml"), "# of adalovelace in Amsterdam\n[share]\ncpu_percent = 37\n").unwrap();
    fs::create_dir_all(home.join("models/quicksilver")).unwrap();
    fs::write(home.join("models/quicksilver/name"), "grandmother").unwrap();
    fs::write(home.join("hunter2hunter2"), "diagnosis").unwrap();
}

#[test]
fn of_what_was_planted_processes_tell_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("adalovelace");
    plant(&home);
    let node = up(&home, &["--port", "0", "--open", "--host-name", "amsterdam.example"]);
    let api = &node.said["api"].as_str().unwrap().to_owned();
    let key = succeed(skep(&home).args(["keys", "add", "grandmother", "--api", api]));
    succeed(skep(&home).args(["chat", "what is my diagnosis, quicksilver", "--max-tokens", "4", "--api", api]));
    let listed: Value =
        serde_json::from_str(&succeed(skep(&home).args(["keys", "list", "--json", "--api", api]))).unwrap();
    let mut command = skep(&home);
    let printed = succeed(command.args(["diagnostics", "--api", api]).env("USER", "adalovelace").env("HOME", &home));

    let mut secrets: Vec<String> = PLANTED.map(str::to_owned).to_vec();
    secrets.extend([key.clone(), key[8..].to_owned(), folder.path().display().to_string()]);
    // Ids of the key, the node and the model, and every address of this machine.
    secrets.extend([&listed["keys"][0]["id"], &node.said["node"]["id"], &node.said["model"]].map(|id| {
        let id = id.as_str().unwrap();
        id[..id.len().min(10)].to_owned()
    }));
    secrets.extend(skep_net::own_addresses().iter().map(ToString::to_string));
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    secrets.extend(Some(host.trim().to_owned()).filter(|host| host.len() > 3));
    for secret in &secrets {
        assert!(!printed.to_lowercase().contains(&secret.to_lowercase()), "{secret} is told: {printed}");
    }
    let told: Value = serde_json::from_str(&printed).unwrap();
    let mut all = Vec::new();
    texts(&told, &mut all);
    for text in all {
        assert!(!text.contains(['/', '\\', '@']), "{text} may be a path or an address");
    }

    assert_eq!(told["skep"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(told["settings"]["share.cpu_percent"], json!({"origin": "file", "value": 37}));
    assert_eq!((&told["running"]["keys"], &told["running"]["open"]), (&json!(1), &json!(true)));
    assert_eq!(told["running"]["nodes"]["alive"], 1);
    assert_eq!(told["running"]["model"]["blocks"], 8);
    assert!(
        told["folder"]["log"]["bytes"].as_u64().unwrap() > 100 && told["log"]["counts"]["WARN"].as_u64().unwrap() >= 8
    );
    let newest = told["log"]["newest"].as_array().unwrap();
    assert!(newest.iter().any(|line| line.as_str().unwrap().ends_with("WARN an answer broke off")), "{newest:?}");
    drop(node);
    let alone = succeed(skep(&home).args(["diagnostics", "--api", api]));
    assert_eq!(serde_json::from_str::<Value>(&alone).unwrap()["running"], Value::Null, "it works where nothing runs");
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// What `skep diagnostics` rests on: the sentence of a line is the source's own.
#[test]
fn every_sentence_of_the_log_is_a_literal() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut files = Vec::new();
    for entry in fs::read_dir(crates).unwrap().map(Result::unwrap) {
        let source = entry.path().join("src");
        if source.is_dir() {
            sources(&source, &mut files);
        }
    }
    let mut sentences = 0;
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for level in ["error", "warn", "info"] {
            for event in text.split(&format!("tracing::{level}!(")).skip(1) {
                // The last thing before the closing bracket.
                let closes = |at: &usize| event[at + 1..].trim_start_matches([',', ' ', '\n']).starts_with(')');
                let end = event.match_indices('"').map(|(at, _)| at).find(closes);
                let literal = end.and_then(|end| event[..end].rsplit_once('"')).map(|(_, literal)| literal);
                let literal = literal.unwrap_or_else(|| panic!("{}: no literal ends {event:.80}", file.display()));
                assert!(!literal.contains(['{', '=']), "{}: {literal}", file.display());
                sentences += 1;
            }
        }
    }
    assert!(sentences > 20, "{sentences}");
}
