//! What a node costs its owner while nobody asks it for anything: processor time and resident memory of a real `skep up`, once paused by its
//! owner, so that no weights are loaded, and once lent. The bar is 0.5 % of one core and 60 MB for the first.
//!
//! `cargo bench -p skep --bench idle -- [--seconds 30]`; Linux only, since it reads `/proc`.

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

type Failure = Box<dyn std::error::Error>;

struct Node(Child);

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn main() -> Result<(), Failure> {
    if !Path::new("/proc/self/stat").exists() {
        println!("SKIPPED: there is no /proc here");
        return Ok(());
    }
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let seconds = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => 30,
        ["--seconds", seconds] => seconds.parse::<u64>()?.max(1),
        _ => return Err("only --seconds N is understood".into()),
    };
    println!("{:<10}{:>16}{:>16}", "state", "of one core", "resident");
    for paused in [true, false] {
        let (share, megabytes) = measure(paused, Duration::from_secs(seconds))?;
        println!("{:<10}{share:>14.2} %{megabytes:>13.1} MB", if paused { "paused" } else { "lent" });
    }
    Ok(())
}

/// The share of one core that a node takes, in percent, and its resident megabytes.
fn measure(paused: bool, time: Duration) -> Result<(f64, f64), Failure> {
    let home = tempfile::tempdir()?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_skep"));
    command.args(["up", "--json", "--port", "0", "--listen", "0.0.0.0:0", "--share", "full"]);
    let child = command.env("SKEP_HOME", home.path()).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut node = Node(child);
    let mut line = String::new();
    BufReader::new(node.0.stdout.take().ok_or("no output")?).read_line(&mut line)?;
    let said: Value = serde_json::from_str(&line)?;
    let api = said["api"].as_str().ok_or("it has no api")?;
    if paused {
        let said = Command::new(env!("CARGO_BIN_EXE_skep")).args(["pause", "--api", api]).output()?;
        if !said.status.success() {
            return Err(String::from_utf8_lossy(&said.stderr).into_owned().into());
        }
    }
    // What a start leaves to be done is not what is asked here.
    std::thread::sleep(Duration::from_secs(5));
    let (began, before) = (Instant::now(), ticks(node.0.id())?);
    std::thread::sleep(time);
    let taken = (ticks(node.0.id())? - before) as f64 / TICKS;
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.0.id()))?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
    let kilobytes: f64 = resident.ok_or("no VmRSS")?.trim().parse()?;
    Ok((taken / began.elapsed().as_secs_f64() * 100.0, kilobytes * 1024.0 / 1e6))
}

/// Linux shows times in hundredths of a second on every architecture, whatever its own clock is.
const TICKS: f64 = 100.0;

/// Processor time of a process, the system's part included.
fn ticks(pid: u32) -> Result<u64, Failure> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in brackets may hold anything.
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let field = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).ok_or("an unknown form of stat");
    Ok(field(11)? + field(12)?)
}
