//! How close one token's lap over a wide-area network comes to the law `C + (k+1)·(RTT/2 + 2 ms)`.
//!
//! Real `skep` processes, each on a host of its own, with RTT between any two hosts and 1 % of the packets lost. For each RTT and each
//! number of stages k it answers one prompt greedily and prints the lap, the time C that the stages held a frame, the law, and their
//! ratio, of which the bar is 1.10. A measurement, not a test: it fails on nothing but a failed answer.
//!
//! `cargo bench -p skep --bench wan -- [--rtt 20,60,120] [--stages 2,3,4] [--loss 1] [--tokens 200] [--runs 3] [--model MODEL.gguf | --width 2048]`
//!
//! The bundled model has 8 blocks, so its stages compute next to nothing; what is left is the network's. Its rows are small, too: with
//! `--width` it is a model of as many blocks with rows of that many values of 4 bytes, and weights drawn at random.

#[cfg(target_os = "linux")]
#[path = "../tests/common/wan.rs"]
mod wan;

#[cfg(target_os = "linux")]
#[path = "../tests/common/model.rs"]
mod model;

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
    use super::model::{Shape, random};
    use super::wan::{Failure, Network, even_spans, route};
    use serde_json::Value;
    use std::path::Path;
    use std::time::Duration;

    struct Options {
        rtts: Vec<u64>,
        stages: Vec<u32>,
        loss: f64,
        tokens: u32,
        runs: usize,
        model: Option<String>,
        width: Option<usize>,
    }

    pub fn main() -> Result<(), Failure> {
        if let Some(lacks) = skep_netlab::missing(&[]) {
            println!("SKIPPED: {lacks}");
            return Ok(());
        }
        let mut options = options(&std::env::args().skip(1).collect::<Vec<_>>())?;
        let folder = tempfile::tempdir()?;
        if let Some(width) = options.width {
            let file = folder.path().join("wide.gguf");
            std::fs::write(&file, random(&Shape { blocks: 8, width, hidden: width / 4 })?)?;
            options.model = Some(file.to_str().ok_or("the temporary folder has no plain name")?.to_owned());
        }
        let bundled = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/skep-bard-q8_0.gguf");
        let file = skep_model::Gguf::open(options.model.as_deref().map_or(bundled.as_path(), Path::new))?;
        let n_blocks = skep_model::ModelConfig::from_gguf(&file)?.n_blocks;
        println!("{n_blocks} blocks, {} % loss, {} greedy tokens", options.loss, options.tokens);
        println!("\n RTT ms   stages   lap ms (each run)             C ms   law ms   median lap / law");
        for rtt in &options.rtts {
            for k in &options.stages {
                row(&options, n_blocks, *rtt, *k)?;
            }
        }
        Ok(())
    }

    fn row(options: &Options, n_blocks: u32, rtt: u64, k: u32) -> Result<(), Failure> {
        let model: Vec<&str> = options.model.iter().flat_map(|model| ["--model", model]).collect();
        let spans = even_spans(n_blocks, k);
        let network = Network::start(&model, &spans, Duration::from_millis(rtt), options.loss / 100.0)?;
        let mut runs = Vec::new();
        for _ in 0..options.runs {
            let answer = network.ask("What is love?", options.tokens)?;
            let trips = trips(&network, &answer);
            let compute = compute_ms(&answer);
            let lap = answer["skep"]["lap_ms"].as_f64().ok_or("the answer has no lap")?;
            runs.push((lap, compute, compute + f64::from(trips) * (rtt as f64 / 2.0 + 2.0)));
        }
        let laps: Vec<String> = runs.iter().map(|run| format!("{:.1}", run.0)).collect();
        runs.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (lap, compute, law) = runs[runs.len() / 2];
        println!(" {rtt:>6}   {k:>6}   {:<28} {compute:>5.2}   {law:>6.1}   {:>16.3}", laps.join(" "), lap / law);
        Ok(())
    }

    /// How often a lap goes from one host to another.
    fn trips(network: &Network, answer: &Value) -> u32 {
        let gateway = network.gateway.id();
        let stops = [vec![gateway], route(answer), vec![gateway]].concat();
        stops.windows(2).filter(|two| two[0] != two[1]).count() as u32
    }

    /// What the stages of a lap hold a frame, together.
    fn compute_ms(answer: &Value) -> f64 {
        let hops = answer["skep"]["hops"].as_array().map(Vec::as_slice).unwrap_or_default();
        let hold =
            |hop: &Value| hop["hold_ms"].as_f64().unwrap_or(0.0) / hop["frames"].as_f64().unwrap_or(1.0).max(1.0);
        hops.iter().map(hold).sum()
    }

    fn options(words: &[String]) -> Result<Options, Failure> {
        let mut options = Options {
            rtts: vec![20, 60, 120],
            stages: vec![2, 3, 4],
            loss: 1.0,
            tokens: 200,
            runs: 3,
            model: None,
            width: None,
        };
        // Cargo adds `--bench` by itself.
        let words: Vec<&str> = words.iter().map(String::as_str).filter(|word| *word != "--bench").collect();
        for pair in words.chunks(2) {
            let [name, value] = pair else { return Err(format!("{} takes a value", pair[0]).into()) };
            match *name {
                "--rtt" => options.rtts = value.split(',').map(str::parse).collect::<Result<_, _>>()?,
                "--stages" => options.stages = value.split(',').map(str::parse).collect::<Result<_, _>>()?,
                "--loss" => options.loss = value.parse()?,
                "--tokens" => options.tokens = value.parse()?,
                "--runs" => options.runs = value.parse::<usize>()?.max(1),
                "--width" => options.width = Some(value.parse()?),
                "--model" => options.model = Some((*value).to_owned()),
                other => return Err(format!("there is no option {other}").into()),
            }
        }
        Ok(options)
    }
}
