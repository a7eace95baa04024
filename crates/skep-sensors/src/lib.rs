//! What a machine says of itself, for [`skep_owner::decide`].
//!
//! [`Sense`] is the one trait; [`of_this_machine`] gives what there is here, [`Scripted`] says what a test wrote down, [`Noted`] what stands in a file. A sensor never
//! guesses: what a machine does not tell is a [`Gap`](skep_owner::Gap) with a reason and an advice.
//!
//! # Linux
//! | reading | from | what it cannot see |
//! |---|---|---|
//! | power | `/sys/class/power_supply`; batteries of mice and headphones do not count | a UPS that the kernel does not know |
//! | input | GNOME's idle monitor on the session's bus, logind's idle hint on the system's bus, the times at which terminals were read | see below |
//! | full screen | nothing: no interface says it on every desktop | everything |
//! | metered | NetworkManager's `Metered`, on the system's bus | networks without NetworkManager |
//! | load of others | `/proc/stat` less what this process, or its own control group, used | the use of a graphics processor |
//! | waiting for memory | `/proc/pressure/memory`, its 10 seconds | kernels built or started without it |
//! | available memory | `/proc/meminfo` | limits of a container |
//! | temperature | the hottest input of the processor's chips under `/sys/class/hwmon`, else of thermal zones | virtual machines have none |
//! | watts | `/sys/class/powercap`, the packages together | what else draws power; by default only root may read it |
//! | free disk | the file system of the folder given | |
//!
//! Input: terminals (consoles, SSH, terminal windows) count what was typed into them, to 8 seconds. A desktop session is seen through
//! GNOME, to the millisecond, when Skep runs in that session and nobody else is logged in; otherwise through logind, to which GNOME and KDE
//! say that they are idle only after their own delay, and some window managers never do: then the machine counts as in use. Without
//! logind and with a desktop open it cannot be read. Nothing listens to keys or to the pointer: that would need rights that no
//! program should have.
//!
//! # Other systems
//! [`Blind`]: nothing is read yet, each reading is a gap that says so, and a rule that says `never` keeps the machine from being lent.

mod blind;
#[cfg(target_os = "linux")]
mod linux;
mod noted;
mod scripted;

pub use blind::Blind;

#[cfg(target_os = "linux")]
pub use linux::{Linux, OwnLoad, Sources};
pub use noted::Noted;
pub use scripted::Scripted;

use chrono::{Local, TimeZone};
use skep_owner::{Clock, Own, Sensors};
use std::path::Path;

/// Something that reads a machine.
pub trait Sense: Send {
    /// What is known now. `now_ms` is the wall clock's, since 1970, UTC; `own` is what the node knows of itself.
    ///
    /// Some readings are differences between two calls, so they are unknown at first. A call may wait for a bus, 250 ms at most for each
    /// of its answers.
    fn read(&mut self, now_ms: u64, own: Own) -> Sensors;
}

/// The sensors of this machine. `weights` is the folder in which weights are kept, whether it exists yet or not.
#[cfg(target_os = "linux")]
#[must_use]
pub fn of_this_machine(weights: &Path) -> Box<dyn Sense> {
    Box::new(Linux::new(Sources::of_this_machine(weights)))
}

/// The sensors of this machine. `weights` is the folder in which weights are kept, whether it exists yet or not.
#[cfg(not(target_os = "linux"))]
#[must_use]
pub fn of_this_machine(_weights: &Path) -> Box<dyn Sense> {
    Box::new(Blind)
}

/// The clock of this machine's zone, which may change while it runs.
#[must_use]
pub fn clock(now_ms: u64) -> Clock {
    let moment = i64::try_from(now_ms).ok().and_then(|now_ms| Local.timestamp_millis_opt(now_ms).single());
    let offset = moment.map_or(0, |moment| moment.offset().local_minus_utc() / 60);
    Clock { now_ms, offset_minutes: i16::try_from(offset).unwrap_or(0) }
}
