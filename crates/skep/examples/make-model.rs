//! Makes the bundled model again, bit for bit, on any machine and any number of cores:
//!
//! `cargo run --release -p skep --example make-model -- --text ../shared/data/text/tinyshakespeare.txt --out crates/skep/assets/skep-bard-q8_0.gguf`
//!
//! `--f32 FILE` writes the unquantised model too, `--threads N` changes the speed only. With `--evaluate FILE` in the place of
//! `--out` it trains nothing and measures a finished file on the held-out text.

use skep_model::{Gguf, model_id};
use skep_train::bard::{self, Progress};
use skep_train::export::Precision;
use skep_train::{StepReport, Trainer};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

type Outcome<T> = Result<T, Box<dyn Error>>;

const USAGE: &str = "usage: make-model --text FILE (--out FILE [--f32 FILE] [--threads N] | --evaluate FILE)";

#[derive(Default)]
struct Arguments {
    text: Option<PathBuf>,
    out: Option<PathBuf>,
    f32: Option<PathBuf>,
    threads: Option<usize>,
    evaluate: Option<PathBuf>,
}

fn arguments() -> Outcome<Arguments> {
    let mut found = Arguments::default();
    let mut words = std::env::args().skip(1);
    while let Some(option) = words.next() {
        let value = words.next().ok_or(USAGE)?;
        match option.as_str() {
            "--text" => found.text = Some(value.into()),
            "--out" => found.out = Some(value.into()),
            "--f32" => found.f32 = Some(value.into()),
            "--threads" => found.threads = Some(value.parse()?),
            "--evaluate" => found.evaluate = Some(value.into()),
            other => return Err(format!("unknown option {other}\n{USAGE}").into()),
        }
    }
    Ok(found)
}

fn main() -> std::process::ExitCode {
    match arguments().and_then(run) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Outcome<()> {
    let path = arguments.text.ok_or(USAGE)?;
    let text = std::fs::read_to_string(&path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    let material = bard::prepare(&text)?;
    if let Some(path) = arguments.evaluate {
        let loss = bard::measure(&Gguf::open(&path)?, &material)?;
        println!("held out: {:.4} nats per token, {:.4} per character", loss.per_token, loss.per_character);
        return Ok(());
    }
    let out = arguments.out.ok_or(USAGE)?;
    let threads = arguments.threads.map_or_else(|| std::thread::available_parallelism().map(usize::from), Ok)?;
    let config = bard::config();
    let mut trainer = Trainer::new(config.clone(), threads)?;
    let (trained, held_out) = (material.training.running().len(), material.held_out.running().len());
    eprintln!("{} parameters; {trained} tokens to learn from, {held_out} held out", trainer.params().len());
    bard::train(&mut trainer, &material, threads, &mut progress())?;
    if let Some(path) = arguments.f32 {
        write(&path, &bard::file(&config, &material, trainer.params(), Precision::F32)?)?;
    }
    write(&out, &bard::file(&config, &material, trainer.params(), Precision::Q8_0)?)
}

/// Prints a line every twenty steps: a smoothed loss, the speed, the time left.
fn progress() -> impl FnMut(Progress) {
    let config = bard::config();
    let tokens = |step: u64| {
        let (sequences, len) = config.batch_of(step);
        (sequences * len) as u64
    };
    let all: u64 = (0..config.steps).map(tokens).sum();
    let steps = config.steps;
    let (start, mut done, mut smooth) = (Instant::now(), 0, None);
    move |news| match news {
        Progress::Step(StepReport { step, loss, .. }) => {
            let (sequences, len) = config.batch_of(step);
            done += (sequences * len) as u64;
            let loss = smooth.map_or(loss, |old: f64| 0.95 * old + 0.05 * loss);
            smooth = Some(loss);
            if (step + 1).is_multiple_of(20) {
                let speed = done as f64 / start.elapsed().as_secs_f64();
                let left = (all - done) as f64 / speed;
                eprintln!("step {}/{steps}  loss {loss:.3}  {speed:.0} tokens/s  {left:.0} s left", step + 1);
            }
        }
        Progress::HeldOut { steps, loss } => {
            let (token, character) = (loss.per_token, loss.per_character);
            eprintln!("step {steps}: held out {token:.4} nats per token, {character:.4} per character");
        }
    }
}

fn write(path: &Path, bytes: &[u8]) -> Outcome<()> {
    std::fs::write(path, bytes).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    println!("{}  {} bytes  id {}", path.display(), bytes.len(), model_id(path)?);
    Ok(())
}
