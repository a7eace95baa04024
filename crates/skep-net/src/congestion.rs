//! Congestion control for small urgent messages: CUBIC whose window never falls below a floor.
//!
//! Plain CUBIC starts with 12 kB, does not grow while the application has little to send, and shrinks with each loss, so a
//! stream of activations of a few kilobytes per token would be spread over more than one round trip. The floor is safe because a
//! session has only a few frames in flight.

use noq_proto::RttEstimator;
use noq_proto::congestion::{Controller, ControllerFactory, ControllerMetrics, CubicConfig};
use std::{
    any::Any,
    sync::Arc,
    time::{Duration, Instant},
};

/// Bytes that may always be in flight.
pub(crate) const FLOOR_BYTES: u64 = 256 << 10;

/// Makes [`Floor`] controllers.
#[derive(Debug)]
pub(crate) struct FloorFactory;

#[derive(Debug)]
struct Floor(Box<dyn Controller>);

impl ControllerFactory for FloorFactory {
    fn build(self: Arc<Self>, now: Instant, mtu: u16) -> Box<dyn Controller> {
        let mut cubic = CubicConfig::default();
        cubic.initial_window(FLOOR_BYTES);
        Box::new(Floor(Arc::new(cubic).build(now, mtu)))
    }
}

impl Controller for Floor {
    fn on_sent(&mut self, now: Instant, bytes: u64, largest_pn: u64) {
        self.0.on_sent(now, bytes, largest_pn);
    }

    fn on_packet_sent(&mut self, now: Instant, bytes: u16, pn: u64) {
        self.0.on_packet_sent(now, bytes, pn);
    }

    fn on_cwnd_limited(&mut self) {
        self.0.on_cwnd_limited();
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, pn: u64, app_limited: bool, rtt: &RttEstimator) {
        self.0.on_ack(now, sent, bytes, pn, app_limited, rtt);
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool, largest: Option<u64>) {
        self.0.on_end_acks(now, in_flight, app_limited, largest);
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, persistent: bool, ecn: bool, lost: u64, pn: u64) {
        self.0.on_congestion_event(now, sent, persistent, ecn, lost, pn);
    }

    fn on_packet_lost(&mut self, lost_bytes: u16, pn: u64, now: Instant) {
        self.0.on_packet_lost(lost_bytes, pn, now);
    }

    fn on_spurious_congestion_event(&mut self) {
        self.0.on_spurious_congestion_event();
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.0.on_mtu_update(new_mtu);
    }

    fn on_ack_frequency_update(&mut self, threshold: u64, max_ack_delay: Duration) {
        self.0.on_ack_frequency_update(threshold, max_ack_delay);
    }

    fn window(&self) -> u64 {
        self.0.window().max(FLOOR_BYTES)
    }

    fn metrics(&self) -> ControllerMetrics {
        let mut metrics = self.0.metrics();
        metrics.congestion_window = self.window();
        metrics
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Self(self.0.clone_box()))
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
    }
}
