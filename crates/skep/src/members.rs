//! `skep members` and `skep remove`: who is of the network, and who is not any more.

use crate::args::{AskArgs, RemoveArgs};
use crate::client::Client;
use crate::error::Error;
use crate::output;
use crate::peers::{blocks, items, short, table, text};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// Digits of a key that name a member.
const LEAST_DIGITS: usize = 6;

/// Prints who is a member, and who was removed.
pub(crate) fn run(args: &AskArgs) -> Result<(), Error> {
    let listed = Client::new(&args.api).get("/skep/v1/members")?;
    if args.json {
        return output::line(&listed["members"]);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let rows = items(&listed["members"]).iter().map(|member| row(member, now));
    output::write(&table(&["member", "is", "state", "blocks", "pass for", "by"], rows.collect()))
}

fn row(member: &Value, now: u64) -> Vec<String> {
    let role = match text(&member["role"]) {
        "first" => "began the network",
        role => role,
    };
    let state = match member["alive"].as_bool() {
        Some(true) => "alive",
        Some(false) => "gone",
        None => "-",
    };
    let by = member["by"].as_str().map_or("-".to_owned(), short);
    let pass = member["pass_until"].as_u64().map_or("-".to_owned(), |until| lasts(until.saturating_sub(now)));
    vec![short(text(&member["id"])), role.to_owned(), state.to_owned(), blocks(&member["blocks"]), pass, by]
}

/// How long a pass lasts yet; what is over is shown as such.
fn lasts(seconds: u64) -> String {
    match seconds {
        0 => "over".to_owned(),
        1..7200 => format!("{} min", seconds.div_ceil(60)),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Removes the one member whose key begins as was said.
pub(crate) fn remove(args: &RemoveArgs) -> Result<(), Error> {
    let api = Client::new(&args.ask.api);
    let key = args.key.to_lowercase();
    let listed = api.get("/skep/v1/members")?;
    let mut found = items(&listed["members"])
        .iter()
        .filter_map(|member| member["id"].as_str())
        .filter(|id| key.len() >= LEAST_DIGITS && id.starts_with(&key));
    let id = match (found.next(), found.next()) {
        (Some(id), None) => id.to_owned(),
        _ if key.len() == 64 => key,
        (found, _) => return Err(Error::NoMember { key, several: found.is_some() }),
    };
    let removed = api.post("/skep/v1/remove", &json!({"node": id}))?;
    if args.ask.json {
        return output::line(removed);
    }
    output::line(format!("{} is no member any more", short(&id)))?;
    eprintln!(
        "Every member that can be reached refuses it within a minute; it keeps the weights that it has. An invite that it still holds lets in another key."
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_what_is_known_and_nothing_else() {
        let id = "ab".repeat(32);
        let known = json!({"id": id, "role": "first", "alive": true, "blocks": [0, 4], "pass_until": 1000, "by": "cd".repeat(32)});
        assert_eq!(row(&known, 400), ["ababababab", "began the network", "alive", "0..4", "10 min", "cdcdcdcdcd"]);
        let unknown =
            json!({"id": id, "role": "member", "alive": null, "blocks": null, "pass_until": null, "by": null});
        assert_eq!(row(&unknown, 400), ["ababababab", "member", "-", "-", "-", "-"]);
        assert_eq!((lasts(0), lasts(1_209_600), lasts(90_000)), ("over".into(), "14 days".into(), "25 h".into()));
    }
}
