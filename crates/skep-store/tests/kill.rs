//! A real process is killed with `SIGKILL` in the middle of a fetch, again and again, and goes on.
//!
//! The child is this test's own program. It does what it is told, one slice a line, so it can be killed in the middle of one.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::Served;
use skep_store::{Decoder, Encoder, GROUP_BYTES, Part, Partial, Reader};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Groups of a slice.
const SLICE: u64 = 16;
/// 24 MiB in 96 slices, less a few bytes.
const BYTES: usize = 96 * 16 * GROUP_BYTES as usize - 77;

/// Not a test: what the killed process does. For each line on standard input it fetches one slice and says how many bytes it took.
#[test]
fn kill_child() {
    let Some(folder) = std::env::var_os("SKEP_KILL_FOLDER").map(PathBuf::from) else { return };
    let id = std::env::var("SKEP_KILL_ID").unwrap().parse().unwrap();
    let served = Reader::open(id, &folder.join("file"), &folder.join("file.tree")).unwrap();
    let mut partial = Partial::open(&folder.join("store"), id, served.shape()).unwrap();
    println!("\nheld {}", partial.held().count());
    let whole = 0..served.shape().groups();
    for line in std::io::stdin().lines() {
        line.unwrap();
        let missing = std::iter::once(whole.clone()).collect::<skep_store::RangeSet>().difference(partial.held());
        let Some(run) = missing.iter().next() else { break };
        let groups = run.start..run.end.min(run.start + SLICE);
        let mut encoder = Encoder::new(id, served.shape(), groups.clone()).unwrap();
        let mut decoder = Decoder::new(id, served.shape(), groups).unwrap();
        let mut bytes = 0;
        while let Some(part) = encoder.next(&served).unwrap() {
            partial.write(&decoder.push(part.bytes()).unwrap()).unwrap();
            bytes += part.bytes().len();
            if let Part::Group(group) = part.part() {
                println!("group {group}");
            }
        }
        println!("fetched {bytes}");
    }
    partial.sync().unwrap();
    println!("done");
}

struct Fetching {
    child: Child,
    orders: Option<ChildStdin>,
    says: BufReader<ChildStdout>,
}

impl Fetching {
    fn start(folder: &Path, id: &str) -> (Self, u64) {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kill_child", "--nocapture", "--test-threads=1"])
            .env("SKEP_KILL_FOLDER", folder)
            .env("SKEP_KILL_ID", id)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (orders, says) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        let mut fetching = Self { child, orders, says };
        let held = fetching.number("held ").unwrap();
        (fetching, held)
    }

    /// The number after `word` at the beginning of a line; none when the child ends first.
    fn number(&mut self, word: &str) -> Option<u64> {
        let mut line = String::new();
        while self.says.read_line(&mut line).unwrap() > 0 {
            if let Some(rest) = line.strip_prefix(word) {
                return Some(rest.trim().parse().unwrap());
            }
            line.clear();
        }
        None
    }

    fn order(&mut self) {
        self.orders.as_mut().unwrap().write_all(b"\n").unwrap();
    }

    /// Lets it fetch so many slices; the bytes it took.
    fn fetch(&mut self, slices: u64) -> u64 {
        let mut bytes = 0;
        for _ in 0..slices {
            self.order();
            bytes += self.number("fetched ").unwrap();
        }
        bytes
    }

    /// Tells it to go on and kills it when it has so many groups of the slice. Nobody knows how far it came.
    fn kill(mut self, groups: u64) {
        self.order();
        (0..groups).for_each(|_| _ = self.number("group ").unwrap());
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn a_process_killed_at_half_fetches_less_than_a_twentieth_again() {
    let served = Served::new(BYTES);
    let (folder, id) = (served.folder.path().to_owned(), served.id().to_string());
    let (mut first, held) = Fetching::start(&folder, &id);
    assert_eq!(held, 0);
    let had = first.fetch(48);
    first.kill(7);

    let (mut second, held) = Fetching::start(&folder, &id);
    // What is missing is one run, since the child goes from the beginning to the end.
    let again = second.fetch((served.shape().groups() - held).div_ceil(SLICE));
    drop(second.orders.take());
    assert!(second.child.wait().unwrap().success());
    let kept = folder.join("store").join(&id).join("model.gguf");
    assert!(std::fs::read(kept).unwrap() == served.bytes, "the file is not what was sent");
    let twice = (had + again).saturating_sub(BYTES as u64);
    println!("had {had} bytes, then held {held} groups and fetched {again} bytes: {twice} more than the file");
    assert!(twice * 20 < had, "{twice} of {had} bytes were fetched again");
}

#[test]
fn killed_ten_times_it_still_ends_with_the_right_bytes() {
    let served = Served::new(BYTES);
    let (folder, id) = (served.folder.path().to_owned(), served.id().to_string());
    let mut before = 0;
    for round in 0..10 {
        let (mut fetching, held) = Fetching::start(&folder, &id);
        assert!(held >= before, "round {round}: held {held}, {before} before");
        fetching.fetch(round % 4 + 1);
        before = held + SLICE * (round % 4);
        fetching.kill(round + 1);
    }
    let partial = Partial::resume(&folder.join("store"), served.id()).unwrap().unwrap();
    let file = std::fs::read(partial.path()).unwrap();
    for group in partial.held().iter().flatten() {
        let at = served.shape().bytes_of(group..group + 1);
        let at = at.start as usize..at.end as usize;
        assert!(file[at.clone()] == served.bytes[at], "group {group}");
    }
    assert!(partial.held().count() >= before);
}
