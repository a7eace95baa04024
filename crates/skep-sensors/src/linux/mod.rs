//! Linux: files under `/proc`, `/sys`, `/dev` and `/run`, and two properties of two services on the system's bus.

mod bus;
mod heat;
mod input;
mod load;
mod network;
mod power;
mod watts;

use crate::{Sense, clock};
use bus::Bus;
use load::Load;
use skep_owner::{Own, Reading, Sensors};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use watts::Watts;

/// The most bytes of a file that are read; the longest of them, `/proc/meminfo`, has 2 KB, and of `/proc/stat` one line is used.
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// The most entries of a folder that are looked at; a machine with many sessions has some hundred terminals.
const ENTRIES_MAX: usize = 4096;

/// Whose use of the processors is Skep's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnLoad {
    /// This process'.
    Process,
    /// That of a control group (v2), by its folder: of all processes that Skep starts.
    Group(PathBuf),
}

/// Where readings come from. Tests give a folder that looks like a machine's.
#[derive(Debug, Clone)]
pub struct Sources {
    /// The folder in which `proc`, `sys`, `dev`, `run` and `tmp` are.
    pub root: PathBuf,
    /// The folder of weights, or where it will be.
    pub weights: PathBuf,
    /// Whose load is Skep's own.
    pub own_load: OwnLoad,
}

impl Sources {
    /// This machine, where Skep is one process.
    #[must_use]
    pub fn of_this_machine(weights: &Path) -> Self {
        Self { root: "/".into(), weights: weights.into(), own_load: OwnLoad::Process }
    }
}

/// The sensors of a Linux machine.
#[derive(Debug)]
pub struct Linux {
    root: Root,
    weights: PathBuf,
    load: Load,
    watts: Watts,
    system_bus: Bus,
    session_bus: Bus,
}

impl Linux {
    /// Sensors that read from there.
    #[must_use]
    pub fn new(sources: Sources) -> Self {
        let Sources { root, weights, own_load } = sources;
        let root = Root(root);
        let user = root.user();
        Self {
            weights,
            load: Load::new(own_load),
            watts: Watts::default(),
            system_bus: Bus::new(root.0.join("run/dbus/system_bus_socket"), user),
            session_bus: Bus::new(root.0.join(format!("run/user/{user}/bus")), user),
            root,
        }
    }
}

impl Sense for Linux {
    fn read(&mut self, now_ms: u64, own: Own) -> Sensors {
        Sensors {
            clock: clock(now_ms),
            power: power::read(&self.root),
            idle_ms: input::read(&self.root, &mut self.session_bus, &mut self.system_bus, now_ms),
            full_screen: Reading::cannot(
                "no interface of Linux says it on every desktop",
                "Set share.when_in_use to never: who watches a film counts as present where the desktop says so.",
            ),
            metered: network::metered(&mut self.system_bus),
            others_cpu_percent: self.load.others_percent(&self.root),
            memory_pressure_percent: load::memory_pressure(&self.root),
            memory_free_percent: load::memory_free(&self.root),
            temperature_celsius: heat::read(&self.root),
            watts: self.watts.read(&self.root, now_ms),
            disk_free_bytes: disk_free(&self.weights),
            own,
        }
    }
}

/// The folder in which a machine's `proc` and `sys` are.
#[derive(Debug)]
pub(crate) struct Root(PathBuf);

impl Root {
    /// The text of a file, its beginning if it is long, without the line break at its end.
    fn text(&self, path: impl AsRef<Path>) -> io::Result<String> {
        let mut bytes = Vec::new();
        fs::File::open(self.0.join(path))?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
    }

    /// The number in a file.
    fn number(&self, path: impl AsRef<Path>) -> Option<u64> {
        self.text(path).ok()?.parse().ok()
    }

    /// The names in a folder, in their order; none where it is not there.
    fn names(&self, path: impl AsRef<Path>) -> Vec<String> {
        let entries = fs::read_dir(self.0.join(path)).into_iter().flatten().take(ENTRIES_MAX).flatten();
        let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort_unstable();
        names
    }

    /// The folders in a folder, with their paths from the root.
    fn inside(&self, path: &str) -> Vec<PathBuf> {
        self.names(path).into_iter().map(|name| Path::new(path).join(name)).collect()
    }

    fn metadata(&self, path: impl AsRef<Path>) -> io::Result<fs::Metadata> {
        fs::metadata(self.0.join(path))
    }

    /// The user that this process belongs to.
    fn user(&self) -> u32 {
        use std::os::unix::fs::MetadataExt;
        self.metadata("proc/self").map_or(0, |metadata| metadata.uid())
    }
}

/// A gap for a file that cannot be read.
fn unreadable<T>(what: &str, error: &io::Error, advice: &str) -> Reading<T> {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            Reading::cannot(format!("{what} may not be read by the user of this process"), advice)
        }
        _ => Reading::cannot(format!("{what} cannot be read: {error}"), advice),
    }
}

fn disk_free(weights: &Path) -> Reading<u64> {
    let there = weights.ancestors().find(|folder| folder.exists());
    match there.map(rustix::fs::statvfs) {
        Some(Ok(disk)) => Reading::Known(disk.f_bavail.saturating_mul(disk.f_frsize)),
        Some(Err(error)) => Reading::cannot(
            format!("the file system of {} does not say what is free: {error}", weights.display()),
            "Keep weights on another disk, with SKEP_HOME.",
        ),
        None => {
            Reading::cannot(format!("{} is on no disk", weights.display()), "Choose another folder with SKEP_HOME.")
        }
    }
}
