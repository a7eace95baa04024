//! The owner's machine and settings.

use crate::harness::{Answer, Server};
use crate::scripted::Scripted;
use serde_json::json;

fn server() -> Server {
    Server::start(Scripted::says(&["x"]))
}

fn put(server: &Server, body: &str) -> Answer {
    server.raw(&server.request("PUT", "/skep/v1/settings", "content-type: application/json\r\n", body))
}

#[test]
fn a_machine_is_shown_as_it_is() {
    let shown = server().get("/skep/v1/machine").json();
    let expected = json!({
        "state": "lending",
        "reason": null,
        "until_ms": null,
        "since_ms": 5,
        "in_use": true,
        "caps": {
            "cpu_percent": 50, "memory_bytes": 4096, "disk_bytes": null, "gpu": false, "upload": 500_000, "download": null,
            "transfer_left": 7,
        },
        "use": {
            "cpu_percent": 12.5, "memory_bytes": 0, "weights_bytes": 0, "disk_bytes": 0, "upload": 0, "download": 0,
            "transferred_today_bytes": 0, "work": 1,
        },
        "machine": {"memory_bytes": 8192, "processors": 2},
        "blocks": [0, 2],
        "model": "scripted/tiny",
        "sensors": [{
            "name": "power", "text": "where power comes from", "value": null,
            "gap": {"why": "it is dark", "advice": "Turn it on."},
        }],
        "timeline": [{"from_ms": 5, "state": "lending", "reason": null}],
    });
    assert_eq!(shown, expected);
}

#[test]
fn the_owners_word_is_passed_on_and_its_effect_shown() {
    let server = server();
    let say = |body: &str| server.post("/skep/v1/machine", body);
    let paused = say(r#"{"command":"pause"}"#).json();
    assert_eq!(
        (&paused["state"], &paused["until_ms"], &paused["caps"]),
        (&json!("paused"), &json!(9_000), &json!(null))
    );
    let reason = json!({"code": "owner", "text": "you paused it", "remedy": "`skep resume` lends this machine again.", "setting": null});
    assert_eq!(paused["reason"], reason);
    assert_eq!(say(r#"{"command":"resume"}"#).json()["state"], "lending");
    assert_eq!(say(r#"{"command":"finish"}"#).status, 200);
    assert_eq!(say(r#"{"command":"pause","seconds":7200}"#).status, 200);
    let told = server.backend.told.lock().unwrap().clone();
    assert_eq!(told[..3], ["Pause { until_ms: None }", "Resume", "Finish"]);
    assert!(told[3].starts_with("Pause { until_ms: Some("), "{told:?}");
    for (body, param) in [
        (r#"{"command":"stop"}"#, "command"),
        (r#"{"command":1}"#, "command"),
        ("{}", "command"),
        (r#"{"command":"pause","seconds":0}"#, "seconds"),
        (r#"{"command":"pause","seconds":1e9}"#, "seconds"),
        (r#"{"command":"resume","seconds":5}"#, "seconds"),
        (r#"{"command":"pause","hours":5}"#, "hours"),
    ] {
        let answer = say(body);
        assert_eq!((answer.status, answer.error().0), (400, json!(param)), "{body}");
    }
    assert_eq!(server.backend.told.lock().unwrap().len(), 4);
}

#[test]
fn settings_are_shown_with_what_they_take_and_changed_one_by_one() {
    let server = server();
    let shown = server.get("/skep/v1/settings").json();
    assert_eq!(shown["values"]["share.cpu_percent"], json!({"value": "50 %", "raw": 50, "origin": "file"}));
    assert_eq!(shown["schema"]["properties"]["share"]["properties"]["cpu_percent"]["x-key"], "share.cpu_percent");
    assert_eq!(shown["file"], "skep/settings.toml");
    for (value, told) in [("40", "Some(\"40\")"), (r#""40""#, "Some(\"40\")"), ("null", "None")] {
        let body = format!(r#"{{"key":"share.cpu_percent","value":{value}}}"#);
        assert_eq!(put(&server, &body).json(), shown, "{body}");
        assert_eq!(server.backend.told.lock().unwrap().pop().unwrap(), format!("share.cpu_percent = {told}"));
    }
    assert_eq!(put(&server, r#"{"key":"share.gpu","value":true}"#).status, 200);
    for (body, param) in [
        (r#"{"key":"share.cpu_percent","value":0}"#, "value"),
        (r#"{"key":"share.cpu_percent","value":1.5}"#, "value"),
        (r#"{"key":"share.cpu_percent","value":[40]}"#, "value"),
        (r#"{"key":"share.cpu_percent"}"#, "value"),
        (r#"{"key":"share.cpu","value":40}"#, "key"),
        (r#"{"key":7,"value":40}"#, "key"),
        (r#"{"value":40}"#, "key"),
        (r#"{"key":"share.gpu","value":true,"now":true}"#, "now"),
    ] {
        let answer = put(&server, body);
        assert_eq!((answer.status, answer.error().0), (400, json!(param)), "{body}");
    }
    let unknown = put(&server, r#"{"key":"share.cpu","value":40}"#).error().2;
    assert!(unknown.contains("there is no setting share.cpu; the nearest is share.cpu_percent"), "{unknown}");
    let misfit = put(&server, r#"{"key":"share.cpu_percent","value":400}"#).error().2;
    assert!(misfit.contains("share.cpu_percent cannot be 400: it takes 1 to 100 %"), "{misfit}");
}

#[test]
fn a_node_without_limits_says_so() {
    let mut backend = Scripted::says(&["x"]);
    backend.steward = false;
    let server = Server::start(backend);
    let answers = [
        server.get("/skep/v1/machine"),
        server.post("/skep/v1/machine", r#"{"command":"pause"}"#),
        server.get("/skep/v1/settings"),
        put(&server, r#"{"key":"share.gpu","value":true}"#),
    ];
    for answer in answers {
        assert_eq!((answer.status, answer.error().1), (404, json!("no_limits")));
        assert!(answer.error().2.starts_with("this node does not keep to limits of its owner"));
    }
}
