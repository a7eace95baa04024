//! The files of the repository as the rules see them: those that git tracks, and those that it would.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::{scan, shell};

/// The repository's root folder.
pub fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}

/// One text file.
pub struct File {
    /// Relative to the root, with `/` between the parts.
    pub path: String,
    pub text: String,
    /// `text` without comments and literals for Rust, `text` itself for the rest.
    pub code: String,
    /// Whether the whole file is compiled for tests only.
    pub test_only: bool,
}

impl File {
    fn new(path: &str, text: String) -> File {
        let code = if path.ends_with(".rs") { scan::mask(&text) } else { text.clone() };
        File { path: path.to_owned(), text, code, test_only: is_test_path(path) }
    }

    /// The file's extension, or an empty string.
    pub fn extension(&self) -> &str {
        Path::new(&self.path).extension().and_then(|e| e.to_str()).unwrap_or("")
    }

    /// The crate that the file belongs to: `skep-net` for `crates/skep-net/src/lib.rs`.
    pub fn crate_name(&self) -> Option<&str> {
        match self.path.split('/').collect::<Vec<_>>().as_slice() {
            ["crates", name, ..] => Some(name),
            ["xtask", ..] => Some("xtask"),
            _ => None,
        }
    }
}

/// Every text file of the repository.
pub struct Tree {
    pub root: PathBuf,
    pub files: Vec<File>,
}

impl Tree {
    /// Reads the tracked and the not ignored files under `root`; binary files are left out.
    pub fn read(root: &Path) -> Result<Tree, String> {
        let list = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(root)
            .output()
            .map_err(|error| format!("cannot run git: {error}"))?;
        if !list.status.success() {
            return Err(format!("git ls-files failed: {}", String::from_utf8_lossy(&list.stderr).trim()));
        }
        let names = String::from_utf8_lossy(&list.stdout).into_owned();
        let read = |name: &str| Some((name.to_owned(), std::fs::read_to_string(root.join(name)).ok()?));
        Ok(Tree::build(
            root.to_path_buf(),
            names.split('\0').filter(|name| !name.is_empty()).filter_map(read).collect(),
        ))
    }

    /// A tree of the given files, for the rules' own tests.
    #[cfg(test)]
    pub fn of(files: &[(&str, &str)]) -> Tree {
        let files = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        Tree::build(PathBuf::from("/nowhere"), files)
    }

    fn build(root: PathBuf, files: Vec<(String, String)>) -> Tree {
        let mut files: Vec<File> = files.into_iter().map(|(path, text)| File::new(&path, text)).collect();
        let test_modules: BTreeSet<String> = files.iter().flat_map(test_module_files).collect();
        for file in &mut files {
            let stem = file.path.trim_end_matches(".rs");
            file.test_only |=
                test_modules.iter().any(|module| stem == module || stem.starts_with(&format!("{module}/")));
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Tree { root, files }
    }

    /// The Rust files.
    pub fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.extension() == "rs")
    }

    /// What `cargo metadata` says with these options.
    pub fn metadata(&self, options: &str) -> Result<Value, String> {
        let mut command = shell::cargo(&format!("metadata --format-version 1 --locked {options}"), &self.root);
        let output = command.output().map_err(|error| format!("cannot run cargo metadata: {error}"))?;
        if !output.status.success() {
            return Err(format!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr).trim()));
        }
        serde_json::from_slice(&output.stdout).map_err(|error| format!("cargo metadata: {error}"))
    }

    /// The text of one file.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.files.iter().find(|file| file.path == path).map(|file| file.text.as_str())
    }
}

/// Code that is never shipped: integration tests, benchmarks, examples, fuzz targets and the crate of test helpers.
fn is_test_path(path: &str) -> bool {
    path.starts_with("crates/skep-testkit/")
        || path.ends_with("_tests.rs")
        || path.split('/').any(|part| matches!(part, "tests" | "benches" | "examples" | "tests.rs" | "fuzz"))
}

/// The paths, without extension, of the modules that a file declares for tests only.
fn test_module_files(file: &File) -> Vec<String> {
    if file.extension() != "rs" {
        return Vec::new();
    }
    let (folder, name) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
    let stem = name.trim_end_matches(".rs");
    let folder = if matches!(stem, "lib" | "main" | "mod") { folder.to_owned() } else { format!("{folder}/{stem}") };
    scan::test_modules(&file.code).into_iter().map(|module| format!("{folder}/{module}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_test_modules_are_test_code() {
        let tree = Tree::of(&[
            ("crates/a/src/lib.rs", "mod x;\n#[cfg(test)]\nmod fixtures;\n"),
            ("crates/a/src/fixtures.rs", ""),
            ("crates/a/src/fixtures/deep.rs", ""),
            ("crates/a/src/x.rs", "#[cfg(test)]\nmod samples;\n"),
            ("crates/a/src/x/samples.rs", ""),
            ("crates/a/src/samples.rs", ""),
            ("crates/a/tests/it.rs", ""),
        ]);
        let test_only: Vec<&str> = tree.files.iter().filter(|file| file.test_only).map(|f| f.path.as_str()).collect();
        let expect = [
            "crates/a/src/fixtures.rs",
            "crates/a/src/fixtures/deep.rs",
            "crates/a/src/x/samples.rs",
            "crates/a/tests/it.rs",
        ];
        assert_eq!(test_only, expect);
    }

    #[test]
    fn the_repository_is_readable() {
        let tree = Tree::read(&root()).unwrap();
        assert!(tree.text("Cargo.toml").is_some_and(|text| text.contains("[workspace]")));
        assert!(tree.rust().count() > 10);
    }
}
