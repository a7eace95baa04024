//! `skep models`: the models of a running node and its network, whether they fit, and what is on its way.

use crate::args::AskArgs;
use crate::client::Client;
use crate::error::Error;
use crate::output;
use indicatif::HumanBytes;
use serde_json::Value;

/// Lists models and pulls; of a demo, which keeps none, the model that it serves.
pub(crate) fn run(args: &AskArgs) -> Result<(), Error> {
    let client = Client::new(&args.api);
    let models = match client.get("/skep/v1/models") {
        Err(Error::Api { status: 404, .. }) => client.get("/v1/models")?,
        answered => answered?,
    };
    if args.json {
        return output::line(models);
    }
    lines(&models).iter().try_for_each(output::line)
}

/// The models, each with why it fits or not under it, and the pulls.
fn lines(view: &Value) -> Vec<String> {
    if let Some(served) = view["data"].as_array() {
        return served
            .iter()
            .map(|model| format!("{}  {}", text(&model["id"]), text(&model["skep"]["name"])))
            .collect();
    }
    let mut lines =
        vec!["  id           here                     network                fits               name".to_owned()];
    for model in list(&view["models"]) {
        let id = text(&model["id"]);
        lines.push(format!(
            "  {:<10}   {:<22}   {:<20}   {:<16}   {}{}",
            id.get(..10).unwrap_or(id),
            here(model),
            network(&model["served"]),
            fits(&model["fits"]),
            model["name"].as_str().unwrap_or("-"),
            if model["in_use"] == true { " (in use)" } else { "" }
        ));
        lines.push(format!("               {}", text(&model["why"])));
    }
    let pulls = list(&view["pulls"]);
    if !pulls.is_empty() {
        lines.push("\n  on the way".to_owned());
        lines.extend(pulls.iter().map(pull));
    }
    lines
}

fn here(model: &Value) -> String {
    let (held, all) = (bytes(&model["held_bytes"]), bytes(&model["bytes"]));
    if model["complete"] == true { all } else { format!("{held} of {all}") }
}

fn network(served: &Value) -> String {
    match (served["held"].as_u64(), served["blocks"].as_u64()) {
        (Some(held), Some(blocks)) if held == blocks => format!("all {blocks} blocks"),
        (Some(held), Some(blocks)) => format!("{held} of {blocks} blocks"),
        _ => "-".to_owned(),
    }
}

fn fits(fits: &Value) -> &'static str {
    match fits.as_str() {
        Some("here") => "fits here",
        Some("network") => "fits the network",
        Some("no") => "does not fit",
        _ => "not known",
    }
}

fn pull(pull: &Value) -> String {
    let came = match pull["total"].as_u64() {
        Some(total) if total > 0 => {
            let percent = pull["bytes"].as_u64().unwrap_or(0).saturating_mul(100) / total;
            format!("{percent} % of {}", HumanBytes(total))
        }
        _ => bytes(&pull["bytes"]),
    };
    let rate = pull["bytes_per_second"].as_u64().map(|rate| format!(", {} per second", HumanBytes(rate)));
    let why = pull["error"]["message"].as_str().map(|why| format!(": {why}"));
    let (rate, why) = (rate.unwrap_or_default(), why.unwrap_or_default());
    format!(
        "  {:<10}   {came}{rate}   {} from {}{why}",
        text(&pull["state"]),
        text(&pull["name"]),
        text(&pull["source"])
    )
}

fn bytes(value: &Value) -> String {
    HumanBytes(value.as_u64().unwrap_or(0)).to_string()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn models_stand_with_their_reasons_and_pulls_below() {
        let served = json!({"blocks": 8, "held": 6});
        let models = json!([
            {"id": "0123456789abcdef", "name": "bard", "bytes": 1 << 20, "held_bytes": 1 << 19, "complete": false,
             "in_use": true, "served": served, "fits": "no", "why": "It is large."},
            {"id": "fedcba", "name": null, "bytes": 2048, "complete": true, "served": null, "fits": "here", "why": "It is small."},
        ]);
        let pull = json!({"state": "failed", "bytes": 512, "total": 2048, "bytes_per_second": 1024, "name": "x",
                          "source": "/x.gguf", "error": {"message": "it broke"}});
        let told = lines(&json!({"models": models, "pulls": [pull]}));
        assert_eq!(
            told[1..],
            [
                "  0123456789   512.00 KiB of 1.00 MiB   6 of 8 blocks          does not fit       bard (in use)",
                "               It is large.",
                "  fedcba       2.00 KiB                 -                      fits here          -",
                "               It is small.",
                "\n  on the way",
                "  failed       25 % of 2.00 KiB, 1.00 KiB per second   x from /x.gguf: it broke",
            ]
        );
        let demo = json!({"data": [{"id": "01", "skep": {"name": "bard"}}]});
        assert_eq!(lines(&demo), ["01  bard"]);
    }
}
