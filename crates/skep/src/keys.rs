//! `skep keys`: who else may use this machine's models.

use crate::args::AskArgs;
use crate::client::Client;
use crate::error::Error;
use crate::output;
use crate::peers::{items, table, text};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// Digits of an id that name a key.
const LEAST_DIGITS: usize = 4;

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Show the keys: what each opens, how much of it, until when, and when it was last used
    List(AskArgs),
    /// Make a key for a program or a device; it is printed this once
    Add(AddArgs),
    /// End a key at once, and the answers that it began
    Revoke(RevokeArgs),
}

#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// What to call it: the device or the program that it is for
    #[arg(value_name = "LABEL")]
    label: String,
    /// What it opens
    #[arg(long, value_name = "SCOPE", default_value = "use")]
    scope: ScopeName,
    /// Days until it ends [default: never]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: Option<u32>,
    /// Most requests in a minute [default: any number]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=60_000))]
    requests_per_minute: Option<u32>,
    /// Most tokens in a day of UTC, those of prompts included [default: any number]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1 << 50))]
    tokens_per_day: Option<u64>,
    #[command(flatten)]
    ask: AskArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    /// Its id, the beginning of it, or its label
    #[arg(value_name = "KEY")]
    key: String,
    #[command(flatten)]
    ask: AskArgs,
}

/// The scopes by their names on the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum ScopeName {
    /// The models
    Use,
    /// All that the owner can do, but to make keys
    Owner,
}

impl ScopeName {
    fn name(self) -> &'static str {
        match self {
            Self::Use => "use",
            Self::Owner => "owner",
        }
    }
}

pub(crate) fn run(command: &KeysCommand) -> Result<(), Error> {
    match command {
        KeysCommand::List(args) => list(args),
        KeysCommand::Add(args) => add(args),
        KeysCommand::Revoke(args) => revoke(args),
    }
}

fn list(args: &AskArgs) -> Result<(), Error> {
    let listed = Client::new(&args.api).get("/skep/v1/keys")?;
    if args.json {
        return output::line(&listed);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let rows: Vec<_> = items(&listed["keys"]).iter().map(|key| row(key, now)).collect();
    let head = ["id", "label", "opens", "a minute", "tokens a day", "today", "ends in", "last used"];
    output::write(&table(&head, rows))?;
    match items(&listed["reached_at"]).first() {
        Some(link) => eprintln!("Other machines reach this one at {}.", text(link)),
        None => eprintln!("Only this machine reaches it: `skep up --open` opens it to others."),
    }
    Ok(())
}

fn row(key: &Value, now: u64) -> Vec<String> {
    let number = |value: &Value| value.as_u64().map_or("any".to_owned(), |number| number.to_string());
    let ends = key["expires"].as_u64().map_or("-".to_owned(), |end| match end.saturating_sub(now) {
        0 => "over".to_owned(),
        left => span(left),
    });
    let used =
        key["last_used"].as_u64().map_or("never".to_owned(), |at| format!("{} ago", span(now.saturating_sub(at))));
    vec![
        text(&key["id"]).to_owned(),
        text(&key["label"]).to_owned(),
        text(&key["scope"]).to_owned(),
        number(&key["requests_per_minute"]),
        number(&key["tokens_per_day"]),
        number(&key["tokens_today"]),
        ends,
        used,
    ]
}

fn span(seconds: u64) -> String {
    match seconds {
        0..7200 => format!("{} min", seconds.div_ceil(60)),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

fn add(args: &AddArgs) -> Result<(), Error> {
    let terms = json!({
        "label": args.label, "scope": args.scope.name(), "days": args.days,
        "requests_per_minute": args.requests_per_minute, "tokens_per_day": args.tokens_per_day,
    });
    let made = Client::new(&args.ask.api).post("/skep/v1/keys", &terms)?;
    if args.ask.json {
        return output::line(made);
    }
    output::line(text(&made["key"]))?;
    eprintln!(
        "This is shown once. Programs send it as `authorization: Bearer KEY`; other machines' skep reads it from SKEP_API_KEY."
    );
    Ok(())
}

fn revoke(args: &RevokeArgs) -> Result<(), Error> {
    let api = Client::new(&args.ask.api);
    let listed = api.get("/skep/v1/keys")?;
    let wanted = args.key.to_lowercase();
    let is_meant = |key: &&Value| {
        let by_id = wanted.len() >= LEAST_DIGITS && text(&key["id"]).starts_with(&wanted);
        by_id || text(&key["label"]) == args.key
    };
    let mut found = items(&listed["keys"]).iter().filter(is_meant);
    let key = match (found.next(), found.next()) {
        (Some(key), None) => key,
        (found, _) => return Err(Error::NoKey { name: args.key.clone(), several: found.is_some() }),
    };
    let revoked = api.post("/skep/v1/keys/revoke", &json!({"id": key["id"]}))?;
    if args.ask.json {
        return output::line(revoked);
    }
    output::line(format!("{} ({}) opens nothing any more", text(&key["id"]), text(&key["label"])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_what_is_known_and_nothing_else() {
        let key = json!({
            "id": "0011223344", "label": "a phone", "scope": "use", "expires": 100_000, "requests_per_minute": 5,
            "tokens_per_day": null, "created": 0, "last_used": 400, "tokens_today": 7,
        });
        let told = ["0011223344", "a phone", "use", "5", "any", "7", "27 h", "10 min ago"];
        assert_eq!(row(&key, 1000), told);
        let fresh =
            json!({"id": "0", "label": "b", "scope": "owner", "expires": null, "last_used": null, "tokens_today": 0});
        assert_eq!(row(&fresh, 1000), ["0", "b", "owner", "any", "any", "0", "-", "never"]);
        assert_eq!(row(&key, 100_000)[6], "over");
    }
}
