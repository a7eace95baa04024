//! What happened: warnings on standard error, and more of it in a file, which `skep logs` shows.
//!
//! # Rules
//! 1. A node that keeps its key writes into `log/skep.log` of Skep's folder, a line for each event: time in UTC, how grave it is, a sentence,
//!    its facts. Keys stand there by their beginnings. No prompt, answer or secret does.
//! 2. At [`FILE_BYTES`] the file becomes `skep.1.log`, in the place of the one before: both together stay under twice that and a line.
//! 3. A disk that takes nothing more costs lines of the log, never the node.
//! 4. `SKEP_LOG` says what goes to standard error; the file is not asked.

use crate::error::Error;
use crate::{home, output};
use clap::Args as ClapArgs;
use serde_json::{Value, json};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// Where a file of the log ends.
const FILE_BYTES: u64 = 2 << 20;
/// How often `skep logs --follow` looks.
const LOOK: Duration = Duration::from_millis(250);

#[derive(Debug, ClapArgs)]
pub(crate) struct LogsArgs {
    /// Lines to show, the newest
    #[arg(long, short = 'n', value_name = "N", default_value_t = 100)]
    pub(crate) lines: usize,
    /// Go on with what comes
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Print a line of JSON for each
    #[arg(long)]
    pub(crate) json: bool,
}

/// Begins the log of this process; the transport speaks of its own inner life, which our errors say better.
pub(crate) fn start(keep: bool) {
    let shown = EnvFilter::try_from_env("SKEP_LOG").unwrap_or_else(|_| EnvFilter::new("warn,iroh=off,noq=off"));
    let shown = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_target(false).with_filter(shown);
    let kept = keep.then(|| Kept::open(folder())).and_then(Result::ok).map(|kept| {
        let filter = EnvFilter::new("info,iroh=off,noq=off");
        let layer = tracing_subscriber::fmt::layer().with_writer(Mutex::new(kept));
        layer.with_ansi(false).with_target(false).with_filter(filter)
    });
    tracing_subscriber::registry().with(shown).with(kept).init();
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// All lines that are kept, the oldest first.
pub(crate) fn kept() -> Vec<String> {
    files(&folder()).iter().flat_map(|path| read(path).lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// Prints the newest lines, and what comes.
pub(crate) fn logs(args: &LogsArgs) -> Result<(), Error> {
    let [old, new] = files(&folder());
    let (before, mut seen) = (read(&old), read(&new));
    let lines: Vec<&str> = before.lines().chain(seen.lines()).collect();
    if lines.is_empty() && !args.follow {
        eprintln!("nothing yet: `skep up` writes to {}", new.display());
    }
    let first = lines.len().saturating_sub(args.lines);
    lines.iter().skip(first).try_for_each(|line| say(line, args.json))?;
    if !args.follow {
        return Ok(());
    }
    loop {
        std::thread::sleep(LOOK);
        let more = added(&new, &mut seen).map_err(|source| Error::System { what: "reading the log".into(), source })?;
        more.lines().try_for_each(|line| say(line, args.json))?;
    }
}

/// The whole lines that came to a file since it was `seen`; all of them when it began anew.
fn added(path: &Path, seen: &mut String) -> io::Result<String> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        // Between the end of one file and the beginning of the next there is none.
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        Err(fault) => return Err(fault),
    };
    if file.metadata()?.len() < seen.len() as u64 {
        seen.clear();
    }
    file.seek(SeekFrom::Start(seen.len() as u64))?;
    let mut bytes = Vec::new();
    file.take(2 * FILE_BYTES).read_to_end(&mut bytes)?;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let text = String::from_utf8_lossy(&bytes[..whole]).into_owned();
    seen.push_str(&text);
    Ok(text)
}

fn say(line: &str, as_json: bool) -> Result<(), Error> {
    if as_json { output::line(parsed(line)) } else { output::line(line) }
}

/// A line in its parts: `2026-01-31T12:00:00.000000Z  WARN a sentence fact=1`.
fn parsed(line: &str) -> Value {
    let mut words = line.splitn(2, char::is_whitespace);
    let time = words.next().unwrap_or_default();
    let rest = words.next().unwrap_or_default().trim_start();
    let (level, text) = rest.split_once(' ').unwrap_or((rest, ""));
    json!({"time": time, "level": level.to_lowercase(), "text": text})
}

fn folder() -> PathBuf {
    home::folder().join("log")
}

/// The file before, and the one that is written.
fn files(folder: &Path) -> [PathBuf; 2] {
    [folder.join("skep.1.log"), folder.join("skep.log")]
}

/// The file that is written.
struct Kept {
    folder: PathBuf,
    file: File,
    bytes: u64,
}

impl Kept {
    fn open(folder: PathBuf) -> io::Result<Self> {
        std::fs::create_dir_all(&folder)?;
        let mut options = OpenOptions::new();
        options.create(true).append(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&files(&folder)[1])?;
        Ok(Self { bytes: file.metadata()?.len(), folder, file })
    }
}

impl Write for Kept {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.bytes >= FILE_BYTES {
            let [old, new] = files(&self.folder);
            std::fs::rename(new, old)?;
            *self = Self::open(self.folder.clone())?;
        }
        let written = self.file.write(line)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Held for as long as the process runs.
static RUNNING: OnceLock<File> = OnceLock::new();

/// Says that a node or a validator runs on Skep's folder, until the process ends; where the file system knows no locks nobody is told.
pub(crate) fn begin(ephemeral: bool) {
    if !ephemeral
        && let Ok(file) = lock_file(&home::folder())
        && file.try_lock_shared().is_ok()
    {
        let _ = RUNNING.set(file);
    }
}

/// Whether a node runs on that folder.
pub(crate) fn is_held(folder: &Path) -> bool {
    let held = |file: File| matches!(file.try_lock(), Err(std::fs::TryLockError::WouldBlock));
    folder.join("log").exists() && lock_file(folder).is_ok_and(held)
}

fn lock_file(home: &Path) -> io::Result<File> {
    let folder = home.join("log");
    std::fs::create_dir_all(&folder)?;
    OpenOptions::new().create(true).append(true).open(folder.join("running"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    #[test]
    fn the_log_begins_anew_and_keeps_one_file_before() {
        let folder = tempfile::tempdir().unwrap();
        let mut kept = Kept::open(folder.path().to_owned()).unwrap();
        let line = [&[b'x'; 1023][..], b"\n"].concat();
        for _ in 0..5 * FILE_BYTES / 1024 {
            kept.write_all(&line).unwrap();
        }
        let sizes = files(folder.path()).map(|file| std::fs::metadata(file).unwrap().len());
        assert_eq!(sizes, [FILE_BYTES, FILE_BYTES], "of five files' worth two are left");
        drop(kept);
        let again = Kept::open(folder.path().to_owned()).unwrap();
        assert_eq!(again.bytes, FILE_BYTES, "it goes on where it was");
    }

    #[test]
    fn what_comes_is_followed_line_by_line_and_over_a_new_beginning() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("skep.log");
        let mut seen = String::new();
        assert_eq!(added(&path, &mut seen).unwrap(), "");
        std::fs::write(&path, "one\ntwo\nthr").unwrap();
        assert_eq!(added(&path, &mut seen).unwrap(), "one\ntwo\n");
        std::fs::write(&path, "one\ntwo\nthree\n").unwrap();
        assert_eq!(added(&path, &mut seen).unwrap(), "three\n");
        std::fs::write(&path, "new\n").unwrap();
        assert_eq!(added(&path, &mut seen).unwrap(), "new\n");
    }

    #[test]
    fn a_line_has_parts() {
        let line = "2026-01-31T12:00:00.000001Z  WARN a sentence fact=1";
        let parts = json!({"time": "2026-01-31T12:00:00.000001Z", "level": "warn", "text": "a sentence fact=1"});
        assert_eq!(parsed(line), parts);
        assert_eq!(parsed("")["text"], "");
    }
}
