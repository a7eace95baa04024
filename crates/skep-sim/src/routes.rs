//! Routes of the simulation, planned by `skep-plan` from what a gateway was told, and what they truly cost.

use crate::nodes::{Machine, mix, owner, whole};
use skep_directory::{SAMPLE, SHARD_TARGET};
use skep_plan::{Candidate, Figures, Gateway, Label, Links, Network, Offer, Plan, Prefer, Request};
use skep_types::offer::Offer as Told;
use skep_types::signed::Signed;
use skep_types::{BlockRange, NodeId, wire::Peer};
use std::time::Duration;

/// Nodes among which the optimum is looked for.
pub const OPTIMUM_PEERS: usize = 300;
const GOODPUT: u64 = 4096 << 10;

fn gateway(node: NodeId) -> Gateway {
    Gateway { node, goodput: Some(GOODPUT) }
}

fn request(blocks: BlockRange, salt: u64) -> Request {
    Request { prefer: Prefer::LeastTime, spread_permille: 0, salt, ..Request::new(blocks) }
}

fn micros(time: u32) -> Option<Duration> {
    Some(Duration::from_micros(u64::from(time)))
}

/// What the gateway believes of a node: the offer's claims, and the delay that it has probed.
fn believed(told: &Told, delay_us: u64) -> Candidate {
    let terms = &told.terms;
    let nanos = |time: u32| (time > 0).then(|| Duration::from_nanos(u64::from(time)));
    let beacon = |tenths: &u16| (*tenths < u16::MAX).then(|| Duration::from_micros(u64::from(*tenths) * 100));
    Candidate {
        offer: Offer { peer: Peer { node: told.node, addrs: Vec::new() }, blocks: terms.blocks },
        price: terms.price,
        label: Label::Public,
        figures: Figures {
            decode_block: nanos(terms.decode_ns),
            prefill_block: nanos(terms.prefill_ns),
            visit: micros(terms.visit_us),
            wait: micros(terms.wait_us),
            delay: Some(Duration::from_micros(delay_us)),
            goodput: Some(u64::from(terms.goodput_kib_s) << 10),
            memory: Some(terms.memory),
            beacons: terms.beacons.iter().map(beacon).collect(),
        },
    }
}

/// The plan that a gateway makes from the offers of nodes that answered its probe.
pub fn plan(
    me: NodeId,
    from: &Machine,
    offers: &[(Signed<Told>, Machine)],
    blocks: BlockRange,
    salt: u64,
) -> Option<Plan> {
    let probed = |(offer, machine): &(Signed<Told>, Machine)| believed(&offer.statement, from.delay_us(machine));
    let candidates = offers.iter().map(probed).collect();
    Network::new(gateway(me), candidates, &Links::new()).ok()?.plan(&request(blocks, salt)).ok()
}

/// As many of the nodes, drawn at random, as are kept where a search asks: the sample and one shard.
pub fn drawn(all: &[(NodeId, Machine)], salt: u64) -> Vec<(NodeId, Machine)> {
    let mut drawn = all.to_vec();
    drawn.sort_by_key(|(node, _)| mix(salt ^ u64::from(owner(node).0)));
    drawn.truncate(SAMPLE + SHARD_TARGET as usize);
    drawn
}

/// The plan that a gateway would make if it knew everything of the nodes that suit it best, and its true cost in microseconds.
pub fn optimum(
    me: NodeId,
    from: &Machine,
    mut all: Vec<(NodeId, Machine)>,
    blocks: BlockRange,
    salt: u64,
) -> Option<u64> {
    let shape = Request::new(blocks);
    let per_block = |machine: &Machine| {
        let len = machine.blocks.map_or(1, |blocks| u64::from(blocks.len()));
        let (prefill, decode) = machine.times();
        let compute = (prefill * shape.prompt_tokens as u32 + decode * shape.new_tokens as u32).as_micros() as u64;
        compute + shape.new_tokens * from.delay_us(machine) / len
    };
    all.sort_by_key(|(node, machine)| (per_block(machine), *node));
    all.truncate(OPTIMUM_PEERS);
    let candidate = |(node, machine): &(NodeId, Machine)| {
        let honest = Machine { liar: false, ..*machine };
        let terms = honest.terms(machine.blocks?);
        let (prefill, decode) = machine.times();
        Some(Candidate {
            offer: Offer { peer: Peer { node: *node, addrs: Vec::new() }, blocks: terms.blocks },
            price: 0,
            label: Label::Public,
            figures: Figures {
                decode_block: Some(decode),
                prefill_block: Some(prefill),
                visit: micros(terms.visit_us),
                wait: micros(0),
                delay: Some(Duration::from_micros(from.delay_us(machine))),
                goodput: Some(GOODPUT),
                memory: Some(terms.memory),
                beacons: Vec::new(),
            },
        })
    };
    let mut links = Links::new();
    for (node, machine) in &all {
        let row = all.iter().map(|(other, place)| (*other, Duration::from_micros(machine.delay_us(place))));
        links.insert(*node, row.collect());
    }
    let network = Network::new(gateway(me), all.iter().filter_map(candidate).collect(), &links).ok()?;
    let plan = network.plan(&request(blocks, salt)).ok()?;
    let machine = |node: &NodeId| all.iter().find(|(other, _)| other == node).map(|(_, machine)| *machine);
    true_cost(from, &plan, machine)
}

/// The law of `skep_plan::cost` over the true figures, microseconds.
pub fn true_cost(from: &Machine, plan: &Plan, machine: impl Fn(&NodeId) -> Option<Machine>) -> Option<u64> {
    let shape = Request::new(whole());
    let (prompt, laps) = (shape.prompt_tokens, shape.new_tokens);
    let rows = prompt + laps - 1;
    let carry = |bytes: u64| bytes * 1_000_000 / GOODPUT;
    let mut at = *from;
    let mut total = 0;
    for stage in &plan.stages {
        let to = machine(&stage.peer.node)?;
        let (prefill, decode) = to.times();
        let block = prefill * prompt as u32 + decode * (laps - 1) as u32;
        total += (block * stage.blocks.len()).as_micros() as u64 + laps * 500;
        total += laps * at.delay_us(&to) + carry(rows * shape.row_bytes);
        at = to;
    }
    Some(total + laps * at.delay_us(from) + carry(laps * shape.reply_bytes))
}

/// Where the owner of a key stands.
pub fn index(node: &NodeId) -> usize {
    owner(node).0 as usize
}
