//! Machines without the model's file come to their blocks of it, from whoever is honest, and strangers get nothing.

#![allow(clippy::unwrap_used, reason = "a test")]

use skep_model::{Gguf, SamplingParams, byte_ranges};
use skep_net::{Net, NetConfig, StoreAsked};
use skep_node::{
    DoorRules, Event, FetchProgress, GatewayLimits, GenerateRequest, Node, NodeConfig, NodeError, Prompt, StageLimits,
    Weights, WeightsConfig, choose_blocks,
};
use skep_store::{Encoder, Reader};
use skep_types::wire::{Peer, ServedModel, StoreAnswer, StoreAsk};
use skep_types::{BlockRange, ModelId, NodeId, Pass};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

fn bundled() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../skep/assets/skep-bard-q8_0.gguf")
}

fn blocks(start: u32, end: u32) -> BlockRange {
    BlockRange::new(start, end).unwrap()
}

/// When a pass may end, in seconds since 1970.
fn soon() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() + 600
}

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

async fn machine(network: Option<NodeId>, upload: Option<u64>, bind: &str) -> Weights {
    let (secret, bind) = (skep_net::random_bytes(), bind.parse().unwrap());
    Weights::bind(WeightsConfig {
        secret,
        bind,
        relay: None,
        network,
        networks: None,
        upload,
        doors: DoorRules::default(),
    })
    .await
    .unwrap()
}

fn config(bind: &str, model: PathBuf, blocks: Option<BlockRange>, join: Option<Peer>) -> NodeConfig {
    NodeConfig {
        secret: [0; 32],
        bind: bind.parse().unwrap(),
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

/// A gateway with the whole file.
async fn origin(blocks: Option<BlockRange>, trees: &Path, bind: &str) -> Node {
    let weights = machine(None, None, bind).await;
    weights.share(&bundled(), trees).unwrap();
    Node::start_on(weights, config(bind, bundled(), blocks, None)).await.unwrap()
}

async fn answer(node: &Node) -> String {
    let request = GenerateRequest {
        model: None,
        prompt: Prompt::Text("What is love?".into()),
        max_tokens: Some(24),
        stop: Vec::new(),
        sampling: SamplingParams { temperature: 0.0, ..SamplingParams::default() },
        pace: None,
    };
    let mut generation = node.gateway().unwrap().generate(request).await.unwrap();
    let mut text = String::new();
    while let Some(event) = generation.events.recv().await {
        if let Event::Text { text: piece, .. } = event.unwrap() {
            text.push_str(&piece);
        }
    }
    text
}

/// A new machine's way to its blocks: asks, fetches the header, chooses, fetches, serves.
async fn join_without_a_file(gateway: &Node, store: &Path, wish: Option<BlockRange>) -> (Node, FetchProgress) {
    let peer = gateway.peer().clone();
    let weights = machine(Some(peer.node), None, "127.0.0.1:0").await;
    let served = weights.ask_network(&peer, None).await.unwrap();
    assert_eq!((served.model, served.members.len()), (gateway.model(), 8));
    let mut fetching = weights.fetch(peer.clone(), served, store).await.unwrap();
    let mut last = FetchProgress::default();
    let mut report = |progress: FetchProgress| {
        assert!(progress.verified_bytes >= last.verified_bytes);
        last = progress;
    };
    let header = fetching.header(&mut report).await.unwrap();
    // For want of memory it takes half of the blocks, where nobody is.
    let bytes = |blocks| byte_ranges(&header, blocks).unwrap().iter().map(|range| range.end - range.start).sum::<u64>();
    let half: u64 = bytes(blocks(0, 4)).max(bytes(blocks(4, 8)));
    let chosen = choose_blocks(&header, &fetching.served().members, half).unwrap().unwrap();
    let blocks = wish.unwrap_or(chosen);
    fetching.blocks(&header, blocks, &mut report).await.unwrap();
    let fetched = fetching.finish().await.unwrap();
    assert_eq!(weights.model(), Some(fetched.id));
    let node = Node::start_on(weights, config("127.0.0.1:0", fetched.path, Some(blocks), Some(peer))).await.unwrap();
    (node, last)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_without_the_file_serves_blocks_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let alone = origin(Some(blocks(0, 8)), folder.path(), "127.0.0.1:0").await;
    let expected = answer(&alone).await;
    alone.close().await;

    let gateway = origin(Some(blocks(0, 4)), folder.path(), "127.0.0.1:0").await;
    let (node, progress) = join_without_a_file(&gateway, &folder.path().join("a"), None).await;
    let last_four = gateway.gateway().unwrap().network().nodes.iter().any(|view| view.blocks == Some(blocks(4, 8)));
    assert!(last_four, "it went where nobody was");
    assert_eq!(answer(&gateway).await, expected);
    assert!(progress.received_bytes < std::fs::metadata(bundled()).unwrap().len());
    assert!(gateway.sent_bytes() > 0 && gateway.sent_bytes() < progress.received_bytes);

    // The next one has two to ask, and what the first one has does not all come from the gateway.
    let before = gateway.sent_bytes();
    let (other, progress) = join_without_a_file(&gateway, &folder.path().join("b"), Some(blocks(4, 8))).await;
    assert!(node.sent_bytes() > 0, "{before} bytes before, {} now, {progress:?}", gateway.sent_bytes());
    for node in [other, node, gateway] {
        node.close().await;
    }
}

/// A machine that says that it holds everything and answers every question about a slice with `answer`.
async fn fake(
    answer: impl Fn(StoreAsked, Reader) -> tokio::task::JoinHandle<()> + Send + 'static,
    reader: Reader,
) -> Net {
    let (net, events) = Net::bind(NetConfig::new(skep_net::random_bytes(), loopback())).await.unwrap();
    let mut asks = net.store_asks();
    tokio::spawn(async move {
        // The endpoint wants its other events read.
        let _events = events;
        while let Some(asked) = asks.recv().await {
            let shape = reader.shape();
            match &asked.ask {
                StoreAsk::Holds { .. } => {
                    let runs = vec![(0, shape.groups())];
                    asked.reply.send(StoreAnswer::Holds { bytes: shape.bytes(), runs }).await.unwrap();
                }
                _ => drop(answer(asked, reader.clone())),
            }
        }
    });
    net
}

/// Sends the slice with its last byte changed.
fn lie(asked: StoreAsked, reader: Reader) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let groups = match asked.ask {
            StoreAsk::Slice { start, end, .. } => start..end,
            _ => reader.shape().last_group(),
        };
        let mut encoder = Encoder::new(reader.id(), reader.shape(), groups).unwrap();
        let mut bytes = Vec::new();
        while let Some(part) = encoder.next(&reader).unwrap() {
            bytes.extend_from_slice(part.bytes());
        }
        *bytes.last_mut().unwrap() ^= 1;
        let mut sender = asked.reply.slice(reader.shape().bytes()).await.unwrap();
        let _ = sender.send(bytes).await;
    })
}

/// Begins to answer and says no more.
fn stall(asked: StoreAsked, reader: Reader) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let sender = asked.reply.slice(reader.shape().bytes()).await;
        std::future::pending::<()>().await;
        drop(sender);
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_liar_is_dropped_and_a_silent_one_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let honest = origin(None, folder.path(), "127.0.0.1:0").await;
    let reader = Reader::build(&bundled(), &folder.path().join("tree")).unwrap();
    let (liar, silent) = (fake(lie, reader.clone()).await, fake(stall, reader).await);
    let fetcher = machine(Some(honest.peer().node), Some(0), "127.0.0.1:0").await;
    let mut served = fetcher.ask_network(honest.peer(), None).await.unwrap();
    served.holders.extend([liar.peer(), silent.peer()]);
    let store = folder.path().join("store");
    let mut fetching = fetcher.fetch(honest.peer().clone(), served, &store).await.unwrap();
    fetching.everything(&mut |_| ()).await.unwrap();
    let fetched = fetching.finish().await.unwrap();
    assert_eq!(fetched.liars, [liar.node_id()]);
    assert!(std::fs::read(&fetched.path).unwrap() == std::fs::read(bundled()).unwrap());

    // What is here is not fetched again, and the file is known as whole.
    let served = fetcher.ask_network(honest.peer(), None).await.unwrap();
    let mut fetching = fetcher.fetch(honest.peer().clone(), served, &store).await.unwrap();
    let sent = honest.sent_bytes();
    fetching.everything(&mut |_| ()).await.unwrap();
    let fetched = fetching.finish().await.unwrap();
    assert_eq!((fetched.kept_bytes, honest.sent_bytes()), (Gguf::open(&bundled()).unwrap().file_bytes(), sent));
    fetcher.close().await;
    honest.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_get_nothing() {
    let folder = tempfile::tempdir().unwrap();
    // On all addresses, so that whoever is let in needs an invite.
    let gateway = origin(Some(blocks(0, 8)), folder.path(), "0.0.0.0:0").await;
    let invite = gateway.gateway().unwrap().invite(1, 1).unwrap();
    let invited = machine(Some(gateway.peer().node), None, "0.0.0.0:0").await;
    match invited.ask_network(gateway.peer(), None).await {
        Err(NodeError::Refused { reason }) => assert!(reason.starts_with("this network takes an invite"), "{reason}"),
        other => panic!("not refused: {:?}", other.map(|served| served.model)),
    }
    let served = invited.ask_network(gateway.peer(), Some(&invite)).await.unwrap();
    // The invite let one machine in, and another one is not let in by it; the first needs none any more.
    let stranger = Net::bind(NetConfig::new(skep_net::random_bytes(), loopback())).await.unwrap().0;
    let link = stranger.open_store(gateway.peer()).await.unwrap();
    let told = async |ask| link.ask(ask).await.unwrap().0;
    let refused = |answer, with: &str| match answer {
        StoreAnswer::Refused { reason } => assert!(reason.contains(with), "{reason}"),
        other => panic!("not refused: {other:?}"),
    };
    refused(told(StoreAsk::Network { invite: Some(invite), pass: None }).await, "as many have used it");
    invited.ask_network(gateway.peer(), None).await.unwrap();

    let model = gateway.model();
    let copied = served.pass.clone();
    let own = stranger.pass(stranger.node_id(), soon());
    let forged = Pass { member: stranger.node_id(), ..copied.clone() };
    for pass in [copied, own, forged] {
        // Eight refusals in a row close a connection.
        let link = stranger.open_store(gateway.peer()).await.unwrap();
        let told = async |ask| link.ask(ask).await.unwrap().0;
        refused(told(StoreAsk::Holds { pass: pass.clone(), model }).await, "the pass is not one of this network");
        refused(told(StoreAsk::Last { pass: pass.clone(), model }).await, "the pass is not one of this network");
        refused(told(StoreAsk::Slice { pass, model, start: 0, end: 1 }).await, "the pass is not one of this network");
    }
    assert_eq!(gateway.sent_bytes(), 0);
    gateway.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_pass_another_model_and_groups_past_the_end_are_told_apart() {
    let (gateway, _events) = Net::bind(NetConfig::new(skep_net::random_bytes(), loopback())).await.unwrap();
    let holder = machine(Some(gateway.node_id()), None, "127.0.0.1:0").await;
    let folder = tempfile::tempdir().unwrap();
    let model = holder.share(&bundled(), folder.path()).unwrap();
    let member = Node::start_on(holder, config("127.0.0.1:0", bundled(), Some(blocks(0, 8)), None)).await.unwrap();
    let (asker, _events) = Net::bind(NetConfig::new(skep_net::random_bytes(), loopback())).await.unwrap();
    let link = asker.open_store(member.peer()).await.unwrap();
    let (over, good) = (gateway.pass(asker.node_id(), 1_700_000_000), gateway.pass(asker.node_id(), soon()));
    let told = async |ask| link.ask(ask).await.unwrap().0;
    assert!(matches!(told(StoreAsk::Holds { pass: over, model }).await, StoreAnswer::Refused { .. }));
    let holds = told(StoreAsk::Holds { pass: good.clone(), model }).await;
    let bytes = std::fs::metadata(bundled()).unwrap().len();
    assert_eq!(holds, StoreAnswer::Holds { bytes, runs: vec![(0, bytes.div_ceil(16 << 10))] });
    let other = ModelId([7; 32]);
    assert_eq!(told(StoreAsk::Holds { pass: good.clone(), model: other }).await, StoreAnswer::NotHeld);
    assert_eq!(
        told(StoreAsk::Slice { pass: good.clone(), model, start: 5, end: u64::MAX }).await,
        StoreAnswer::NotHeld
    );
    let (answer, mut slice) = link.ask(StoreAsk::Last { pass: good, model }).await.unwrap();
    assert_eq!(answer, StoreAnswer::Slice { bytes });
    assert!(slice.recv().await.unwrap().is_some());
    member.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_who_gives_nothing_is_no_holder() {
    let folder = tempfile::tempdir().unwrap();
    let weights = machine(None, Some(0), "127.0.0.1:0").await;
    weights.share(&bundled(), folder.path()).unwrap();
    let gateway = Node::start_on(weights, config("127.0.0.1:0", bundled(), Some(blocks(0, 8)), None)).await.unwrap();
    let asker = machine(Some(gateway.peer().node), None, "127.0.0.1:0").await;
    let served: ServedModel = asker.ask_network(gateway.peer(), None).await.unwrap();
    assert_eq!((served.holders.len(), served.members), (0, vec![1; 8]));
    gateway.close().await;
}
