//! The lab does what it says, as processes on its hosts see it. How exactly is printed, because how soon a busy machine runs the
//! router's thread is not the lab's doing.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test")]

use skep_netlab::{Home, Host, Lab, Link, Mapping, missing};
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::process::{Child, Stdio};
use std::time::Duration;

const TOOL: &str = env!("CARGO_BIN_EXE_skep-netlab");
const MS: Duration = Duration::from_millis(1);

fn skipped(tools: &[&str]) -> bool {
    let lacks = missing(tools);
    if let Some(lacks) = &lacks {
        eprintln!("SKIPPED: {lacks}; no network was emulated");
    }
    lacks.is_some()
}

/// An echo on port 7 of a host, until it is dropped.
struct Echo(Child);

impl Echo {
    fn on(host: &Host) -> Self {
        let mut child = host.command(TOOL).args(["echo", "7"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "ready\n");
        Self(child)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Milliseconds of each of `count` pings of `bytes`; `None` for a lost one.
fn ping(from: &Host, to: Ipv4Addr, count: u32, bytes: u32) -> Vec<Option<f64>> {
    let words = ["ping".to_owned(), format!("{to}:7"), count.to_string(), bytes.to_string()];
    let output = from.command(TOOL).args(words).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(|line| line.parse().ok()).collect()
}

fn median(pings: &[Option<f64>]) -> f64 {
    let mut times: Vec<f64> = pings.iter().copied().flatten().collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

#[test]
fn processes_see_the_delay_and_the_rate_of_their_lines() {
    if skipped(&[]) {
        return;
    }
    let mut lab = Lab::new(1).unwrap();
    let hosts = lab.hosts(2, 40 * MS, 0.0).unwrap();
    let _echo = Echo::on(&hosts[1]);
    let (a, to) = (&hosts[0], hosts[1].address());
    let plain = median(&ping(a, to, 20, 64));
    // 1028 bytes with their headers take 10.28 ms at 100 kB/s.
    let slow = Link { rate: Some(100_000), buffer: 10_000, ..Link::delay(10 * MS) };
    lab.set_links(a, slow, Link::delay(10 * MS));
    let slowed = median(&ping(a, to, 20, 1000));
    println!("40 ms of delay: a ping takes {plain:.2} ms; with 10.28 ms of serialisation {slowed:.2} ms");
    // Never less than the physics that was asked for; how much more is printed.
    assert!(plain >= 40.0, "{plain}");
    assert!(slowed >= 50.28, "{slowed}");
}

#[test]
fn processes_lose_what_the_lines_lose() {
    if skipped(&[]) {
        return;
    }
    let mut lab = Lab::new(2).unwrap();
    let hosts = lab.hosts(2, 2 * MS, 0.0).unwrap();
    let _echo = Echo::on(&hosts[1]);
    let (a, to) = (&hosts[0], hosts[1].address());
    assert!(ping(a, to, 100, 64).iter().all(Option::is_some), "nothing is lost unasked");
    lab.set_links(a, Link::default().with_loss(1.0), Link::default());
    assert_eq!(ping(a, to, 1, 64), [None]);
    lab.set_links(a, Link::default(), Link::default());
    lab.set_cut(&hosts[0], &hosts[1], true);
    assert_eq!(ping(a, to, 1, 64), [None]);
    lab.set_cut(&hosts[0], &hosts[1], false);
    assert!(ping(a, to, 1, 64)[0].is_some());
}

#[test]
fn processes_behind_a_home_router_reach_out_and_are_not_reached() {
    if skipped(&["nft"]) {
        return;
    }
    let mut lab = Lab::new(3).unwrap();
    let outside = lab.hosts(1, 2 * MS, 0.0).unwrap().remove(0);
    let mut home = Home::new(&mut lab, 3, Mapping::Kept).unwrap();
    let (a, b) = (home.host().unwrap(), home.host().unwrap());
    let (_outside, _a, _b) = (Echo::on(&outside), Echo::on(&a), Echo::on(&b));
    let reaches = |from: &Host, to: Ipv4Addr| ping(from, to, 1, 64)[0].is_some();
    assert!(reaches(&a, outside.address()), "a home's hosts reach the world");
    assert!(reaches(&a, b.address()), "a home's hosts reach each other");
    assert!(!reaches(&outside, a.address()), "the world has no way to an inside address");
    assert!(!reaches(&outside, home.router().address()), "the router answers nobody");
}
