//! What a token's lap takes while another machine fetches weights over the same uplinks.
//!
//! Three hosts, 40 ms from each other. The gateway and one node answer together; the uplink of each takes 20 Mbit/s and queues up to
//! 100 ms of it, as a router at home does. The third host pulls the whole model from both, by turns without a cap and with one of 80 %
//! of the uplink. A measurement, not a test: it fails on nothing but a failed answer.
//!
//! `cargo bench -p skep --bench upload -- [--tokens 40] [--runs 3]`

#[cfg(target_os = "linux")]
#[path = "../tests/common/model.rs"]
mod model;
#[cfg(target_os = "linux")]
#[path = "../tests/common/wan.rs"]
mod wan;

#[cfg(target_os = "linux")]
fn main() -> Result<(), wan::Failure> {
    linux::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("SKIPPED: network namespaces need Linux");
}

#[cfg(target_os = "linux")]
mod linux {
    use super::model::six_blocks;
    use super::wan::{Failure, PORT, Up, printed, skep};
    use serde_json::Value;
    use skep_netlab::{Host, Lab, Link};
    use std::path::Path;
    use std::process::Stdio;
    use std::time::Duration;

    const RTT: Duration = Duration::from_millis(40);
    /// 20 Mbit/s.
    const UPLINK: u64 = 2_500_000;

    pub fn main() -> Result<(), Failure> {
        if let Some(lacks) = skep_netlab::missing(&[]) {
            println!("SKIPPED: {lacks}");
            return Ok(());
        }
        let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
        let number = |name: &str, default: usize| {
            let at = words.iter().position(|word| word == name).map(|at| at + 1);
            at.and_then(|at| words.get(at)?.parse().ok()).unwrap_or(default)
        };
        let (tokens, runs) = (number("--tokens", 40), number("--runs", 3));
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("model.gguf");
        std::fs::write(&file, six_blocks()?)?;
        println!("\n upload cap   lap ms alone             lap ms beside a fetch    bytes/s of the fetch");
        for cap in [None, Some(UPLINK / 10 * 8)] {
            row(&file, cap, tokens, runs)?;
        }
        Ok(())
    }

    fn row(file: &Path, cap: Option<u64>, tokens: usize, runs: usize) -> Result<(), Failure> {
        let mut lab = Lab::new(1)?;
        let hosts = lab.hosts(3, RTT, 0.0)?;
        for host in &hosts[..2] {
            let up = Link { rate: Some(UPLINK), buffer: UPLINK / 10, ..Link::delay(RTT / 4) };
            lab.set_links(host, up, Link::delay(RTT / 4));
        }
        let homes = [tempfile::tempdir()?, tempfile::tempdir()?];
        let listen = |host: &Host| format!("{}:{PORT}", host.address());
        let upload: Vec<String> = cap.iter().flat_map(|cap| ["--upload".into(), cap.to_string()]).collect();
        let start = |number: usize, arguments: &[&str]| {
            let (host, file) = (&hosts[number], file.to_string_lossy());
            let own = ["--model", &file, "--listen", &listen(host)].map(str::to_owned);
            let all: Vec<&str> =
                own.iter().chain(&upload).map(String::as_str).chain(arguments.iter().copied()).collect();
            Up::start(host, homes[number].path(), &all)
        };
        let _gateway = start(0, &["--port", "7537", "--blocks", "0..3"])?;
        let link = printed(skep(&hosts[0], homes[0].path()).args(["invite", "--uses", "32"]))?;
        let _node = start(1, &[&link, "--blocks", "3..6"])?;
        let ask = || lap(&hosts[0], homes[0].path(), tokens);
        let (mut alone, mut beside, mut rates) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..runs {
            alone.push(ask()?);
            let home = tempfile::tempdir()?;
            let mut pull = skep(&hosts[2], home.path());
            let mut pull = pull.args(["pull", &link]).stdout(Stdio::null()).spawn()?;
            // Its first second finds the machines and fetches the header.
            std::thread::sleep(Duration::from_secs(2));
            let (before, started) = (held(home.path())?, std::time::Instant::now());
            beside.push(ask()?);
            rates.push((held(home.path())? - before) as f64 / started.elapsed().as_secs_f64());
            let over = pull.try_wait()?.is_some();
            pull.kill()?;
            pull.wait()?;
            if over {
                return Err("the fetch was over before the answer: ask for fewer tokens".into());
            }
        }
        let list = |values: &[f64], digits| {
            values.iter().map(|value| format!("{value:.digits$}")).collect::<Vec<_>>().join(" ")
        };
        let cap = cap.map_or("none".to_owned(), |cap| cap.to_string());
        println!(" {cap:>10}   {:<24} {:<24} {}", list(&alone, 1), list(&beside, 1), list(&rates, 0));
        Ok(())
    }

    /// Milliseconds of a lap, as the gateway measured it over an answer.
    fn lap(host: &Host, home: &Path, tokens: usize) -> Result<f64, Failure> {
        let tokens = tokens.to_string();
        let words = ["chat", "Who?", "--temperature", "0", "--max-tokens", &tokens, "--json"];
        let answer: Value = serde_json::from_str(&printed(skep(host, home).args(words))?)?;
        Ok(answer["skep"]["lap_ms"].as_f64().ok_or("the answer has no lap")?)
    }

    /// Bytes of the model that a machine has.
    fn held(home: &Path) -> Result<u64, Failure> {
        Ok(skep_store::adopt::list(&home.join("models"))?.iter().map(skep_store::adopt::Stored::bytes).sum())
    }
}
