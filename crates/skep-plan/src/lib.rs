//! Pure planning: which node serves which blocks, and which chain answers a request.
//!
//! - [`place()`] gives each node of a new network its span of blocks.
//! - [`join`] gives a node that joins a living network the span that most raises its slowest block, and [`rebalance`] says who moves.
//! - [`decide_move`] says whether one node is to move, where nobody leads.
//! - [`Network::plan`] picks the plan with the least expected time from what was measured, under a limit on the price and on who may
//!   see the request; [`Network::explain`] says what else there was. [`cost`] is the law it plans by.
//!
//! Nothing here knows a clock, a socket or chance, and no number is a fraction: the same arguments give the same answer everywhere.
//! What is equally good is decided by the salt, then by the node's key.

mod balance;
pub mod cost;
mod labels;
mod network;
mod place;
mod plan;
mod route;
mod search;
mod turn;
mod weights;

pub use balance::{GAIN, HOLDERS_KEPT, Holding, Joiner, MOVES_MAX, Move, join, rebalance, supply};
pub use cost::{Candidate, Cost, Figures, Label, Prefer, Request, StageCost, UNKNOWN_VISIT, Way};
pub use network::{Gateway, Links, MAX_BEACONS, MAX_PEERS, Network, TooManyPeers};
pub use place::{PlanError, place};
pub use plan::{Explanation, MAX_BLOCKS, NoPlan, Plan};
pub use route::{Offer, Stage};
pub use turn::{SHORT, TURN_S, WORTH, decide_move, is_short, may_drop, moves};
