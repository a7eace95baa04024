//! Tells gateways and directories what this node measured of itself: at once, then when a plan would come out otherwise, and now and then.

use crate::gateway::Gateway;
use crate::stage_host::{Measured, StageHost};
use crate::swarm::Swarm;
use skep_net::{FiguresSender, Net};
use skep_types::offer::{Audience, BEACONS, Terms};
use skep_types::wire::{NodeFigures, Peer};
use skep_types::{BlockRange, ModelId};
use std::time::Duration;
use tokio::time::Instant;

/// How often this node looks whether there is something to tell.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// What has not changed is told again after this time, so that a gateway that began anew hears it.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Who is to be told.
pub(crate) enum Listener {
    /// This node's own.
    Own(Gateway),
    /// The one that it joined.
    Far(Net, Peer),
    /// All others, by an offer of this model's blocks.
    All(Swarm, ModelId, BlockRange),
}

/// Tells for as long as the node lives.
pub(crate) async fn tell(stages: StageHost, node: skep_types::NodeId, listener: Listener) {
    let mut told: Option<(NodeFigures, Instant)> = None;
    let mut stream: Option<FiguresSender> = None;
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now = figures(&stages.measured());
        if told.is_some_and(|(last, at)| !last.differ(&now) && at.elapsed() < TELL_EVERY) {
            continue;
        }
        let heard = match &listener {
            Listener::Own(gateway) => gateway.set_figures(node, now),
            Listener::All(swarm, model, blocks) => {
                swarm.serve(terms(*model, *blocks, &now)).await;
                true
            }
            Listener::Far(net, to) => {
                if stream.is_none() {
                    stream = net.open_figures(to).await.ok();
                }
                match &mut stream {
                    Some(open) => open.send(now).await.is_ok(),
                    None => false,
                }
            }
        };
        if heard {
            told = Some((now, Instant::now()));
        } else {
            // Whoever listens next has heard nothing.
            (told, stream) = (None, None);
        }
    }
}

/// What was measured, as it is told. A measured time is never told as zero, which means that nobody measured.
fn figures(measured: &Measured) -> NodeFigures {
    let clip = |count: u128| u32::try_from(count).unwrap_or(u32::MAX);
    let nanos = |time: Option<Duration>| time.map_or(0, |time| clip(time.as_nanos()).max(1));
    let micros = |time: Option<Duration>| time.map_or(0, |time| clip(time.as_micros()));
    NodeFigures {
        decode_ns: nanos(measured.decode_block),
        prefill_ns: nanos(measured.prefill_block),
        visit_us: measured.visit.map_or(0, |_| micros(measured.visit).max(1)),
        wait_us: micros(measured.wait),
        goodput_kib_s: 0,
        memory: measured.memory,
        sessions: measured.sessions,
        price: 0,
        // It computes for the gateways that its owner chose, and for nobody else.
        audience: Audience::Trusted,
    }
}

/// The same as an offer.
fn terms(model: ModelId, blocks: BlockRange, figures: &NodeFigures) -> Terms {
    Terms {
        model,
        blocks,
        price: figures.price,
        decode_ns: figures.decode_ns,
        prefill_ns: figures.prefill_ns,
        visit_us: figures.visit_us,
        wait_us: figures.wait_us,
        goodput_kib_s: figures.goodput_kib_s,
        memory: figures.memory,
        audience: figures.audience,
        beacons: [u16::MAX; BEACONS],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_measured_is_zero_and_nothing_else_is() {
        let nothing = figures(&Measured::default());
        assert_eq!((nothing.decode_ns, nothing.prefill_ns, nothing.visit_us, nothing.wait_us), (0, 0, 0, 0));
        let short = Some(Duration::from_nanos(1));
        let all =
            Measured { decode_block: short, prefill_block: short, visit: short, wait: short, memory: 7, sessions: 2 };
        let told = figures(&all);
        assert_eq!((told.decode_ns, told.prefill_ns, told.visit_us, told.wait_us), (1, 1, 1, 0));
        assert_eq!((told.memory, told.sessions), (7, 2));
        let ages = Some(Duration::from_secs(1 << 40));
        assert_eq!(figures(&Measured { decode_block: ages, ..all }).decode_ns, u32::MAX);
    }
}
