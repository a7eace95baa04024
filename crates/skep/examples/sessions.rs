//! How many tokens a second a chain of nodes gives to one session and to eight at once, over real QUIC on one machine.
//!
//! With `--prompt N` one more session reads a prompt of N tokens meanwhile, and the longest time between two tokens of the
//! others is shown. With `--shared N` eight sessions whose prompts begin with the same N tokens come one after the other, and the
//! time to the first token is shown with and without such a beginning. A measurement, not a test.
//!
//! `cargo run --release -p skep --example sessions -- MODEL.gguf [--stages K] [--tokens N] [--prompt N] [--shared N]`

use skep_node::{Event, GatewayLimits, GenerateRequest, Node, NodeConfig, Prompt, StageLimits};
use skep_types::BlockRange;
use skep_types::wire::Peer;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

type Failure = Box<dyn std::error::Error>;
const USAGE: &str = "usage: sessions MODEL.gguf [--stages K] [--tokens N] [--prompt N] [--shared N]";
const SESSIONS: u32 = 8;
/// When the long prompt comes: the other session has begun to decode by then.
const PROMPT_AFTER: Duration = Duration::from_millis(100);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    let mut words = std::env::args().skip(1);
    let model = PathBuf::from(words.next().ok_or(USAGE)?);
    let (mut stages, mut tokens, mut prompt, mut shared) = (3, 64, 0, 0);
    while let Some(option) = words.next() {
        let value: u32 = words.next().ok_or(USAGE)?.parse()?;
        match option.as_str() {
            "--stages" => stages = value,
            "--tokens" => tokens = value,
            "--prompt" => prompt = value,
            "--shared" => shared = value,
            _ => return Err(USAGE.into()),
        }
    }
    let n_blocks = skep_model::ModelConfig::from_gguf(&skep_model::Gguf::open(&model)?)?.n_blocks;
    let nodes = chain(&model, n_blocks, stages).await?;
    println!("{}: {stages} stages, {tokens} tokens a session", model.display());
    for sessions in [1, SESSIONS, 1, SESSIONS] {
        let (rate, longest) = measure(&nodes[0], sessions, tokens, 0).await?;
        println!("{sessions} sessions: {rate:.1} tokens/s in all, longest wait for a token {longest:.0?}");
    }
    if prompt > 0 {
        let (_, longest) = measure(&nodes[0], 1, tokens, prompt).await?;
        println!("1 session beside a prompt of {prompt}: longest wait for a token {longest:.0?}");
    }
    if shared > 0 {
        for (what, alike) in [("prompts that differ", false), ("prompts that begin alike", true)] {
            let before: u64 = nodes.iter().map(Node::reused_positions).sum();
            let took = one_by_one(&nodes[0], shared, alike).await?;
            let reused = nodes.iter().map(Node::reused_positions).sum::<u64>() - before;
            println!("{SESSIONS} {what}, {shared} tokens: {took:.1?} each, {reused} positions not run in all stages");
        }
    }
    for node in nodes.into_iter().rev() {
        node.close().await;
    }
    Ok(())
}

/// A gateway without blocks, and `k` nodes that share all of them evenly.
async fn chain(model: &Path, n_blocks: u32, k: u32) -> Result<Vec<Node>, Failure> {
    let mut nodes = vec![start(model, None, None).await?];
    for stage in 0..k {
        let blocks = BlockRange::new(stage * n_blocks / k, (stage + 1) * n_blocks / k)?;
        let gateway = nodes[0].peer().clone();
        nodes.push(start(model, Some(blocks), Some(gateway)).await?);
    }
    Ok(nodes)
}

async fn start(model: &Path, blocks: Option<BlockRange>, join: Option<Peer>) -> Result<Node, Failure> {
    let config = NodeConfig {
        secret: skep_net::random_bytes(),
        bind: "127.0.0.1:0".parse()?,
        model: model.to_owned(),
        blocks,
        gateway: blocks.is_none().then(GatewayLimits::default),
        stage: StageLimits::default(),
        admitted: None,
        join,
        invite: None,
        steward: None,
    };
    Ok(Node::start(config).await?)
}

/// Tokens per second of all sessions together after their first ones, and the longest time between two tokens of one.
async fn measure(gateway: &Node, sessions: u32, tokens: u32, prompt: u32) -> Result<(f64, Duration), Failure> {
    let started = Instant::now();
    let mut answers = tokio::task::JoinSet::new();
    for session in 0..sessions {
        let gateway = gateway.gateway().ok_or("the first node is the gateway")?.clone();
        let ids = (0..16).map(|i| 300 + i * 7 + session * 131).collect();
        answers.spawn(async move { answer(gateway, ids, tokens).await.map_err(|error| error.to_string()) });
    }
    if prompt > 0 {
        let gateway = gateway.gateway().ok_or("the first node is the gateway")?.clone();
        tokio::time::sleep(PROMPT_AFTER).await;
        let ids = (0..prompt).map(|i| 300 + (i * 31) % 2000).collect();
        tokio::spawn(async move { answer(gateway, ids, 1).await.map_err(|error| error.to_string()) });
    }
    let (mut longest, mut drawn) = (Duration::ZERO, 0);
    while let Some(answer) = answers.join_next().await {
        let (count, gap) = answer??;
        drawn += count;
        longest = longest.max(gap);
    }
    Ok((f64::from(drawn) / started.elapsed().as_secs_f64(), longest))
}

/// The mean time of an answer of one token to a prompt of `n` tokens that is, or is not, as the one before but for its last tokens.
async fn one_by_one(gateway: &Node, n: u32, alike: bool) -> Result<Duration, Failure> {
    let gateway = gateway.gateway().ok_or("the first node is the gateway")?;
    let ids = |session: u32| -> Vec<u32> {
        let salt = if alike { 0 } else { 1 + session };
        (0..n).map(|i| 300 + (i * 31 + salt * 577) % 2000).chain([400 + session, 500]).collect()
    };
    if alike {
        answer(gateway.clone(), ids(SESSIONS), 1).await?;
    }
    let started = Instant::now();
    for session in 0..SESSIONS {
        answer(gateway.clone(), ids(session), 1).await?;
    }
    Ok(started.elapsed() / SESSIONS)
}

async fn answer(gateway: skep_node::Gateway, ids: Vec<u32>, tokens: u32) -> Result<(u32, Duration), Failure> {
    let request = GenerateRequest {
        model: None,
        prompt: Prompt::Tokens(ids),
        max_tokens: Some(tokens),
        stop: Vec::new(),
        sampling: skep_model::SamplingParams::greedy(),
        pace: None,
    };
    let mut generation = gateway.generate(request).await?;
    let (mut last, mut longest): (Option<Instant>, Duration) = (None, Duration::ZERO);
    while let Some(event) = generation.events.recv().await {
        match event? {
            Event::Text { .. } => {
                let now = Instant::now();
                longest = longest.max(last.map_or(Duration::ZERO, |last| now - last));
                last = Some(now);
            }
            Event::Done(summary) => return Ok((summary.completion_tokens, longest)),
        }
    }
    Err("the answer broke off".into())
}
