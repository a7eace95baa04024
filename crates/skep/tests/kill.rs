//! Pulled plugs: real processes, `kill -9`, and the text goes on byte for byte.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::{Demo, body};
use std::time::{Duration, Instant};

const TOKENS: u32 = 200;
const TRIALS: u64 = 50;
/// Slow enough that a kill at token 199 still hits an answer under way.
const PACE: f32 = 250.0;

/// A different number for each trial, the same in every run.
fn draw(trial: u64, salt: u64) -> u64 {
    let mut x = (trial.wrapping_mul(0x9e37_79b9_7f4a_7c15)) ^ salt.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^= x >> 30;
    x = x.wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[test]
fn kill_any_stage_at_any_token_and_the_text_is_byte_identical() {
    let Some(model) = skep_testkit::shared_data("llm/stories3M/stories3M-f32.gguf") else { return };
    let model = model.to_str().unwrap();
    let expected = Demo::start(&["--model", model]).stream(&body(TOKENS, None)).read_to_end();
    assert_eq!(expected.tokens, u64::from(TOKENS));
    let (mut longest, mut recovered) = (Duration::ZERO, 0);
    for trial in 0..TRIALS {
        let demo = Demo::start(&["--model", model]);
        let kill_at = (draw(trial, 1) % u64::from(TOKENS - 1)) as u32;
        let mut stream = demo.stream(&body(TOKENS, Some(PACE)));
        let stages = stream.route();
        let victim = &stages[(draw(trial, 2) % stages.len() as u64) as usize];
        while stream.next_event().is_some_and(|index| index < kill_at) {}
        demo.kill(victim);
        let killed = Instant::now();
        let result = stream.read_to_end();
        assert_eq!(result.text, expected.text, "trial {trial}: killed {victim} at token {kill_at}");
        assert_eq!(result.events, expected.events, "trial {trial}: an event was lost or came twice");
        let stall = result.longest_gap_after(killed);
        assert!(stall < Duration::from_secs(2), "trial {trial}: the answer stood still for {stall:?}");
        longest = longest.max(stall);
        recovered += usize::from(result.recoveries > 0);
    }
    println!("{TRIALS} trials: 0 failed requests, longest stall {longest:?}, {recovered} hit an answer under way");
    assert!(recovered as u64 >= TRIALS * 9 / 10, "only {recovered} kills hit an answer under way");
}

#[test]
fn killed_parent_leaves_no_process_behind() {
    let mut demo = Demo::start(&[]);
    let pids: Vec<u32> = demo.nodes.iter().map(|node| node.pid).collect();
    assert_eq!(pids.len(), 4);
    demo.kill_parent();
    let deadline = Instant::now() + Duration::from_secs(10);
    while pids.iter().any(|pid| common::is_running(*pid)) {
        assert!(Instant::now() < deadline, "a node outlived the demo");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn interrupted_parent_ends_every_process_and_itself_cleanly() {
    let mut demo = Demo::start(&[]);
    let pids: Vec<u32> = demo.nodes.iter().map(|node| node.pid).collect();
    let status = demo.interrupt();
    assert!(status.success(), "Ctrl-C is not an error: {status}");
    assert!(!pids.iter().any(|pid| common::is_running(*pid)), "a node outlived the demo");
}

#[test]
fn every_block_is_on_two_processes_and_no_process_holds_all() {
    for (nodes, shared) in [("4", false), ("6", false), ("6", true)] {
        let model = if shared { skep_testkit::shared_data("llm/stories3M/stories3M-f32.gguf") } else { None };
        let mut arguments = vec!["--nodes", nodes];
        if let Some(model) = &model {
            arguments.extend(["--model", model.to_str().unwrap()]);
        }
        let demo = Demo::start(&arguments);
        let n_blocks = demo.nodes.iter().map(|node| node.blocks[1]).max().unwrap();
        for block in 0..n_blocks {
            let holders = demo.nodes.iter().filter(|node| (node.blocks[0]..node.blocks[1]).contains(&block)).count();
            assert!(holders >= 2, "block {block} is on {holders} nodes");
        }
        assert!(demo.nodes.iter().all(|node| node.blocks[1] - node.blocks[0] < n_blocks));
    }
}
