//! `cargo xtask test`: what the tests need, and then all of them, step by step. Every step runs even after one has failed,
//! so that one run tells everything.

mod chaos;
mod demo;
mod kit;
mod steps;
mod summary;

use std::time::Instant;

use kit::Kit;
use steps::STEPS;
use summary::{Line, Outcome};

/// One step of the run.
pub struct Step {
    pub name: &'static str,
    pub says: &'static str,
    pub when: When,
    pub run: fn(&mut Kit) -> Outcome,
}

/// When a step runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Always, with `--quick` too.
    Quick,
    /// Unless `--quick` is given.
    Always,
    /// Only when it is named: it takes long.
    Named,
}

/// Runs the steps that the options choose.
pub fn command(options: &[&str]) -> Result<(), String> {
    if options == ["--list"] {
        STEPS.iter().for_each(|step| println!("{:<14} {}", step.name, step.says));
        return Ok(());
    }
    let chosen = choose(options)?;
    let mut kit = Kit::new();
    let start = Instant::now();
    let mut lines = Vec::new();
    for (index, step) in chosen.iter().enumerate() {
        println!("\n━━━ {}/{} {}: {}", index + 1, chosen.len(), step.name, step.says);
        let begun = Instant::now();
        let outcome = (step.run)(&mut kit).for_machine(kit.ci);
        if let Some(reason) = outcome.reason() {
            println!("*** {} {}: {reason}", outcome.word(), step.name);
        }
        lines.push(Line { name: step.name, outcome, took: begun.elapsed() });
    }
    summary::print(&lines, start.elapsed());
    let failed: Vec<&str> = lines.iter().filter(|line| line.outcome.failed()).map(|line| line.name).collect();
    if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", "))) }
}

fn choose(options: &[&str]) -> Result<Vec<&'static Step>, String> {
    let named = |name: &&str| STEPS.iter().find(|step| step.name == *name).ok_or_else(|| unknown(name));
    match options {
        [] => Ok(STEPS.iter().filter(|step| step.when != When::Named).collect()),
        ["--quick"] => Ok(STEPS.iter().filter(|step| step.when == When::Quick).collect()),
        names => names.iter().map(named).collect(),
    }
}

fn unknown(name: &str) -> String {
    let names: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
    format!("there is no step {name}\nhint: the steps are {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_chosen_by_name() {
        let names =
            |options: &[&str]| choose(options).map(|steps| steps.iter().map(|step| step.name).collect::<Vec<_>>());
        assert_eq!(names(&["rules", "fmt"]).unwrap(), ["rules", "fmt"]);
        assert_eq!(names(&[]).unwrap().len(), STEPS.len() - 1);
        assert_eq!(names(&["chaos"]).unwrap(), ["chaos"]);
        assert!(names(&["--quick"]).unwrap().contains(&"workspace"));
        assert!(names(&["nothing"]).unwrap_err().contains("hint: the steps are fmt"));
    }

    #[test]
    fn no_two_steps_share_a_name() {
        let mut names: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), STEPS.len());
    }
}
