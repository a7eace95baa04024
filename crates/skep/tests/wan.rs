//! Real processes over an emulated wide-area network.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "common/wan.rs"]
mod wan;

use std::time::Duration;
use wan::{Network, even_spans, route, text};

const TOKENS: u32 = 24;

#[test]
fn processes_give_the_same_text_over_a_slow_network_that_loses_packets() {
    if let Some(lacks) = skep_netlab::missing(&[]) {
        eprintln!("SKIPPED: {lacks}; no network was emulated");
        return;
    }
    let ask = |rtt: u64, loss: f64| {
        let network = Network::start(&[], &even_spans(8, 3), Duration::from_millis(rtt), loss).unwrap();
        let answer = network.ask("What is love?", TOKENS).unwrap();
        let nodes: Vec<&str> = network.nodes.iter().map(wan::Up::id).collect();
        // The gateway may compute its own block first.
        let stages: Vec<&str> = route(&answer).into_iter().filter(|node| *node != network.gateway.id()).collect();
        assert_eq!(stages, nodes, "the answer goes through every host");
        let (carried, lost) = network.lab.counts();
        println!("RTT {rtt} ms: {carried} packets arrived, {lost} were lost; {}", answer["skep"]["lap_ms"]);
        assert_eq!(lost > 0, loss > 0.0);
        assert_eq!(answer["usage"]["completion_tokens"], TOKENS);
        text(&answer).to_owned()
    };
    assert_eq!(ask(60, 0.01), ask(0, 0.0));
}

#[test]
fn a_kill_in_the_middle_of_a_slow_network_changes_no_letter() {
    if let Some(lacks) = skep_netlab::missing(&[]) {
        eprintln!("SKIPPED: {lacks}; no network was emulated");
        return;
    }
    let spans = [even_spans(8, 2), even_spans(8, 2)].concat();
    let mut network = Network::start(&[], &spans, Duration::from_millis(40), 0.01).unwrap();
    let expected = network.ask("What is love?", TOKENS).unwrap();
    let victim = network.nodes.iter().position(|node| route(&expected).contains(&node.id())).unwrap();
    let victim = network.nodes.remove(victim);
    let answer = std::thread::scope(|scope| {
        let asking = scope.spawn(|| network.ask("What is love?", TOKENS).map_err(|failure| failure.to_string()));
        // Some eight laps of 60 ms.
        std::thread::sleep(Duration::from_millis(500));
        victim.kill();
        asking.join().unwrap()
    });
    let answer = answer.unwrap();
    println!("recoveries: {}", answer["skep"]["recoveries"]);
    assert_eq!(text(&answer), text(&expected));
    assert_eq!(answer["usage"]["completion_tokens"], TOKENS);
}
