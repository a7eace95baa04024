//! A gateway that listens beyond its own machine takes in the invited and nobody else.

#![allow(clippy::unwrap_used, reason = "a test")]

use skep_net::{Net, NetConfig, NetEvent};
use skep_node::{GatewayLimits, InviteRefused, Node, NodeConfig, NodeError, PeerLimits, StageLimits};
use skep_types::wire::{Control, ControlReply, Join, JoinReply, MemberHello, Output, Peer, SessionId};
use skep_types::{BlockRange, CLOCKS_APART, Invite, PASS_SECONDS, Pass};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const BUNDLED: &str = "../skep/assets/skep-bard-q8_0.gguf";

fn blocks(start: u32, end: u32) -> BlockRange {
    BlockRange::new(start, end).unwrap()
}

/// When a pass may end, in seconds since 1970.
fn soon() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 600
}

fn config(bind: &str) -> NodeConfig {
    NodeConfig {
        secret: skep_net::random_bytes(),
        bind: bind.parse().unwrap(),
        model: Path::new(env!("CARGO_MANIFEST_DIR")).join(BUNDLED),
        blocks: None,
        gateway: None,
        stage: StageLimits { threads: 1, ..StageLimits::default() },
        admitted: None,
        join: None,
        invite: None,
        steward: None,
    }
}

/// A gateway on all addresses of this machine, so that whoever joins needs an invite.
async fn gateway(admitted: Option<PathBuf>) -> Node {
    let config = NodeConfig { gateway: Some(GatewayLimits::default()), admitted, ..config("0.0.0.0:0") };
    Node::start(config).await.unwrap()
}

async fn joiner(secret: [u8; 32], gateway: &Peer, invite: Option<Invite>) -> Result<Node, NodeError> {
    let join = Some(gateway.clone());
    Node::start(NodeConfig { secret, blocks: Some(blocks(0, 2)), join, invite, ..config("0.0.0.0:0") }).await
}

async fn refused(gateway: &Peer, invite: Option<Invite>) -> String {
    match joiner(skep_net::random_bytes(), gateway, invite).await {
        Err(NodeError::Refused { reason }) => reason,
        Err(other) => panic!("another error: {other}"),
        Ok(_) => panic!("taken in"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_invited_join_and_each_is_told_why() {
    let node = gateway(None).await;
    let (peer, door) = (node.peer().clone(), node.gateway().unwrap().clone());
    let invite = door.invite(1, 1).unwrap();
    assert_eq!(door.invite(0, 1).unwrap_err(), InviteRefused::Hours(0));
    assert_eq!(door.invite(721, 1).unwrap_err(), InviteRefused::Hours(721));
    assert_eq!(door.invite(1, 257).unwrap_err(), InviteRefused::Uses(257));

    assert!(refused(&peer, None).await.starts_with("this network takes an invite"));
    let (stranger, _events) = Net::bind(NetConfig::new([9; 32], "127.0.0.1:0".parse().unwrap())).await.unwrap();
    let foreign = refused(&peer, Some(stranger.invite(u64::MAX, 1))).await;
    assert!(foreign.starts_with("the invite is for the network "), "{foreign}");
    let mut forged = invite.clone();
    forged.terms.uses = 200;
    assert_eq!(refused(&peer, Some(forged)).await, "the invite is not as its network signed it");
    let mut over = invite.clone();
    over.terms.expires = 1_700_000_000;
    assert!(refused(&peer, Some(over)).await.contains(" days ago by this gateway's clock"));
    assert!(door.network().nodes.is_empty());

    let key = skep_net::random_bytes();
    let first = joiner(key, &peer, Some(invite.clone())).await.unwrap();
    assert_eq!(door.network().nodes.len(), 1);
    let replayed = refused(&peer, Some(invite)).await;
    assert_eq!(replayed, "the invite was for 1 machines, and as many have used it");
    first.close().await;
    // Its key is known now.
    joiner(key, &peer, None).await.unwrap().close().await;
    node.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_starts_again_knows_whom_it_took_in() {
    let folder = tempfile::tempdir().unwrap();
    let (file, own, key) = (folder.path().join("admitted"), [7; 32], skep_net::random_bytes());
    let start = async || {
        let gateway = Some(GatewayLimits::default());
        let config = NodeConfig { secret: own, gateway, admitted: Some(file.clone()), ..config("0.0.0.0:0") };
        Node::start(config).await
    };
    let node = start().await.unwrap();
    let invite = node.gateway().unwrap().invite(1, 1).unwrap();
    joiner(key, node.peer(), Some(invite.clone())).await.unwrap().close().await;
    node.close().await;

    let node = start().await.unwrap();
    joiner(key, node.peer(), None).await.unwrap().close().await;
    assert!(refused(node.peer(), Some(invite)).await.ends_with("as many have used it"));
    node.close().await;

    std::fs::write(&file, "not what it was").unwrap();
    assert!(matches!(start().await.err(), Some(NodeError::Admitted { path, .. }) if path == file));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_of_its_own_machine_takes_in_every_node_and_invites_nobody() {
    let config = NodeConfig { gateway: Some(GatewayLimits::default()), ..config("127.0.0.1:0") };
    let node = Node::start(config).await.unwrap();
    assert_eq!(node.gateway().unwrap().invite(1, 1).unwrap_err(), InviteRefused::ThisMachineOnly);
    joiner(skep_net::random_bytes(), node.peer(), None).await.unwrap().close().await;
    node.close().await;
}

/// What a node answers to `asker`, who shows this and wants a session on its blocks.
async fn answer(asker: &Net, hello: MemberHello, node: &Node) -> Option<ControlReply> {
    let (mut ask, mut answers) = asker.open_control(node.peer(), hello).await.ok()?;
    let open = Control::Open {
        session: SessionId([3; 16]),
        epoch: 1,
        model: node.model(),
        blocks: blocks(0, 2),
        next: asker.peer(),
        output: Output::Candidates(8),
        max_positions: 8,
    };
    ask.send(open).await.ok()?;
    answers.recv().await.ok().flatten()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_computes_for_members_of_its_network_and_for_no_stranger() {
    let node = gateway(None).await;
    let invite = node.gateway().unwrap().invite(1, 1).unwrap();
    let worker = joiner(skep_net::random_bytes(), node.peer(), Some(invite)).await.unwrap();
    let (stranger, _events) = Net::bind(NetConfig::new([9; 32], "0.0.0.0:0".parse().unwrap())).await.unwrap();
    let nothing = MemberHello { pass: None };
    let of_another_network = MemberHello { pass: Some(stranger.pass(stranger.node_id(), soon())) };
    for hello in [&nothing, &of_another_network] {
        assert_eq!(answer(&stranger, hello.clone(), &worker).await, None);
        assert_eq!(answer(&stranger, hello.clone(), &node).await, None);
    }
    worker.close().await;
    node.close().await;

    // The same question from the machine that began the network is answered, and from a member.
    let (own, mut joins) = Net::bind(NetConfig::new([8; 32], "127.0.0.1:0".parse().unwrap())).await.unwrap();
    let (member, _events) = Net::bind(NetConfig::new([7; 32], "127.0.0.1:0".parse().unwrap())).await.unwrap();
    let door = own.clone();
    let welcome = tokio::spawn(async move {
        while let Some(event) = joins.recv().await {
            if let NetEvent::Join { from, reply, .. } = event {
                reply.send(JoinReply::Welcome { pass: door.pass(from, soon()) }).await.unwrap();
            }
        }
    });
    let worker = joiner(skep_net::random_bytes(), &own.peer(), None).await.unwrap();
    let good = own.pass(member.node_id(), soon());
    let opened = |reply| matches!(reply, Some(ControlReply::Opened { epoch: 1, .. }));
    assert!(opened(answer(&own, nothing.clone(), &worker).await));
    assert!(opened(answer(&member, MemberHello { pass: Some(good.clone()) }, &worker).await));
    let over = own.pass(member.node_id(), 1_700_000_000);
    let forged = Pass { expires: good.expires - 1, ..good.clone() };
    // Nobody may sign for longer than a removal of the key lasts.
    let too_long = own.pass(member.node_id(), soon() + PASS_SECONDS + CLOCKS_APART);
    for pass in [over, forged, too_long] {
        assert_eq!(answer(&member, MemberHello { pass: Some(pass) }, &worker).await, None);
    }
    // A pass is of no use to whoever copies it.
    assert_eq!(answer(&stranger, MemberHello { pass: Some(good) }, &worker).await, None);
    worker.close().await;
    welcome.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_opened_and_never_used_is_ended() {
    let peer = PeerLimits { idle: Duration::from_millis(300), sessions: 1, ..PeerLimits::default() };
    let stage = StageLimits { peer, ..StageLimits::default() };
    let first = Node::start(NodeConfig {
        gateway: Some(GatewayLimits::default()),
        blocks: Some(blocks(0, 2)),
        stage,
        ..config("127.0.0.1:0")
    });
    let first = first.await.unwrap();
    let (member, _events) = Net::bind(NetConfig::new([7; 32], "127.0.0.1:0".parse().unwrap())).await.unwrap();
    let join = Join {
        peer: member.peer(),
        model: first.model(),
        blocks: Some(blocks(2, 4)),
        pid: None,
        invite: None,
        pass: None,
    };
    let JoinReply::Welcome { pass } = member.join(first.peer(), join).await.unwrap() else { panic!("refused") };
    let (mut ask, mut answers) = member.open_control(first.peer(), MemberHello { pass: Some(pass) }).await.unwrap();
    let open = |session| Control::Open {
        session: SessionId([session; 16]),
        epoch: 1,
        model: first.model(),
        blocks: blocks(0, 2),
        next: member.peer(),
        output: Output::Candidates(8),
        max_positions: 8,
    };
    ask.send(open(1)).await.unwrap();
    assert!(matches!(answers.recv().await, Ok(Some(ControlReply::Opened { .. }))));
    ask.send(open(2)).await.unwrap();
    assert!(matches!(answers.recv().await, Ok(Some(ControlReply::Refused { .. }))), "one is all that it may have");
    let ended = tokio::time::timeout(Duration::from_secs(20), answers.recv()).await.unwrap();
    let Ok(Some(ControlReply::Fault { session, .. })) = ended else { panic!("not ended: {ended:?}") };
    assert_eq!(session, SessionId([1; 16]));
    ask.send(open(3)).await.unwrap();
    assert!(matches!(answers.recv().await, Ok(Some(ControlReply::Opened { .. }))), "there is room again");
    first.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_tries_again_and_again_is_cut_off_and_the_invited_still_join() {
    let node = gateway(None).await;
    let (peer, door) = (node.peer().clone(), node.gateway().unwrap().clone());
    let mut forged = door.invite(1, 200).unwrap();
    forged.signature[0] ^= 1;
    let (stranger, _events) = Net::bind(NetConfig::new([9; 32], "0.0.0.0:0".parse().unwrap())).await.unwrap();
    let join = Join {
        peer: stranger.peer(),
        model: node.model(),
        blocks: Some(blocks(0, 2)),
        pid: None,
        invite: Some(forged),
        pass: None,
    };
    let (mut refused, mut cut_off) = (0, 0);
    for _ in 0..90 {
        match stranger.join(&peer, join.clone()).await {
            Ok(JoinReply::Refused { reason }) => {
                assert_eq!(reason, "the invite is not as its network signed it");
                refused += 1;
            }
            Ok(JoinReply::Welcome { .. }) => panic!("a forged invite let somebody in"),
            Err(_) => cut_off += 1,
        }
    }
    assert_eq!((refused, cut_off), (80, 10), "a connection is good for eight tries");
    joiner(skep_net::random_bytes(), &peer, Some(door.invite(1, 1).unwrap())).await.unwrap().close().await;
    stranger.close().await;
    node.close().await;
}
