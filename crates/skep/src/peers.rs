//! `skep peers` and `skep route`: what the gateway knows of its nodes, and what it makes of that.

use crate::args::{AskArgs, RouteArgs};
use crate::client::Client;
use crate::error::Error;
use crate::output;
use serde_json::Value;
use std::fmt::Write;

/// Prints who holds what, how fast, how far away.
pub(crate) fn run(args: &AskArgs) -> Result<(), Error> {
    let network = Client::new(&args.api).get("/skep/v1/network")?;
    if args.json {
        return output::line(&network["nodes"]);
    }
    let rows = items(&network["nodes"]).iter().map(|node| peer_row(node, text(&network["gateway"])));
    let head =
        ["node", "state", "blocks", "a block", "a visit", "wait", "delay", "link", "memory", "sessions", "label"];
    output::write(&table(&head, rows.collect()))?;
    output::line(
        "\nAll is measured: a block over one token, the fixed cost of a visit, the wait for others' work, the way there, and what comes \
         over the node's links a second.",
    )
}

fn peer_row(node: &Value, gateway: &str) -> Vec<String> {
    let figures = &node["figures"];
    let id = text(&node["id"]);
    let state = match (node["alive"] == true, id == gateway) {
        (true, true) => "this node",
        (true, false) => "alive",
        _ => "gone",
    };
    let correction = figures["correction_ms"].as_f64().unwrap_or(0.0);
    // What the gateway saw, where that is something that a reader would notice.
    let seen = if correction.abs() >= 0.1 { format!(" ({correction:+.1})") } else { String::new() };
    vec![
        short(id),
        state.to_owned(),
        blocks(&node["blocks"]),
        millis(&figures["decode_block_ms"]),
        millis(&figures["visit_ms"]) + &seen,
        millis(&figures["wait_ms"]),
        millis(&figures["delay_ms"]),
        figures["goodput"].as_f64().map_or("-".to_owned(), |bytes| format!("{:.1} MB/s", bytes / 1e6)),
        figures["memory"].as_u64().map_or("-".to_owned(), |bytes| format!("{} MiB", bytes >> 20)),
        figures["sessions"].as_u64().map_or("-".to_owned(), |count| count.to_string()),
        text(&node["label"]).to_owned(),
    ]
}

/// Prints the route of the last answer and of the next one.
pub(crate) fn route(args: &RouteArgs) -> Result<(), Error> {
    let view = Client::new(&args.ask.api).get("/skep/v1/route")?;
    if args.ask.json {
        return output::line(view);
    }
    let last = &view["last"];
    if last.is_object() {
        let hops =
            items(&last["hops"]).iter().map(|hop| format!("{} {}", short(text(&hop["node"])), blocks(&hop["blocks"])));
        output::line(format!("the last answer: {}", hops.collect::<Vec<_>>().join(" → ")))?;
        output::line(format!(
            "  measured: {} a token, {} to the first",
            millis(&last["lap_ms"]),
            millis(&last["first_token_ms"])
        ))?;
        why(&last["why"], args.explain)?;
    } else {
        output::line("the last answer: none yet")?;
    }
    match view["refused"].as_str() {
        Some(refused) => output::line(format!("\nthe next answer: no route: {refused}")),
        None => {
            output::line(format!("\nthe next answer: {}", stages(&view["next"]["expected"])))?;
            why(&view["next"], args.explain)
        }
    }
}

fn stages(expected: &Value) -> String {
    let stage = |stage: &Value| format!("{} {}", short(text(&stage["node"])), blocks(&stage["blocks"]));
    items(&expected["stages"]).iter().map(stage).collect::<Vec<_>>().join(" → ")
}

/// The choice in a sentence, and the numbers behind it if they are wanted.
fn why(why: &Value, explain: bool) -> Result<(), Error> {
    if !why.is_object() {
        return Ok(());
    }
    let expected = &why["expected"];
    let (read, written) = (&why["planned_for"][0], &why["planned_for"][1]);
    output::line(format!(
        "  expected: {} a token, {} to the first, planned for {read} tokens to read and {written} to write",
        millis(&expected["per_token_ms"]),
        millis(&expected["first_token_ms"])
    ))?;
    output::line(format!("  {}", text(&why["reason"])))?;
    if !explain {
        return Ok(());
    }
    let head = ["  stage", "blocks", "way there", "visits", "compute", "measured"];
    let mut rows: Vec<Vec<String>> = items(&expected["stages"])
        .iter()
        .map(|stage| {
            vec![
                format!("  {}", short(text(&stage["node"]))),
                blocks(&stage["blocks"]),
                millis(&stage["hop_ms"]),
                millis(&stage["visits_ms"]),
                millis(&stage["compute_ms"]),
                if stage["measured"] == true { "all".to_owned() } else { "in part".to_owned() },
            ]
        })
        .collect();
    rows.push(vec!["  and back".to_owned(), String::new(), millis(&expected["back_ms"])]);
    output::line("  where the time of the whole answer is expected to go:")?;
    output::write(&table(&head, rows))?;
    let instead = items(&why["instead"]);
    if instead.is_empty() {
        return Ok(());
    }
    output::line("  what else there was:")?;
    let rows = instead.iter().map(|other| {
        let outcome = match other["refused"].as_str() {
            Some(refused) => refused.to_owned(),
            None => stages(&other["route"]),
        };
        vec![
            format!("  {}", text(&other["what"])),
            millis(&other["route"]["per_token_ms"]),
            millis(&other["route"]["total_ms"]),
            outcome,
        ]
    });
    output::write(&table(&["  instead", "a token", "in all", "route"], rows.collect()))
}

/// Rows under their heads, each column as wide as its widest cell.
pub(crate) fn table(head: &[&str], rows: Vec<Vec<String>>) -> String {
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let lines: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |at: usize| lines.iter().filter_map(|line| line.get(at)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|at| width(at).unwrap_or(0)).collect();
    let mut text = String::new();
    for line in &lines {
        let mut row = String::new();
        for (cell, width) in line.iter().zip(&widths) {
            // Writing to a String cannot fail.
            let _ = write!(row, "{cell:<width$}   ");
        }
        text += row.trim_end();
        text.push('\n');
    }
    text
}

fn millis(value: &Value) -> String {
    match value.as_f64() {
        None => "-".to_owned(),
        Some(ms) if ms >= 10_000.0 => format!("{:.1} s", ms / 1e3),
        Some(ms) if ms >= 100.0 => format!("{ms:.0} ms"),
        Some(ms) if ms >= 1.0 => format!("{ms:.1} ms"),
        Some(ms) => format!("{ms:.3} ms"),
    }
}

pub(crate) fn blocks(value: &Value) -> String {
    match (value[0].as_u64(), value[1].as_u64()) {
        (Some(start), Some(end)) => format!("{start}..{end}"),
        _ => "-".to_owned(),
    }
}

pub(crate) fn short(id: &str) -> String {
    id.get(..10).unwrap_or(id).to_owned()
}

pub(crate) fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_stand_under_their_heads() {
        let rows = vec![vec!["ab".to_owned(), "→".to_owned()], vec!["c".to_owned()]];
        assert_eq!(table(&["x", "yy"], rows), "x    yy\nab   →\nc\n");
    }

    #[test]
    fn a_correction_that_nobody_would_notice_is_left_out() {
        let node = |correction: f64| {
            json!({"id": "ab".repeat(32), "alive": true, "blocks": [0, 4], "label": "trusted",
                "figures": {"decode_block_ms": 0.25, "visit_ms": 2.0, "wait_ms": 0.0, "delay_ms": null, "goodput": 12_340_000,
                    "correction_ms": correction, "memory": 5 << 20, "sessions": 2}})
        };
        let row = peer_row(&node(0.01), "another");
        let expected = [
            "ababababab",
            "alive",
            "0..4",
            "0.250 ms",
            "2.0 ms",
            "0.000 ms",
            "-",
            "12.3 MB/s",
            "5 MiB",
            "2",
            "trusted",
        ];
        assert_eq!(row, expected);
        assert_eq!(
            peer_row(&node(1.25), &"ab".repeat(32))[..5],
            ["ababababab", "this node", "0..4", "0.250 ms", "2.0 ms (+1.2)"]
        );
    }
}
