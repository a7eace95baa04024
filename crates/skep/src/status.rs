//! `skep status`: what a running network looks like.

use crate::args::AskArgs;
use crate::chat::explain;
use crate::client::Client;
use crate::error::Error;
use crate::{machine, output};
use serde_json::Value;

/// Prints the network as the gateway sees it.
pub(crate) fn run(args: &AskArgs) -> Result<(), Error> {
    let client = Client::new(&args.api);
    let mut network = client.get("/skep/v1/network")?;
    let machine = machine::of(&client)?;
    if args.json {
        network["machine"] = machine.unwrap_or(Value::Null);
        return output::line(network);
    }
    if let Some(machine) = machine {
        output::line(machine::sentence(&machine))?;
    }
    output::line(format!("{}\n", headline(&network)))?;
    output::line(HEADER)?;
    rows(&network).into_iter().try_for_each(output::line)?;
    if network["last_answer"].is_object() {
        output::line(format!("\nlast answer: {}", explain(&network["last_answer"])))?;
    }
    Ok(())
}

/// What stands over [`rows`].
pub(crate) const HEADER: &str = "  node         state   process   round trip   blocks";

/// The model, and how much it is asked.
pub(crate) fn headline(network: &Value) -> String {
    let name = text(&network["model"]["name"]);
    format!("model {name} ({} blocks), {} answers under way", blocks(network), network["active"])
}

/// A line for each node.
pub(crate) fn rows(network: &Value) -> Vec<String> {
    let nodes = network["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
    nodes.iter().map(|node| row(node, blocks(network))).collect()
}

fn blocks(network: &Value) -> u64 {
    network["model"]["blocks"].as_u64().unwrap_or(0)
}

fn row(node: &Value, blocks: u64) -> String {
    let state = if node["alive"] == true { "alive" } else { "gone" };
    let rtt = node["rtt_ms"].as_f64().map_or("-".to_owned(), |ms| format!("{ms:.2} ms"));
    let pid = node["pid"].as_u64().map_or("-".to_owned(), |pid| pid.to_string());
    let (start, end) = (node["blocks"][0].as_u64().unwrap_or(0), node["blocks"][1].as_u64().unwrap_or(0));
    let cells: String = (0..blocks).map(|block| if (start..end).contains(&block) { '■' } else { '·' }).collect();
    let id = text(&node["id"]);
    let relayed = if node["relayed"] == true { "   through the relay" } else { "" };
    format!(
        "  {:<10}   {state:<5}   {pid:<7}   {rtt:<10}   {cells} {start}..{end}{relayed}",
        id.get(..10).unwrap_or(id)
    )
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}
