//! Time of planning for 1,000 nodes and 80 blocks: `cargo bench -p skep-plan`.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "criterion's macros make undocumented functions; a bench may panic"
)]

#[path = "../tests/topology/mod.rs"]
mod topology;

use criterion::{Criterion, criterion_group, criterion_main};
use skep_plan::{Candidate, Links, Network, Request};
use skep_types::BlockRange;
use std::time::Duration;
use topology::{GATEWAY, Rng, candidate, node, offer};

const NODES: usize = 1000;
const BLOCKS: u32 = 80;

/// Every delay between two of the peers was measured.
fn all_links(rng: &mut Rng) -> Links {
    let mut row = |_| (0..NODES).map(|to| (node(to), Duration::from_micros(rng.between(1_000, 150_000)))).collect();
    (0..NODES).map(|from| (node(from), row(from))).collect()
}

/// Spans of 5 to 30 blocks, as machines hold that cannot hold the model.
fn short_spans(rng: &mut Rng) -> Vec<Candidate> {
    let mut one = |id| {
        let mut one = candidate(rng, id, BLOCKS, true);
        let len = rng.between(5, 30) as u32;
        let start = rng.between(0, u64::from(BLOCKS - len)) as u32;
        one.offer = offer(id, start, start + len);
        one
    };
    (0..NODES).map(&mut one).collect()
}

fn plan(criterion: &mut Criterion) {
    let mut rng = Rng(7);
    let links = all_links(&mut rng);
    let mixed: Vec<Candidate> = (0..NODES).map(|id| candidate(&mut rng, id, BLOCKS, true)).collect();
    let mut request = Request::new(BlockRange::new(0, BLOCKS).unwrap());
    request.kv_bytes = 10;
    let mut group = criterion.benchmark_group("plan");
    for (spans, candidates) in [("5-30", short_spans(&mut rng)), ("1-80", mixed)] {
        for (known, links) in [("all", &links), ("none", &Links::new())] {
            let make = || Network::new(GATEWAY, candidates.clone(), links).unwrap();
            group.bench_function(format!("network/spans={spans}/links={known}"), |b| b.iter(make));
            let network = make();
            let free = network.plan(&request).unwrap();
            group.bench_function(format!("request/spans={spans}/links={known}"), |b| b.iter(|| network.plan(&request)));
            for percent in [90, 60, 30] {
                let limited = Request { price_max: Some(free.cost.price * percent / 100), ..request.clone() };
                let name = format!("request/spans={spans}/links={known}/price={percent}%");
                group.bench_function(name, |b| b.iter(|| network.plan(&limited)));
            }
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_secs(1));
    targets = plan
}
criterion_main!(benches);
