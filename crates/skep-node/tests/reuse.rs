//! Answers that begin as earlier ones did: the same text, without running what was run.

#![allow(clippy::unwrap_used, reason = "a test")]

use skep_model::{Gguf, ModelConfig, SamplingParams};
use skep_node::{Event, Gateway, GatewayLimits, GenerateRequest, Node, NodeConfig, Prompt, StageLimits};
use skep_types::BlockRange;
use skep_types::wire::Peer;
use std::path::{Path, PathBuf};

fn bundled() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../skep/assets/skep-bard-q8_0.gguf")
}

async fn start(blocks: Option<BlockRange>, join: Option<Peer>) -> Node {
    let config = NodeConfig {
        secret: skep_net::random_bytes(),
        bind: "127.0.0.1:0".parse().unwrap(),
        model: bundled(),
        blocks,
        gateway: blocks.is_none().then(GatewayLimits::default),
        stage: StageLimits::default(),
        admitted: None,
        join,
        invite: None,
        steward: None,
    };
    Node::start(config).await.unwrap()
}

async fn answer(gateway: &Gateway, prompt: &[u32]) -> String {
    let request = GenerateRequest {
        model: None,
        prompt: Prompt::Tokens(prompt.to_vec()),
        max_tokens: Some(20),
        stop: Vec::new(),
        sampling: SamplingParams { seed: 5, ..SamplingParams::default() },
        pace: None,
    };
    let mut generation = gateway.generate(request).await.unwrap();
    let mut text = String::new();
    while let Event::Text { text: piece, .. } = generation.events.recv().await.unwrap().unwrap() {
        text.push_str(&piece);
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prompt_begun_before_is_run_from_where_it_differs_on_every_stage() {
    let config = ModelConfig::from_gguf(&Gguf::open(&bundled()).unwrap()).unwrap();
    let (n, vocab) = (config.n_blocks, config.vocab as u32);
    let gateway = start(None, None).await;
    let mut stages = Vec::new();
    for (first, end) in [(0, 1), (1, 2), (2, n)] {
        stages.push(start(Some(BlockRange::new(first, end).unwrap()), Some(gateway.peer().clone())).await);
    }
    let reused = || stages.iter().map(Node::reused_positions).collect::<Vec<_>>();
    let common: Vec<u32> = (0..100).map(|i| 256 + (i * 37) % (vocab - 256)).collect();
    let mut other = common.clone();
    other.extend([300, 301, 302]);
    let first = answer(gateway.gateway().unwrap(), &common).await;
    assert_eq!(reused(), [0, 0, 0]);
    let second = answer(gateway.gateway().unwrap(), &other).await;
    assert_eq!(reused(), [96, 96, 96]);
    // Both again, now that all that is whole pages is stored, the drawn tokens among them.
    assert_eq!(answer(gateway.gateway().unwrap(), &common).await, first);
    assert_eq!(answer(gateway.gateway().unwrap(), &other).await, second);
    assert!(reused().iter().all(|count| *count >= 3 * 96), "{:?}", reused());
    for node in stages.into_iter().rev() {
        node.close().await;
    }
    gateway.close().await;
}
