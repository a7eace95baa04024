//! A node that is open to other machines: real processes, asked by an address that is not this machine's own loop.

#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "common/up.rs"]
mod up;

use serde_json::{Value, json};
use std::path::Path;
use up::{Up, skep, succeed, up};

fn start(home: &Path) -> Up {
    up(home, &["--port", "0", "--open", "--host-name", "hive.lan"])
}

fn api(node: &Up) -> &str {
    node.said["api"].as_str().unwrap()
}

/// The status and the JSON of an answer; `null` where there is none.
fn ask(url: &str, key: &str, host: Option<&str>) -> (u16, Value) {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut request = agent.get(url);
    if !key.is_empty() {
        request = request.header("authorization", format!("Bearer {key}"));
    }
    if let Some(host) = host {
        request = request.header("host", host);
    }
    let mut answer = request.call().unwrap();
    let text = answer.body_mut().read_to_string().unwrap();
    (answer.status().as_u16(), serde_json::from_str(&text).unwrap_or_default())
}

#[test]
fn other_machines_need_a_key_of_the_command_line_and_processes_that_start_again_know_it() {
    let home = tempfile::tempdir().unwrap();
    let node = start(home.path());
    let Some(far) = node.said["open"][0].as_str().map(str::to_owned) else {
        eprintln!("SKIPPED: this machine has no address but its own loop; this test checked nothing");
        return;
    };
    let models = format!("{far}/v1/models");
    assert_eq!(ask(&format!("{far}/"), "", None).0, 200, "the page is there for everybody");
    let (status, body) = ask(&models, "", None);
    assert_eq!((status, &body["error"]["code"]), (401, &json!("invalid_api_key")));
    let keys = |arguments: &[&str]| succeed(skep(home.path()).arg("keys").args(arguments).args(["--api", api(&node)]));
    let key = keys(&["add", "a laptop"]);
    assert!(key.starts_with("sk-skep-") && key.len() == 60, "{key}");
    assert_eq!(ask(&models, &key, None).0, 200);
    assert_eq!(ask(&models, &key, Some("hive.lan")).0, 200);
    assert_eq!(ask(&models, &key, Some("evil.example")).0, 403);
    assert_eq!(ask(&format!("{far}/skep/v1/machine"), &key, None).0, 403);
    // The same program asks with the key, from elsewhere.
    let ask_it = || {
        let mut command = skep(home.path());
        command.args(["chat", "Say hello.", "--max-tokens", "2", "--api", &far]);
        command
    };
    succeed(ask_it().env("SKEP_API_KEY", &key));
    let refused = ask_it().output().unwrap();
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("hint: "));
    let listed: Value = serde_json::from_str(&keys(&["list", "--json"])).unwrap();
    assert_eq!(listed["keys"][0]["label"], "a laptop");
    assert!(listed["reached_at"].as_array().unwrap().contains(&json!(far)), "{listed}");
    drop(node);

    let node = start(home.path());
    let models = format!("{}/v1/models", node.said["open"][0].as_str().unwrap());
    assert_eq!(ask(&models, &key, None).0, 200, "keys are kept");
    let keys = |arguments: &[&str]| {
        skep(home.path()).arg("keys").args(arguments).args(["--api", api(&node)]).output().unwrap()
    };
    assert_eq!(keys(&["revoke", "no such"]).status.code(), Some(3));
    let revoked = keys(&["revoke", "a laptop"]);
    assert!(revoked.status.success() && String::from_utf8_lossy(&revoked.stdout).contains("a laptop"));
    assert_eq!(ask(&models, &key, None).0, 401, "and end at once");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(home.path().join("api-keys.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn a_node_that_nobody_opened_processes_nothing_from_elsewhere() {
    let home = tempfile::tempdir().unwrap();
    let node = up(home.path(), &["--port", "0"]);
    assert_eq!(node.said["open"], json!([]));
    let port = api(&node).rsplit_once(':').unwrap().1;
    let addresses = skep_net::own_addresses();
    if addresses.is_empty() {
        eprintln!("SKIPPED: this machine has no address but its own loop; this test checked nothing");
    }
    for address in addresses {
        let address = format!("{address}:{port}");
        assert!(std::net::TcpStream::connect(&address).is_err(), "{address}");
    }
    let broken = home.path().join("api-keys.json");
    drop(node);
    std::fs::write(&broken, "{").unwrap();
    let refused = skep(home.path()).args(["up", "--port", "0"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("is no file of keys"));
}
