//! Congestion control for small urgent messages: CUBIC whose window never falls below a floor.
//!
//! Plain CUBIC starts with 12 kB, does not grow while the application has little to send, and shrinks with each loss, so a
//! stream of activations of a few kilobytes per token would be spread over more than one round trip. The floor is safe because a
//! session has only a few frames in flight.
//!
//! A connection for weights always has much to send, so it has another window: [`give_way`].

use crate::yielding::Yielding;
use iroh::endpoint::Connection;
use noq_proto::RttEstimator;
use noq_proto::congestion::{Controller, ControllerFactory, ControllerMetrics, CubicConfig};
use std::{
    any::Any,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// Bytes that may always be in flight.
pub(crate) const FLOOR_BYTES: u64 = 256 << 10;

/// Makes [`Floor`] controllers.
#[derive(Debug)]
pub(crate) struct FloorFactory;

#[derive(Debug)]
struct Floor {
    cubic: Box<dyn Controller>,
    /// Shared with copies, through which alone it can be reached from outside.
    gives_way: Arc<AtomicBool>,
    yielding: Yielding,
}

impl Floor {
    fn gives_way(&self) -> bool {
        self.gives_way.load(Ordering::Relaxed)
    }
}

/// Has all paths of a connection [yield](crate::yielding) to whatever else is on the line.
pub(crate) fn give_way(connection: &Connection) {
    let controllers = connection.paths().iter().filter_map(|path| connection.congestion_state(path.id())).collect();
    let controllers: Vec<Box<dyn Controller>> = controllers;
    for controller in controllers {
        if let Ok(floor) = controller.into_any().downcast::<Floor>() {
            floor.gives_way.store(true, Ordering::Relaxed);
        }
    }
}

impl ControllerFactory for FloorFactory {
    fn build(self: Arc<Self>, now: Instant, mtu: u16) -> Box<dyn Controller> {
        let mut cubic = CubicConfig::default();
        cubic.initial_window(FLOOR_BYTES);
        Box::new(Floor {
            cubic: Arc::new(cubic).build(now, mtu),
            gives_way: Arc::default(),
            yielding: Yielding::new(mtu),
        })
    }
}

impl Controller for Floor {
    fn on_sent(&mut self, now: Instant, bytes: u64, largest_pn: u64) {
        self.cubic.on_sent(now, bytes, largest_pn);
    }

    fn on_packet_sent(&mut self, now: Instant, bytes: u16, pn: u64) {
        self.cubic.on_packet_sent(now, bytes, pn);
    }

    fn on_cwnd_limited(&mut self) {
        self.cubic.on_cwnd_limited();
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, pn: u64, app_limited: bool, rtt: &RttEstimator) {
        if !self.gives_way() {
            self.cubic.on_ack(now, sent, bytes, pn, app_limited, rtt);
        } else if !app_limited {
            self.yielding.arrived(now, sent, bytes, rtt.get(), rtt.min());
        }
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool, largest: Option<u64>) {
        self.cubic.on_end_acks(now, in_flight, app_limited, largest);
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, persistent: bool, ecn: bool, lost: u64, pn: u64) {
        if self.gives_way() {
            self.yielding.lost(now, sent);
        } else {
            self.cubic.on_congestion_event(now, sent, persistent, ecn, lost, pn);
        }
    }

    fn on_packet_lost(&mut self, lost_bytes: u16, pn: u64, now: Instant) {
        self.cubic.on_packet_lost(lost_bytes, pn, now);
    }

    fn on_spurious_congestion_event(&mut self) {
        self.cubic.on_spurious_congestion_event();
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.yielding.set_mtu(new_mtu);
        self.cubic.on_mtu_update(new_mtu);
    }

    fn on_ack_frequency_update(&mut self, threshold: u64, max_ack_delay: Duration) {
        self.cubic.on_ack_frequency_update(threshold, max_ack_delay);
    }

    fn window(&self) -> u64 {
        if self.gives_way() { self.yielding.window() } else { self.cubic.window().max(FLOOR_BYTES) }
    }

    fn metrics(&self) -> ControllerMetrics {
        let mut metrics = self.cubic.metrics();
        metrics.congestion_window = self.window();
        metrics
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Self {
            cubic: self.cubic.clone_box(),
            gives_way: self.gives_way.clone(),
            yielding: self.yielding.clone(),
        })
    }

    fn initial_window(&self) -> u64 {
        FLOOR_BYTES
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_do_not_push_the_window_below_the_floor() {
        let now = Instant::now();
        let mut floor = Arc::new(FloorFactory).build(now, 1200);
        assert_eq!(floor.window(), FLOOR_BYTES);
        for pn in 0..50 {
            floor.on_congestion_event(now + Duration::from_secs(pn), now, pn % 2 == 0, false, 100_000, pn);
        }
        assert_eq!(floor.window(), FLOOR_BYTES);
        assert_eq!(floor.metrics().congestion_window, FLOOR_BYTES);
        assert_eq!(floor.clone_box().initial_window(), FLOOR_BYTES);
        // Through a copy, as a connection gives one away.
        let copy = floor.clone_box().into_any().downcast::<Floor>().unwrap();
        copy.gives_way.store(true, Ordering::Relaxed);
        assert_eq!(floor.window(), Yielding::new(1200).window());
    }
}
