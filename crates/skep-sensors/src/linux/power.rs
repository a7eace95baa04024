//! Mains and batteries.

use super::Root;
use skep_owner::{Power, Reading};
use std::path::Path;

const FOLDER: &str = "sys/class/power_supply";

/// One battery of the machine itself.
struct Battery {
    status: String,
    charge_percent: Option<u64>,
    /// What it holds and can hold, in µWh.
    energy: Option<(u64, u64)>,
}

pub(super) fn read(root: &Root) -> Reading<Power> {
    let mut batteries = Vec::new();
    let mut mains = Vec::new();
    let mut on_ups = false;
    for supply in root.inside(FOLDER) {
        let field = |name: &str| root.text(supply.join(name)).unwrap_or_default();
        let of_a_device = field("scope") == "Device";
        match field("type").as_str() {
            "Battery" if !of_a_device && field("present") != "0" => batteries.push(battery(root, &supply)),
            "UPS" => on_ups |= field("status") == "Discharging",
            "Mains" | "USB" | "Wireless" if !of_a_device => {
                mains.push(field("online") == "1" || field("online") == "2")
            }
            _ => {}
        }
    }
    let is = |status: &str| batteries.iter().any(|battery| battery.status == status);
    let fed = mains.contains(&true);
    if mains.is_empty() && !batteries.is_empty() && batteries.iter().all(|battery| battery.status == "Unknown") {
        return Reading::cannot(
            "the battery does not say whether it is in use",
            "Set share.when_on_battery to if_unsure or always, if this machine is on mains.",
        );
    }
    let on_battery = if mains.is_empty() { is("Discharging") } else { !batteries.is_empty() && !fed };
    Reading::Known(Power {
        on_battery: on_battery || on_ups,
        charging: is("Charging"),
        charge_percent: charge(&batteries),
    })
}

fn battery(root: &Root, supply: &Path) -> Battery {
    let energy = root.number(supply.join("energy_now")).zip(root.number(supply.join("energy_full")));
    Battery {
        status: root.text(supply.join("status")).unwrap_or_else(|_| "Unknown".into()),
        charge_percent: root.number(supply.join("capacity")),
        energy: energy.filter(|(_, full)| *full > 0),
    }
}

/// The charge of all batteries by their energy, or, if one does not say that, their mean.
fn charge(batteries: &[Battery]) -> Option<u8> {
    let energies: Option<Vec<(u64, u64)>> = batteries.iter().map(|battery| battery.energy).collect();
    let of_energy = |energies: Vec<(u64, u64)>| {
        let sum = |which: fn(&(u64, u64)) -> u64| energies.iter().map(which).fold(0u64, u64::saturating_add);
        (sum(|(now, _)| *now).saturating_mul(100)).checked_div(sum(|(_, full)| *full))
    };
    let percents: Vec<u64> = batteries.iter().filter_map(|battery| battery.charge_percent).collect();
    let mean = || percents.iter().sum::<u64>().checked_div(u64::try_from(percents.len()).ok()?);
    let percent = energies.and_then(of_energy).or_else(mean)?;
    u8::try_from(percent.min(100)).ok()
}
