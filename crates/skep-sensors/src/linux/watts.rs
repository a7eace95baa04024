//! What the processor draws, by the energy counters of its packages (RAPL).

use super::{Root, unreadable};
use skep_owner::Reading;
use std::io;
use std::path::{Path, PathBuf};

const FOLDER: &str = "sys/class/powercap";
/// The least time between two samples: the counters move once in a millisecond.
const SAMPLE_MS_MIN: u64 = 500;
/// The longest: a counter of 32 bits in µJ wraps after 20 s at 200 W, and more than one wrap would not be seen.
const SAMPLE_MS_MAX: u64 = 15_000;

/// The counters as they were, and the last answer.
#[derive(Debug, Default)]
pub(super) struct Watts {
    sample: Option<(u64, Vec<u64>)>,
    watts: Option<u32>,
}

impl Watts {
    pub(super) fn read(&mut self, root: &Root, now_ms: u64) -> Reading<u32> {
        let packages = packages(root);
        if packages.is_empty() {
            return Reading::cannot(
                "this machine shows no energy of its processor",
                "Load the driver intel_rapl_msr, which serves AMD as well; a virtual machine has none.",
            );
        }
        let counters: io::Result<Vec<u64>> = packages.iter().map(|package| counter(root, package)).collect();
        let counters = match counters {
            Ok(counters) => counters,
            Err(error) => {
                let advice = "Let the group of Skep's user read energy_uj of each /sys/class/powercap/intel-rapl:N at the start, \
                              by a rule of udev or of tmpfiles.d.";
                return unreadable("the energy of the processor", &error, advice);
            }
        };
        let elapsed_ms = self.sample.as_ref().map(|(at_ms, _)| now_ms.checked_sub(*at_ms));
        match elapsed_ms {
            Some(Some(elapsed_ms)) if elapsed_ms < SAMPLE_MS_MIN => {}
            Some(Some(elapsed_ms)) if elapsed_ms <= SAMPLE_MS_MAX => {
                let before = self.sample.replace((now_ms, counters.clone())).map(|(_, before)| before);
                self.watts = before.and_then(|before| drawn(root, &packages, &before, &counters, elapsed_ms));
            }
            _ => {
                self.sample = Some((now_ms, counters));
                self.watts = None;
            }
        }
        self.watts.map_or(Reading::Unknown, Reading::Known)
    }
}

/// The zones of whole processors; those with a second colon are parts of them, and `psys` counts them once more.
fn packages(root: &Root) -> Vec<PathBuf> {
    let zones = root.inside(FOLDER).into_iter();
    zones.filter(|zone| root.text(zone.join("name")).is_ok_and(|name| name.starts_with("package-"))).collect()
}

fn counter(root: &Root, package: &Path) -> io::Result<u64> {
    let text = root.text(package.join("energy_uj"))?;
    text.parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is no number"))
}

/// Watts between two samples, rounded up; a counter that wrapped begins again after its range.
fn drawn(root: &Root, packages: &[PathBuf], before: &[u64], after: &[u64], elapsed_ms: u64) -> Option<u32> {
    let mut sum: u64 = 0;
    if before.len() != after.len() {
        return None;
    }
    for (package, (before, after)) in packages.iter().zip(before.iter().zip(after)) {
        let used = match after.checked_sub(*before) {
            Some(used) => used,
            None => root.number(package.join("max_energy_range_uj"))?.checked_sub(*before)?.checked_add(*after)?,
        };
        sum = sum.checked_add(used)?;
    }
    u32::try_from(sum.div_ceil(elapsed_ms.checked_mul(1000)?)).ok()
}
