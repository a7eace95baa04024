//! Manifests and the lock file: what we depend on, and from where.

use super::Violations;
use crate::tree::{File, Tree};

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

fn members(tree: &Tree) -> impl Iterator<Item = &File> {
    tree.files.iter().filter(|file| file.path.ends_with("/Cargo.toml"))
}

/// Dependencies that a member declares by itself rather than with `workspace = true`.
fn own_dependencies(file: &File) -> Violations {
    let mut found = Vec::new();
    let mut section = "";
    for (index, line) in file.text.lines().enumerate() {
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
            if section.contains("dependencies.") {
                found.push(format!("{}:{} a dependency in a table of its own", file.path, index + 1));
            }
            continue;
        }
        let declares = section.ends_with("dependencies") && line.contains('=') && !line.starts_with('#');
        let inherited = line.contains(".workspace = true") || line.contains("workspace = true");
        if declares && !inherited {
            found.push(format!("{}:{} {line}", file.path, index + 1));
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
        let tree = Tree::of(&[("crates/a/Cargo.toml", text), ("Cargo.toml", "[workspace.dependencies]\nd = \"1\"\n")]);
        let expect = [
            "crates/a/Cargo.toml:7 d = \"1\"",
            "crates/a/Cargo.toml:9 e = { version = \"2\" }",
            "crates/a/Cargo.toml:10 a dependency in a table of its own",
        ];
        assert_eq!(workspace_dependencies(&tree), expect);
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
