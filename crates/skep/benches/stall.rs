//! How long an answer stands still when the plug of a machine on its way is pulled, over a wide-area network.
//!
//! Real `skep` processes, each on a host of its own, 20 ms of RTT and 1 % of the packets lost; every span of blocks is on two of them. Each
//! trial pulls the plug of one node by `kill -9` at a drawn moment of an answer, and the gateway says how long the answer stood still.
//! The bar is a p95 below 2 s. A measurement, not a test: it fails on nothing but a failed or a different answer.
//!
//! `cargo bench -p skep --bench stall -- [--trials 20] [--rtt 20] [--loss 1] [--stages 2] [--tokens 80]`

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
    use super::wan::{Failure, Network, even_spans, text};
    use std::time::Duration;

    /// Blocks of the bundled model.
    const BLOCKS: u32 = 8;

    struct Options {
        trials: u64,
        rtt: u64,
        loss: f64,
        stages: u32,
        tokens: u32,
    }

    pub fn main() -> Result<(), Failure> {
        if let Some(lacks) = skep_netlab::missing(&[]) {
            println!("SKIPPED: {lacks}");
            return Ok(());
        }
        let options = options(&std::env::args().skip(1).collect::<Vec<_>>())?;
        let Options { trials, rtt, loss, stages, tokens } = options;
        println!("{trials} trials, RTT {rtt} ms, {loss} % loss, {stages} stages of two nodes each, {tokens} tokens");
        let (mut stalls, mut unhurt, mut expected) = (Vec::new(), 0, None);
        for trial in 0..trials {
            let (said, stall) = pull_a_plug(&options, trial)?;
            if *expected.get_or_insert_with(|| said.clone()) != said {
                return Err(format!("trial {trial}: another text than before: {said}").into());
            }
            match stall {
                Some(stall) => stalls.push(stall),
                None => unhurt += 1,
            }
        }
        stalls.sort_by(f64::total_cmp);
        let at = |share: f64| stalls.get(((stalls.len() as f64 * share).ceil() as usize).saturating_sub(1)).copied();
        println!("{} answers lost a stage and went on, {unhurt} went another way", stalls.len());
        println!("stall ms: p50 {:?}, p95 {:?}, longest {:?}", at(0.5), at(0.95), stalls.last());
        Ok(())
    }

    /// One answer during which one node dies: its text, and how long it stood still if it lost a stage.
    fn pull_a_plug(options: &Options, trial: u64) -> Result<(String, Option<f64>), Failure> {
        let spans = [even_spans(BLOCKS, options.stages), even_spans(BLOCKS, options.stages)].concat();
        let mut network = Network::start(&[], &spans, Duration::from_millis(options.rtt), options.loss / 100.0)?;
        // The same moments and the same victims in every run.
        let drawn = (trial + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let victim = network.nodes.remove((drawn >> 32) as usize % spans.len());
        let lap = u64::from(options.stages + 1) * options.rtt / 2;
        let moment = Duration::from_millis(
            lap * u64::from(options.tokens / 4) + (drawn >> 40) % (lap * u64::from(options.tokens / 2)),
        );
        let answer = std::thread::scope(|scope| {
            let network = &network;
            let asking = scope
                .spawn(move || network.ask("What is love?", options.tokens).map_err(|failure| failure.to_string()));
            std::thread::sleep(moment);
            victim.kill();
            asking.join().map_err(|_| "the thread that asks ended".to_owned()).and_then(|answer| answer)
        })?;
        let stalls = answer["skep"]["recoveries"].as_array().map(Vec::as_slice).unwrap_or_default();
        let longest = stalls.iter().filter_map(|one| one["stall_ms"].as_f64()).max_by(f64::total_cmp);
        Ok((text(&answer).to_owned(), longest))
    }

    fn options(words: &[String]) -> Result<Options, Failure> {
        let mut options = Options { trials: 20, rtt: 20, loss: 1.0, stages: 2, tokens: 80 };
        // Cargo adds `--bench` by itself.
        let words: Vec<&str> = words.iter().map(String::as_str).filter(|word| *word != "--bench").collect();
        for pair in words.chunks(2) {
            let [name, value] = pair else { return Err(format!("{} takes a value", pair[0]).into()) };
            match *name {
                "--trials" => options.trials = value.parse()?,
                "--rtt" => options.rtt = value.parse()?,
                "--loss" => options.loss = value.parse()?,
                "--stages" => options.stages = value.parse()?,
                "--tokens" => options.tokens = value.parse()?,
                other => return Err(format!("there is no option {other}").into()),
            }
        }
        Ok(options)
    }
}
