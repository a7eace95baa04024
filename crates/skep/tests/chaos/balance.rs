//! Nodes that choose their blocks themselves: when most holders of a block are killed, others move there, and no answer fails.
//!
//! Measured is the supply of the slowest block against the best that the living nodes could give, twice: with the speeds that they tell,
//! on the average since the kill, and with equal speeds.

use super::*;
use skep_plan::{Holding, supply};
use skep_types::{BlockRange, NodeId};
use std::collections::HashMap;

/// Blocks of one node's span.
const LENGTH: u32 = 3;
/// The part of the best supply that the slowest block must have.
const BAR: f64 = 0.75;
/// It must have that for so long.
const FOR: Duration = Duration::from_secs(5);
/// How long the nodes may take on the slowest machine; what they took is printed.
const PATIENCE: Duration = Duration::from_secs(240);

/// What a node may hold so that it takes spans of [`LENGTH`] blocks.
fn weights() -> u64 {
    let gguf = skep_model::Gguf::open(&model()).unwrap();
    let bytes = |start| skep_node::weight_bytes(&gguf, BlockRange::new(start, start + LENGTH).unwrap()).unwrap();
    2 * (0..=BLOCKS as u32 - LENGTH).map(bytes).max().unwrap()
}

/// The sum of the times that each process told, and how many these were.
type Told = HashMap<u32, (Duration, u32)>;

impl Swarm {
    /// A node with the file that may hold two spans, and chooses the one that it serves.
    fn join_anywhere(&mut self, weights: u64) {
        let child = Command::new(env!("CARGO_BIN_EXE_skep"))
            .args(["up", "--json", "--ephemeral", "--end-with-stdin", "--threads", "1", "--port", "0"])
            .args(["--sensors", "/dev/null", "--share", "full"])
            .args(["--join", &self.address, "--weights", &weights.to_string(), "--model"])
            .arg(model())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        self.peers.push(Peer { child, blocks: [0, 0] });
        self.joins += 1;
    }

    /// Lets nodes come until there are [`NODES`]. Each sees those before it, and takes what the fewest serve.
    fn fill(&mut self, weights: u64) {
        while self.peers.len() < NODES {
            self.join_anywhere(weights);
            self.wait_until("a node joins", |swarm| swarm.holdings().len() == swarm.peers.len());
        }
    }

    /// The living nodes with what they serve and how fast, and their processes.
    fn holdings(&self) -> Vec<(Holding, u32)> {
        let view = serde_json::to_value(self.gateway.network()).unwrap();
        let living = view["nodes"].as_array().unwrap().iter().filter(|node| node["alive"] == true);
        let holding = |(at, node): (usize, &Value)| {
            let blocks = &node["blocks"];
            let blocks = BlockRange::new(blocks[0].as_u64().unwrap() as u32, blocks[1].as_u64().unwrap() as u32);
            let block_time = Duration::from_secs_f64(node["figures"]["decode_block_ms"].as_f64()? / 1e3);
            let node_id = NodeId([at as u8; 32]);
            let holding = Holding { node: node_id, blocks: blocks.unwrap(), block_time, room: 0, settled: false };
            Some((holding, node["pid"].as_u64().unwrap() as u32))
        };
        living.enumerate().filter_map(holding).collect()
    }

    /// The slowest block's supply as a part of the best, with the speeds told so far, and with equal ones.
    fn balance(&self, told: &mut Told) -> [f64; 2] {
        let mut holdings = Vec::new();
        for (holding, pid) in self.holdings() {
            let (sum, count) = told.entry(pid).or_default();
            (*sum, *count) = (*sum + holding.block_time, *count + 1);
            holdings.push(Holding { block_time: *sum / *count, ..holding });
        }
        let mut equal = holdings.clone();
        equal.iter_mut().for_each(|holding| holding.block_time = Duration::from_millis(1));
        [holdings, equal].map(|holdings| slowest(&holdings).0 as f64 / best(holdings) as f64)
    }

    fn spans(&self) -> Vec<String> {
        let mut spans: Vec<String> =
            self.holdings().into_iter().map(|(holding, _)| holding.blocks.to_string()).collect();
        spans.sort();
        spans
    }

    /// Kills holders of the block that the most hold, as many as leave two to every block.
    fn kill_around_one_block(&mut self) -> (u32, usize) {
        let mut holdings = self.holdings();
        let count = |holdings: &[(Holding, u32)], block: u32| {
            holdings.iter().filter(|(holding, _)| holding.blocks.contains(block)).count()
        };
        let block = (0..BLOCKS as u32).max_by_key(|block| count(&holdings, *block)).unwrap();
        let mut victims = Vec::new();
        for (holding, pid) in holdings.clone() {
            let mut of_it = holding.blocks.start()..holding.blocks.end();
            if holding.blocks.contains(block) && of_it.all(|block| count(&holdings, block) > 2) {
                holdings.retain(|(_, other)| *other != pid);
                victims.push(pid);
            }
        }
        self.peers.retain(|peer| !victims.contains(&peer.child.id()));
        self.kills += victims.len() as u32;
        (block, victims.len())
    }
}

/// How fast the slowest block is, and how many are not as slow.
fn slowest(holdings: &[Holding]) -> (u64, usize) {
    let supply = supply(BLOCKS as u32, holdings);
    let least = *supply.iter().min().unwrap();
    (least, supply.iter().filter(|block| **block > least).count())
}

/// The best supply of the slowest block that the nodes could give, wherever they were: from several beginnings, one node after the
/// other goes where that helps most, until none helps.
fn best(mut holdings: Vec<Holding>) -> u64 {
    let mut rng = Rng(7);
    let mut best = slowest(&holdings).0;
    for _ in 0..20 {
        loop {
            let now = slowest(&holdings);
            let mut found: Option<((u64, usize), usize, BlockRange)> = None;
            for at in 0..holdings.len() {
                let stays = holdings[at].blocks;
                for start in 0..=BLOCKS as u32 - stays.len() {
                    holdings[at].blocks = BlockRange::new(start, start + stays.len()).unwrap();
                    let then = slowest(&holdings);
                    if then > found.map_or(now, |(then, ..)| then) {
                        found = Some((then, at, holdings[at].blocks));
                    }
                }
                holdings[at].blocks = stays;
            }
            let Some((_, at, to)) = found else { break };
            holdings[at].blocks = to;
        }
        best = best.max(slowest(&holdings).0);
        for holding in &mut holdings {
            let start = rng.below(BLOCKS - u64::from(holding.blocks.len()) + 1) as u32;
            holding.blocks = BlockRange::new(start, start + holding.blocks.len()).unwrap();
        }
    }
    best
}

#[test]
fn processes_move_to_a_block_that_lost_its_holders_and_no_request_fails() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (node, api) = runtime.block_on(start());
    let address = skep_net::format_peer(node.peer());
    let gateway = node.gateway().unwrap().clone();
    let rng = Rng(number("SKEP_CHAOS_SEED", 1));
    let mut swarm = Swarm { gateway, address, peers: Vec::new(), rng, joins: 0, kills: 0, goodbyes: 0 };
    let weights = weights();
    swarm.fill(weights);
    println!("{NODES} nodes came: {:.2?} of the best, {:?}", swarm.balance(&mut Told::new()), swarm.spans());
    let expected = PROMPTS.map(|prompt| common::stream(&api, &body(prompt, None)).read_to_end().text);

    let (loaded, over) = (Instant::now(), AtomicBool::new(false));
    let seen: Vec<Seen> = std::thread::scope(|scope| {
        let (over, api, expected) = (&over, &api, &expected);
        let clients: Vec<_> = (0..CLIENTS).map(|i| scope.spawn(move || client(api, expected, i, over))).collect();
        for change in 0..number("SKEP_CHAOS_CHANGES", 1) {
            if change > 0 {
                swarm.fill(weights);
            }
            let (block, killed) = swarm.kill_around_one_block();
            swarm.wait_until("the dead are noticed", |swarm| swarm.holdings().len() == swarm.peers.len());
            let (began, mut told) = (Instant::now(), Told::new());
            let fell = swarm.balance(&mut told);
            println!("killed {killed} of the holders of block {block}: {fell:.2?} of the best, {:?}", swarm.spans());
            let mut reached: [Option<Instant>; 2] = [None; 2];
            while !reached.iter().all(|at| at.is_some_and(|since| since.elapsed() >= FOR)) {
                assert!(began.elapsed() < PATIENCE, "block {block} is served too slowly: {:?}", swarm.spans());
                assert!(clients.iter().all(|client| !client.is_finished()), "a client ended");
                std::thread::sleep(Duration::from_millis(250));
                for (reached, balance) in reached.iter_mut().zip(swarm.balance(&mut told)) {
                    *reached = if balance < BAR { None } else { reached.or(Some(Instant::now())) };
                }
            }
            let took = reached.map(|at| at.map(|at| at - began));
            println!("{:.2?} of the best for good after {took:.1?}, {:?}", swarm.balance(&mut told), swarm.spans());
        }
        over.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    report(&swarm, &seen, loaded.elapsed().as_secs());
    drop(swarm);
    runtime.block_on(node.close());
}
