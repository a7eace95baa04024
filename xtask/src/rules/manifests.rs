//! Manifests and the lock file: what we depend on, and from where.

use super::Violations;
use crate::scan;
use crate::tree::{File, Tree};

/// Ends the line of a dependency that a crate needs without naming it, for instance to switch on a feature.
const NOT_NAMED: &str = "# not named in code:";

/// Packages in Cargo.lock, our own included.
const LOCK_PACKAGES_MAX: usize = 600;
/// The lints that a crate which cannot take the workspace's must repeat.
const LINTS_REPEATED: [&str; 4] = ["unwrap_used", "dbg_macro", "undocumented_unsafe_blocks", "missing_docs"];

pub fn workspace_dependencies(tree: &Tree) -> Violations {
    members(tree).flat_map(own_dependencies).collect()
}

pub fn workspace_lints(tree: &Tree) -> Violations {
    let without = members(tree).filter(|file| !file.text.contains("[lints]\nworkspace = true"));
    let lacks = |file: &File| {
        let missing: Vec<&str> = LINTS_REPEATED.into_iter().filter(|lint| !file.text.contains(lint)).collect();
        (!missing.is_empty()).then(|| format!("{} lacks the lints {}", file.path, missing.join(", ")))
    };
    without.filter_map(lacks).collect()
}

pub fn lock_size(tree: &Tree) -> Violations {
    let lock = tree.text("Cargo.lock").unwrap_or_default();
    let packages = lock.lines().filter(|line| *line == "[[package]]").count();
    match packages {
        0 => vec!["Cargo.lock is missing or empty".into()],
        1..=LOCK_PACKAGES_MAX => Vec::new(),
        _ => vec![format!("Cargo.lock has {packages} packages")],
    }
}

pub fn lock_sources(tree: &Tree) -> Violations {
    let lock = tree.text("Cargo.lock").unwrap_or_default();
    let sources = lock.lines().filter_map(|line| line.strip_prefix("source = "));
    let foreign = sources.filter(|source| *source != "\"registry+https://github.com/rust-lang/crates.io-index\"");
    foreign.map(|source| format!("Cargo.lock takes a package from {source}")).collect()
}

/// A dependency that no source of the crate names costs build time and trust for nothing.
pub fn used_dependencies(tree: &Tree) -> Violations {
    let mut found = Vec::new();
    for manifest in members(tree) {
        let folder = manifest.path.trim_end_matches("Cargo.toml");
        let sources: Vec<&File> = tree.rust().filter(|file| file.path.starts_with(folder)).collect();
        let named = |name: &str| {
            let word = name.replace('-', "_");
            sources.iter().any(|file| !scan::word_offsets(&file.code, &word).is_empty())
        };
        let lines = dependency_lines(manifest).into_iter().filter(|(_, line)| !line.contains(NOT_NAMED));
        let names = lines.filter_map(|(_, line)| line.split(['.', '=', ' ']).next());
        let unused: Vec<&str> = names.filter(|name| !named(name)).collect();
        if !unused.is_empty() {
            found.push(format!("{}: {}", manifest.path, unused.join(", ")));
        }
    }
    found
}

/// The manifests of the workspace's crates. A fuzz target is a workspace of its own, built by hand.
fn members(tree: &Tree) -> impl Iterator<Item = &File> {
    let is_member = |path: &str| {
        matches!(path.split('/').collect::<Vec<_>>().as_slice(), ["crates", _, "Cargo.toml"] | ["xtask", "Cargo.toml"])
    };
    tree.files.iter().filter(move |file| is_member(&file.path))
}

/// Dependencies that a member declares by itself rather than with `workspace = true`.
fn own_dependencies(file: &File) -> Violations {
    let lines = dependency_lines(file).into_iter().filter(|(_, line)| !line.contains("workspace = true"));
    lines.map(|(number, line)| format!("{}:{number} {line}", file.path)).collect()
}

/// The lines of a manifest that declare a dependency, with their numbers. A table for one dependency counts by its head.
fn dependency_lines(file: &File) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut section = "";
    for (index, line) in file.text.lines().enumerate() {
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
            if section.contains("dependencies.") {
                found.push((index + 1, line));
            }
        } else if section.ends_with("dependencies") && line.contains('=') && !line.starts_with('#') {
            found.push((index + 1, line));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_with_a_version_of_its_own_is_named() {
        let text = "[package]\nversion = \"1\"\n[dependencies]\na.workspace = true\nb = { workspace = true, features = [\"x\"] }\n# c = \"1\"\nd = \"1\"\n[target.'cfg(unix)'.dependencies]\ne = { version = \"2\" }\n[dev-dependencies.f]\nversion = \"3\"\n";
        let tree = Tree::of(&[("crates/a/Cargo.toml", text), ("crates/a/fuzz/Cargo.toml", text), ("Cargo.toml", text)]);
        let expect = [
            "crates/a/Cargo.toml:7 d = \"1\"",
            "crates/a/Cargo.toml:9 e = { version = \"2\" }",
            "crates/a/Cargo.toml:10 [dev-dependencies.f]",
        ];
        assert_eq!(workspace_dependencies(&tree), expect);
    }

    #[test]
    fn a_dependency_that_no_source_names_is_named() {
        let manifest = "[dependencies]\na-b.workspace = true\nc.workspace = true\nd.workspace = true # not named in code: a feature\n[dev-dependencies]\ne = { workspace = true }\n";
        let tree = Tree::of(&[
            ("crates/x/Cargo.toml", manifest),
            ("crates/x/src/lib.rs", "use a_b::f;\n// c::g\n"),
            ("crates/x/tests/it.rs", "use e::h;\n"),
            ("crates/y/src/lib.rs", "use c::g;\n"),
        ]);
        assert_eq!(used_dependencies(&tree), ["crates/x/Cargo.toml: c"]);
    }

    #[test]
    fn a_crate_without_lints_is_named() {
        let tree = Tree::of(&[
            ("crates/a/Cargo.toml", "[lints]\nworkspace = true\n"),
            ("crates/b/Cargo.toml", "[lints.clippy]\nunwrap_used = \"deny\"\ndbg_macro = \"deny\"\n"),
        ]);
        assert_eq!(
            workspace_lints(&tree),
            ["crates/b/Cargo.toml lacks the lints undocumented_unsafe_blocks, missing_docs"]
        );
    }

    #[test]
    fn a_large_or_absent_lock_is_named() {
        let lock = |n: usize| Tree::of(&[("Cargo.lock", &"[[package]]\nname = \"x\"\n".repeat(n))]);
        assert!(lock_size(&lock(600)).is_empty());
        assert_eq!(lock_size(&lock(601)), ["Cargo.lock has 601 packages"]);
        assert_eq!(lock_size(&lock(0)).len(), 1);
    }

    #[test]
    fn a_package_from_elsewhere_is_named() {
        let tree = Tree::of(&[("Cargo.lock", "source = \"git+https://example.org/x\"\n")]);
        assert_eq!(lock_sources(&tree).len(), 1);
    }
}
