//! The API in front of a backend that only pretends, for trying clients without a model: it says words drawn from the seed.
//! `cargo run -p skep-api --example scripted -- 4690`

#[allow(dead_code, clippy::unwrap_used, reason = "shared with the tests, which use all of it")]
#[path = "../tests/api/scripted.rs"]
mod scripted;

use scripted::{Script, Scripted, summary};
use skep_api::{ApiConfig, Patience, router, serve};
use skep_node::{Event, FinishReason, GenerateError, GenerateRequest, Prompt};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::time::Duration;

const WORDS: [&str; 12] =
    ["bees ", "build ", "one ", "hive, ", "and ", "no ", "single ", "bee ", "holds ", "it.\n", "Honey ", "\u{1f41d} "];

fn word(seed: u64, index: u32) -> &'static str {
    let mut hasher = DefaultHasher::new();
    (seed, index).hash(&mut hasher);
    WORDS[hasher.finish() as usize % WORDS.len()]
}

fn plan(request: &GenerateRequest) -> Script {
    if let Some(asked) = request
        .model
        .as_deref()
        .filter(|model| *model != scripted::card().name && *model != scripted::card().id.to_string())
    {
        return Script { refuse: Some(GenerateError::UnknownModel { asked: asked.to_owned() }), ..Script::default() };
    }
    if let Prompt::Chat(messages) = &request.prompt
        && messages.iter().map(|message| message.content.len()).sum::<usize>() > 10_000
    {
        let error = GenerateError::PromptTooLong { prompt: 10_000, context: 512 };
        return Script { refuse: Some(error), ..Script::default() };
    }
    let seed = if request.sampling.temperature == 0.0 { 0 } else { request.sampling.seed };
    let limit = request.max_tokens.unwrap_or(400).min(400);
    let whole: String = (0..limit).map(|index| word(seed, index)).collect();
    let cut = request.stop.iter().filter_map(|stop| whole.find(stop.as_str())).min();
    let (mut rest, finish) = match cut {
        Some(cut) => (&whole[..cut], FinishReason::Stop),
        None => (whole.as_str(), FinishReason::Length),
    };
    let mut events = Vec::new();
    for index in 0..limit {
        let (piece, after) = rest.split_at(word(seed, index).len().min(rest.len()));
        rest = after;
        events.push(Ok(Event::Text { text: piece.to_owned(), token_index: index }));
        if rest.is_empty() {
            break;
        }
    }
    let mut done = summary(finish, events.len() as u32);
    if let Prompt::Chat(messages) = &request.prompt {
        done.prompt_tokens = messages.len() as u32 * 5;
    }
    events.push(Ok(Event::Done(Box::new(done))));
    let pace = request.pace.map_or(Duration::from_millis(5), |rate| Duration::from_secs_f32(1.0 / rate));
    Script { events, pace, ..Script::default() }
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok()).unwrap_or(4690);
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    writeln!(io::stdout(), "http://{}", listener.local_addr()?)?;
    let shutdown = async { drop(tokio::signal::ctrl_c().await) };
    serve(listener, router(Scripted::new(plan), ApiConfig::default()), Patience::default(), shutdown).await
}
