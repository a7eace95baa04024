//! A machine of which nothing can be read.

use crate::{Sense, clock};
use skep_owner::{Own, Reading, Sensors};

/// The sensors of a system for which Skep has none.
#[derive(Debug, Clone, Copy, Default)]
pub struct Blind;

impl Sense for Blind {
    fn read(&mut self, now_ms: u64, own: Own) -> Sensors {
        Sensors {
            clock: clock(now_ms),
            power: gap(),
            idle_ms: gap(),
            full_screen: gap(),
            metered: gap(),
            others_cpu_percent: gap(),
            memory_pressure_percent: gap(),
            memory_free_percent: gap(),
            temperature_celsius: gap(),
            watts: gap(),
            disk_free_bytes: gap(),
            own,
        }
    }
}

fn gap<T>() -> Reading<T> {
    Reading::cannot(
        "Skep has no sensors for this system yet",
        "Set the rules that need it to if_unsure or always, and pause by hand when you need the machine.",
    )
}
