//! Pure planning: which node serves which blocks, and which chain answers a request.
//!
//! - [`place`] gives each node of a new network its span of blocks.
//! - [`route`] picks the chain of stages for one request out of the spans on offer: never more stages than needed, because each
//!   costs one trip per token, and spread over replicas by a salt that the caller draws per request.
//!
//! Nothing here knows a clock, a socket or chance: the same arguments give the same answer everywhere.

mod place;
mod route;

pub use place::{PlanError, place};
pub use route::{NoRoute, Offer, Stage, route};
