//! `skep chat`: ask a running network from the terminal.

use crate::args::ChatArgs;
use crate::client::Client;
use crate::error::Error;
use crate::output;
use serde_json::{Value, json};
use std::io::{BufRead, IsTerminal};

/// Answers one prompt, or every line of standard input.
pub(crate) fn run(args: &ChatArgs) -> Result<(), Error> {
    let client = Client::new(&args.ask.api);
    if let Some(prompt) = &args.prompt {
        let messages = vec![json!({ "role": "user", "content": prompt })];
        return ask(&client, args, &messages).map(drop);
    }
    // A wrong address is told before the person types.
    client.get("/v1/models")?;
    let mut messages = Vec::new();
    let interactive = std::io::stdin().is_terminal();
    loop {
        if interactive {
            eprint!("> ");
        }
        let mut line = String::new();
        let read = std::io::stdin().lock().read_line(&mut line);
        let read = read.map_err(|source| Error::System { what: "reading standard input".into(), source })?;
        if read == 0 {
            return Ok(());
        }
        if line.trim().is_empty() {
            continue;
        }
        messages.push(json!({ "role": "user", "content": line.trim_end_matches(['\r', '\n']) }));
        let answer = ask(&client, args, &messages)?;
        messages.push(json!({ "role": "assistant", "content": answer }));
    }
}

/// Asks once, prints the answer as it comes, and returns it.
fn ask(client: &Client, args: &ChatArgs, messages: &[Value]) -> Result<String, Error> {
    let mut body = json!({ "messages": messages, "model": model(client)? });
    let options = [
        ("max_tokens", args.max_tokens.map(Value::from)),
        ("temperature", args.temperature.map(Value::from)),
        ("seed", args.seed.map(Value::from)),
    ];
    for (name, value) in options {
        if let Some(value) = value {
            body[name] = value;
        }
    }
    if args.ask.json {
        let answer = client.post("/v1/chat/completions", &body)?;
        output::line(&answer)?;
        return Ok(answer["choices"][0]["message"]["content"].as_str().unwrap_or_default().to_owned());
    }
    body["stream"] = json!(true);
    let mut text = String::new();
    let mut explained = Value::Null;
    client.post_stream("/v1/chat/completions", &body, |chunk| {
        if let Some(piece) = chunk["choices"][0]["delta"]["content"].as_str() {
            text.push_str(piece);
            output::write(piece)?;
        }
        if chunk.get("skep").is_some_and(Value::is_object) {
            explained = chunk["skep"].clone();
        }
        Ok(())
    })?;
    output::line("")?;
    if std::io::stderr().is_terminal() {
        eprintln!("{}", explain(&explained));
    }
    Ok(text)
}

fn model(client: &Client) -> Result<Value, Error> {
    Ok(client.get("/v1/models")?["data"][0]["id"].clone())
}

/// One line on how the answer came about.
pub(crate) fn explain(summary: &Value) -> String {
    let hops = summary["hops"].as_array().map(Vec::as_slice).unwrap_or_default();
    let route: Vec<String> = hops.iter().map(hop).collect();
    let lost = summary["recoveries"].as_array().map_or(0, Vec::len);
    let lost = if lost == 0 { String::new() } else { format!(", {lost} change(s) of route on the way") };
    let total = summary["total_ms"].as_f64().unwrap_or(0.0);
    format!("[{} tokens in {total:.0} ms by {}{lost}]", summary["completion_tokens"], route.join(" → "))
}

fn hop(hop: &Value) -> String {
    let node = hop["node"].as_str().unwrap_or_default();
    let frames = hop["frames"].as_f64().unwrap_or(0.0).max(1.0);
    let per_frame = hop["hold_ms"].as_f64().unwrap_or(0.0) / frames;
    format!("{}[{}..{}] {per_frame:.2} ms", node.get(..10).unwrap_or(node), hop["blocks"][0], hop["blocks"][1])
}
