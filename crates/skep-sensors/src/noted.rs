//! Sensors that say what stands in a file, for tests of real processes: whoever writes the file plays the machine.
//!
//! Each line is a name and a value, as `idle_seconds 0`; what the file does not name, and all of it where there is none, is a machine at rest
//! ([`Scripted::at_rest`]). The file is read anew each time.

use crate::{Scripted, Sense, clock};
use skep_owner::{Own, Power, Reading, Sensors};
use std::path::PathBuf;

/// Says what the file says.
#[derive(Debug, Clone)]
pub struct Noted {
    file: PathBuf,
}

impl Noted {
    /// Reads this file, whether it is there yet or not.
    #[must_use]
    pub fn new(file: PathBuf) -> Self {
        Self { file }
    }
}

impl Sense for Noted {
    fn read(&mut self, now_ms: u64, own: Own) -> Sensors {
        let mut read = Sensors { clock: clock(now_ms), own, ..Scripted::at_rest() };
        let text = std::fs::read_to_string(&self.file).unwrap_or_default();
        for (name, value) in text.lines().filter_map(|line| line.trim().split_once(' ')) {
            note(&mut read, name, value.trim());
        }
        read
    }
}

/// Takes one line; a value that does not fit makes the sensor say nothing.
fn note(read: &mut Sensors, name: &str, value: &str) {
    match name {
        "on_battery" => {
            let on_battery = value.parse().unwrap_or(true);
            read.power = Reading::Known(Power { on_battery, charging: false, charge_percent: Some(90) });
        }
        "idle_seconds" => read.idle_ms = number(value).map(|seconds: u64| seconds.saturating_mul(1000)),
        "full_screen" => read.full_screen = number(value),
        "metered" => read.metered = number(value),
        "others_cpu_percent" => read.others_cpu_percent = number(value),
        "memory_pressure_percent" => read.memory_pressure_percent = number(value),
        "memory_free_percent" => read.memory_free_percent = number(value),
        "temperature_celsius" => read.temperature_celsius = number(value),
        "watts" => read.watts = number(value),
        _ => {}
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Reading<T> {
    text.parse().map_or(Reading::Unknown, Reading::Known)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    #[test]
    fn what_the_file_names_is_said_and_the_rest_is_at_rest() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sensors");
        let mut noted = Noted::new(file.clone());
        let rest = Sensors { clock: clock(7), ..Scripted::at_rest() };
        assert_eq!(noted.read(7, Own::default()), rest);
        std::fs::write(&file, "idle_seconds 3\nfull_screen true\nelse 4\nwatts many\non_battery true\n").unwrap();
        let read = noted.read(7, Own::default());
        assert_eq!((read.idle_ms.known(), read.full_screen.known()), (Some(&3000), Some(&true)));
        assert_eq!((read.watts.clone(), read.power.known().unwrap().on_battery), (Reading::Unknown, true));
        let told =
            Sensors { power: rest.power.clone(), idle_ms: rest.idle_ms.clone(), watts: rest.watts.clone(), ..read };
        assert_eq!(Sensors { full_screen: Reading::Known(false), ..told }, rest);
    }
}
