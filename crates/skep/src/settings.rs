//! Where settings come from: the file beside the keys, and flags that are made from the table of settings.

use crate::error::Error;
use crate::home;
use clap::error::ErrorKind;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};
use skep_owner::{Changes, Key, Layers, SETTINGS, Setting, Value, read_file, template, write_file};
use std::fs;
use std::io::{self, Write};
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

/// What holds for a run with these flags.
///
/// # Errors
/// [`Error::Settings`] when the file is refused, [`Error::System`] when it cannot be read.
pub(crate) fn layers(flags: &ShareFlags) -> Result<Layers, Error> {
    let file = read_file(&text()?.unwrap_or_default()).map_err(refused)?;
    Ok(Layers { file, flags: flags.0.clone(), ..Layers::default() })
}

/// Changes one setting in the file, or with `None` leaves it to the preset. A file that is not there yet begins as the template.
///
/// # Errors
/// As [`layers`]; the file is as it was then.
pub(crate) fn change(key: Key, value: Option<&Value>) -> Result<(), Error> {
    let before = text()?;
    if before.is_none() && value.is_none() {
        return Ok(());
    }
    let after = write_file(&before.unwrap_or_else(template), key, value).map_err(refused)?;
    let path = path();
    let fault = |source| Error::System { what: format!("writing {}", path.display()), source };
    replace(&after).map_err(fault)
}

fn text() -> Result<Option<String>, Error> {
    let path = path();
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text)),
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::System { what: format!("reading {}", path.display()), source }),
    }
}

/// Puts a new file in the place of the old one, so that whoever reads finds one of the two whole.
fn replace(text: &str) -> io::Result<()> {
    let path = path();
    fs::create_dir_all(home::folder())?;
    let new = path.with_extension(format!("toml.{}", std::process::id()));
    let written = fs::File::create(&new).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    let replaced = written.and_then(|()| fs::rename(&new, &path));
    if replaced.is_err() {
        // What is left of a write that failed is in nobody's way, but it is nobody's file either.
        let _ = fs::remove_file(&new);
    }
    replaced
}

fn refused(source: skep_owner::SettingError) -> Error {
    Error::Settings { path: path(), source }
}
