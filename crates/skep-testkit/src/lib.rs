//! Helpers shared by tests: where the real data and Python are, and the loud skip where they are not.
//!
//! Tests that need a real model or text look for it in `../shared/data` beside the checkout (or in `$SKEP_DATA`).
//! A fresh clone does not have that folder, so such a test says loudly what it skipped and passes.
//! The same goes for tests against Python packages, which `cargo xtask test` installs.

pub mod keys;

use std::path::PathBuf;
use std::process::Command;

/// The folder of the repository's root `Cargo.toml`.
pub fn repository_root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The path of a shared data file such as `llm/stories3M/stories3M-f32.gguf`, or `None` after saying so on standard error.
pub fn shared_data(relative: &str) -> Option<PathBuf> {
    let root = std::env::var_os("SKEP_DATA").map_or_else(|| repository_root().join("../shared/data"), PathBuf::from);
    let path = root.join(relative);
    if path.exists() {
        return Some(path);
    }
    eprintln!("SKIPPED: {} is absent; this test checked nothing", path.display());
    None
}

/// The Python that has the packages of `tools/requirements.txt`: the one that `SKEP_PYTHON` names, else that of `target/venv`; or
/// `None` after saying so on standard error.
pub fn python() -> Option<PathBuf> {
    let default = || repository_root().join("target/venv/bin/python");
    let path = std::env::var_os("SKEP_PYTHON").map_or_else(default, PathBuf::from);
    if path.exists() {
        return Some(path);
    }
    eprintln!("SKIPPED: no Python at {} (`cargo xtask test` makes it); nothing was compared", path.display());
    None
}

/// The Python that has torch and the packages of `tools/requirements-torch.txt`: the one that `SKEP_TORCH_PYTHON` names, else that of
/// `target/venv-torch`; or `None` after saying so on standard error.
pub fn torch_python() -> Option<PathBuf> {
    let default = || repository_root().join("target/venv-torch/bin/python");
    let path = std::env::var_os("SKEP_TORCH_PYTHON").map_or_else(default, PathBuf::from);
    if path.exists() {
        return Some(path);
    }
    eprintln!("SKIPPED: no Python with torch at {} (`cargo xtask test torch` makes it)", path.display());
    None
}

/// The folder of a Python package, such as one that carries a model, or `None` after saying so on standard error.
pub fn python_package(name: &str) -> Option<PathBuf> {
    let code = format!("import importlib.util as u; print(u.find_spec('{name}').submodule_search_locations[0])");
    let said = Command::new(python()?).args(["-c", &code]).output().ok().filter(|said| said.status.success());
    let folder = said.map(|said| PathBuf::from(String::from_utf8_lossy(&said.stdout).trim()));
    if folder.is_none() {
        eprintln!("SKIPPED: this Python has no package {name} (tools/requirements.txt lists it); nothing was compared");
    }
    folder
}

/// Runs a script of `tools/` under [`python`]; `None` after saying so on standard error when there is no Python.
///
/// # Errors
/// What the script said when it failed.
pub fn python_tool(script: &str, arguments: &[&str]) -> Option<Result<(), String>> {
    let mut command = Command::new(python()?);
    let said = command.arg(repository_root().join("tools").join(script)).args(arguments).output();
    Some(match said {
        Ok(said) if said.status.success() => Ok(()),
        Ok(said) => Err(format!("{script} {arguments:?}: {}", String::from_utf8_lossy(&said.stderr))),
        Err(error) => Err(format!("{script}: {error}")),
    })
}

/// Some `n` sentences of an encyclopaedia, of 20 to 400 bytes, from all over its text; `None` after saying so on standard error.
pub fn sentences(n: usize) -> Option<Vec<String>> {
    let path = shared_data("text/wikitext-2-valid.txt")?;
    let text = std::fs::read_to_string(path).ok()?;
    let all: Vec<&str> = text.split(['\n', '.']).map(str::trim).filter(|one| (20..400).contains(&one.len())).collect();
    Some((0..n).filter_map(|i| all.get(i * all.len() / n)).map(|one| (*one).to_owned()).collect())
}

/// Numbers that a script wrote as little-endian `f32`.
///
/// # Errors
/// When the file cannot be read.
pub fn read_f32(path: &std::path::Path) -> std::io::Result<Vec<f32>> {
    let bytes = std::fs::read(path)?;
    Ok(bytes.as_chunks().0.iter().map(|four| f32::from_le_bytes(*four)).collect())
}

/// A line of `/proc/PROCESS/status` that states memory, such as `VmHWM`, in bytes; `None` where the system does not tell. A
/// process is its id or `self`.
pub fn process_memory(process: &str, name: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}
