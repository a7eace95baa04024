//! Whom a node that thinks of moving sees: everybody who serves blocks of its model.

use crate::gateway::Gateway;
use crate::swarm::Swarm;
use skep_plan::Holding;
use skep_types::offer::{Audience, Offer};
use skep_types::{BlockRange, ModelId, NodeId};
use std::time::Duration;

/// Where a node looks. One that takes requests watches the others itself and knows within a second who is gone; one that only lends
/// asks the directories, whose offers may be a minute old.
pub(crate) struct View {
    pub(crate) gateway: Option<Gateway>,
    pub(crate) swarm: Swarm,
}

/// What a node says that it serves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Serves {
    pub(crate) node: NodeId,
    pub(crate) blocks: BlockRange,
    /// Nanoseconds for one block over one token; zero if not measured.
    pub(crate) decode_ns: u32,
    /// The most blocks that it can hold at once while it moves; zero if it stays.
    pub(crate) room: u32,
}

impl View {
    /// All who serve the model; perhaps with this node.
    pub(super) async fn holdings(&self, model: ModelId, whole: BlockRange) -> Vec<Holding> {
        match &self.gateway {
            Some(gateway) => gateway.holdings(),
            None => {
                let offers = self.swarm.find(model, whole).await;
                let lent = offers.into_iter().filter(|offer| offer.terms.audience != Audience::Own);
                holdings(lent.map(|Offer { node, terms, .. }| Serves {
                    node,
                    blocks: terms.blocks,
                    decode_ns: terms.decode_ns,
                    room: terms.room,
                }))
            }
        }
    }
}

/// The spans as the planner takes them. Who has not measured yet counts as the slowest of the others, so that nobody relies on it;
/// who has served its span for how long is not known.
pub(crate) fn holdings(serves: impl Iterator<Item = Serves>) -> Vec<Holding> {
    let serves: Vec<Serves> = serves.collect();
    let slowest = serves.iter().map(|one| one.decode_ns).max().unwrap_or(0);
    let holding = |one: &Serves| Holding {
        node: one.node,
        blocks: one.blocks,
        block_time: Duration::from_nanos(if one.decode_ns > 0 { one.decode_ns } else { slowest }.into()),
        room: one.room,
        settled: one.room > 0,
    };
    serves.iter().map(holding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_stays_is_not_relied_on_to_move_and_who_has_not_measured_is_slow() {
        let blocks = BlockRange::new(0, 3).unwrap();
        let serves = |decode_ns, room| Serves { node: NodeId([1; 32]), blocks, decode_ns, room };
        let planned = holdings([serves(5, 6), serves(9, 0), serves(0, 6)].into_iter());
        let of = |at: usize| (planned[at].block_time.as_nanos(), planned[at].room, planned[at].settled);
        assert_eq!([of(0), of(1), of(2)], [(5, 6, true), (9, 0, false), (9, 6, true)]);
    }
}
