//! How a step ended, and the table at the end of a run.

use std::time::Duration;

/// Tests that ran inside a step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub passed: u64,
    pub failed: u64,
    pub skipped: u64,
}

/// How a step ended.
#[derive(Debug)]
pub enum Outcome {
    Passed(Counts),
    Failed(Counts, String),
    /// The machine lacks something; in CI, where `.ci/run` installs everything, that is a failure.
    Skipped(String),
}

impl Outcome {
    /// A step that is one test by itself.
    pub fn of(result: Result<(), String>) -> Outcome {
        match result {
            Ok(()) => Outcome::Passed(Counts { passed: 1, ..Counts::default() }),
            Err(reason) => Outcome::Failed(Counts { failed: 1, ..Counts::default() }, reason),
        }
    }

    /// A step whose test runner counted.
    pub fn counted(counts: Counts, result: Result<(), String>) -> Outcome {
        match result {
            Ok(()) if counts.passed == 0 => Outcome::Failed(counts, "no test ran".into()),
            Ok(()) => Outcome::Passed(counts),
            Err(reason) => Outcome::Failed(Counts { failed: counts.failed.max(1), ..counts }, reason),
        }
    }

    /// CI skips nothing.
    pub fn for_machine(self, ci: bool) -> Outcome {
        match self {
            Outcome::Skipped(reason) if ci => Outcome::of(Err(format!("skipped in CI: {reason}"))),
            other => other,
        }
    }

    pub fn failed(&self) -> bool {
        matches!(self, Outcome::Failed(..))
    }

    pub fn word(&self) -> &'static str {
        match self {
            Outcome::Passed(_) => "passed",
            Outcome::Failed(..) => "FAILED",
            Outcome::Skipped(_) => "SKIPPED",
        }
    }

    pub fn reason(&self) -> Option<&str> {
        match self {
            Outcome::Passed(_) => None,
            Outcome::Failed(_, reason) | Outcome::Skipped(reason) => Some(reason),
        }
    }

    fn counts(&self) -> Counts {
        match self {
            Outcome::Passed(counts) | Outcome::Failed(counts, _) => *counts,
            Outcome::Skipped(_) => Counts { skipped: 1, ..Counts::default() },
        }
    }
}

/// A row of the final table.
pub struct Line {
    pub name: &'static str,
    pub outcome: Outcome,
    pub took: Duration,
}

/// Prints the table, and as the last line the sum of all tests.
pub fn print(lines: &[Line], took: Duration) {
    println!("\n━━━ summary ({:.0} s)", took.as_secs_f64());
    let mut total = Counts::default();
    for line in lines {
        let counts = line.outcome.counts();
        total = Counts {
            passed: total.passed + counts.passed,
            failed: total.failed + counts.failed,
            skipped: total.skipped + counts.skipped,
        };
        let first = line.outcome.reason().and_then(|reason| reason.lines().next()).unwrap_or("");
        println!("{:<14} {:>7.1} s  {} {first}", line.name, line.took.as_secs_f64(), line.outcome.word());
    }
    println!("\n{} passed, {} failed, {} skipped", total.passed, total.failed, total.skipped);
}

/// Whether a line of output is one in which a test runner states its counts.
pub fn states_counts(line: &str) -> bool {
    let line = plain(line);
    let vitest = line.trim_start().starts_with("Tests ");
    vitest || line.contains("tests run:") || line.contains("test run:") || line.starts_with("test result:")
}

/// Adds up the counts that nextest, cargo test and vitest stated.
pub fn add_up(lines: &[String]) -> Counts {
    let mut counts = Counts::default();
    for line in lines.iter().map(|line| plain(line)) {
        let words: Vec<&str> = line.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
        for pair in words.windows(2) {
            let Ok(number) = pair[0].parse::<u64>() else { continue };
            match pair[1] {
                "passed" => counts.passed += number,
                "failed" | "exec" | "timed" => counts.failed += number,
                "skipped" | "ignored" => counts.skipped += number,
                _ => {}
            }
        }
    }
    counts
}

/// A line without terminal colours.
fn plain(line: &str) -> String {
    let mut parts = line.split('\u{1b}');
    let first = parts.next().unwrap_or("").to_owned();
    parts.fold(first, |text, part| text + part.split_once('m').map_or(part, |(_, rest)| rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_from_every_runner() {
        let lines = [
            "     Summary [   5.10s] 12 tests run: 9 passed (1 slow), 2 failed, 1 timed out, 4 skipped",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s",
            "\u{1b}[32;1m     Summary\u{1b}[0m [   0.10s] \u{1b}[1m1\u{1b}[0m test run: \u{1b}[1m1\u{1b}[0m \u{1b}[32;1mpassed\u{1b}[0m, 0 skipped",
            "      Tests  1 failed | 44 passed (45)",
        ];
        assert!(lines.iter().all(|line| states_counts(line)));
        assert!(!states_counts("        PASS [   0.005s] xtask tests::x"));
        let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        assert_eq!(add_up(&lines), Counts { passed: 57, failed: 4, skipped: 5 });
    }

    #[test]
    fn ci_skips_nothing() {
        assert!(Outcome::Skipped("no browser".into()).for_machine(true).failed());
        assert!(!Outcome::Skipped("no browser".into()).for_machine(false).failed());
    }

    #[test]
    fn a_runner_that_ran_nothing_has_failed() {
        assert!(Outcome::counted(Counts::default(), Ok(())).failed());
        assert!(Outcome::counted(Counts { passed: 5, ..Counts::default() }, Err("x".into())).failed());
        assert!(!Outcome::counted(Counts { passed: 5, ..Counts::default() }, Ok(())).failed());
    }
}
