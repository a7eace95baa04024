//! `skep bench model`: how fast this machine runs a model, and how near that is to what its memory allows.
//!
//! Decoding reads every weight once a token, so its ceiling is the memory's bandwidth; that is measured here too, by summing a
//! large buffer, in large pages where the system has them, with the same threads and in turns with decoding. The logits of a
//! fixed prompt are hashed: every machine prints the same hash for the same file.

use crate::error::Error;
use crate::output;
use crate::up::spinner;
use clap::{Args, ValueEnum};
use serde_json::json;
use skep_kernels::{Cpu, Isa};
use skep_model::{BatchItem, Gguf, KvCache, ModelConfig, ModelError, Span, SpanOptions, logits_digest};
use skep_types::BlockRange;
use std::ops::DerefMut;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[derive(Debug, Args)]
pub(crate) struct BenchModelArgs {
    /// Model file (GGUF)
    pub(crate) file: PathBuf,
    /// Threads that compute; all processors if absent
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) threads: Option<u32>,
    /// Instruction set; the fastest of this machine if absent
    #[arg(long, value_name = "NAME")]
    pub(crate) isa: Option<IsaName>,
    /// Read the file from the disk again first, so that Linux can hold it in large pages
    #[arg(long)]
    pub(crate) large_pages: bool,
    /// Print one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The instruction sets by their names on the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum IsaName {
    /// Plain loops, on any processor
    Scalar,
    /// x86-64 with AVX2
    Avx2,
    /// x86-64 with AVX-512 and VNNI
    Avx512,
}

impl From<IsaName> for Isa {
    fn from(name: IsaName) -> Self {
        match name {
            IsaName::Scalar => Self::Scalar,
            IsaName::Avx2 => Self::Avx2,
            IsaName::Avx512 => Self::Avx512,
        }
    }
}

/// Tokens of the prompt whose prefill is measured.
const PREFILL: usize = 512;
/// Sessions that decode together.
const SESSIONS: usize = 8;
/// Tokens before decoding is measured.
const PROMPT: usize = 16;
/// Each figure is taken over at least this long.
const LEAST: Duration = Duration::from_millis(1500);
/// Most tokens that a figure is taken over.
const MOST_TOKENS: usize = 384;
/// Tokens of the prompt whose logits are hashed.
const HASHED: usize = 64;
/// Steps of decoding between two measurements of the memory.
const STEPS_BETWEEN: usize = 4;
/// Bytes summed to measure the memory: many times any cache.
const BUFFER_BYTES: usize = 512 << 20;

pub(crate) fn run(args: &BenchModelArgs) -> Result<(), Error> {
    let fault = |source| Error::Model { path: args.file.clone(), source };
    let spinner = spinner("reading the model", args.json);
    let isa = args.isa.map_or_else(Isa::detect, Isa::from);
    if !Isa::available().contains(&isa) {
        return Err(Error::NoInstructions { isa: isa.to_string() });
    }
    let threads = args.threads.map_or_else(available_threads, |threads| threads as usize);
    let bench = Bench::load(args, isa, threads).map_err(fault)?;
    spinner.set_message("hashing the logits of a fixed prompt");
    let logits_hash = logits_digest(&bench.span, HASHED.min(bench.span.config().context)).map_err(fault)?;
    spinner.set_message("reading a prompt of 512 tokens");
    let prefill = bench.prefill().map_err(fault)?;
    spinner.set_message("decoding eight streams");
    let batch = bench.decode(SESSIONS, || {}).map_err(fault)?;
    // Before the buffer of the next measurement counts as this program's memory.
    let resident = resident_bytes();
    spinner.set_message("decoding one stream");
    let taken = |source| Error::System { what: "taking memory to measure its speed".into(), source };
    let mut memory = Memory::new(&bench.cpu).map_err(taken)?;
    let decode = bench.decode(1, || memory.pass()).map_err(fault)?;
    let bandwidth = memory.bandwidth();
    spinner.finish_and_clear();
    let decode_rate = decode * bench.bytes_per_token as f64;
    let values = json!({
        "model": bench.span.config().name,
        "isa": isa.to_string(),
        "threads": threads,
        "decode_tps": rounded(decode),
        "prefill_tps": rounded(prefill),
        "batch8_tps": rounded(batch),
        "decode_gbps": rounded(decode_rate / 1e9),
        "bandwidth_gbps": rounded(bandwidth / 1e9),
        "logits_hash": logits_hash,
        "resident_mib": resident.map(|bytes| bytes >> 20),
        "file_mib": bench.file_bytes >> 20,
    });
    if args.json {
        return output::line(values);
    }
    let share = 100.0 * decode_rate / bandwidth;
    let mut text = format!(
        "decode, one stream    {decode:10.1} tokens/s\n\
         decode, {SESSIONS} streams     {batch:10.1} tokens/s\n\
         prefill, {PREFILL} tokens   {prefill:10.1} tokens/s\n\
         weights read          {:10.1} GB/s\n\
         memory, measured      {:10.1} GB/s (decoding uses {share:.0} % of it)\n",
        decode_rate / 1e9,
        bandwidth / 1e9
    );
    if let Some(resident) = resident {
        let (resident, file) = (resident >> 20, bench.file_bytes >> 20);
        text.push_str(&format!("memory in use         {resident:10} MiB, the file has {file} MiB\n"));
    }
    text.push_str(&format!("logits                {logits_hash} (the same on every machine)\n"));
    text.push_str(&format!("computed with         {threads} threads, {isa}\n"));
    output::write(&text)
}

fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

fn available_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// A model ready to be measured.
struct Bench {
    span: Span,
    cpu: Arc<Cpu>,
    file_bytes: u64,
    bytes_per_token: u64,
    positions: usize,
}

impl Bench {
    fn load(args: &BenchModelArgs, isa: Isa, threads: usize) -> Result<Self, ModelError> {
        let gguf = if args.large_pages { Gguf::open_again(&args.file)? } else { Gguf::open(&args.file)? };
        let config = ModelConfig::from_gguf(&gguf)?;
        let cpu = Arc::new(Cpu::new(threads).map_err(ModelError::Threads)?.with_isa(isa));
        let options = SpanOptions { cpu: cpu.clone(), ..SpanOptions::new(1)? };
        let whole = BlockRange::new(0, config.n_blocks).map_err(|error| ModelError::Input(error.to_string()))?;
        let span = Span::load_with(&gguf, whole, options)?;
        // A token reads one row of an embedding that is not the output matrix too.
        let embedding =
            if config.tied_head { 0 } else { gguf.tensor("token_embd.weight").map_or(0, |info| info.bytes) };
        let bytes_per_token = span.weight_bytes() - embedding;
        let positions = config.context.clamp(1, PROMPT + MOST_TOKENS);
        Ok(Self { span, cpu, file_bytes: gguf.file_bytes(), bytes_per_token, positions })
    }

    /// A text without meaning, the same everywhere; `salt` tells sessions apart.
    fn tokens(&self, n: usize, salt: usize) -> Vec<u32> {
        let vocab = self.span.config().vocab;
        (0..n.min(self.span.config().context)).map(|i| ((i * i * 31 + 403 + salt * 977) % vocab) as u32).collect()
    }

    fn cache(&self, positions: usize) -> Result<KvCache, ModelError> {
        self.span.new_cache(self.span.blocks(), positions.min(self.span.config().context))
    }

    /// Tokens per second of one prompt.
    fn prefill(&self) -> Result<f64, ModelError> {
        let tokens = self.tokens(PREFILL, 0);
        let (mut best, mut spent) = (0.0f64, Duration::ZERO);
        while spent < LEAST {
            let mut cache = self.cache(tokens.len())?;
            let start = Instant::now();
            let mut rows = self.span.embed(&tokens)?;
            self.span.forward(&mut cache, &mut rows)?;
            self.span.logits(&rows[rows.len() - self.span.config().d_model..])?;
            best = best.max(tokens.len() as f64 / start.elapsed().as_secs_f64());
            spent += start.elapsed();
        }
        Ok(best)
    }

    /// Tokens per second of `sessions` greedy answers together. Every few tokens `between` is called; its time does not count.
    fn decode(&self, sessions: usize, mut between: impl FnMut()) -> Result<f64, ModelError> {
        let d_model = self.span.config().d_model;
        let (mut caches, mut next) = (Vec::new(), Vec::new());
        for session in 0..sessions {
            let mut cache = self.cache(self.positions)?;
            let mut rows = self.span.embed(&self.tokens(PROMPT.min(self.positions - 1), session))?;
            self.span.forward(&mut cache, &mut rows)?;
            next.push(best(&self.span.logits(&rows[rows.len() - d_model..])?));
            caches.push(cache);
        }
        let (mut spent, mut steps) = (Duration::ZERO, 0);
        while caches[0].len() < self.positions && spent < LEAST {
            if steps % STEPS_BETWEEN == 0 {
                between();
            }
            let start = Instant::now();
            let mut rows = self.span.embed(&next)?;
            let parts = rows.chunks_exact_mut(d_model);
            let mut items: Vec<_> =
                caches.iter_mut().zip(parts).map(|(cache, rows)| BatchItem { cache, rows }).collect();
            self.span.forward_batch(&mut items).into_iter().collect::<Result<(), _>>()?;
            drop(items);
            for (next, logits) in next.iter_mut().zip(self.span.logits_batch(&rows)?) {
                *next = best(&logits?);
            }
            steps += 1;
            spent += start.elapsed();
        }
        Ok((steps * sessions) as f64 / spent.as_secs_f64())
    }
}

/// The index of the largest logit, the lowest of equals.
fn best(logits: &[f32]) -> u32 {
    let better = |best: usize, i: usize| if logits[i] > logits[best] { i } else { best };
    (0..logits.len()).fold(0, better) as u32
}

/// How fast the threads together read memory. It is measured in turns with decoding: where other machines share the memory, its
/// speed changes from second to second.
struct Memory<'a, B> {
    cpu: &'a Cpu,
    buffer: B,
    passes: usize,
    spent: Duration,
}

impl<'a> Memory<'a, ()> {
    fn new(cpu: &'a Cpu) -> std::io::Result<Memory<'a, impl DerefMut<Target = [u8]>>> {
        let mut buffer = skep_map::memory(BUFFER_BYTES)?;
        // Pages that were never written may all be one page of zeros.
        buffer.fill(1);
        Ok(Memory { cpu, buffer, passes: 0, spent: Duration::ZERO })
    }
}

impl<B: DerefMut<Target = [u8]>> Memory<'_, B> {
    /// Reads the whole buffer once.
    fn pass(&mut self) {
        let (start, buffer, part) = (Instant::now(), &self.buffer[..], 1 << 20);
        self.cpu.workers().run(buffer.len() / part, |i| {
            let lines = buffer[i * part..(i + 1) * part].as_chunks::<64>().0;
            let sums = lines.iter().fold([0u8; 64], |mut sums, line| {
                sums.iter_mut().zip(line).for_each(|(sum, x)| *sum = sum.wrapping_add(*x));
                sums
            });
            std::hint::black_box(sums);
        });
        self.passes += 1;
        self.spent += start.elapsed();
    }

    /// Bytes per second.
    fn bandwidth(&self) -> f64 {
        (self.passes * self.buffer.len()) as f64 / self.spent.as_secs_f64()
    }
}

/// The most memory that this process has had, where the system tells.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}
