//! The owner's limits: what of a machine may be lent now, as a pure function of what the owner wants and what sensors read.
//!
//! - [`SETTINGS`] is the one table of settings: key, kind, range, the values of the presets, the stricter value while the machine is in
//!   use, help. Files, flags, controls and documents are made from it; there is no second list.
//! - [`decide`] is the law: [`Decision::Run`] with [`Caps`], or [`Decision::Pause`] with a [`Reason`] and, where it can be known, until
//!   when. It remembers nothing.
//! - [`Owner::step`] adds what needs memory: the owner's own Pause, Resume and Finish, the calm before a machine is lent again, and the
//!   throttle that keeps to a limit of watts. [`Standing`] and [`Transfer`], the bytes of the day, are kept over a restart by their texts.
//! - [`Layers`] says who set what: preset, file, flag, page. [`read_file`], [`write_file`] and [`template`] are the file, [`schema`] tells
//!   editors and the page of it.
//!
//! # When the machine is lent
//! Each rule whose setting is not `none` must allow it; the first that does not, in the order of [`Reason`], is the reason.
//! *In use* is a machine into which somebody typed, clicked or touched within `share.idle_minutes`; the load of the processor says
//! nothing of that. Caps are those of the settings; in use each is the smaller of its two values.
//!
//! # What is not known
//! A [`Reading`] is known, not known yet, or one that this machine cannot give.
//! - Not known *yet* (the first second, a sensor that fell silent): every rule that needs it pauses.
//! - *Cannot be read*, and the setting is one of `never`, `if_unsure`, `always`: `never` pauses, the others do not.
//! - *Cannot be read*, and the setting is a number: the rule is void, and the owner is shown so with the sensor's advice. Where nobody
//!   can tell what other programs do, or whether somebody is there, the machine counts as in use.
//! - The free space of a disk that cannot be read: nothing more is kept than is there already.
//!
//! # Calm
//! Pausing is immediate. After a reason that comes and goes ([`Reason::wavers`]) the machine is lent again when every number
//! is clear of its limit by a margin for [`CALM_MS`] on end. So it changes at most once per [`CALM_MS`] for such reasons.
//!
//! The margins: temperature 5 °C; the charge of the battery 5 points, 100 % at most; the load of other programs four fifths of its
//! limit; waiting for memory half of its limit; free memory 5 points.
//!
//! # Watts
//! Above `share.watts_max` the cap on the processor falls by a quarter every [`ADJUST_MS`]; at nine tenths of the limit or below it
//! rises by a twentieth of the whole. Above the limit at [`THROTTLE_MIN`] the machine is not lent.
//!
//! # Time
//! [`Clock`] is what the wall shows. The schedule is in local minutes of the week, so a change of the zone or of summer time counts at
//! the next step. A clock that is set back begins a calm anew.

mod decide;
mod file;
mod layers;
mod nearest;
mod owner;
mod preferences;
mod reason;
mod schedule;
mod schema;
mod sensors;
mod table;
mod transfer;
mod value;

pub use decide::{Caps, Decision, Pause, decide};
pub use file::{FILE_BYTES_MAX, read_file, template, write_file};
pub use layers::{Changes, Layer, Layers, SettingError, key_named};
pub use owner::{ADJUST_MS, CALM_MS, Command, Owner, Standing, THROTTLE_MIN, UnknownStanding};
pub use preferences::{Preferences, Preset, Rule};
pub use reason::{Level, Reason, Sensor};
pub use schedule::{Schedule, ScheduleError, WEEK_MINUTES, WINDOWS_MAX};
pub use schema::schema;
pub use sensors::{Clock, Gap, Own, Power, Reading, Sensors};
pub use table::{Key, SETTINGS, Setting};
pub use transfer::{Transfer, UnknownTransfer};
pub use value::{Kind, Misfit, Unit, Value, parse_bytes};
