//! Why a machine is not lent now, and what would change that.

use crate::table::Key;
use std::fmt::{self, Display, Formatter};

/// Why a machine is not lent, the first that holds in this order.
///
/// `Display` is a clause that reads on from "paused: "; [`remedy`](Self::remedy) is a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The owner paused it.
    Owner,
    /// The owner asked to finish, and nothing is in progress any more.
    Finished,
    /// It is outside the hours of the schedule.
    Schedule,
    /// A battery feeds the machine.
    OnBattery,
    /// The owner said never on a battery, and where power comes from cannot be read.
    PowerUnsure,
    /// The battery has less charge than the owner keeps.
    BatteryLow(Level),
    /// Somebody uses the machine.
    InUse {
        /// Minutes without input after which it is no longer in use.
        idle_minutes: u64,
    },
    /// The owner said never in use, and whether somebody is there cannot be read.
    InUseUnsure,
    /// A program fills the screen.
    FullScreen,
    /// The owner said never beside a full screen, and that cannot be read.
    FullScreenUnsure,
    /// The network counts what is used.
    Metered,
    /// The owner said never on a metered network, and that cannot be read.
    MeteredUnsure,
    /// Other programs need the processors, by this setting: that of a machine in use, or the other.
    OthersBusy(Level, Key),
    /// Programs wait for memory.
    MemoryPressure(Level),
    /// Little memory is available.
    MemoryShort(Level),
    /// The processor is hot.
    Hot(Level),
    /// The processor draws too much, and lending less did not help.
    Watts(Level),
    /// The day's bytes are used up.
    DailyTransfer {
        /// The most bytes from midnight to midnight.
        max: u64,
    },
    /// A sensor has not said anything yet, or fell silent.
    NotReadYet(Sensor),
    /// All is clear, but not for long enough.
    Calming,
}

/// A number that crossed its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    /// What it is.
    pub is: u64,
    /// What the owner set.
    pub limit: u64,
    /// What it must reach before the machine is lent again.
    pub again: u64,
}

/// A source of readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sensor {
    /// Mains and batteries.
    Power,
    /// Keyboard, mouse, touch, terminals.
    Input,
    /// What fills the screen.
    Screen,
    /// Whether the network is metered.
    Network,
    /// What other programs use of the processors.
    Processors,
    /// Waiting for memory.
    MemoryPressure,
    /// Available memory.
    MemoryFree,
    /// The processor's temperature.
    Temperature,
    /// The processor's power.
    Watts,
    /// Free room on the disk.
    Disk,
}

impl Sensor {
    /// A word for programs.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Power => "power",
            Self::Input => "input",
            Self::Screen => "screen",
            Self::Network => "network",
            Self::Processors => "processors",
            Self::MemoryPressure => "memory_pressure",
            Self::MemoryFree => "memory_free",
            Self::Temperature => "temperature",
            Self::Watts => "watts",
            Self::Disk => "disk",
        }
    }

    /// What it reads.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Power => "where power comes from",
            Self::Input => "when somebody last used this machine",
            Self::Screen => "whether a program fills the screen",
            Self::Network => "whether the network is metered",
            Self::Processors => "what other programs use of the processors",
            Self::MemoryPressure => "how long programs wait for memory",
            Self::MemoryFree => "how much memory is available",
            Self::Temperature => "the temperature of the processor",
            Self::Watts => "the power of the processor",
            Self::Disk => "how much of the disk is free",
        }
    }
}

impl Reason {
    /// A word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Finished => "finished",
            Self::Schedule => "schedule",
            Self::OnBattery => "on_battery",
            Self::PowerUnsure => "power_unsure",
            Self::BatteryLow(_) => "battery_low",
            Self::InUse { .. } => "in_use",
            Self::InUseUnsure => "in_use_unsure",
            Self::FullScreen => "full_screen",
            Self::FullScreenUnsure => "full_screen_unsure",
            Self::Metered => "metered",
            Self::MeteredUnsure => "metered_unsure",
            Self::OthersBusy(..) => "others_busy",
            Self::MemoryPressure(_) => "memory_pressure",
            Self::MemoryShort(_) => "memory_short",
            Self::Hot(_) => "hot",
            Self::Watts(_) => "watts",
            Self::DailyTransfer { .. } => "daily_transfer",
            Self::NotReadYet(_) => "not_read_yet",
            Self::Calming => "calming",
        }
    }

    /// Whether it comes and goes by itself, so that the machine is lent again only after a calm.
    #[must_use]
    pub fn wavers(&self) -> bool {
        !matches!(
            self,
            Self::Owner
                | Self::Finished
                | Self::Schedule
                | Self::InUse { .. }
                | Self::DailyTransfer { .. }
                | Self::Calming
        )
    }

    /// The setting that made it one.
    #[must_use]
    pub fn setting(&self) -> Option<Key> {
        Some(match self {
            Self::Owner | Self::Finished | Self::NotReadYet(_) | Self::Calming => return None,
            Self::Schedule => Key::Schedule,
            Self::OnBattery | Self::PowerUnsure => Key::WhenOnBattery,
            Self::BatteryLow(_) => Key::BatteryMin,
            Self::InUse { .. } | Self::InUseUnsure => Key::WhenInUse,
            Self::FullScreen | Self::FullScreenUnsure => Key::WhenFullScreen,
            Self::Metered | Self::MeteredUnsure => Key::WhenMetered,
            Self::OthersBusy(_, key) => *key,
            Self::MemoryPressure(_) => Key::MemoryPressure,
            Self::MemoryShort(_) => Key::MemoryFreeMin,
            Self::Hot(_) => Key::Temperature,
            Self::Watts(_) => Key::Watts,
            Self::DailyTransfer { .. } => Key::DailyTransfer,
        })
    }

    /// What would change it.
    #[must_use]
    pub fn remedy(&self) -> String {
        let name = self.setting().map_or("", |key| key.setting().name);
        match self {
            Self::Owner | Self::Finished => "`skep resume` lends this machine again.".into(),
            Self::Schedule => format!("It is lent again when the next hours of {name} begin."),
            Self::OnBattery => format!("Plug this machine in, or set {name} to always."),
            Self::BatteryLow(level) => {
                format!("It is lent again from a charge of {} %, or with a lower {name}.", level.again)
            }
            Self::InUse { idle_minutes } => {
                format!("It is lent again after {idle_minutes} minutes without input, or with {name} set to always.")
            }
            Self::FullScreen => format!("Leave the full screen, or set {name} to always."),
            Self::Metered => format!("Use another network, or set {name} to always."),
            Self::PowerUnsure | Self::InUseUnsure | Self::FullScreenUnsure | Self::MeteredUnsure => {
                format!("Set {name} to if_unsure or always to lend this machine all the same.")
            }
            Self::OthersBusy(level, _) | Self::MemoryPressure(level) => {
                format!("It is lent again from {} % down, or with a higher {name}.", level.again)
            }
            Self::MemoryShort(level) => {
                format!("It is lent again from {} % available on, or with a lower {name}.", level.again)
            }
            Self::Hot(level) => format!("It is lent again from {} °C down, or with a higher {name}.", level.again),
            Self::Watts(level) => {
                format!("It is lent again from {} W down, or with a higher {name}.", level.again)
            }
            Self::DailyTransfer { .. } => format!("It is lent again after midnight, or with a higher {name}."),
            Self::NotReadYet(_) => "It is lent as soon as that can be read.".into(),
            Self::Calming => "It is lent again when it has stayed free for a minute.".into(),
        }
    }
}

impl Display for Reason {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner => write!(f, "you paused it"),
            Self::Finished => write!(f, "you asked it to finish, and all work is done"),
            Self::Schedule => write!(f, "it is outside the hours in which this machine is lent"),
            Self::OnBattery => write!(f, "this machine runs on its battery"),
            Self::PowerUnsure => write!(f, "it cannot be read whether this machine runs on a battery"),
            Self::BatteryLow(Level { is, limit, .. }) => {
                write!(f, "the battery has {is} %, and {limit} % is the least")
            }
            Self::InUse { .. } => write!(f, "somebody uses this machine"),
            Self::InUseUnsure => write!(f, "it cannot be read whether somebody uses this machine"),
            Self::FullScreen => write!(f, "a program fills the screen"),
            Self::FullScreenUnsure => write!(f, "it cannot be read whether a program fills the screen"),
            Self::Metered => write!(f, "the network counts what is used"),
            Self::MeteredUnsure => write!(f, "it cannot be read whether the network counts what is used"),
            Self::OthersBusy(Level { is, limit, .. }, _) => {
                write!(f, "other programs use {is} % of the processors, and {limit} % is the limit")
            }
            Self::MemoryPressure(Level { is, limit, .. }) => {
                write!(f, "programs wait for memory {is} % of the time, and {limit} % is the limit")
            }
            Self::MemoryShort(Level { is, limit, .. }) => {
                write!(f, "{is} % of the memory is available, and {limit} % is to stay so")
            }
            Self::Hot(Level { is, limit, .. }) => {
                write!(f, "the processor is at {is} °C, and {limit} °C is the limit")
            }
            Self::Watts(Level { is, limit, .. }) => {
                write!(f, "the processor draws {is} W, and {limit} W is the limit")
            }
            Self::DailyTransfer { max } => {
                write!(f, "today's {} of transfers are used up", crate::value::Unit::Bytes.text(*max))
            }
            Self::NotReadYet(sensor) => write!(f, "waiting to read {}", sensor.name()),
            Self::Calming => write!(f, "this machine has only just become free"),
        }
    }
}
