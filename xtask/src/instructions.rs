//! How many instructions the kernels take, counted by valgrind: a number that no other load on the machine changes, so CI can
//! compare it with the committed one and notice a kernel that became slower.
//!
//! Valgrind knows no AVX-512, so AVX2 and the plain loops are counted.

use crate::{shell, tree};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// The committed counts.
const FILE: &str = "docs/instructions.txt";
/// A count may grow by this share before it is a fault; a smaller one only asks for a new file.
const TOLERANCE: f64 = 0.03;
const ISAS: [&str; 2] = ["scalar", "avx2"];
const WORKLOADS: [&str; 12] = [
    "decode F32",
    "decode F16",
    "decode Q8_0",
    "decode Q4_0",
    "decode Q4_K",
    "decode Q6_K",
    "prefill F32",
    "prefill Q8_0",
    "prefill Q4_0",
    "prefill Q4_K",
    "attention",
    "norm",
];

/// Counts and compares with the committed file, or writes it.
pub fn command(bless: bool) -> Result<(), String> {
    let root = tree::root();
    let (compiler, counts) = count(&root)?;
    let mut text = format!(
        "# Instructions of fixed pieces of work; `cargo xtask instructions --bless` writes this file.\n{compiler}\n"
    );
    for (name, count) in &counts {
        text.push_str(&format!("{name}: {count}\n"));
    }
    let path = root.join(FILE);
    if bless {
        return std::fs::write(&path, text).map_err(|error| format!("cannot write {FILE}: {error}"));
    }
    let committed = std::fs::read_to_string(&path).map_err(|error| format!("cannot read {FILE}: {error}"))?;
    let mut slower = Vec::new();
    for (name, count) in &counts {
        let before =
            committed.lines().find_map(|line| line.strip_prefix(name.as_str())?.strip_prefix(": ")?.parse().ok());
        let before: u64 = before.unwrap_or(0);
        let ratio = *count as f64 / before as f64;
        println!("{name:<24} {count:>12}  {ratio:.3} of the committed count");
        if ratio > 1.0 + TOLERANCE {
            slower.push(name.clone());
        }
    }
    if !committed.contains(&compiler) {
        println!("the committed counts are of another compiler than {compiler}; nothing is concluded");
        return Ok(());
    }
    match slower.as_slice() {
        [] => Ok(()),
        names => Err(format!("more instructions than committed in {FILE}: {}", names.join(", "))),
    }
}

/// The compiler's version and the instructions of every workload with every instruction set.
fn count(root: &Path) -> Result<(String, BTreeMap<String, u64>), String> {
    let mut build = shell::command("cargo", "build --release --locked --package skep-kernels --example workload", root);
    shell::run(&mut build)?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), Into::into);
    let program = target.join("release/examples/workload");
    let compiler = shell::output("rustc", "--version").unwrap_or_default().trim().to_owned();
    let mut counts = BTreeMap::new();
    for isa in ISAS {
        for name in WORKLOADS {
            // What the preparation takes is in both.
            let (once, often) = (instructions(&program, name, isa, "1")?, instructions(&program, name, isa, "5")?);
            counts.insert(format!("{name} {isa}"), often.saturating_sub(once) / 4);
        }
    }
    Ok((compiler, counts))
}

fn instructions(program: &Path, name: &str, isa: &str, times: &str) -> Result<u64, String> {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(program).args([name, isa, times]);
    let output = command.output().map_err(|error| format!("cannot run valgrind: {error}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    let count = text.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    count.ok_or_else(|| format!("valgrind counted nothing for {name} with {isa}: {text}"))
}
