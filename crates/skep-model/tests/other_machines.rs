//! An independent implementation in C, on other processors too, gives the bits that this one gives: `tools/rk1`, written from
//! the normative text alone, built for x86-64, AArch64 and RISC-V, the last two run by qemu. A compiler or an emulator that is
//! absent is skipped loudly; `.ci/run` installs them all.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::model;
use skep_kernels::{Cpu, Format, Isa};
use skep_model::{Gguf, ModelConfig, Span, SpanOptions, logits_digest};
use skep_testkit::{repository_root, shared_data};
use skep_types::BlockRange;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// Name, compiler, emulator.
const MACHINES: [(&str, &str, Option<&str>); 3] = [
    ("x86-64", "gcc", None),
    ("AArch64", "aarch64-linux-gnu-gcc", Some("qemu-aarch64-static")),
    ("RISC-V", "riscv64-linux-gnu-gcc", Some("qemu-riscv64-static")),
];

fn is_there(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// The C implementation built for each machine that this one can build for and run.
fn builds(folder: &Path) -> Vec<(&'static str, Option<&'static str>, PathBuf)> {
    let mut built = Vec::new();
    for (name, compiler, emulator) in MACHINES {
        if !is_there(compiler) || emulator.is_some_and(|emulator| !is_there(emulator)) {
            eprintln!("SKIPPED: {compiler} or {emulator:?} is not installed; nothing was compared with {name}");
            continue;
        }
        let program = folder.join(compiler);
        let source = repository_root().join("tools/rk1/model.c");
        let options = ["-O2", "-std=gnu99", "-ffp-contract=off", "-static", "-o"];
        let status = Command::new(compiler).args(options).arg(&program).arg(source).arg("-lm").status().unwrap();
        assert!(status.success(), "{compiler} cannot build tools/rk1");
        built.push((name, emulator, program));
    }
    built
}

fn theirs(program: &Path, emulator: Option<&str>, model: &Path, positions: usize) -> String {
    let mut command = emulator.map_or_else(
        || Command::new(program),
        |emulator| {
            let mut command = Command::new(emulator);
            command.arg(program);
            command
        },
    );
    let output = command.arg(model).arg(positions.to_string()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn ours(model: &Path, positions: usize, isa: Isa, threads: usize) -> String {
    let gguf = Gguf::open(model).unwrap();
    let blocks = BlockRange::new(0, ModelConfig::from_gguf(&gguf).unwrap().n_blocks).unwrap();
    let cpu = Arc::new(Cpu::new(threads).unwrap().with_isa(isa));
    let span = Span::load_with(&gguf, blocks, SpanOptions { cpu, ..SpanOptions::new(1).unwrap() }).unwrap();
    logits_digest(&span, positions).unwrap()
}

fn compare(name: &str, model: &Path, positions: usize, builds: &[(&str, Option<&str>, PathBuf)]) {
    let expected = ours(model, positions, Isa::Scalar, 1);
    for isa in Isa::available() {
        assert_eq!(ours(model, positions, *isa, 3), expected, "{name} with {isa}");
    }
    for (machine, emulator, program) in builds {
        assert_eq!(theirs(program, *emulator, model, positions), expected, "{name} in C on {machine}");
    }
}

/// Every format; one of them over more positions than one part of attention has, for an emulator is slow.
#[test]
fn every_format_gives_the_same_bits_in_c_and_on_other_processors() {
    let folder = tempfile::tempdir().unwrap();
    let builds = builds(folder.path());
    for format in Format::ALL {
        let path = folder.path().join(format!("{format}.gguf"));
        std::fs::write(&path, model(2, |_| format)).unwrap();
        let positions = if format == Format::F16 { 270 } else { 20 };
        compare(&format.to_string(), &path, positions, &builds);
    }
}

#[test]
fn trained_models_give_the_same_bits_in_c_and_on_other_processors() {
    let folder = tempfile::tempdir().unwrap();
    let builds = builds(folder.path());
    compare("skep-bard", &repository_root().join("crates/skep/assets/skep-bard-q8_0.gguf"), 64, &builds);
    for file in ["stories260K/stories260K-f32", "stories3M/stories3M-q8_0"] {
        let Some(path) = shared_data(&format!("llm/{file}.gguf")) else { return };
        compare(file, &path, 64, &builds);
    }
}
