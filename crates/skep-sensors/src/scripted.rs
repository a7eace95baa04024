//! Sensors that say what a test wrote down.

use crate::Sense;
use skep_owner::{Clock, Own, Power, Reading, Sensors};

/// Says its readings one after the other, and the last one for ever.
///
/// The time and what the node knows of itself are those of the call; the offset of the zone is the script's.
#[derive(Debug, Clone)]
pub struct Scripted {
    rest: std::collections::VecDeque<Sensors>,
    last: Sensors,
}

impl Scripted {
    /// A script that begins with a machine at rest.
    #[must_use]
    pub fn new(readings: impl IntoIterator<Item = Sensors>) -> Self {
        Self { rest: readings.into_iter().collect(), last: Self::at_rest() }
    }

    /// A desktop on mains at which nobody has sat for an hour and nothing else runs: every preset lends it.
    #[must_use]
    pub fn at_rest() -> Sensors {
        Sensors {
            clock: Clock { now_ms: 0, offset_minutes: 0 },
            power: Reading::Known(Power::default()),
            idle_ms: Reading::Known(3_600_000),
            full_screen: Reading::Known(false),
            metered: Reading::Known(false),
            others_cpu_percent: Reading::Known(0),
            memory_pressure_percent: Reading::Known(0),
            memory_free_percent: Reading::Known(90),
            temperature_celsius: Reading::Known(40),
            watts: Reading::Known(10),
            disk_free_bytes: Reading::Known(1 << 40),
            own: Own::default(),
        }
    }
}

impl Sense for Scripted {
    fn read(&mut self, now_ms: u64, own: Own) -> Sensors {
        if let Some(next) = self.rest.pop_front() {
            self.last = next;
        }
        let clock = Clock { now_ms, ..self.last.clock };
        Sensors { clock, own, ..self.last.clone() }
    }
}
