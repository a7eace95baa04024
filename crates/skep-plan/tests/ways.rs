//! Which way a plan goes, what it says, and what it takes where nothing was measured.
#![allow(clippy::unwrap_used, reason = "a test")]

mod topology;

use skep_plan::{Candidate, Figures, Label, Links, Network, NoPlan, Prefer, Request, Way, cost};
use skep_types::BlockRange;
use std::{collections::BTreeSet, time::Duration};
use topology::{GATEWAY, node, offer};

const MS: Duration = Duration::from_millis(1);

/// A node whose blocks take so many milliseconds, 10 ms away.
fn node_of(id: usize, start: u32, end: u32, block_ms: u32) -> Candidate {
    let figures = Figures {
        decode_block: Some(MS * block_ms),
        prefill_block: Some(MS * block_ms),
        visit: Some(MS),
        wait: Some(Duration::ZERO),
        delay: Some(MS * 10),
        goodput: Some(1_000_000),
        memory: Some(1_000_000),
        beacons: Vec::new(),
    };
    Candidate { offer: offer(id, start, end), price: 10, label: Label::Public, figures }
}

/// The gateway's own machine.
fn own(start: u32, end: u32, block_ms: u32) -> Candidate {
    let mut own = node_of(0, start, end, block_ms);
    own.offer.peer.node = GATEWAY.node;
    own
}

fn network(candidates: &[Candidate]) -> Network {
    Network::new(GATEWAY, candidates.to_vec(), &Links::new()).unwrap()
}

fn request() -> Request {
    Request { handoff: true, kv_bytes: 1, spread_permille: 0, ..Request::new(BlockRange::new(0, 8).unwrap()) }
}

#[test]
fn alone_if_it_fits_then_handed_over_then_the_fastest_chain() {
    let all = [own(0, 8, 9), node_of(1, 0, 8, 7), node_of(2, 0, 4, 1), node_of(3, 4, 8, 1)];
    let way = |candidates: &[Candidate], request: &Request| network(candidates).plan(request).unwrap().way;
    assert_eq!(way(&all, &request()), Way::Solo);
    assert_eq!(way(&all[1..], &request()), Way::Handoff);
    assert_eq!(way(&all[1..], &Request { handoff: false, ..request() }), Way::Chain);
    assert_eq!(way(&all[2..], &request()), Way::Chain);
    assert_eq!(way(&all, &Request { prefer: Prefer::LeastTime, ..request() }), Way::Chain);
    // What does not fit in the memory at home is not done at home.
    let mut small = all.clone();
    small[0].figures.memory = Some(1000);
    assert_eq!(way(&small, &request()), Way::Handoff);
}

#[test]
fn a_request_that_is_handed_over_pays_its_delay_once() {
    let network = network(&[node_of(1, 0, 8, 1)]);
    let handed = network.plan(&request()).unwrap().cost;
    let driven = network.plan(&Request { handoff: false, ..request() }).unwrap().cost;
    // 199 tokens over 8 blocks of 1 ms, 100 visits of 1 ms, two delays of 10 ms.
    assert_eq!(handed.total, MS * (199 * 8 + 100 + 20));
    assert_eq!(handed.per_token, MS * 9);
    // 199 rows of 8 KiB and 100 answers of 1 KiB at 1 MB/s, and 2 × 100 delays.
    let transfer = Duration::from_micros(199 * 8192 + 100 * 1024);
    assert_eq!(driven.total, MS * (199 * 8 + 100 + 2000) + transfer);
    assert_eq!(driven.price, (8 * 10 * 199u64).div_ceil(1000));
}

#[test]
fn the_label_bars_machines_and_the_refusal_says_so() {
    let mut trusted = node_of(2, 0, 5, 1);
    trusted.label = Label::Trusted;
    let network = network(&[node_of(1, 0, 8, 1), trusted, own(6, 8, 1)]);
    let asked = Request { label_min: Label::Trusted, avoid: BTreeSet::from([node(9)]), ..request() };
    assert_eq!(network.plan(&asked), Err(NoPlan::Unheld { block: 5, avoided: 0, label: 1, memory: 0 }));
    let asked = Request { avoid: BTreeSet::from([node(1)]), ..request() };
    assert_eq!(network.plan(&asked), Err(NoPlan::Unheld { block: 5, avoided: 1, label: 0, memory: 0 }));
    let asked = Request { kv_bytes: 1 << 20, ..request() };
    assert_eq!(network.plan(&asked), Err(NoPlan::Unheld { block: 0, avoided: 0, label: 0, memory: 2 }));
    let sentence = |avoided, label, memory| NoPlan::Unheld { block: 4, avoided, label, memory }.to_string();
    assert_eq!(sentence(0, 0, 0), "nobody holds block 4");
    assert_eq!(
        sentence(1, 2, 1),
        "nobody may run block 4: of those that hold it, 1 is avoided, 2 have too low a label, 1 lacks memory"
    );
}

#[test]
fn memory_for_a_part_of_the_span_is_used_for_that_part() {
    let mut short = node_of(1, 0, 8, 1);
    short.figures.memory = Some(199 * 3);
    let alone = network(&[short.clone()]);
    let asked = Request { handoff: false, ..request() };
    assert_eq!(alone.plan(&asked), Err(NoPlan::Memory));
    let plan = network(&[short, node_of(2, 0, 8, 2)]).plan(&Request { price_max: None, ..asked }).unwrap();
    assert!(plan.stages.iter().all(|stage| stage.peer.node != node(1) || stage.blocks.len() <= 3), "{plan:?}");
}

#[test]
fn too_low_a_price_limit_is_told_with_what_would_do() {
    let network = network(&[node_of(1, 0, 8, 1)]);
    let asked = Request { price_max: Some(15), ..request() };
    assert_eq!(network.plan(&asked), Err(NoPlan::TooDear { least: 16, limit: 15 }));
    assert_eq!(network.plan(&Request { price_max: Some(16), ..request() }).unwrap().cost.price, 16);
}

#[test]
fn an_unmeasured_peer_is_taken_as_worse_than_most_but_is_taken() {
    let measured: Vec<Candidate> = (1..=10).map(|id| node_of(id, 0, 8, id as u32)).collect();
    let mut all = measured.clone();
    all.push(Candidate::unknown(offer(11, 0, 8)));
    let net = network(&all);
    let only = |id: usize| Request { avoid: (1..=11).filter(|other| *other != id).map(node).collect(), ..request() };
    let unknown = net.plan(&only(11)).unwrap().cost;
    // The ninth of ten takes 9 ms; twice that over 199 tokens and 8 blocks.
    assert_eq!(unknown.stages[0].compute, MS * (18 * 199 * 8));
    assert!(!unknown.stages[0].measured && net.plan(&only(10)).unwrap().cost.stages[0].measured);
    let lonely = network(&[Candidate::unknown(offer(1, 0, 8))]).plan(&request()).unwrap().cost;
    assert_eq!(lonely.stages[0].compute, cost::UNKNOWN_BLOCK * (199 * 8));
}

#[test]
fn one_peer_that_is_charged_for_failing_makes_unknown_ones_no_worse_than_if_nobody_were_known() {
    let mut failing = node_of(1, 0, 8, 1);
    failing.figures.visit = Some(Duration::from_secs(60));
    let plan = network(&[failing, Candidate::unknown(offer(2, 0, 8))]).plan(&request()).unwrap();
    assert_eq!(plan.stages[0].peer.node, node(2), "{plan:?}");
}

#[test]
fn beacons_tell_that_two_peers_are_near_each_other() {
    let far = |id, start, end| {
        let mut far = node_of(id, start, end, 1);
        far.figures.delay = Some(MS * 50);
        far.figures.beacons = vec![None, Some(MS * 2)];
        far
    };
    let asked = Request { handoff: false, new_tokens: 1, prompt_tokens: 0, row_bytes: 0, reply_bytes: 0, ..request() };
    let mut pair = [far(1, 0, 4), far(2, 4, 8)];
    let hop = |pair: &[Candidate]| network(pair).plan(&asked).unwrap().cost.stages[1].hop;
    assert_eq!(hop(&pair), MS * 4);
    pair[0].figures.beacons.clear();
    assert_eq!(hop(&pair), MS * 100);
    let links = Links::from([(node(2), [(node(1), MS * 7)].into())]);
    let linked = Network::new(GATEWAY, pair.to_vec(), &links).unwrap();
    assert_eq!(linked.plan(&asked).unwrap().cost.stages[1].hop, MS * 7);
}

#[test]
fn an_explanation_names_each_way_each_standby_and_what_money_would_buy() {
    let mut dear = node_of(3, 0, 8, 1);
    dear.price = 1000;
    let network = network(&[node_of(1, 0, 4, 5), node_of(2, 4, 8, 5), node_of(4, 2, 8, 6), dear]);
    let asked = Request { price_max: Some(100), ..request() };
    let told = network.explain(&asked).unwrap();
    assert_eq!(told.chosen.way, Way::Chain);
    let ways: Vec<Way> = told.ways.iter().map(|(way, _)| *way).collect();
    assert_eq!(ways, [Way::Handoff, Way::Chain]);
    assert_eq!(told.ways[0].1, Err(NoPlan::TooDear { least: 1592, limit: 100 }));
    assert_eq!(told.ways[1].1.as_ref().unwrap(), &told.chosen);
    assert_eq!(told.any_price.unwrap().unwrap().way, Way::Handoff);
    let (first, second) = (&told.without[0], &told.without[1]);
    assert_eq!((first.0, second.0), (node(1), node(2)));
    assert_eq!(first.1, Err(NoPlan::TooDear { least: 410, limit: 100 }));
    let stages = &second.1.as_ref().unwrap().stages;
    assert_eq!((stages[0].peer.node, stages[1].peer.node), (node(1), node(4)));
}

#[test]
fn near_equals_share_the_requests() {
    let candidates: Vec<Candidate> = (1..=4).map(|id| node_of(id, 0, 8, 5)).collect();
    let network = network(&candidates);
    let taken: BTreeSet<_> = (0..64)
        .map(|salt| network.plan(&Request { salt, spread_permille: 5, ..request() }).unwrap().stages[0].peer.node)
        .collect();
    assert_eq!(taken.len(), 4);
}
