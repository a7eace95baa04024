//! What keeps house around a node: its log, the live picture, a service, and taking all away again.

#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "common/up.rs"]
mod up;

use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use up::{skep, succeed, up};

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_node_that_runs_is_watched_and_not_uninstalled_and_one_that_ended_is() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path().join("skep");
    let mut node = up(&home, &["--port", "0"]);
    let api = node.said["api"].as_str().unwrap().to_owned();
    let top = succeed(skep(&home).args(["top", "--once", "--api", &api]));
    assert!(top.contains("this machine is lent") && top.contains("of no limit") && top.contains("0..8"), "{top}");
    let seen = lines(&succeed(skep(&home).args(["top", "--once", "--json", "--api", &api])));
    assert_eq!((seen.len(), seen[0]["machine"]["state"].as_str()), (1, Some("lending")));
    succeed(skep(&home).args(["pause", "1h", "--api", &api]));
    // What is written when it is first wanted has to be known to `skep uninstall` too.
    succeed(skep(&home).args(["keys", "add", "a program", "--api", &api]));
    succeed(skep(&home).args(["config", "set", "share.cpu_percent", "40"]));

    let asked = skep(&home).arg("uninstall").output().unwrap();
    assert!(said(&asked).contains("nothing was removed") && home.join("node.key").exists(), "nobody agreed");
    let refused = skep(&home).args(["uninstall", "--yes"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(4), "{refused:?}");
    assert!(said(&refused).contains("error: a node runs on ") && home.join("models").exists());

    succeed(Command::new("kill").args(["-INT", &node.child.id().to_string()]));
    assert!(node.child.wait().unwrap().success());
    let log = lines(&succeed(skep(&home).args(["logs", "--json"])));
    let told = |level: &str, text: &str| {
        log.iter().any(|line| line["level"] == level && line["text"].as_str().unwrap().starts_with(text))
    };
    assert!(told("info", "this node started") && told("info", "this node ended"), "{log:?}");
    assert!(told("info", "what is lent of this machine changed state=Paused reason=\"you paused it\""), "{log:?}");
    assert_eq!(succeed(skep(&home).args(["logs", "--lines", "1"])).lines().count(), 1);

    std::fs::write(home.join("somebody-elses.txt"), "stays").unwrap();
    let removed = lines(&succeed(skep(&home).args(["uninstall", "--yes", "--keep-key", "--json"])));
    assert_eq!(removed[0]["removed"], true);
    let mut left: Vec<_> = std::fs::read_dir(&home).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["node.key", "somebody-elses.txt"], "what is not Skep's own is not touched");
    std::fs::remove_file(home.join("somebody-elses.txt")).unwrap();
    succeed(skep(&home).args(["uninstall", "--yes"]));
    assert!(!home.exists(), "an empty folder goes too");
}

/// A `systemctl` that notes what it is asked, and does as `result` says.
fn systemctl(folder: &Path, result: &str) -> String {
    let program = folder.join("systemctl");
    let noted = folder.join("asked");
    let script = format!("#!/bin/sh\necho \"$*\" >> '{}'\n{result}\n", noted.display());
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    format!("{}:{}", folder.display(), std::env::var("PATH").unwrap())
}

#[test]
fn a_service_is_installed_and_goes_with_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let (home, config) = (folder.path().join("skep"), folder.path().join("config"));
    let unit = config.join("systemd/user/skep.service");
    let ask = |path: &str, arguments: &[&str]| {
        let mut command = skep(&home);
        command.env("XDG_CONFIG_HOME", &config).env("PATH", path).args(arguments).output().unwrap()
    };
    let install = ["service", "install", "--user", "--", "--share", "quiet", "--share-schedule", "mon-fri 18:00-08:00"];

    let path = systemctl(folder.path(), "echo 'Failed to connect to bus' >&2; exit 1");
    let refused = ask(&path, &install);
    assert_eq!(refused.status.code(), Some(4));
    assert!(said(&refused).contains("Failed to connect to bus") && !unit.exists(), "{}", said(&refused));
    let wrong = ask(&path, &["service", "install", "--user", "--", "--shore", "quiet"]);
    assert_eq!(wrong.status.code(), Some(2), "what `skep up` does not take is told before anything is written");

    let path = systemctl(folder.path(), "exit 0");
    let installed = ask(&path, &install);
    assert!(installed.status.success(), "{installed:?}");
    let text = std::fs::read_to_string(&unit).unwrap();
    let exec =
        format!("ExecStart={} up --share quiet --share-schedule \"mon-fri 18:00-08:00\"\n", env!("CARGO_BIN_EXE_skep"));
    assert!(text.contains(&exec), "{text}");
    assert_eq!(unit.metadata().unwrap().permissions().mode() & 0o777, 0o600, "an invite's link may stand in it");
    let asked = std::fs::read_to_string(folder.path().join("asked")).unwrap();
    assert!(asked.ends_with("--user daemon-reload\n--user enable --now skep.service\n"), "{asked}");

    std::fs::create_dir_all(home.join("models")).unwrap();
    let removed = ask(&path, &["uninstall", "--yes"]);
    assert!(removed.status.success(), "{removed:?}");
    assert!(!unit.exists() && !home.exists());
    let again = ask(&path, &["service", "remove", "--user"]);
    assert!(said(&again).contains("there is no service of Skep here"));
}

#[test]
fn systemd_accepts_both_units() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        eprintln!("SKIPPED: systemd-analyze is absent; this test checked nothing");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for scope in ["--user", "--system"] {
        let unit =
            succeed(skep(folder.path()).args(["service", "install", "--print", scope, "--", "--share", "quiet"]));
        let file = folder.path().join("skep.service");
        std::fs::write(&file, unit + "\n").unwrap();
        let mut checked = Command::new("systemd-analyze");
        let checked = checked.env("XDG_RUNTIME_DIR", folder.path()).args(["verify", "--man=no", scope]).arg(&file);
        let checked = checked.output().unwrap();
        assert!(checked.status.success() && said(&checked).is_empty(), "{scope}: {}", said(&checked));
        if scope == "--system" {
            // Of ten, from 0 for a unit that may do nothing; what is left is the network and a folder.
            let mut rate = Command::new("systemd-analyze");
            rate.args(["security", "--offline=true", "--threshold=25"]).arg(&file);
            let rated = rate.output().unwrap();
            assert!(rated.status.success(), "{}", said(&rated));
        }
    }
}

#[test]
fn a_shell_and_man_understand_what_is_made_for_them() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("skep.bash");
    std::fs::write(&script, succeed(skep(folder.path()).args(["completions", "bash"]))).unwrap();
    let complete = "source \"$0\"; COMP_WORDS=(skep se); COMP_CWORD=1; _skep skep se; echo \"${COMPREPLY[*]}\"";
    let offered = succeed(Command::new("bash").args(["-c", complete]).arg(&script));
    assert_eq!(offered, "service");
    let pages = folder.path().join("man1");
    succeed(skep(folder.path()).arg("manual").arg(&pages));
    if Command::new("groff").arg("--version").output().is_err() {
        eprintln!("SKIPPED: groff is absent; the pages were not read");
        return;
    }
    for page in std::fs::read_dir(&pages).unwrap() {
        let page = page.unwrap().path();
        let read = Command::new("groff").args(["-man", "-ww", "-Tutf8", "-z"]).arg(&page).output().unwrap();
        assert!(read.status.success() && said(&read).is_empty(), "{}: {}", page.display(), said(&read));
    }
}
