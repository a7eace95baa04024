//! llama.cpp and candle, asked the same questions as `skep bench model`, one engine a process: one line of JSON each.

mod candle_own;
mod candle_stock;
mod llama;
mod measure;
mod quantize;

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser};
use llama_cpp_2::llama_backend::LlamaBackend;

#[derive(Parser)]
#[command(about = "Measures other engines with the questions of `skep bench model`")]
enum Cli {
    /// llama.cpp, through the crate llama-cpp-2
    Llama(Bench),
    /// candle-transformers' own quantized_llama
    Candle(Bench),
    /// candle's quantised products under a shorter forward than its own
    CandleOwn(Bench),
    /// Writes a copy of a GGUF file with its matrices as Q8_0, Q4_0 or Q4_K_M
    Quantize { input: PathBuf, output: PathBuf, kind: String },
}

#[derive(Args)]
struct Bench {
    /// A GGUF file of a Llama
    model: PathBuf,
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

fn main() -> Result<()> {
    match Cli::parse() {
        Cli::Quantize { input, output, kind } => quantize::quantize(&input, &output, &kind),
        Cli::Llama(bench) => {
            let backend = LlamaBackend::init()?;
            let model = llama::load(&backend, &bench.model)?;
            let mut engine = llama::Llama::new(&backend, &model, bench.threads)?;
            report("llama.cpp", "llama-cpp-2", &bench, &mut engine)
        }
        Cli::Candle(bench) => {
            fix_candle_threads(bench.threads)?;
            report("candle", "candle-transformers", &bench, &mut candle_stock::Stock::load(&bench.model)?)
        }
        Cli::CandleOwn(bench) => {
            fix_candle_threads(bench.threads)?;
            report("candle-own", "candle-core", &bench, &mut candle_own::Own::load(&bench.model)?)
        }
    }
}

/// Measures, and prints the one line.
fn report(name: &str, package: &str, bench: &Bench, engine: &mut impl measure::Engine) -> Result<()> {
    let mut line = measure::measure(engine).with_context(|| format!("{name} on {}", bench.model.display()))?;
    line["engine"] = name.into();
    line["version"] = format!("{package} {}", version_of(package)?).into();
    line["threads"] = bench.threads.into();
    line["resident_mib"] = measure::peak_resident_mib()?.into();
    println!("{line}");
    Ok(())
}

/// The version of a package that this binary was built with.
fn version_of(package: &str) -> Result<&'static str> {
    let entry = include_str!("../Cargo.lock").split_once(&format!("name = \"{package}\"\nversion = \""));
    let (_, rest) = entry.with_context(|| format!("{package} is not in Cargo.lock"))?;
    Ok(rest.split('"').next().unwrap_or_default())
}

/// candle reads its thread count from the environment when its first pool starts, so this process begins again with the
/// variable set.
#[cfg(unix)]
fn fix_candle_threads(threads: usize) -> Result<()> {
    use std::os::unix::process::CommandExt;
    let (name, wanted) = ("RAYON_NUM_THREADS", threads.to_string());
    if std::env::var(name).is_ok_and(|set| set == wanted) {
        return Ok(());
    }
    let error = Command::new(std::env::current_exe()?).args(std::env::args_os().skip(1)).env(name, wanted).exec();
    bail!("cannot start again with {name}: {error}")
}

#[cfg(not(unix))]
fn fix_candle_threads(_: usize) -> Result<()> {
    bail!("the peers are measured on Unix")
}
