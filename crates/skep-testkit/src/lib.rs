//! Helpers shared by tests: where the real data is, and the loud skip where it is not.
//!
//! Tests that need a real model or text look for it in `../shared/data` beside the checkout (or in `$SKEP_DATA`).
//! A fresh clone does not have that folder, so such a test says loudly what it skipped and passes.

use std::path::PathBuf;

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
