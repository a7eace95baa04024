//! What other programs use of the processors, and how memory stands.

use super::{OwnLoad, Root, unreadable};
use skep_owner::Reading;

/// The least of all processors' ticks between two samples: half a second of one processor. Fewer would round to nothing.
const SAMPLE_TICKS_MIN: u64 = 50;
/// Microseconds of a tick of `/proc/stat`: the kernel shows them to programs as hundredths of a second.
const TICK_US: u64 = 10_000;

/// Ticks since the start, of all processors together.
#[derive(Debug, Clone, Copy)]
struct Ticks {
    all: u64,
    busy: u64,
    own: u64,
}

/// The ticks as they were, and the last answer.
#[derive(Debug)]
pub(super) struct Load {
    own: OwnLoad,
    sample: Option<Ticks>,
    percent: Option<u8>,
}

impl Load {
    pub(super) fn new(own: OwnLoad) -> Self {
        Self { own, sample: None, percent: None }
    }

    /// The share of all processors that others use, rounded up.
    pub(super) fn others_percent(&mut self, root: &Root) -> Reading<u8> {
        let Some(now) = ticks(root, &self.own) else {
            return Reading::cannot(
                "/proc/stat, or what Skep itself used, cannot be read",
                "Show /proc to Skep's user; a container may hide it.",
            );
        };
        let since = |before: Ticks| {
            let all = now.all.checked_sub(before.all)?;
            let busy = now.busy.saturating_sub(before.busy);
            // Skep's own ticks are read a moment later than the others', so they may seem to be more.
            let others = busy.saturating_sub(now.own.saturating_sub(before.own)).min(all);
            Some((all, others))
        };
        match self.sample.map(since) {
            Some(Some((all, _))) if all < SAMPLE_TICKS_MIN => {}
            Some(Some((all, others))) => {
                self.sample = Some(now);
                self.percent = u8::try_from((others * 100).div_ceil(all)).ok();
            }
            _ => {
                self.sample = Some(now);
                self.percent = None;
            }
        }
        self.percent.map_or(Reading::Unknown, Reading::Known)
    }
}

fn ticks(root: &Root, own: &OwnLoad) -> Option<Ticks> {
    let stat = root.text("proc/stat").ok()?;
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    // user nice system idle iowait irq softirq steal; guests are counted in user and nice already.
    let fields: Vec<u64> = line.split_whitespace().take(8).map_while(|field| field.parse().ok()).collect();
    let [user, nice, system, idle, iowait, irq, softirq, steal] = fields.try_into().ok()?;
    let sum = |parts: &[u64]| parts.iter().fold(0u64, |sum, part| sum.saturating_add(*part));
    let busy = sum(&[user, nice, system, irq, softirq]);
    let own = match own {
        OwnLoad::Process => of_process(&root.text("proc/self/stat").ok()?)?,
        OwnLoad::Group(folder) => of_group(&root.text(folder.join("cpu.stat")).ok()?)?,
    };
    Some(Ticks { all: sum(&[busy, idle, iowait, steal]), busy, own })
}

/// User and system ticks of all threads. The second field is the program's name in parentheses, which may hold anything.
fn of_process(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11).map(str::parse::<u64>);
    fields.next()?.ok()?.checked_add(fields.next()?.ok()?)
}

fn of_group(stat: &str) -> Option<u64> {
    let usage = stat.lines().find_map(|line| line.strip_prefix("usage_usec "))?;
    Some(usage.parse::<u64>().ok()? / TICK_US)
}

/// The share of the last 10 seconds in which some program waited for memory, rounded up.
pub(super) fn memory_pressure(root: &Root) -> Reading<u8> {
    let advice = "Start the kernel with psi=1, or use one that was built with CONFIG_PSI.";
    let text = match root.text("proc/pressure/memory") {
        Ok(text) => text,
        Err(error) => return unreadable("/proc/pressure/memory", &error, advice),
    };
    let some = text.lines().find_map(|line| line.strip_prefix("some "));
    let avg10 = some.and_then(|some| some.split_whitespace().find_map(|field| field.strip_prefix("avg10=")));
    match avg10.and_then(percent_up) {
        Some(percent) => Reading::Known(percent),
        None => Reading::cannot("/proc/pressure/memory is not in the form that Skep knows", advice),
    }
}

/// `12.34` as 13.
fn percent_up(text: &str) -> Option<u8> {
    let (whole, hundredths) = text.split_once('.')?;
    let more = hundredths.parse::<u8>().ok()? > 0;
    Some((whole.parse::<u8>().ok()?.checked_add(u8::from(more))?).min(100))
}

/// The share of memory that programs can get without anything being swapped, rounded down.
pub(super) fn memory_free(root: &Root) -> Reading<u8> {
    let text = root.text("proc/meminfo").unwrap_or_default();
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    };
    let share = |available: u64, all: u64| u8::try_from(available.checked_mul(100)?.checked_div(all)?.min(100)).ok();
    match field("MemAvailable").zip(field("MemTotal")).and_then(|(available, all)| share(available, all)) {
        Some(percent) => Reading::Known(percent),
        None => Reading::cannot("/proc/meminfo does not say what is available", "Show /proc to Skep's user."),
    }
}
