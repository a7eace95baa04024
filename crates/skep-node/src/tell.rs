//! Tells gateways and directories what this node measured of itself: at once, then when a plan would come out otherwise, and now and then.

use crate::gateway::Gateway;
use crate::joining::Announcer;
use crate::stage_host::{Measured, StageHost};
use crate::swarm::Swarm;
use skep_net::{FiguresSender, Net};
use skep_types::offer::{Audience, BEACONS, Terms};
use skep_types::wire::NodeFigures;
use skep_types::{BlockRange, ModelId};
use std::sync::Arc;
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
    /// The one that it joined, whichever that is now.
    Far,
    /// All others, by an offer of this model.
    All(Swarm, ModelId),
}

/// Tells for as long as the node lives.
pub(crate) async fn tell(stages: StageHost, net: Net, announcer: Arc<Announcer>, listener: Listener) {
    let mut told: Option<(NodeFigures, BlockRange, Instant)> = None;
    let mut stream: Option<FiguresSender> = None;
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(blocks) = announcer.blocks() else { return };
        let now = figures(&stages.measured(), net.goodput(), stages.room(), stages.lends());
        if told.is_some_and(|(last, at, when)| !last.differ(&now) && at == blocks && when.elapsed() < TELL_EVERY) {
            continue;
        }
        let heard = match &listener {
            Listener::Own(gateway) => gateway.set_figures(net.node_id(), now),
            Listener::All(swarm, model) => {
                swarm.serve(terms(*model, blocks, &now)).await;
                true
            }
            Listener::Far => {
                let far = announcer.far();
                if stream.as_ref().map(FiguresSender::node) != far.as_ref().map(|far| far.node) {
                    stream = match &far {
                        Some(far) => net.open_figures(far).await.ok(),
                        None => None,
                    };
                }
                match &mut stream {
                    Some(open) => open.send(now).await.is_ok(),
                    None => false,
                }
            }
        };
        if heard {
            told = Some((now, blocks, Instant::now()));
        } else {
            // Whoever listens next has heard nothing.
            (told, stream) = (None, None);
        }
    }
}

/// What was measured, as it is told. A measured time is never told as zero, which means that nobody measured.
fn figures(measured: &Measured, goodput: Option<u64>, room: u32, lends: bool) -> NodeFigures {
    let clip = |count: u128| u32::try_from(count).unwrap_or(u32::MAX);
    let nanos = |time: Option<Duration>| time.map_or(0, |time| clip(time.as_nanos()).max(1));
    let micros = |time: Option<Duration>| time.map_or(0, |time| clip(time.as_micros()));
    NodeFigures {
        decode_ns: nanos(measured.decode_block),
        prefill_ns: nanos(measured.prefill_block),
        visit_us: measured.visit.map_or(0, |_| micros(measured.visit).max(1)),
        wait_us: micros(measured.wait),
        goodput_kib_s: goodput.map_or(0, |goodput| clip(u128::from(goodput >> 10)).max(1)),
        room,
        memory: measured.memory,
        sessions: measured.sessions,
        price: 0,
        // It computes for the gateways that its owner chose, and for nobody else; while its owner lends it to nobody, for its own only.
        audience: if lends { Audience::Trusted } else { Audience::Own },
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
        room: figures.room,
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
        let nothing = figures(&Measured::default(), None, 0, true);
        assert_eq!((nothing.goodput_kib_s, nothing.room), (0, 0));
        assert_eq!((nothing.decode_ns, nothing.prefill_ns, nothing.visit_us, nothing.wait_us), (0, 0, 0, 0));
        let short = Some(Duration::from_nanos(1));
        let all =
            Measured { decode_block: short, prefill_block: short, visit: short, wait: short, memory: 7, sessions: 2 };
        let told = figures(&all, Some(1023), 3, true);
        assert_eq!((told.goodput_kib_s, told.room), (1, 3));
        assert_eq!(figures(&all, Some(5 << 20), 3, true).goodput_kib_s, 5120);
        assert_eq!(figures(&all, Some(u64::MAX), 3, true).goodput_kib_s, u32::MAX);
        assert_eq!((told.decode_ns, told.prefill_ns, told.visit_us, told.wait_us), (1, 1, 1, 0));
        assert_eq!((told.memory, told.sessions), (7, 2));
        let paused = figures(&all, Some(1023), 3, false);
        assert_eq!((told.audience, paused.audience), (Audience::Trusted, Audience::Own));
        assert!(told.differ(&paused), "who plans by it hears of it");
        let ages = Some(Duration::from_secs(1 << 40));
        assert_eq!(figures(&Measured { decode_block: ages, ..all }, None, 0, true).decode_ns, u32::MAX);
    }
}
