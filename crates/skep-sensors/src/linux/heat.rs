//! How hot the processor is.

use super::Root;
use skep_owner::Reading;

/// Chips of hwmon that measure processors, by the names that their drivers give.
const CHIPS: [&str; 9] = [
    "coretemp",
    "k10temp",
    "k8temp",
    "zenpower",
    "cpu_thermal",
    "cpu-thermal",
    "soc_thermal",
    "via_cputemp",
    "scpi_sensors",
];
/// Words in the types of thermal zones that measure processors.
const ZONES: [&str; 4] = ["cpu", "pkg", "soc", "package"];
/// What a sensor may say, in °C; others are broken, or not there.
const PLAUSIBLE: std::ops::RangeInclusive<i16> = -40..=150;

pub(super) fn read(root: &Root) -> Reading<i16> {
    let hottest = chips(root).into_iter().max().or_else(|| zones(root).into_iter().max());
    hottest.map_or_else(
        || {
            Reading::cannot(
                "this machine shows no temperature of its processor",
                "Load the driver of its sensor, such as coretemp or k10temp; a virtual machine has none.",
            )
        },
        Reading::Known,
    )
}

fn chips(root: &Root) -> Vec<i16> {
    let chips = root.inside("sys/class/hwmon").into_iter();
    let of_processors = chips.filter(|chip| {
        let name = root.text(chip.join("name")).unwrap_or_default();
        CHIPS.contains(&name.as_str())
    });
    let inputs = of_processors.flat_map(|chip| {
        let names = root.names(&chip).into_iter();
        names.filter(|name| name.starts_with("temp") && name.ends_with("_input")).map(move |name| chip.join(name))
    });
    inputs.filter_map(|input| celsius(&root.text(input).ok()?)).collect()
}

fn zones(root: &Root) -> Vec<i16> {
    let zones = root.inside("sys/class/thermal").into_iter();
    let of_processors = zones.filter(|zone| {
        let kind = root.text(zone.join("type")).unwrap_or_default().to_lowercase();
        ZONES.iter().any(|word| kind.contains(word))
    });
    of_processors.filter_map(|zone| celsius(&root.text(zone.join("temp")).ok()?)).collect()
}

/// Thousandths of a degree, rounded up.
fn celsius(text: &str) -> Option<i16> {
    let thousandths: i64 = text.parse().ok()?;
    let celsius = thousandths.div_euclid(1000) + i64::from(thousandths.rem_euclid(1000) > 0);
    i16::try_from(celsius).ok().filter(|celsius| PLAUSIBLE.contains(celsius))
}
