//! Nodes go to other blocks while answers are under way.

#![allow(clippy::unwrap_used, reason = "a test")]

use skep_model::{Gguf, SamplingParams};
use skep_node::{
    DoorRules, Event, GatewayLimits, GenerateRequest, Generation, Moves, Node, NodeConfig, NodeView, Prompt,
    StageLimits, Summary, Weights, WeightsConfig, weight_bytes,
};
use skep_plan::{Holding, TURN_S};
use skep_types::wire::Peer;
use skep_types::{BlockRange, NodeId};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

fn bundled() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../skep/assets/skep-bard-q8_0.gguf")
}

fn blocks(start: u32, end: u32) -> BlockRange {
    BlockRange::new(start, end).unwrap()
}

fn config(model: PathBuf, blocks: Option<BlockRange>, join: Option<Peer>) -> NodeConfig {
    NodeConfig {
        secret: skep_net::random_bytes(),
        bind: "127.0.0.1:0".parse().unwrap(),
        model,
        blocks,
        gateway: join.is_none().then(GatewayLimits::default),
        stage: StageLimits::default(),
        admitted: None,
        join,
        invite: None,
        steward: None,
    }
}

/// A gateway that holds no blocks and gives weights.
async fn gateway(trees: &Path) -> Node {
    let bind = "127.0.0.1:0".parse().unwrap();
    let weights = WeightsConfig {
        secret: skep_net::random_bytes(),
        bind,
        relay: None,
        network: None,
        networks: None,
        upload: None,
        doors: DoorRules::default(),
    };
    let weights = Weights::bind(weights).await.unwrap();
    weights.share(&bundled(), trees).unwrap();
    Node::start_on(weights, config(bundled(), None, None)).await.unwrap()
}

async fn stage(gateway: &Node, span: BlockRange) -> Node {
    Node::start(config(bundled(), Some(span), Some(gateway.peer().clone()))).await.unwrap()
}

/// A node that fetched its blocks and nothing else.
async fn fetched(gateway: &Node, store: &Path, span: BlockRange) -> Node {
    let peer = gateway.peer().clone();
    let (secret, bind) = (skep_net::random_bytes(), "127.0.0.1:0".parse().unwrap());
    let weights = WeightsConfig {
        secret,
        bind,
        relay: None,
        network: Some(peer.node),
        networks: None,
        upload: None,
        doors: DoorRules::default(),
    };
    let weights = Weights::bind(weights).await.unwrap();
    let served = weights.ask_network(&peer, None).await.unwrap();
    let mut fetching = weights.fetch(peer.clone(), served, store).await.unwrap();
    let header = fetching.header(&mut |_| ()).await.unwrap();
    fetching.blocks(&header, span, &mut |_| ()).await.unwrap();
    let fetched = fetching.finish().await.unwrap();
    Node::start_on(weights, config(fetched.path, Some(span), Some(peer))).await.unwrap()
}

fn request(max_tokens: u32, pace: Option<f32>) -> GenerateRequest {
    GenerateRequest {
        model: None,
        prompt: Prompt::Text("Now is the winter of our discontent".into()),
        max_tokens: Some(max_tokens),
        stop: Vec::new(),
        sampling: SamplingParams { temperature: 0.0, ..SamplingParams::default() },
        pace,
    }
}

/// The text of an answer and how it came about.
async fn read(mut generation: Generation) -> (String, Summary) {
    let mut text = String::new();
    loop {
        match generation.events.recv().await.unwrap().unwrap() {
            Event::Text { text: piece, .. } => text.push_str(&piece),
            Event::Done(summary) => return (text, *summary),
        }
    }
}

fn view(gateway: &Node, node: NodeId) -> NodeView {
    gateway.gateway().unwrap().network().nodes.into_iter().find(|view| view.id == node).unwrap()
}

fn quick(weights: u64, store: Option<PathBuf>) -> Moves {
    let (every, settled_after) = (Duration::from_millis(300), Duration::ZERO);
    Moves { every, settled_after, grace: every, ..Moves::new(weights, store) }
}

/// Bytes of the file for two spans of four blocks.
fn two_spans() -> u64 {
    let gguf = Gguf::open(&bundled()).unwrap();
    weight_bytes(&gguf, blocks(0, 4)).unwrap() + weight_bytes(&gguf, blocks(4, 8)).unwrap()
}

async fn close(nodes: Vec<Node>) {
    for node in nodes.into_iter().rev() {
        node.close().await;
    }
}

/// Waits until the node has dropped all but its new span, and says how many bytes of weights that has.
async fn settled_bytes(node: &Node, before: u64) -> u64 {
    while node.resident_bytes() >= before {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    node.resident_bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_moves_under_an_answer_that_goes_on_over_its_old_blocks() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = gateway(folder.path()).await;
    let mut nodes = vec![stage(&gateway, blocks(4, 8)).await];
    for store in ["a", "b", "c", "d"] {
        nodes.push(fetched(&gateway, &folder.path().join(store), blocks(0, 4)).await);
    }
    let (expected, _) = read(gateway.gateway().unwrap().generate(request(200, None)).await.unwrap()).await;
    let answer = gateway.gateway().unwrap().generate(request(200, Some(25.0))).await.unwrap();
    let first = answer.route[0].node;
    let at = nodes.iter().position(|node| node.peer().node == first).unwrap();
    assert_eq!((nodes[at].blocks(), answer.route[0].blocks), (Some(blocks(0, 4)), blocks(0, 4)));
    // Of all nodes this one may move, and its old blocks are those that the answer needs.
    let store = folder.path().join(["a", "b", "c", "d"][at - 1]);
    let before = nodes[at].resident_bytes();
    let mut moved = nodes[at].keep_balanced(quick(two_spans(), Some(store)));
    let answer = tokio::spawn(read(answer));
    let step = moved.recv().await.unwrap();
    assert_eq!((step.from, step.to.len()), (blocks(0, 4), 4));
    assert!(step.to.contains(step.slowest) && step.slowest >= 4, "{step:?}");
    while view(&gateway, first).blocks != Some(step.to) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!answer.is_finished(), "the answer was over before the node had moved");
    assert_eq!(nodes[at].blocks(), Some(step.to));
    let both = nodes[at].resident_bytes();
    assert!(both > before, "the old span is dropped only when nobody needs it: {both} bytes after {before}");
    let (text, summary) = answer.await.unwrap();
    assert_eq!(text, expected);
    assert_eq!(summary.recoveries.len(), 0, "the answer was disturbed");
    assert_eq!(summary.hops[0].node, first, "it went on over the old blocks");
    assert!(settled_bytes(&nodes[at], both).await < both);
    // It computes with what it fetched: the same text again, and it may be on the new route.
    assert_eq!(read(gateway.gateway().unwrap().generate(request(200, None)).await.unwrap()).await.0, expected);
    nodes.push(gateway);
    close(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_room_for_two_spans_stays() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = gateway(folder.path()).await;
    let mut nodes = vec![stage(&gateway, blocks(4, 8)).await];
    for _ in 0..4 {
        nodes.push(stage(&gateway, blocks(0, 4)).await);
    }
    let gguf = Gguf::open(&bundled()).unwrap();
    let mut stays = nodes[1].keep_balanced(quick(weight_bytes(&gguf, blocks(0, 4)).unwrap(), None));
    let mut moves = nodes[2].keep_balanced(quick(two_spans(), None));
    assert_eq!(moves.recv().await.unwrap().from, blocks(0, 4));
    assert!(stays.try_recv().is_err(), "there was no room for a second span");
    assert_eq!(nodes[1].blocks(), Some(blocks(0, 4)));
    nodes.push(gateway);
    close(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_node_moves_in_place_of_one_whose_move_failed() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = gateway(folder.path()).await;
    let mut nodes = vec![stage(&gateway, blocks(4, 8)).await];
    for _ in 0..2 {
        nodes.push(stage(&gateway, blocks(0, 4)).await);
    }
    for store in ["a", "b"] {
        nodes.push(fetched(&gateway, &folder.path().join(store), blocks(0, 4)).await);
    }
    let holding = |(at, node): (usize, &Node)| Holding {
        node: node.peer().node,
        blocks: node.blocks().unwrap(),
        block_time: Duration::from_millis(1),
        room: 8,
        settled: at >= 3,
    };
    let holdings: Vec<Holding> = nodes.iter().enumerate().map(holding).collect();
    let turn = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() / TURN_S;
    let plan = skep_plan::moves(8, &holdings, turn);
    assert_eq!(plan.len(), 1, "{plan:?}");
    let named = plan[0].node;
    let at = if nodes[3].peer().node == named { 3 } else { 4 };
    // The one that is to move has no folder for what it would fetch.
    std::fs::write(folder.path().join("file"), "").unwrap();
    let mut stays = nodes[at].keep_balanced(quick(two_spans(), Some(folder.path().join("file/store"))));
    let store = folder.path().join(["a", "b"][4 - at]);
    let other = 7 - at;
    let mut moves = nodes[other].keep_balanced(quick(two_spans(), Some(store)));
    let step = moves.recv().await.unwrap();
    assert_eq!((step.from, stays.try_recv().is_err()), (blocks(0, 4), true));
    assert_eq!(nodes[at].blocks(), Some(blocks(0, 4)));
    nodes.push(gateway);
    close(nodes).await;
}
