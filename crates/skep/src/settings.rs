//! Where settings come from: the file beside the keys, and flags that are made from the table of settings.

use crate::error::Error;
use crate::home;
use clap::error::ErrorKind;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};
use skep_node::SettingsFile;
use skep_owner::{Changes, Key, Layers, SETTINGS, Setting, Value};
use std::path::PathBuf;
use std::sync::LazyLock;

/// The flags of all settings, one for each row of the table.
#[derive(Debug, Clone, Default)]
pub(crate) struct ShareFlags(pub(crate) Changes);

/// The names of the flags: clap keeps them for as long as the program runs.
static FLAGS: LazyLock<Vec<String>> = LazyLock::new(|| SETTINGS.iter().map(Setting::flag).collect());

impl Args for ShareFlags {
    fn augment_args(command: Command) -> Command {
        SETTINGS.iter().zip(FLAGS.iter()).fold(command, |command, (setting, flag)| {
            let argument = Arg::new(setting.name)
                .long(flag.as_str())
                .value_name("VALUE")
                .value_parser(|text: &str| setting.kind.parse(text))
                .help(format!("{} [{}]", setting.help.trim_end_matches('.'), setting.kind.wanted()))
                .help_heading("Settings for this run, over those of the file")
                .hide_short_help(true);
            command.arg(argument)
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for ShareFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for setting in &SETTINGS {
            let Some(value) = matches.get_one::<Value>(setting.name) else { continue };
            let set = self.0.set(setting.key, value.clone());
            set.map_err(|refused| clap::Error::raw(ErrorKind::ValueValidation, refused))?;
        }
        Ok(())
    }
}

/// The file of settings, whether it is there or not.
pub(crate) fn path() -> PathBuf {
    home::folder().join("settings.toml")
}

/// The same, to read and to change.
pub(crate) fn file() -> SettingsFile {
    SettingsFile::new(path())
}

/// What holds for a run with these flags.
///
/// # Errors
/// [`Error::Settings`] when the file is refused, [`Error::System`] when it cannot be read.
pub(crate) fn layers(flags: &ShareFlags) -> Result<Layers, Error> {
    let file = file().read()?;
    Ok(Layers { file, flags: flags.0.clone(), ..Layers::default() })
}

/// Changes one setting in the file, or with `None` leaves it to the preset. A file that is not there yet begins as the template.
///
/// # Errors
/// As [`layers`]; the file is as it was then.
pub(crate) fn change(key: Key, value: Option<&Value>) -> Result<(), Error> {
    Ok(file().change(key, value)?)
}
