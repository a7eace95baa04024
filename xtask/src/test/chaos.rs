//! Long runs of the chaos test, at the same time: each is a network of twenty real processes under load, with a seed of its own.

use super::kit::Kit;
use super::summary::{Counts, Outcome};
use crate::shell::{self, Guard};
use std::fs::File;

/// The test, in the files of crate `skep`.
const TEST: &str = "processes_come_and_go_at_random_and_no_request_fails";

/// Runs `SKEP_CHAOS_RUNS` of them (3) of `SKEP_CHAOS_SECONDS` each (600), from the seed `SKEP_CHAOS_SEED` (1) on.
pub fn run(kit: &mut Kit) -> Outcome {
    let number = |name, otherwise| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise);
    let (runs, seconds) = (number("SKEP_CHAOS_RUNS", 3), number("SKEP_CHAOS_SECONDS", 600));
    let first = number("SKEP_CHAOS_SEED", 1);
    if let Err(reason) = shell::run(&mut kit.cargo("test --workspace --locked --no-run")) {
        return Outcome::of(Err(reason));
    }
    println!("{runs} runs of {seconds} s at once");
    let begin = |seed: u64| {
        let path = kit.root.join(format!("target/chaos-{seed}.log"));
        let open = || File::create(&path).map_err(|error| format!("cannot write {}: {error}", path.display()));
        let mut command = kit.cargo(&format!("test --workspace --locked --test chaos -- --exact {TEST} --nocapture"));
        command.env("SKEP_CHAOS_SECONDS", seconds.to_string()).env("SKEP_CHAOS_SEED", seed.to_string());
        let child = command.stdout(open()?).stderr(open()?).spawn().map_err(|error| error.to_string())?;
        Ok::<_, String>((seed, path.clone(), Guard(child)))
    };
    let (mut counts, mut failed) = (Counts::default(), Vec::new());
    let begun: Vec<_> = (first..first + runs).map(begin).collect();
    for run in begun {
        let ended = run.and_then(|(seed, path, mut child)| {
            let status = child.0.wait().map_err(|error| error.to_string())?;
            let said = std::fs::read_to_string(&path).unwrap_or_default();
            println!("\nseed {seed}:\n{said}");
            if status.success() && said.contains("1 passed") { Ok(()) } else { Err(format!("seed {seed}: {status}")) }
        });
        match ended {
            Ok(()) => counts.passed += 1,
            Err(reason) => {
                counts.failed += 1;
                failed.push(reason);
            }
        }
    }
    Outcome::counted(counts, if failed.is_empty() { Ok(()) } else { Err(failed.join("; ")) })
}
