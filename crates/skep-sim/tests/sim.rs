//! The network as a whole, on virtual time.
#![allow(clippy::unwrap_used, reason = "a test")]

use skep_sim::{Config, Report, run};

fn check(report: &Report) {
    assert_eq!(report.routes_failed, 0, "{report:?}");
    assert!(report.route_seconds <= 2.0, "{report:?}");
    assert!(report.published_permille >= 970, "{report:?}");
}

#[test]
fn the_same_seed_gives_the_same_hash_and_another_one_another() {
    let short = |seed| Config { settle_s: 40, measure_s: 12, routes: 2, rebalance_s: 90, ..Config::new(300, seed) };
    let first = run(&short(3));
    assert_eq!(first, run(&short(3)));
    assert_ne!(first.hash, run(&short(4)).hash);
}

#[test]
fn ten_thousand_nodes_send_what_a_thousand_do_and_find_routes_in_time() {
    let config = |nodes| Config { measure_s: 30, routes: 8, ..Config::new(nodes, 1) };
    let (small, large) = (run(&config(1_000)), run(&config(10_000)));
    check(&small);
    check(&large);
    let (less, more) =
        (small.bytes_per_node_s.min(large.bytes_per_node_s), small.bytes_per_node_s.max(large.bytes_per_node_s));
    assert!(more <= 1.5 * less, "{small:?} {large:?}");
}

#[test]
fn with_one_liar_in_five_nearly_all_routes_are_found() {
    let report = run(&Config { liars_percent: 20, routes: 16, ..Config::new(1_000, 5) });
    // Where all directories that a gateway has heard of are liars, it finds nothing.
    assert!(report.routes_failed <= 2, "{report:?}");
    assert!(report.route_seconds <= 2.0, "{report:?}");
}

/// Those who died are listed for a minute, and whoever moves looks twice and loads for forty seconds at least.
#[test]
fn a_model_that_lost_most_holders_of_some_blocks_is_even_again_in_minutes_and_few_nodes_move() {
    let config = Config { settle_s: 150, measure_s: 5, routes: 1, rebalance_s: 420, ..Config::new(3_000, 8) };
    let report = run(&config);
    let rebalanced = report.rebalanced.unwrap();
    assert!(rebalanced.from < 0.6, "{report:?}");
    assert!(rebalanced.to > 0.75 && rebalanced.seconds.unwrap() >= 100.0, "{report:?}");
    assert!(rebalanced.moves * 4 < rebalanced.nodes, "{report:?}");
}

#[test]
fn after_a_partition_the_halves_become_one_network_again() {
    check(&run(&Config {
        partition_s: Some((60, 150)),
        settle_s: 390,
        life_s: 0,
        routes: 16,
        ..Config::new(1_000, 6)
    }));
}
