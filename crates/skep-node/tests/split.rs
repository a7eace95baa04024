//! A model split over nodes with real sockets between them answers exactly as one node that holds all of it.

#![allow(clippy::unwrap_used, reason = "a test")]

use skep_model::{Gguf, ModelConfig, SamplingParams};
use skep_node::{Event, GatewayLimits, GenerateRequest, Generation, Node, NodeConfig, Prompt, StageLimits, Summary};
use skep_types::BlockRange;
use skep_types::wire::Peer;
use std::path::{Path, PathBuf};

const PROMPT: &str = "Once upon a time, there was a little girl named Lily. She";

fn config(model: &Path, blocks: Option<BlockRange>, chunk: Option<u32>, join: Option<Peer>) -> NodeConfig {
    NodeConfig {
        secret: skep_net::random_bytes(),
        bind: "127.0.0.1:0".parse().unwrap(),
        model: model.to_owned(),
        blocks,
        gateway: chunk.map(|prefill_chunk| GatewayLimits { prefill_chunk, ..GatewayLimits::default() }),
        stage: StageLimits::default(),
        admitted: None,
        join,
        invite: None,
        steward: None,
    }
}

/// A gateway that holds nothing and one node for each range.
async fn network(model: &Path, ranges: &[(u32, u32)], chunk: u32) -> Vec<Node> {
    let mut nodes = vec![Node::start(config(model, None, Some(chunk), None)).await.unwrap()];
    for (start, end) in ranges {
        let blocks = BlockRange::new(*start, *end).unwrap();
        let gateway = nodes[0].peer().clone();
        nodes.push(Node::start(config(model, Some(blocks), None, Some(gateway))).await.unwrap());
    }
    nodes
}

fn request(max_tokens: u32) -> GenerateRequest {
    GenerateRequest {
        model: None,
        prompt: Prompt::Text(PROMPT.into()),
        max_tokens: Some(max_tokens),
        stop: Vec::new(),
        sampling: SamplingParams { temperature: 0.0, ..SamplingParams::default() },
        pace: None,
    }
}

/// The text of an answer and how it came about.
async fn answer(node: &Node, request: GenerateRequest) -> (String, Summary) {
    read(node.gateway().unwrap().generate(request).await.unwrap()).await
}

async fn read(mut generation: Generation) -> (String, Summary) {
    let mut text = String::new();
    let mut next_index = 0;
    loop {
        match generation.events.recv().await.unwrap().unwrap() {
            Event::Text { text: piece, token_index } => {
                assert!(token_index == next_index || token_index + 1 == next_index, "a token came twice or was lost");
                next_index = token_index + 1;
                text.push_str(&piece);
            }
            Event::Done(summary) => return (text, *summary),
        }
    }
}

async fn close(nodes: Vec<Node>) {
    for node in nodes.into_iter().rev() {
        node.close().await;
    }
}

fn stories3m() -> Option<PathBuf> {
    skep_testkit::shared_data("llm/stories3M/stories3M-f32.gguf")
}

/// The answer of one node that holds every block and talks to itself.
async fn alone(model: &Path, max_tokens: u32) -> (String, Summary) {
    let n_blocks = ModelConfig::from_gguf(&Gguf::open(model).unwrap()).unwrap().n_blocks;
    let whole = BlockRange::new(0, n_blocks).unwrap();
    let node = Node::start(config(model, Some(whole), Some(0), None)).await.unwrap();
    let result = answer(&node, request(max_tokens)).await;
    node.close().await;
    result
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_split_and_every_prefill_chunk_gives_the_same_200_tokens() {
    let Some(model) = stories3m() else { return };
    let (expected, summary) = alone(&model, 200).await;
    assert_eq!(summary.completion_tokens, 200, "the reference must not end early: {expected}");
    let splits: [&[(u32, u32)]; 5] = [
        &[(0, 3), (3, 6)],
        &[(0, 2), (2, 4), (4, 6)],
        &[(0, 1), (1, 3), (3, 4), (4, 6)],
        &[(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 6)],
        // One block each with a replica each, as in the bar: twelve nodes.
        &[(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 6), (0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 6)],
    ];
    for split in splits {
        for chunk in [1, 7, 32, 0] {
            let nodes = network(&model, split, chunk).await;
            let (text, summary) = answer(&nodes[0], request(200)).await;
            assert_eq!(text, expected, "split {split:?}, prefill chunk {chunk}");
            assert_eq!(summary.hops.len(), split.len().min(6), "each block must run where it lies");
            close(nodes).await;
        }
    }
}

/// Eight requests that have little in common: prompts of 2 to 300 tokens, greedy and drawn.
fn different_requests() -> Vec<GenerateRequest> {
    let prompt =
        |i: u32| (0..[2, 300, 17, 33, 64, 150, 5, 100][i as usize]).map(move |at| 400 + (at * 37 + i * 911) % 3000);
    let different = |i: u32| GenerateRequest {
        prompt: Prompt::Tokens(prompt(i).collect()),
        sampling: SamplingParams { temperature: i as f32 / 5.0, seed: u64::from(i), ..SamplingParams::default() },
        ..request(60)
    };
    (0..8).map(different).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_answers_at_once_are_the_answers_that_each_gets_alone() {
    let Some(model) = stories3m() else { return };
    let whole = Node::start(config(&model, Some(BlockRange::new(0, 6).unwrap()), Some(0), None)).await.unwrap();
    let mut expected = Vec::new();
    for request in different_requests() {
        expected.push(answer(&whole, request).await.0);
    }
    whole.close().await;
    for chunk in [64, 0, 7] {
        let nodes = network(&model, &[(0, 2), (2, 4), (4, 6)], chunk).await;
        let mut answers = tokio::task::JoinSet::new();
        for (i, request) in different_requests().into_iter().enumerate() {
            let gateway = nodes[0].gateway().unwrap().clone();
            answers.spawn(async move { (i, read(gateway.generate(request).await.unwrap()).await.0) });
        }
        while let Some(answer) = answers.join_next().await {
            let (i, text) = answer.unwrap();
            assert_eq!(text, expected[i], "request {i}, prefill chunk {chunk}");
        }
        close(nodes).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_leaves_in_mid_answer_is_replaced_and_the_text_is_the_same() {
    let Some(model) = stories3m() else { return };
    let (expected, _) = alone(&model, 120).await;
    let mut nodes = network(&model, &[(0, 3), (3, 6), (0, 3), (3, 6)], 32).await;
    let mut slow = request(120);
    slow.pace = Some(60.0);
    let mut generation = nodes[0].gateway().unwrap().generate(slow).await.unwrap();
    let victim = generation.route[1].node;
    let mut text = String::new();
    let summary = loop {
        match generation.events.recv().await.unwrap().unwrap() {
            Event::Text { text: piece, token_index } => {
                text.push_str(&piece);
                if token_index == 40 {
                    let at = nodes.iter().position(|node| node.peer().node == victim).unwrap();
                    nodes.remove(at).close().await;
                }
            }
            Event::Done(summary) => break summary,
        }
    };
    assert_eq!(text, expected);
    assert_eq!(summary.recoveries.len(), 1);
    assert_eq!(summary.recoveries[0].lost, [victim]);
    close(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_cannot_be_answered_are_refused_with_the_reason() {
    let Some(model) = stories3m() else { return };
    let nodes = network(&model, &[(0, 3)], 0).await;
    let gateway = nodes[0].gateway().unwrap();
    let error = gateway.generate(request(5)).await.unwrap_err();
    assert_eq!(error.to_string(), "no live node holds block 3");
    let unknown = GenerateRequest { model: Some("gpt-9".into()), ..request(5) };
    assert_eq!(gateway.generate(unknown).await.unwrap_err().to_string(), "the model `gpt-9` is not served here");
    let long = GenerateRequest { prompt: Prompt::Tokens(vec![5; 512]), ..request(5) };
    let error = gateway.generate(long).await.unwrap_err();
    assert_eq!(error.to_string(), "the prompt has 512 tokens and the context of this model holds 512");
    let foreign = GenerateRequest { prompt: Prompt::Tokens(vec![99_999]), ..request(5) };
    assert!(gateway.generate(foreign).await.is_err());
    close(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_nobody_reads_is_cancelled_and_its_sessions_are_freed() {
    let Some(model) = stories3m() else { return };
    let mut limited = config(&model, None, Some(0), None);
    limited.gateway = Some(GatewayLimits { active: 1, ..GatewayLimits::default() });
    let first = Node::start(limited).await.unwrap();
    let mut stage = config(&model, Some(BlockRange::new(0, 6).unwrap()), None, Some(first.peer().clone()));
    stage.stage.sessions = 1;
    let second = Node::start(stage).await.unwrap();
    for _ in 0..5 {
        let mut slow = request(400);
        slow.pace = Some(5.0);
        let mut generation = loop {
            match first.gateway().unwrap().generate(slow.clone()).await {
                Ok(generation) => break generation,
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
            }
        };
        // The node serves one session at once, so a token shows that the one before was freed.
        assert!(matches!(generation.events.recv().await.unwrap().unwrap(), Event::Text { .. }));
        drop(generation);
    }
    close(vec![first, second]).await;
}
