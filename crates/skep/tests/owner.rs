//! A machine is lent without its owner ever noticing: an owner plays with one of three processes while the others are asked without end.
//!
//! `SKEP_OWNER_SECONDS=600` plays for so long, with all that an owner may do; the default is a short version. What it measured is printed
//! with `--no-capture`.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;
#[path = "common/up.rs"]
mod up;

use common::{body, stream};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use up::{Up, skep, succeed, up};

/// A drain takes a second at most; a machine that has other things to do may take longer, and the number is printed.
const DRAIN_MOST: Duration = Duration::from_secs(3);
/// Whatever is waited for happens within this time.
const SOON: Duration = Duration::from_secs(120);
const SAMPLE: Duration = Duration::from_secs(2);
const CPU_PERCENT: u64 = 40;
const CPU_PERCENT_IN_USE: u64 = 10;
/// Less than the machine takes when nothing limits it.
const PRESSED_PERCENT: u64 = 5;
const TOKENS: u32 = 120;

/// Processes that anybody could reach: one with the first blocks, the owner's with the last, and perhaps a spare with these as well.
struct Network {
    gateway: Up,
    _spare: Option<Up>,
    lender: Up,
    /// What the owner's machine says of itself.
    sensors: PathBuf,
    homes: Vec<TempDir>,
}

fn api(node: &Up) -> &str {
    node.said["api"].as_str().unwrap()
}

impl Network {
    fn start(has_spare: bool) -> Self {
        let homes: Vec<TempDir> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
        let sensors = homes[2].path().join("sensors");
        let gateway = up(homes[0].path(), &["--port", "0", "--listen", "0.0.0.0:0", "--blocks", "0..4"]);
        let link = succeed(skep(homes[0].path()).args(["invite", "--api", api(&gateway)]));
        let spare = has_spare.then(|| up(homes[1].path(), &["--port", "0", "--blocks", "4..8", &link]));
        let (cpu, in_use) = (CPU_PERCENT.to_string(), CPU_PERCENT_IN_USE.to_string());
        let lender = up(
            homes[2].path(),
            &[
                "--port",
                "0",
                "--blocks",
                "4..8",
                &link,
                "--sensors",
                sensors.to_str().unwrap(),
                "--share-cpu-percent",
                &cpu,
                "--share-cpu-percent-in-use",
                &in_use,
                "--share-when-in-use",
                "never",
            ],
        );
        Self { gateway, _spare: spare, lender, sensors, homes }
    }

    fn machine(&self) -> Value {
        get(&format!("{}/skep/v1/machine", api(&self.lender)))
    }

    fn say(&self, command: &str) {
        let body = json!({ "command": command }).to_string();
        let url = format!("{}/skep/v1/machine", api(&self.lender));
        ureq::post(url).header("content-type", "application/json").send(body).unwrap();
    }

    fn set(&self, key: &str, value: &Value) {
        let body = json!({ "key": key, "value": value }).to_string();
        let url = format!("{}/skep/v1/settings", api(&self.lender));
        ureq::put(url).header("content-type", "application/json").send(body).unwrap();
    }

    /// The owner does something; in one piece, as sensors are read at any time.
    fn act(&self, lines: &str) {
        let new = self.homes[2].path().join("sensors.new");
        std::fs::write(&new, lines).unwrap();
        std::fs::rename(new, &self.sensors).unwrap();
    }

    fn until(&self, what: &str, so: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let machine = self.machine();
            if so(&machine) {
                return machine;
            }
            assert!(begun.elapsed() < SOON, "{what} did not come about: {machine}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until something runs there for others, does `act`, and says how long it took until nothing does any more.
    fn drain(&self, what: &str, code: &str, act: impl FnOnce()) -> Duration {
        self.until("work for others", |machine| machine["use"]["work"].as_u64().unwrap() > 0);
        let begun = Instant::now();
        act();
        let drained = |machine: &Value| machine["state"] == "paused" && machine["use"]["work"] == 0;
        let machine = self.until("the pause", drained);
        let took = begun.elapsed();
        println!("{what}: drained in {} ms", took.as_millis());
        assert_eq!(machine["reason"]["code"], code, "{machine}");
        assert!(took < DRAIN_MOST, "{what}: {took:?}");
        self.until("the end of the weights", |machine| machine["use"]["weights_bytes"] == 0);
        took
    }

    fn lent_again(&self) {
        self.until("lending", |machine| machine["state"] == "lending");
        self.until("work for others", |machine| machine["use"]["work"].as_u64().unwrap() > 0);
    }
}

fn get(url: &str) -> Value {
    serde_json::from_str(&ureq::get(url).call().unwrap().into_body().read_to_string().unwrap()).unwrap()
}

/// Those who ask without end.
struct Askers {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU32>,
    recovered: Arc<AtomicU32>,
    threads: Vec<JoinHandle<()>>,
}

impl Askers {
    /// Each answer must be `expected` to the byte; one that fails ends the test.
    fn start(count: usize, api: &str, expected: &str) -> Self {
        let (stop, answered, recovered) = (Arc::<AtomicBool>::default(), Arc::default(), Arc::default());
        let ask = |_| {
            let (stop, answered): (Arc<AtomicBool>, Arc<AtomicU32>) = (stop.clone(), Arc::clone(&answered));
            let recovered: Arc<AtomicU32> = Arc::clone(&recovered);
            let (api, expected) = (api.to_owned(), expected.to_owned());
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let answer = stream(&api, &body(TOKENS, None)).read_to_end();
                    assert_eq!(answer.text, expected);
                    answered.fetch_add(1, Ordering::Relaxed);
                    recovered.fetch_add(answer.recoveries as u32, Ordering::Relaxed);
                }
            })
        };
        let threads = (0..count).map(ask).collect();
        Self { stop, answered, recovered, threads }
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
        let (answered, recovered) = (self.answered.load(Ordering::Relaxed), self.recovered.load(Ordering::Relaxed));
        println!("{answered} answers, {recovered} changes of route, 0 failed");
        assert!(answered > 0);
    }
}

/// Processor time of a process so far.
fn processor_time(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

/// Samples the process for so long, each under its cap in hundredths of all processors. Returns the worst.
fn under_cap(pid: u32, cap: u64, how_long: Duration) -> f64 {
    let processors = std::thread::available_parallelism().unwrap().get() as f64;
    let (begun, mut worst) = (Instant::now(), 0.0f64);
    while begun.elapsed() < how_long {
        let (at, before) = (Instant::now(), processor_time(pid));
        std::thread::sleep(SAMPLE);
        // The system counts in hundredths of a second.
        let taken = (processor_time(pid) - before).saturating_sub(Duration::from_millis(10));
        let percent = taken.as_secs_f64() / at.elapsed().as_secs_f64() / processors * 100.0;
        assert!(percent <= cap as f64, "{percent:.1} % of all processors, and {cap} % is the cap");
        worst = worst.max(percent);
    }
    println!("at most {worst:.1} % of all processors in {} s windows; the cap is {cap} %", SAMPLE.as_secs());
    worst
}

/// What a short stay of the owner is like; nothing of it needs a calm afterwards.
fn short_stay(network: &Network, drains: &mut Vec<Duration>) {
    let pid = network.lender.child.id();
    under_cap(pid, CPU_PERCENT, 3 * SAMPLE);
    drains.push(network.drain("somebody types", "in_use", || network.act("idle_seconds 0\n")));
    network.act("");
    network.lent_again();
    drains.push(network.drain("the owner says pause", "owner", || network.say("pause")));
    network.say("resume");
    network.lent_again();
    network.set("share.when_in_use", &json!("always"));
    network.act("idle_seconds 0\n");
    network.until("the caps of a machine in use", |machine| machine["caps"]["cpu_percent"] == CPU_PERCENT_IN_USE);
    under_cap(pid, CPU_PERCENT_IN_USE, 3 * SAMPLE);
    let never = || network.set("share.when_in_use", &json!("never"));
    drains.push(network.drain("a setting changes", "in_use", never));
    network.act("");
    network.lent_again();
}

/// The owner's own question, while nothing is lent: answered from weights that are mapped for it, and for it only.
fn own_question(network: &Network, expected: &str) {
    assert_eq!(network.machine()["state"], "paused");
    let answer = stream(api(&network.lender), &body(TOKENS, None)).read_to_end();
    assert_eq!(answer.text, expected);
    let machine = network.until("the end of the weights", |machine| machine["use"]["weights_bytes"] == 0);
    assert_eq!(machine["state"], "paused");
}

fn expected() -> String {
    let whole = tempfile::tempdir().unwrap();
    let alone = up(whole.path(), &["--port", "0", "--ephemeral"]);
    stream(api(&alone), &body(TOKENS, None)).read_to_end().text
}

#[test]
fn a_machine_that_all_answers_need_keeps_to_its_cap() {
    let expected = expected();
    let network = Network::start(false);
    let askers = Askers::start(3, api(&network.gateway), &expected);
    network.until("work for others", |machine| machine["use"]["work"].as_u64().unwrap() > 0);
    let pid = network.lender.child.id();
    let mut worst = [0.0; 2];
    for (worst, cap) in worst.iter_mut().zip([100, PRESSED_PERCENT]) {
        network.set("share.cpu_percent", &json!(cap));
        network.until("the cap", |machine| machine["caps"]["cpu_percent"] == cap);
        *worst = under_cap(pid, cap, 5 * SAMPLE);
    }
    askers.end();
    assert!(worst[0] > PRESSED_PERCENT as f64, "without a cap it takes less, so nothing was shown");
}

#[test]
fn an_owner_is_never_in_the_way_of_processes_that_ask() {
    let expected = expected();
    let network = Network::start(true);
    let seconds = std::env::var("SKEP_OWNER_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let (begun, how_long) = (Instant::now(), Duration::from_secs(seconds));
    let askers = Askers::start(3, api(&network.gateway), &expected);
    let mut drains = Vec::new();
    // What comes and goes by itself is followed by a minute of calm.
    let wavering = [
        ("the plug is pulled", "on_battery", "on_battery true\n"),
        ("a game fills the screen", "full_screen", "full_screen true\n"),
        ("a build runs", "others_busy", "others_cpu_percent 95\n"),
    ];
    for (what, code, lines) in wavering.into_iter().cycle() {
        short_stay(&network, &mut drains);
        drains.push(network.drain(what, code, || network.act(lines)));
        own_question(&network, &expected);
        if begun.elapsed() >= how_long {
            break;
        }
        network.act("");
        network.lent_again();
    }
    let paused = network.machine();
    println!("paused: {} bytes resident", paused["use"]["memory_bytes"]);
    askers.end();
    drains.sort_unstable();
    println!("{} drains, the longest {} ms", drains.len(), drains[drains.len() - 1].as_millis());
    let timeline = paused["timeline"].as_array().unwrap();
    assert!(timeline.len() > drains.len(), "{timeline:?}");
}
