//! `skep service`: Skep from when the machine starts or its user comes, without a window.
//!
//! # Rules
//! 1. The service is a unit of systemd: of the user who asks, or of the whole machine where root asks or `--system` says so. Where
//!    there is no systemd the command refuses.
//! 2. What follows `install` is what `skep up` takes, and is checked before anything is written.
//! 3. The unit is readable by its owner only, because an invite's link lets machines in. A unit that is there and differs is replaced.
//! 4. The unit may reach what Skep needs and nothing else; `packaging/skep.service.in` is the whole of it.
//! 5. What was written is taken away again when systemd refuses it.

use crate::args::Args;
use crate::error::Error;
use crate::{home, output};
use clap::{Args as ClapArgs, Parser, Subcommand};
use std::ffi::OsString;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

const TEMPLATE: &str = include_str!("../../../packaging/skep.service.in");
const NAME: &str = "skep.service";

#[derive(Debug, Subcommand)]
pub(crate) enum ServiceCommand {
    /// Start Skep now and whenever this machine starts, or its user comes, with what `skep up` takes
    Install(InstallArgs),
    /// End it, and start it no more; what Skep keeps stays
    Remove(ScopeArgs),
}

#[derive(Debug, Clone, Copy, ClapArgs)]
pub(crate) struct ScopeArgs {
    /// For the user who asks, while that is logged in [default, but not of root]
    #[arg(long)]
    pub(crate) user: bool,
    /// For the whole machine, by a user of its own [default of root]
    #[arg(long, conflicts_with = "user")]
    pub(crate) system: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct InstallArgs {
    /// Only print the unit
    #[arg(long)]
    pub(crate) print: bool,
    /// Where the program will be; for packages
    #[arg(long, value_name = "FILE", hide = true, requires = "print")]
    pub(crate) program: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) scope: ScopeArgs,
    /// What `skep up` takes, as LINK or --share quiet
    #[arg(value_name = "UP", trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) up: Vec<String>,
}

pub(crate) fn run(command: &ServiceCommand) -> Result<(), Error> {
    match command {
        ServiceCommand::Install(args) => install(args),
        ServiceCommand::Remove(args) => {
            let scope = Scope::of(*args);
            if !scope.file().exists() {
                return output::line("there is no service of Skep here");
            }
            remove(scope, false)?;
            output::line(format!("removed {}; what Skep keeps stays in its folder", scope.file().display()))
        }
    }
}

/// The services that run on this folder. The one of the whole machine has its own, which goes with that of root.
pub(crate) fn on(folder: &Path) -> Vec<Service> {
    let named = quoted(folder.as_os_str()).map(|home| format!("Environment=SKEP_HOME={home}"));
    let runs_on = |scope: &Scope| {
        let unit = std::fs::read_to_string(scope.file()).unwrap_or_default();
        let of_root = *scope == Scope::System && is_root() && std::env::var_os("SKEP_HOME").is_none();
        !unit.is_empty() && (of_root || named.as_ref().is_ok_and(|named| unit.lines().any(|line| line == named)))
    };
    [Scope::User, Scope::System].into_iter().filter(runs_on).map(Service).collect()
}

/// A service that is there.
pub(crate) struct Service(Scope);

impl Service {
    pub(crate) fn file(&self) -> PathBuf {
        self.0.file()
    }

    /// Ends it, and takes away what it kept in a folder of its own.
    pub(crate) fn remove(&self) -> Result<(), Error> {
        remove(self.0, true)
    }
}

fn install(args: &InstallArgs) -> Result<(), Error> {
    checked(&args.up);
    let scope = Scope::of(args.scope);
    let here = || std::env::current_exe().map_err(|source| system("finding this program", source));
    let program = args.program.clone().map_or_else(here, Ok)?;
    let unit = scope.unit(&program, &args.up)?;
    if args.print {
        return output::write(&unit);
    }
    let file = scope.file();
    if scope == Scope::User {
        // The unit may write there and nowhere else, so that the service could not make it.
        let folder = home::folder();
        std::fs::create_dir_all(&folder).map_err(|source| system(format!("creating {}", folder.display()), source))?;
    }
    write_for_owner(&file, &unit)?;
    if let Err(fault) = scope.systemctl(&["daemon-reload"]).and_then(|()| scope.systemctl(&["enable", "--now", NAME])) {
        let _ = std::fs::remove_file(&file);
        return Err(fault);
    }
    output::line(format!("installed {}; its page: http://127.0.0.1:7537", file.display()))?;
    match scope {
        Scope::User => output::line(
            "It runs while you are logged in; to run it from when the machine starts: loginctl enable-linger",
        ),
        Scope::System => output::line("It runs from when the machine starts."),
    }
}

fn remove(scope: Scope, with_what_it_keeps: bool) -> Result<(), Error> {
    scope.systemctl(&["disable", "--now", NAME])?;
    if with_what_it_keeps && scope == Scope::System {
        scope.systemctl(&["clean", "--what=state", NAME])?;
    }
    let file = scope.file();
    std::fs::remove_file(&file).map_err(|source| system(format!("removing {}", file.display()), source))?;
    scope.systemctl(&["daemon-reload"])
}

/// Ends the process as a wrong command line of `skep up` does.
fn checked(up: &[String]) {
    if let Err(refused) = Args::try_parse_from(["skep", "up"].into_iter().chain(up.iter().map(String::as_str))) {
        refused.exit();
    }
}

/// For whom a service runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    User,
    System,
}

impl Scope {
    fn of(args: ScopeArgs) -> Self {
        if args.system || is_root() && !args.user { Self::System } else { Self::User }
    }

    fn file(self) -> PathBuf {
        match self {
            Self::User => config_folder().join("systemd/user").join(NAME),
            Self::System => Path::new("/etc/systemd/system").join(NAME),
        }
    }

    fn unit(self, program: &Path, up: &[String]) -> Result<String, Error> {
        let exec: Result<Vec<String>, Error> = std::iter::once(program.as_os_str().to_owned())
            .chain(["up".into()])
            .chain(up.iter().map(OsString::from))
            .map(|word| quoted(&word))
            .collect();
        let folder = home::folder();
        let home = match self {
            Self::User => quoted(folder.as_os_str())?,
            Self::System => "/var/lib/skep".to_owned(),
        };
        let (what, after, identity, reach, target) = match self {
            Self::User => (
                "of one user",
                String::new(),
                "# Another folder for what Skep keeps: SKEP_HOME.\n".to_owned(),
                format!("ReadWritePaths={home}\n"),
                "default.target",
            ),
            Self::System => (
                "of the whole machine",
                "Wants=network-online.target\nAfter=network-online.target\n".to_owned(),
                "DynamicUser=yes\nStateDirectory=skep\nStateDirectoryMode=0700\n".to_owned(),
                SYSTEM_REACH.to_owned(),
                "multi-user.target",
            ),
        };
        let filled = TEMPLATE
            .replace("{what}", what)
            .replace("{after}\n", &after)
            .replace("{identity}\n", &identity)
            .replace("{reach}\n", &reach)
            .replace("{target}", target)
            .replace("{home}", &home);
        Ok(filled.replace("{exec}", &exec?.join(" ")))
    }

    fn systemctl(self, arguments: &[&str]) -> Result<(), Error> {
        let mut command = Command::new("systemctl");
        if self == Self::User {
            command.arg("--user");
        }
        let said = match command.args(arguments).output() {
            Ok(said) if said.status.success() => return Ok(()),
            Ok(said) => String::from_utf8_lossy(&said.stderr).lines().next().unwrap_or("no reason given").to_owned(),
            Err(fault) if fault.kind() == ErrorKind::NotFound => "this machine has no systemctl".to_owned(),
            Err(fault) => fault.to_string(),
        };
        Err(Error::Service { what: arguments[0].to_owned(), reason: said })
    }
}

/// What a service of the whole machine need not see; one of a user cannot be given this without powers that it lacks.
const SYSTEM_REACH: &str = "ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
CapabilityBoundingSet=
AmbientCapabilities=
RemoveIPC=yes
";

/// A word of `ExecStart` as systemd reads it: in quotes, with what it would replace written twice.
fn quoted(word: &std::ffi::OsStr) -> Result<String, Error> {
    let word = word.to_str().filter(|word| !word.chars().any(char::is_control));
    let Some(word) = word else {
        return Err(Error::Service {
            what: "writing the unit".into(),
            reason: "a path or a word is not plain text".into(),
        });
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-=:+,@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return Ok(word.to_owned());
    }
    let escaped = word.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%").replace('$', "$$");
    Ok(format!("\"{escaped}\""))
}

fn config_folder() -> PathBuf {
    let named = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    named("XDG_CONFIG_HOME")
        .or_else(|| named("HOME").map(|home| home.join(".config")))
        .unwrap_or_else(|| ".config".into())
}

#[cfg(unix)]
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

#[cfg(not(unix))]
fn is_root() -> bool {
    false
}

fn write_for_owner(file: &Path, text: &str) -> Result<(), Error> {
    let fault = |source| system(format!("writing {}", file.display()), source);
    let folder = file.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(folder).map_err(fault)?;
    let part = file.with_extension("service.part");
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&part).and_then(|mut open| {
        open.write_all(text.as_bytes())?;
        open.sync_all()
    });
    written.and_then(|()| std::fs::rename(&part, file)).map_err(fault)
}

fn system(what: impl Into<String>, source: std::io::Error) -> Error {
    Error::System { what: what.into(), source }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    #[test]
    fn words_are_written_so_that_systemd_reads_them_back() {
        let read = |word: &str| quoted(word.as_ref()).unwrap();
        assert_eq!(read("--share=quiet"), "--share=quiet");
        assert_eq!(read("/opt/ann lee/skep"), "\"/opt/ann lee/skep\"");
        assert_eq!(read("50% of $HOME \"now\" \\"), "\"50%% of $$HOME \\\"now\\\" \\\\\"");
        assert_eq!(read(""), "\"\"");
        assert!(quoted("two\nlines".as_ref()).is_err(), "a line of its own would be another setting");
    }

    #[test]
    fn a_unit_has_no_gap_left_open() {
        for scope in [Scope::User, Scope::System] {
            let unit =
                scope.unit(Path::new("/usr/bin/skep"), &["skep:abc".into(), "--share".into(), "quiet".into()]).unwrap();
            assert!(unit.contains("\nExecStart=/usr/bin/skep up skep:abc --share quiet\n"), "{unit}");
            assert!(!unit.contains(['{', '}']), "{unit}");
        }
    }
}
