//! Nodes measure what comes over their links, and tell.

#![allow(clippy::unwrap_used, reason = "a test")]

use skep_model::SamplingParams;
use skep_node::{Event, GatewayLimits, GenerateRequest, Node, NodeConfig, Prompt, StageLimits};
use skep_types::BlockRange;
use skep_types::wire::Peer;
use std::path::Path;
use std::time::Duration;

/// A node of the bundled model. The gateway sends a prompt in one frame, so that its rows are a large one.
async fn node(blocks: Option<(u32, u32)>, join: Option<Peer>) -> Node {
    let gateway = GatewayLimits { prefill_chunk: 0, ..GatewayLimits::default() };
    let config = NodeConfig {
        secret: skep_net::random_bytes(),
        bind: "127.0.0.1:0".parse().unwrap(),
        model: Path::new(env!("CARGO_MANIFEST_DIR")).join("../skep/assets/skep-bard-q8_0.gguf"),
        blocks: blocks.map(|(start, end)| BlockRange::new(start, end).unwrap()),
        gateway: join.is_none().then_some(gateway),
        stage: StageLimits::default(),
        admitted: None,
        join,
        invite: None,
        steward: None,
    };
    Node::start(config).await.unwrap()
}

async fn ask(gateway: &Node, prompt: Vec<u32>) {
    let request = GenerateRequest {
        model: None,
        prompt: Prompt::Tokens(prompt),
        max_tokens: Some(2),
        stop: Vec::new(),
        sampling: SamplingParams::default(),
        pace: None,
    };
    let mut generation = gateway.gateway().unwrap().generate(request).await.unwrap();
    while !matches!(generation.events.recv().await.unwrap().unwrap(), Event::Done(_)) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stage_measures_its_link_by_the_rows_of_prompts_and_tells_the_gateway() {
    let gateway = node(None, None).await;
    let first = node(Some((0, 4)), Some(gateway.peer().clone())).await;
    let second = node(Some((4, 8)), Some(gateway.peer().clone())).await;
    let goodput = || {
        let nodes = gateway.gateway().unwrap().network().nodes;
        nodes.into_iter().find(|view| view.id == second.peer().node).unwrap().figures.goodput
    };
    assert_eq!(goodput(), None, "nobody has measured yet");
    // A frame that is here as a whole before anybody looks says nothing, so one prompt may not be enough.
    let mut asked = 0;
    let bytes = loop {
        ask(&gateway, (0..200).map(|at| (at * 37 + asked * 911) % 200 + 10).collect()).await;
        asked += 1;
        tokio::time::sleep(Duration::from_millis(300)).await;
        if let Some(bytes) = goodput() {
            break bytes;
        }
    };
    println!("{:.1} MB/s after {asked} prompts", bytes as f64 / 1e6);
    assert!((1 << 10..1 << 40).contains(&bytes), "{bytes} bytes per second are no speed of a link");
    for node in [second, first, gateway] {
        node.close().await;
    }
}
