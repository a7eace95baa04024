//! Plans against exhaustive search, and what must hold for every plan.
#![allow(clippy::unwrap_used, reason = "a test")]

mod topology;

use proptest::prelude::*;
use skep_plan::{Candidate, Network, NoPlan, Plan, Way};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use topology::{Case, GATEWAY, Rng, node};

/// Time and price per 1,000 tokens.
type Spent = (u64, u64);

/// Where a chain may stand: nodes used so far, the last of them, and the blocks of its stage.
type State = (u32, usize, u64);

/// Keeps what nothing else in `front` beats in both time and price.
fn keep(front: &mut Vec<Spent>, spent: Spent, with_price: bool) {
    let beats = |a: Spent, b: Spent| a.0 <= b.0 && (!with_price || a.1 <= b.1);
    if !front.iter().any(|other| beats(*other, spent)) {
        front.retain(|other| !beats(spent, *other));
        front.push(spent);
    }
}

/// The least time of any chain, by going through all sets of nodes in all orders, block by block.
fn exhaustive(case: &Case) -> Option<u64> {
    let n_blocks = case.request.wanted.len();
    let with_price = case.request.price_max.is_some();
    let step = |at: usize, spent: Spent| (spent.0 + case.block(at), spent.1 + case.candidates[at].price);
    let mut states: BTreeMap<State, Vec<Spent>> = BTreeMap::new();
    for block in 0..n_blocks {
        let mut next: BTreeMap<State, Vec<Spent>> = BTreeMap::new();
        let runs = |at: usize| case.candidates[at].offer.blocks.contains(block) && case.stage_max(at) > 0;
        for to in (0..case.candidates.len()).filter(|at| runs(*at)) {
            if block == 0 {
                let spent = step(to, (case.hop(None, Some(to)) + case.visits(to), 0));
                keep(next.entry((1 << to, to, 1)).or_default(), spent, with_price);
            }
            for ((used, from, len), front) in &states {
                for spent in front {
                    if *from == to && *len < case.stage_max(to) {
                        keep(next.entry((*used, to, len + 1)).or_default(), step(to, *spent), with_price);
                    } else if used & (1 << to) == 0 {
                        let spent = (spent.0 + case.hop(Some(*from), Some(to)) + case.visits(to), spent.1);
                        keep(next.entry((used | 1 << to, to, 1)).or_default(), step(to, spent), with_price);
                    }
                }
            }
        }
        states = next;
    }
    let home = |((_, last, _), front): (&State, &Vec<Spent>)| {
        let affordable = |spent: &&Spent| case.request.price_max.is_none_or(|most| case.price(spent.1) <= most);
        front.iter().filter(affordable).map(|spent| spent.0 + case.hop(Some(*last), None)).min()
    };
    states.iter().filter_map(home).min()
}

/// What must hold for every chain, whatever it costs.
fn check(case: &Case, plan: &Plan) {
    let mut at = case.request.wanted.start();
    let mut nodes = BTreeSet::new();
    for stage in &plan.stages {
        let index = (0..case.candidates.len()).find(|id| node(*id) == stage.peer.node).unwrap();
        assert_eq!(stage.blocks.start(), at);
        assert!(case.candidates[index].offer.blocks.covers(&stage.blocks));
        assert!(u64::from(stage.blocks.len()) <= case.stage_max(index), "{plan:?}");
        assert!(nodes.insert(stage.peer.node), "a node comes twice: {plan:?}");
        at = stage.blocks.end();
    }
    assert_eq!(at, case.request.wanted.end());
    assert!(case.request.price_max.is_none_or(|most| plan.cost.price <= most), "{plan:?}");
    let parts: Duration = plan.cost.stages.iter().map(|stage| stage.hop + stage.visits + stage.compute).sum();
    assert_eq!(parts + plan.cost.back, plan.cost.total);
}

/// Compares with the exhaustive search; whether there was a plan.
fn compare(case: &Case, seed: u64) -> bool {
    let network = case.network();
    let best = exhaustive(case);
    match network.plan(&case.request) {
        Err(NoPlan::GaveUp) => panic!("seed {seed}: the search gave up"),
        Err(why) => assert_eq!(best, None, "seed {seed}: {why}"),
        Ok(plan) => {
            check(case, &plan);
            assert_eq!(Some(plan.cost.total), best.map(Duration::from_micros), "seed {seed}");
            assert!(plan.exact && plan.way == Way::Chain);
            let mut request = case.request.clone();
            request.spread_permille = 10;
            let spread = network.plan(&request).unwrap();
            check(case, &spread);
            assert!(spread.cost.total * 100 <= plan.cost.total * 101, "seed {seed}");
        }
    }
    best.is_some()
}

#[test]
fn plans_are_the_best_of_all_chains_on_1000_topologies() {
    let found = (0..1000).filter(|seed| compare(&Case::random(*seed, 8, 32), *seed)).count();
    assert!(found >= 300, "only {found} of the topologies have a chain");
}

#[test]
fn plans_under_a_price_limit_are_the_best_of_all_affordable_chains() {
    let (mut tight, mut refused) = (0, 0);
    for seed in 1000..2000 {
        let mut case = Case::random(seed, 8, 24);
        let Ok(free) = case.network().plan(&case.request) else { continue };
        case.request.price_max = Some(free.cost.price * Rng(seed).between(30, 100) / 100);
        let found = compare(&case, seed);
        tight += usize::from(found && free.cost.price > case.request.price_max.unwrap());
        refused += usize::from(!found);
    }
    assert!(tight >= 50 && refused >= 20, "{tight} limits changed the plan and {refused} left none");
}

#[test]
fn holes_between_two_stages_are_filled_in_the_best_way() {
    let mut found = 0;
    for seed in 3000..3500 {
        let mut case = Case::random(seed, 8, 24);
        let (before, after) = (seed as usize % case.candidates.len(), seed as usize / 7 % case.candidates.len());
        case.request.before = (seed % 3 > 0).then(|| node(before));
        case.request.after = (seed % 4 > 0).then(|| node(after));
        case.request.avoid = [case.request.before, case.request.after].into_iter().flatten().collect();
        found += usize::from(compare(&case, seed));
    }
    assert!(found >= 100, "only {found} holes can be filled");
}

#[test]
fn coming_back_to_a_node_would_be_faster_but_is_not_done() {
    let twice = |seed: &u64| {
        let mut case = Case::random(*seed, 5, 16);
        for candidate in &mut case.candidates {
            candidate.figures.memory = Some(u64::MAX);
        }
        let n_blocks = case.request.wanted.end();
        // One slow node holds all, and free hops invite to leave it wherever another is faster.
        case.candidates[0].offer = topology::offer(0, 0, n_blocks);
        case.request.label_min = skep_plan::Label::Public;
        compare(&case, *seed);
        let plan = case.network().plan(&case.request).unwrap();
        plan.stages.len() > 1
    };
    assert!((5000..5300).filter(twice).count() >= 30);
}

proptest! {
    #[test]
    fn plans_depend_on_the_facts_and_not_on_their_order(seed: u64, spread in 0u64..20) {
        let mut case = Case::random(seed, 12, 20);
        case.request.spread_permille = spread;
        let plan = case.network().plan(&case.request);
        case.candidates.reverse();
        let network = Network::new(GATEWAY, case.candidates.clone(), &case.links).unwrap();
        prop_assert_eq!(network.plan(&case.request), plan);
    }

    #[test]
    fn without_any_measurement_everybody_still_counts(seed: u64) {
        let mut case = Case::random(seed, 8, 20);
        case.request.label_min = skep_plan::Label::Public;
        let unknown: Vec<Candidate> = case.candidates.iter().map(|c| Candidate::unknown(c.offer.clone())).collect();
        let network = Network::new(GATEWAY, unknown, &skep_plan::Links::new()).unwrap();
        let held = |block| case.candidates.iter().any(|c| c.offer.blocks.contains(block));
        let gap = (0..case.request.wanted.end()).find(|block| !held(*block));
        match network.plan(&case.request) {
            Ok(plan) => {
                prop_assert_eq!(gap, None);
                prop_assert!(plan.cost.stages.iter().all(|stage| !stage.measured));
            }
            Err(why) => {
                let block = gap.unwrap();
                prop_assert_eq!(why, NoPlan::Unheld { block, avoided: 0, label: 0, memory: 0 });
            }
        }
    }

    #[test]
    fn a_standby_never_uses_the_lost_node_and_is_no_faster(seed: u64) {
        let case = Case::random(seed, 8, 12);
        let network = case.network();
        let Ok(plan) = network.plan(&case.request) else { return Ok(()) };
        for (lost, standby) in network.standbys(&case.request, &plan) {
            let Ok(standby) = standby else { continue };
            check(&case, &standby);
            prop_assert!(standby.stages.iter().all(|stage| stage.peer.node != lost));
            prop_assert!(standby.cost.total >= plan.cost.total);
        }
    }
}
