//! What this process takes of the machine, as the system counts it.

use std::time::Duration;

/// Processor time that this process has taken so far; none where the system does not say.
#[cfg(unix)]
pub(crate) fn processor_time() -> Option<Duration> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(time).ok()
}

/// Processor time that this process has taken so far; none where the system does not say.
#[cfg(not(unix))]
pub(crate) fn processor_time() -> Option<Duration> {
    None
}

/// Bytes of this process that are in memory; zero where the system does not say.
pub(super) fn resident_bytes() -> u64 {
    kilobytes("/proc/self/status", "VmRSS:").unwrap_or(0)
}

/// Bytes of the machine's memory; zero where the system does not say.
pub(super) fn memory_bytes() -> u64 {
    kilobytes("/proc/meminfo", "MemTotal:").unwrap_or(0)
}

/// Bytes of memory that programs can get without anything being swapped; none where the system does not say.
#[must_use]
pub fn free_memory() -> Option<u64> {
    kilobytes("/proc/meminfo", "MemAvailable:")
}

/// The bytes of a line in kilobytes.
fn kilobytes(path: &str, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    number.map(|number| number.saturating_mul(1024))
}

/// All processors that this process may run on.
pub(crate) fn processors() -> u32 {
    std::thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(u32::MAX))
}

/// Bytes on the disk of all files in a folder and those in it; holes do not count where the system tells.
pub(crate) fn disk_bytes(folder: &std::path::Path) -> u64 {
    /// A store of models has two floors.
    const FLOORS: usize = 3;
    fn within(folder: &std::path::Path, floors: usize) -> u64 {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let size = |entry: std::fs::DirEntry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() && floors > 1 => within(&entry.path(), floors - 1),
            Ok(metadata) if metadata.is_file() => on_disk(&metadata),
            _ => 0,
        };
        entries.map(size).sum()
    }
    within(folder, FLOORS)
}

#[cfg(unix)]
fn on_disk(metadata: &std::fs::Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt;
    metadata.blocks().saturating_mul(512)
}

#[cfg(not(unix))]
fn on_disk(metadata: &std::fs::Metadata) -> u64 {
    metadata.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn the_system_says_what_this_process_takes() {
        let before = processor_time().unwrap();
        let mut sum = 0u64;
        while processor_time().unwrap() < before + Duration::from_millis(5) {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(sum > 0 && resident_bytes() > 1 << 20 && memory_bytes() > resident_bytes() && processors() > 0);
        assert_eq!(kilobytes("/proc/self/status", "Nothing:"), None);
        assert!(free_memory().unwrap() < memory_bytes());
    }

    #[test]
    fn what_lies_in_folders_of_a_folder_counts() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(disk_bytes(&folder.path().join("none")), 0);
        std::fs::create_dir(folder.path().join("model")).unwrap();
        std::fs::write(folder.path().join("model").join("model.gguf"), vec![1; 10_000]).unwrap();
        assert!(disk_bytes(folder.path()) >= 10_000);
    }
}
