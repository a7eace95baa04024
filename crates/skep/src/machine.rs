//! `skep pause`, `skep resume`, `skep finish` and `skep limits`: what of this machine is lent, and the owner's word.

use crate::args::{AskArgs, PauseArgs};
use crate::client::Client;
use crate::error::Error;
use crate::output;
use indicatif::{HumanBytes, HumanDuration};
use serde_json::{Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const PATH: &str = "/skep/v1/machine";
/// What others may use of a machine that is not lent.
const NOTHING: &str = "nothing";

/// Lends nothing, for good or for a while.
pub(crate) fn pause(args: &PauseArgs) -> Result<(), Error> {
    let command = match args.how_long {
        Some(how_long) => json!({"command": "pause", "seconds": how_long.as_secs()}),
        None => json!({"command": "pause"}),
    };
    say(&args.ask, &command)
}

/// Lends again.
pub(crate) fn resume(args: &AskArgs) -> Result<(), Error> {
    say(args, &json!({"command": "resume"}))
}

/// Begins nothing new, and pauses when all is done.
pub(crate) fn finish(args: &AskArgs) -> Result<(), Error> {
    say(args, &json!({"command": "finish"}))
}

fn say(args: &AskArgs, command: &Value) -> Result<(), Error> {
    let machine = Client::new(&args.api).post(PATH, command)?;
    if args.json { output::line(machine) } else { output::line(sentence(&machine)) }
}

/// Shows what may be used beside what is.
pub(crate) fn limits(args: &AskArgs) -> Result<(), Error> {
    let machine = Client::new(&args.api).get(PATH)?;
    if args.json {
        return output::line(machine);
    }
    output::line(sentence(&machine))?;
    output::line(format!("\n  {:<14}{:<22}used", "", "allowed"))?;
    for (name, allowed, used) in rows(&machine) {
        output::line(format!("  {name:<14}{allowed:<22}{used}"))?;
    }
    Ok(())
}

/// What is lent now, if the API's node keeps to limits.
pub(crate) fn of(client: &Client) -> Result<Option<Value>, Error> {
    match client.get(PATH) {
        Ok(machine) => Ok(Some(machine)),
        Err(Error::Api { status: 404, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// One line: the state, why, and what would change it.
pub(crate) fn sentence(machine: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    match machine["state"].as_str() {
        Some("lending") => {
            let used = if machine["in_use"] == true { " while somebody uses it" } else { "" };
            format!("this machine is lent{used}, within its limits: skep limits")
        }
        Some("finishing") => {
            let work = machine["use"]["work"].as_u64().unwrap_or(0);
            format!("this machine finishes {work} answers of others and begins nothing new: skep resume lends it again")
        }
        _ => {
            let reason = &machine["reason"];
            // What the owner said ends when it was said to; what sensors say may go on.
            let least = if reason["code"] == "owner" { "" } else { " at least" };
            let ends = machine["until_ms"].as_u64().map(|at| format!(", for {}{least}", left(at))).unwrap_or_default();
            format!("this machine is not lent: {}{ends}. {}", text(&reason["text"]), text(&reason["remedy"]))
        }
    }
}

/// From now to that moment.
fn left(at_ms: u64) -> HumanDuration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    HumanDuration(Duration::from_millis(at_ms).saturating_sub(now))
}

/// Each thing that is lent: its name, what may be used of it, what is.
pub(crate) fn rows(machine: &Value) -> Vec<(&'static str, String, String)> {
    let (caps, used) = (&machine["caps"], &machine["use"]);
    let paused = caps.is_null();
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let bytes = |value: &Value| HumanBytes(number(value)).to_string();
    let allowed = |value: &Value, shown: &dyn Fn(&Value) -> String| match value {
        _ if paused => NOTHING.to_owned(),
        Value::Null => "no limit".to_owned(),
        value => shown(value),
    };
    let rate = |value: &Value| format!("{} per second", HumanBytes(number(value)));
    let percent = |value: &Value| format!("{} %", value.as_f64().unwrap_or(0.0));
    let left = |value: &Value| format!("{} left today", HumanBytes(number(value)));
    let gpu = match &caps["gpu"] {
        Value::Bool(true) => "yes",
        _ if paused => NOTHING,
        _ => "no",
    };
    vec![
        ("processors", allowed(&caps["cpu_percent"], &percent), percent(&used["cpu_percent"])),
        ("memory", allowed(&caps["memory_bytes"], &bytes), bytes(&used["memory_bytes"])),
        ("weights", String::new(), bytes(&used["weights_bytes"])),
        // What was fetched before stays there.
        (
            "disk",
            if paused { "nothing more".into() } else { allowed(&caps["disk_bytes"], &bytes) },
            bytes(&used["disk_bytes"]),
        ),
        ("graphics", gpu.to_owned(), "no".to_owned()),
        ("sending", allowed(&caps["upload"], &rate), rate(&used["upload"])),
        ("receiving", allowed(&caps["download"], &rate), rate(&used["download"])),
        ("transfers", allowed(&caps["transfer_left"], &left), bytes(&used["transferred_today_bytes"])),
        ("answers", String::new(), format!("{} of others in progress", number(&used["work"]))),
    ]
}

/// A time as people write it: 90, 90s, 15m, 2h, 1d.
pub(crate) fn parse_time(text: &str) -> Result<Duration, String> {
    let wanted = || "a time is written as 45s, 15m, 2h or 1d, at most a year".to_owned();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let seconds = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wanted()),
    };
    let number: u64 = digits.parse().map_err(|_| wanted())?;
    let time = number.checked_mul(seconds).filter(|time| (1..=366 * 86_400).contains(time));
    time.map(Duration::from_secs).ok_or_else(wanted)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_as_people_write_it() {
        for (text, seconds) in [("90", 90), ("45s", 45), ("15m", 900), ("2h", 7200), ("366d", 366 * 86_400)] {
            assert_eq!(parse_time(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "0", "h", "2 h", "2w", "-1h", "1.5h", "367d", "99999999999999999999h"] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn one_line_says_the_state_and_what_would_change_it() {
        let lent = json!({"state": "lending", "in_use": true});
        assert_eq!(sentence(&lent), "this machine is lent while somebody uses it, within its limits: skep limits");
        let finishing = json!({"state": "finishing", "use": {"work": 2}});
        assert!(sentence(&finishing).starts_with("this machine finishes 2 answers of others"));
        let reason = json!({"text": "you paused it", "remedy": "`skep resume` lends this machine again."});
        let paused = json!({"state": "paused", "reason": reason, "until_ms": null});
        assert_eq!(
            sentence(&paused),
            "this machine is not lent: you paused it. `skep resume` lends this machine again."
        );
    }

    #[test]
    fn what_is_allowed_stands_beside_what_is_used() {
        let used = json!({"cpu_percent": 12.5, "upload": 1024, "work": 1});
        let caps =
            json!({"cpu_percent": 50, "memory_bytes": 1 << 30, "gpu": false, "upload": null, "transfer_left": 2048});
        let lent = rows(&json!({"caps": caps, "use": used}));
        assert_eq!(lent[0], ("processors", "50 %".into(), "12.5 %".into()));
        assert_eq!(lent[5], ("sending", "no limit".into(), "1.00 KiB per second".into()));
        assert_eq!(lent[7].1, "2.00 KiB left today");
        assert_eq!(rows(&json!({"caps": null, "use": used}))[0].1, "nothing");
    }
}
