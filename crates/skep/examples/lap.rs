//! How close one token's lap around a chain comes to the law `C + (k+1)·(RTT/2 + P)`.
//!
//! For k = 1, 2, 3, … stages over real sockets on this machine it answers one prompt greedily and prints tokens per second, the time
//! that each stage held a frame (C is their sum), the round-trip time of the links, the lap, and the software cost P per trip that
//! the lap leaves: `P = (lap − C) / (k+1) − RTT/2`. A measurement, not a test: it fails on nothing but a failed answer.
//!
//! `cargo run --release -p skep --example lap -- [MODEL.gguf]`; without a file, the bundled model.

use skep_node::{Event, GatewayLimits, GenerateRequest, Node, NodeConfig, Prompt, StageLimits, Summary};
use skep_types::BlockRange;
use skep_types::wire::Peer;
use std::path::{Path, PathBuf};

type Failure = Box<dyn std::error::Error>;
const TOKENS: u32 = 200;
const RUNS: usize = 5;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    let bundled = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("assets/skep-bard-q8_0.gguf");
    let model = std::env::args().nth(1).map_or(bundled, PathBuf::from);
    let file = skep_model::Gguf::open(&model)?;
    let n_blocks = skep_model::ModelConfig::from_gguf(&file)?.n_blocks;
    println!("{}: {n_blocks} blocks, {TOKENS} greedy tokens, median of {RUNS} runs", model.display());
    println!(
        "\n stages   tokens/s   lap ms   C ms    RTT ms   P ms    lap / (C + (k+1)·(RTT/2 + 2 ms))   ms in each stage"
    );
    for k in 1..=n_blocks.min(6) {
        let nodes = chain(&model, n_blocks, k).await?;
        let mut runs = Vec::new();
        for _ in 0..RUNS {
            runs.push(answer(&nodes[0]).await?);
        }
        runs.sort_by(|a, b| a.total_ms.total_cmp(&b.total_ms));
        print_row(k, &runs[RUNS / 2]);
        for node in nodes.into_iter().rev() {
            node.close().await;
        }
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

async fn answer(gateway: &Node) -> Result<Summary, Failure> {
    let request = GenerateRequest {
        model: None,
        prompt: Prompt::Text("Once upon a time".into()),
        max_tokens: Some(TOKENS),
        stop: Vec::new(),
        sampling: skep_model::SamplingParams::greedy(),
        pace: None,
    };
    let gateway = gateway.gateway().ok_or("the first node is the gateway")?;
    let mut generation = gateway.generate(request).await?;
    while let Some(event) = generation.events.recv().await {
        if let Event::Done(summary) = event? {
            return Ok(*summary);
        }
    }
    Err("the answer broke off".into())
}

fn print_row(k: u32, summary: &Summary) {
    let per_frame: Vec<f64> = summary.hops.iter().map(|hop| hop.hold_ms / f64::from(hop.frames.max(1))).collect();
    let compute: f64 = per_frame.iter().sum();
    let rtts: Vec<f64> = summary.hops.iter().filter_map(|hop| hop.rtt_ms).collect();
    let rtt = rtts.iter().sum::<f64>() / rtts.len().max(1) as f64;
    let lap = summary.lap_ms.unwrap_or(0.0);
    let trips = f64::from(k + 1);
    let software = (lap - compute) / trips - rtt / 2.0;
    let law = compute + trips * (rtt / 2.0 + 2.0);
    let speed = f64::from(summary.completion_tokens) / summary.total_ms * 1e3;
    let stages: Vec<String> = per_frame.iter().map(|ms| format!("{ms:.2}")).collect();
    println!(
        " {k:>6}   {speed:>8.0}   {lap:>6.2}   {compute:>5.2}   {rtt:>6.2}   {software:>5.2}   {:>34.2}   {}",
        lap / law,
        stages.join(" ")
    );
}
