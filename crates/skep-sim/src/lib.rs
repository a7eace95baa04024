//! A network of many nodes on virtual time: the same directory core and the same planner as in production, and a seed.
//!
//! What is real: every node is a [`skep_directory::Member`], every route is planned by [`skep_plan::Network::plan`], a joiner's span is
//! chosen by [`skep_plan::join`]. What is simulated:
//!
//! - **Links.** Nodes lie on a square; one-way delay is 3 ms plus up to 70 ms by distance plus up to 10 ms of jitter. A lost message costs
//!   its sender one more round trip, as on a stream. Sizes are those of the encodings, plus [`OVERHEAD_BYTES`] for each message and
//!   [`HANDSHAKE_BYTES`] on each side for a question to a node with whom no connection is kept, for the first offer that goes to a
//!   directory, and for the first question of a directory to a new partner.
//! - **Signatures.** 64 bits of a mix under the signer's key in place of ed25519: as long, as deterministic, much cheaper.
//! - **Churn.** Lives are exponential; half of the nodes say that they go. Whoever went is replaced by a new key, which looks for
//!   the model's offers and takes the span that `join` names.
//! - **Liars.** A share of the nodes claims to be 20 times as fast as it is; as directories they name only each other and keep quiet
//!   about all offers.
//! - **Partition.** For a while, no message passes from one half of the square to the other.
//!
//! - **A disaster,** if wanted, after the measurement: of the nodes that serve one of eight blocks of a model of middling popularity, seven
//!   in ten die without a word and are not replaced. Those that are left move as [`skep_plan::decide_move`] says, each by what two
//!   directories of its shard list when it looks: when these say that a block is short, and again 20 to 40 s later. A node that is named
//!   both times loads the blocks that it lacks, 10 s each, looks whether it may drop the others, and serves the new span.
//!   [`Rebalanced::seconds`] end when the slowest block has three quarters of the average supply, above which no placement can lift it.
//!
//! At the start every node remembers the size of the network and three nodes that keep directories, as after a power cut. A route is
//! found cold, by a node that knows nothing of the model: from its question to the plan, with one probe of all candidates. What
//! it costs is computed from the true figures, and so is the optimum: the planner's answer for the [`OPTIMUM_PEERS`] nodes with the
//! least true cost per block, liars at their true speed.
//!
//! Same configuration and seed, same hash: it covers every delivery.

mod kinds;
mod nodes;
mod queue;
mod rebalance;
mod routes;
mod world;

pub use nodes::Rng;
pub use rebalance::Rebalanced;
pub use routes::OPTIMUM_PEERS;
pub use world::{HANDSHAKE_BYTES, OVERHEAD_BYTES, World};

/// What to simulate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Nodes.
    pub nodes: u32,
    /// Draws everything.
    pub seed: u64,
    /// Virtual seconds until the measurement starts.
    pub settle_s: u64,
    /// Virtual seconds of measurement.
    pub measure_s: u64,
    /// Cold routes that are found and compared with the optimum.
    pub routes: u32,
    /// Mean life of a node in seconds; 0 for ever.
    pub life_s: u64,
    /// Lost messages in a thousand.
    pub loss_permille: u32,
    /// Liars in a hundred nodes.
    pub liars_percent: u32,
    /// When the halves of the square lose each other and find each other again, in seconds.
    pub partition_s: Option<(u64, u64)>,
    /// How many virtual seconds the model that is struck after the measurement has to recover; 0 for no disaster.
    pub rebalance_s: u64,
}

impl Config {
    /// One hour of mean life, one loss in a hundred, no liars.
    pub fn new(nodes: u32, seed: u64) -> Self {
        Self {
            nodes,
            seed,
            // All start at once; until they have gone to the depths of their models and have asked a second time who keeps their shards, they
            // open many connections.
            settle_s: 300,
            measure_s: 60,
            routes: 32,
            life_s: 3600,
            loss_permille: 10,
            liars_percent: 0,
            partition_s: None,
            rebalance_s: 0,
        }
    }
}

/// What came out.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Over every delivery.
    pub hash: u64,
    /// Messages that were delivered.
    pub deliveries: u64,
    /// Bytes that a node sent per second of the measurement, on average.
    pub bytes_per_node_s: f64,
    /// Messages that a node sent per second of the measurement, on average.
    pub messages_per_node_s: f64,
    /// The part of `bytes_per_node_s` that each kind of message takes, what keeps or opens its connection included.
    pub kinds: Vec<(&'static str, f64)>,
    /// Bytes per second of the node that sent most.
    pub bytes_busiest_s: f64,
    /// Nodes that keep a directory at the end.
    pub directories: usize,
    /// Serving nodes whose offer is confirmed at the end, in a thousand.
    pub published_permille: u64,
    /// The longest time in which a route was found, virtual seconds.
    pub route_seconds: f64,
    /// The median.
    pub route_seconds_p50: f64,
    /// Mean of the ratio of the cost of the best route over as many nodes, drawn at random, as the directories know that a search asks,
    /// to that of the optimum: no search there does better on average.
    pub route_cost_floor: f64,
    /// Mean of the ratio of the true cost of the routes found to that of the optimum.
    pub route_cost_ratio: f64,
    /// Routes that were asked for and not found.
    pub routes_failed: usize,
    /// What came of the disaster.
    pub rebalanced: Option<Rebalanced>,
}

impl Report {
    /// One line of JSON.
    pub fn json(&self, config: &Config) -> String {
        format!(
            concat!(
                "{{\"nodes\":{},\"seed\":{},\"hash\":\"{:016x}\",\"bytes_per_node_s\":{:.1},\"route_seconds\":{:.3},",
                "\"route_cost_ratio\":{:.3},\"route_cost_floor\":{:.3},\"route_seconds_p50\":{:.3},\"routes_failed\":{},\"messages_per_node_s\":{:.3},",
                "\"bytes_busiest_s\":{:.0},\"directories\":{},\"published_permille\":{},\"deliveries\":{}{}}}"
            ),
            config.nodes,
            config.seed,
            self.hash,
            self.bytes_per_node_s,
            self.route_seconds,
            self.route_cost_ratio,
            self.route_cost_floor,
            self.route_seconds_p50,
            self.routes_failed,
            self.messages_per_node_s,
            self.bytes_busiest_s,
            self.directories,
            self.published_permille,
            self.deliveries,
            self.rebalanced.map_or_else(String::new, |rebalanced| rebalanced.json()),
        )
    }
}

/// Runs a simulation to its end.
pub fn run(config: &Config) -> Report {
    World::new(*config).run()
}
