//! Machines that die, stall, leave and come back; and that a quiet machine speaks to nobody.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::child::{Machine, ROLE, answer};
use common::*;
use skep_net::{ControlReceiver, ControlSender, Net, NetError, NetEvent, format_peer};
use skep_types::wire::*;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::Receiver;

#[test]
#[ignore = "the other tests run this as a process of its own"]
fn answers_until_killed() {
    answer(std::env::var(ROLE).expect("run by the other tests").parse().unwrap());
}

async fn is_answered(control: &mut (ControlSender, ControlReceiver), me: &Net) {
    control.0.send(open(me.peer())).await.unwrap();
    let reply = soon(control.1.recv()).await.unwrap();
    assert!(matches!(reply, Some(ControlReply::Opened { .. })), "{reply:?}");
}

#[tokio::test]
async fn a_killed_peer_is_noticed_within_a_second() {
    let (me, mut events) = net(1).await;
    let mut fastest = Duration::MAX;
    // The bar is the protocol's; a machine that is busy with other tests may need more than one try.
    for number in 20..25 {
        let mut machine = Machine::start(number, &[]);
        let node = machine.peer.node;
        let mut control = soon(me.open_control(&machine.peer, no_pass())).await.unwrap();
        let _watch = me.watch(node);
        is_answered(&mut control, &me).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(me.is_alive(node));
        let killed = Instant::now();
        machine.kill();
        until(&mut events, is_down(node)).await;
        let noticed = killed.elapsed();
        println!("a killed peer was noticed after {} ms", noticed.as_millis());
        assert!(!me.is_alive(node));
        fastest = fastest.min(noticed);
        if fastest < Duration::from_secs(1) {
            break;
        }
    }
    assert!(fastest < Duration::from_secs(1), "a dead peer was noticed only after {fastest:?}");
    let again = tokio::time::timeout(Duration::from_millis(500), events.recv()).await;
    assert!(again.is_err(), "death was told twice: {again:?}");
}

#[tokio::test]
async fn a_restarted_peer_is_reached_at_its_new_address_and_is_up_again() {
    let (me, mut events) = net(1).await;
    let mut machine = Machine::start(30, &[]);
    let node = machine.peer.node;
    let _watch = me.watch(node);
    let mut control = soon(me.open_control(&machine.peer, no_pass())).await.unwrap();
    is_answered(&mut control, &me).await;
    machine.kill();
    until(&mut events, is_down(node)).await;
    let machine = Machine::start(30, &[]);
    assert_eq!(machine.peer.node, node);
    let begun = Instant::now();
    let mut second = soon(reach(&me, &machine.peer)).await;
    is_answered(&mut second, &me).await;
    println!("reached {} ms after its restart", begun.elapsed().as_millis());
    until(&mut events, is_up(node)).await;
    assert!(me.is_alive(node));
    // The streams of the first life end with an error.
    assert!(matches!(soon(control.1.recv()).await, Err(NetError::Lost { .. })));
    machine.finish();
    until(&mut events, is_down(node)).await;
}

#[tokio::test]
async fn a_machine_that_rests_notices_a_death_later_and_one_that_wakes_at_once() {
    let (me, mut events) = net(1).await;
    for (key, resting) in [(35, true), (36, false)] {
        me.set_resting(resting);
        let mut machine = Machine::start(key, &[]);
        let _watch = me.watch(machine.peer.node);
        let mut control = soon(me.open_control(&machine.peer, no_pass())).await.unwrap();
        is_answered(&mut control, &me).await;
        let begun = Instant::now();
        machine.kill();
        until(&mut events, is_down(machine.peer.node)).await;
        println!("resting {resting}: noticed after {} ms", begun.elapsed().as_millis());
        // Five heartbeats must be missing, and the first may be due at once.
        assert!(!resting || begun.elapsed() > Duration::from_secs(3));
    }
}

/// Opens a control stream, with the patience that a busy machine may need.
async fn reach(me: &Net, peer: &Peer) -> (ControlSender, ControlReceiver) {
    loop {
        match me.open_control(peer, no_pass()).await {
            Ok(control) => return control,
            Err(fault) => println!("once more: {fault}"),
        }
    }
}

#[tokio::test]
async fn a_peer_restarted_before_its_death_was_noticed_is_reached_too() {
    let (me, mut events) = net(1).await;
    let mut machine = Machine::start(31, &[]);
    let node = machine.peer.node;
    let _watch = me.watch(node);
    let mut first = soon(me.open_control(&machine.peer, no_pass())).await.unwrap();
    is_answered(&mut first, &me).await;
    machine.kill();
    let machine = Machine::start(31, &[]);
    let begun = Instant::now();
    let mut second = soon(reach(&me, &machine.peer)).await;
    is_answered(&mut second, &me).await;
    println!("reached {} ms after its restart", begun.elapsed().as_millis());
    // Whether or not the short death was told, the streams of the first life fail long before QUIC's idle time-out of 15 s.
    let noticed = tokio::time::timeout(Duration::from_secs(8), first.1.recv()).await;
    assert!(matches!(noticed, Ok(Err(NetError::Lost { .. }))), "{noticed:?}");
    is_answered(&mut second, &me).await;
    assert!(me.is_alive(node));
    drop(events.try_recv());
}

#[tokio::test]
async fn a_restarted_peer_that_joins_is_reached_by_its_own_connection() {
    let (me, mut events) = net(1).await;
    let mut machine = Machine::start(33, &[]);
    let node = machine.peer.node;
    let _watch = me.watch(node);
    let mut first = soon(me.open_control(&machine.peer, no_pass())).await.unwrap();
    is_answered(&mut first, &me).await;
    machine.kill();
    let machine = Machine::start_joining(33, &[], &format_peer(&me.peer()));
    let (join, reply) = soon(async {
        loop {
            if let NetEvent::Join { join, reply, .. } = next(&mut events).await {
                return (join, reply);
            }
        }
    })
    .await;
    assert_eq!(join.peer, machine.peer);
    reply.send(welcome(&me, node)).await.unwrap();
    let begun = Instant::now();
    let mut second = soon(reach(&me, &join.peer)).await;
    is_answered(&mut second, &me).await;
    println!("reached {} ms after its join", begun.elapsed().as_millis());
    let noticed = tokio::time::timeout(Duration::from_secs(8), first.1.recv()).await;
    assert!(matches!(noticed, Ok(Err(NetError::Lost { .. }))), "{noticed:?}");
    is_answered(&mut second, &me).await;
}

#[tokio::test]
async fn a_stalled_peer_is_down_then_up_and_keeps_its_streams() {
    let (me, mut events) = net(1).await;
    let machine = Machine::start(32, &[]);
    let node = machine.peer.node;
    let _watch = me.watch(node);
    let mut control = soon(me.open_control(&machine.peer, no_pass())).await.unwrap();
    is_answered(&mut control, &me).await;
    machine.signal("-STOP");
    until(&mut events, is_down(node)).await;
    machine.signal("-CONT");
    until(&mut events, is_up(node)).await;
    is_answered(&mut control, &me).await;
}

#[tokio::test]
async fn a_peer_that_leaves_is_down_and_one_never_reached_is_too() {
    let (me, mut events) = net(1).await;
    let (peer, _peer_events) = net(2).await;
    let node = peer.node_id();
    let never = me.watch(node);
    until(&mut events, is_down(node)).await;
    drop(never);
    let (one, two) = (me.watch(node), me.watch(node));
    let mut sender = soon(me.open_data(&peer.peer(), hello(1))).await.unwrap();
    drop(one);
    peer.close().await;
    until(&mut events, is_down(node)).await;
    assert!(matches!(soon(sender.send(&rows(0, vec![1.0]))).await, Err(NetError::Lost { .. })));
    assert!(!me.is_alive(node) && me.rtt(node).is_none());
    drop(two);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heartbeats_survive_a_saturated_connection() {
    let (me, mut events) = net(1).await;
    let (peer, mut peer_events) = net(2).await;
    let to = peer.peer();
    let _watch = me.watch(to.node);
    let mut bulk = soon(me.open_data(&to, hello(1))).await.unwrap();
    let NetEvent::Data { mut frames, .. } = next(&mut peer_events).await else { panic!("not a data stream") };
    let _back = peer.watch(me.node_id());
    let reader = tokio::spawn(async move {
        let mut bytes = 0;
        while let Ok(Some(_)) = frames.recv().await {
            bytes += 4 << 20;
        }
        bytes
    });
    let frame = rows(0, vec![0.5; 1 << 20]);
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        soon(bulk.send(&frame)).await.unwrap();
    }
    drop(bulk);
    let bytes = soon(reader).await.unwrap();
    println!("{} MiB/s beside heartbeats", bytes / (3 << 20));
    assert!(bytes > 8 << 20, "the connection was not busy: {bytes} bytes in 3 s");
    assert!(only_alive(&mut events) && only_alive(&mut peer_events), "a live peer was taken for dead");
}

fn only_alive(events: &mut Receiver<NetEvent>) -> bool {
    std::iter::from_fn(|| events.try_recv().ok()).all(|event| !matches!(event, NetEvent::Down { .. }))
}

#[tokio::test]
async fn nobody_but_the_given_peers_is_contacted() {
    if std::process::Command::new("strace").arg("-V").output().is_err() {
        eprintln!(
            "SKIPPED: no strace here, so nothing shows that no third party is contacted. `apt-get install strace` installs it."
        );
        return;
    }
    let log = std::env::temp_dir().join(format!("skep-net-strace-{}", std::process::id()));
    let path = log.to_str().unwrap().to_owned();
    let calls = "trace=connect,sendto,sendmsg,sendmmsg";
    let machine = Machine::start(40, &["strace", "-f", "-yy", "-s", "0", "-e", calls, "-o", &path]);
    let (me, _events) = net(1).await;
    let mut control = soon(reach(&me, &machine.peer)).await;
    is_answered(&mut control, &me).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    machine.finish();
    let text = std::fs::read_to_string(&log).unwrap();
    std::fs::remove_file(&log).unwrap();
    let mut answers = 0;
    for line in text.lines() {
        // `connect` on a UDP socket sends nothing; the endpoint asks the system for its default route that way.
        let route_lookup = line.contains("connect(") && line.contains("<UDP");
        for address in destinations(line) {
            answers += usize::from(address.is_loopback());
            assert!(address.is_loopback() || route_lookup, "a third party was contacted: {line}");
        }
    }
    assert!(answers > 0, "the trace does not even show the answers:\n{text}");
}

/// The internet addresses that a traced call sends to: in its arguments, and of the socket if that is connected.
fn destinations(line: &str) -> Vec<std::net::IpAddr> {
    // The ancillary data of a message names the sender's own address.
    let line = line.split("msg_control=").next().unwrap();
    let ends = |text: &str, ends: &[char]| text.split(ends).next().unwrap().to_owned();
    let named = ["inet_addr(\"", "inet_pton(AF_INET6, \""]
        .iter()
        .flat_map(|marker| line.split(marker).skip(1))
        .map(|text| ends(text, &['"']));
    let socket = line.split("->").skip(1).map(|text| match text.strip_prefix('[') {
        Some(text) => ends(text, &[']']),
        None => ends(text, &[':', ']']),
    });
    named.chain(socket).filter_map(|text| text.parse().ok()).collect()
}

#[test]
fn the_reading_of_traces_finds_destinations() {
    let found = |line| destinations(line).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    assert_eq!(found("9 sendto(4<UDP:[7]>, \"\"..., 3, 0, {sin_addr=inet_addr(\"1.2.3.4\")}, 16) = 3"), "1.2.3.4");
    assert_eq!(found("9 sendto(4<UDP:[127.0.0.1:5->8.8.8.8:53]>, \"\"..., 3, 0, NULL, 0) = 3"), "8.8.8.8");
    let own = "9 sendmsg(4<UDP:[7]>, {sin_addr=inet_addr(\"1.2.3.4\"), msg_control=[{ipi_addr=inet_addr(\"0.0.0.0\")}]}, 0) = 3";
    assert_eq!(found(own), "1.2.3.4");
    assert_eq!(found("9 sendmsg(4<UDPv6:[[::1]:5->[2001:db8::1]:53]>, {}) = 3"), "2001:db8::1");
    assert_eq!(found("9 connect(4<TCPv6:[7]>, {inet_pton(AF_INET6, \"::1\", &sin6_addr)}, 28) = 0"), "::1");
    assert_eq!(found("9 sendto(4<NETLINK:[ROUTE:7]>, [{nlmsg_len=20}], 20, 0, {AF_NETLINK}, 12) = 20"), "");
}
