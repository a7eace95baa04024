//! `skep uninstall`: takes away what Skep keeps on this machine.
//!
//! # Rules
//! 1. It says what it would take away, and how much that is, before it asks; `--yes` asks nothing.
//! 2. Only what Skep put into its folder is removed, by name: whatever else lies there stays, and so does a folder that is not empty.
//! 3. Nothing is removed while a node runs on this folder.
//! 4. The program itself stays, because whoever put it there has the means to take it away; how is said at the end.

use crate::error::Error;
use crate::service::{self, Service};
use crate::{home, log, output};
use clap::Args as ClapArgs;
use indicatif::HumanBytes;
use serde_json::json;
use std::io::{BufRead, ErrorKind, IsTerminal};
use std::path::{Path, PathBuf};

/// What Skep puts into its folder, and what a person would call it.
const KEPT: [(&str, &str); 13] = [
    ("models", "models"),
    ("trees", "hashes of models"),
    ("incoming", "models that are not whole yet"),
    ("answers", "answers under way"),
    ("networks", "memberships"),
    ("admitted", "members let in here"),
    ("owner", "pauses, and the bytes of the day"),
    ("settings.toml", "settings"),
    ("api-keys.json", "keys of programs and phones"),
    ("validator", "a ledger, and what its validator signed"),
    ("log", "what happened"),
    ("relay.key", "the key of a relay"),
    (KEY, "the key of this machine: whoever it is to others"),
];
const KEY: &str = "node.key";

#[derive(Debug, ClapArgs)]
pub(crate) struct UninstallArgs {
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
    /// Leave this machine's key, so that it can be the same member again
    #[arg(long)]
    pub(crate) keep_key: bool,
    /// Print one line of JSON; asks nothing, and removes nothing without --yes
    #[arg(long)]
    pub(crate) json: bool,
}

/// Something that is there.
struct Found {
    path: PathBuf,
    what: &'static str,
    bytes: u64,
}

pub(crate) fn run(args: &UninstallArgs) -> Result<(), Error> {
    let folder = home::folder();
    let found = find(&folder, args.keep_key);
    let services = service::on(&folder);
    if !args.json {
        show(&folder, &found, &services)?;
    }
    let nothing = found.is_empty() && services.is_empty();
    let agreed = !nothing && (args.yes || !args.json && agrees()?);
    if agreed {
        services.iter().try_for_each(Service::remove)?;
        if log::is_held(&folder) {
            return Err(Error::Running { folder });
        }
        found.iter().try_for_each(|found| remove(&found.path))?;
        // A folder with something of somebody else's in it stays.
        let _ = std::fs::remove_dir(&folder);
    }
    if args.json {
        let rows = found.iter().map(|found| json!({"path": found.path, "what": found.what, "bytes": found.bytes}));
        let rows: Vec<_> = rows.collect();
        let services: Vec<PathBuf> = services.iter().map(Service::file).collect();
        return output::line(json!({"removed": agreed, "folder": folder, "kept": rows, "services": services}));
    }
    match (nothing, agreed) {
        (true, _) => output::line("there is nothing to remove"),
        (_, false) => output::line("nothing was removed"),
        (_, true) => output::line(format!("removed. The program itself: {}", how_to_remove_the_program())),
    }
}

fn find(folder: &Path, keep_key: bool) -> Vec<Found> {
    let there = KEPT.into_iter().filter(|(name, _)| !(keep_key && *name == KEY));
    let there = there.map(|(name, what)| (folder.join(name), what)).filter(|(path, _)| path.symlink_metadata().is_ok());
    there.map(|(path, what)| Found { bytes: bytes(&path), path, what }).collect()
}

fn show(folder: &Path, found: &[Found], services: &[Service]) -> Result<(), Error> {
    output::line(format!("Skep keeps in {}:", folder.display()))?;
    for Found { path, what, bytes } in found {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        output::line(format!("  {name:<14}  {:>11}  {what}", HumanBytes(*bytes).to_string()))?;
    }
    for service in services {
        output::line(format!("and a service that starts it: {}", service.file().display()))?;
    }
    Ok(())
}

/// Asks at the terminal; nobody there is no.
fn agrees() -> Result<bool, Error> {
    if !std::io::stdin().is_terminal() {
        output::line("\nTo remove all that: skep uninstall --yes")?;
        return Ok(false);
    }
    output::write("\nRemove all that, for good? Type yes: ")?;
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    read.map_err(|source| Error::System { what: "reading the answer".into(), source })?;
    Ok(answer.trim().eq_ignore_ascii_case("yes"))
}

fn remove(path: &Path) -> Result<(), Error> {
    let is_folder = path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
    let removed = if is_folder { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    match removed {
        Err(source) if source.kind() != ErrorKind::NotFound => {
            Err(Error::System { what: format!("removing {}", path.display()), source })
        }
        _ => Ok(()),
    }
}

/// The bytes of a file, or of all files in a folder; a link is not followed.
fn bytes(path: &Path) -> u64 {
    let Ok(metadata) = path.symlink_metadata() else { return 0 };
    if !metadata.is_dir() {
        return metadata.len();
    }
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| bytes(&entry.path())).sum()
}

fn how_to_remove_the_program() -> String {
    let program = std::env::current_exe().unwrap_or_else(|_| "skep".into());
    if program.starts_with("/usr/bin") {
        return "sudo apt remove skep, or what your system removes packages with".to_owned();
    }
    if program.components().any(|part| part.as_os_str() == ".cargo") {
        return "cargo uninstall skep".to_owned();
    }
    format!("rm {}", program.display())
}
