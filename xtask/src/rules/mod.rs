//! The house rules: each is a function from the tree to its violations, listed in [`RULES`], run by `cargo xtask rules`
//! and, on the real tree, by a test of its own.

mod calls;
mod edges;
mod licences;
mod links;
mod manifests;
mod page;
mod shape;
mod words;

use crate::tree::{self, Tree};

/// A sentence that names the place and what is wrong there.
pub type Violations = Vec<String>;

/// A house rule.
pub struct Rule {
    /// How it is named in messages.
    pub name: &'static str,
    /// What must hold.
    pub says: &'static str,
    pub check: fn(&Tree) -> Violations,
}

macro_rules! rules {
    ($($name:ident: $says:literal = $check:path,)*) => {
        /// Every house rule.
        pub const RULES: &[Rule] = &[$(Rule { name: stringify!($name), says: $says, check: $check }),*];

        #[cfg(test)]
        mod on_this_tree {
            $(#[test]
            fn $name() {
                super::assert_holds(stringify!($name));
            })*
        }
    };
}

rules! {
    crate_edges: "a crate imports only the crates that the table of floors allows" = edges::crate_edges,
    pure_dependencies: "a pure crate depends on nothing that has a socket, a runtime or a random source" = edges::pure_dependencies,
    architecture_lists_crates: "ARCHITECTURE.md has a line for every crate" = edges::architecture_lists_crates,
    file_length: "a source file has at most 500 lines" = shape::file_length,
    function_length: "a function has at most 70 lines" = shape::function_length,
    module_docs: "the root of a crate, and of its tests, begins with `//!`" = shape::module_docs,
    unsafe_code: "`unsafe` is in skep-kernels and skep-map only" = calls::unsafe_code,
    unwrap_expect: "no unwrap or expect outside tests" = calls::unwrap_expect,
    panics: "no todo!, unimplemented! or panic! outside tests" = calls::panics,
    pure_calls: "a pure crate touches no clock, disk, socket, process or random source" = calls::pure_calls,
    printing: "only the binary and the tools print" = calls::printing,
    workspace_dependencies: "every dependency is declared in [workspace.dependencies]" = manifests::workspace_dependencies,
    used_dependencies: "every dependency is named in its crate's code" = manifests::used_dependencies,
    licences: "every package that is built may be shipped under our licence" = licences::licences,
    workspace_lints: "every crate takes the workspace's lints or repeats them" = manifests::workspace_lints,
    lock_size: "Cargo.lock has at most 600 packages" = manifests::lock_size,
    lock_sources: "Cargo.lock takes packages from crates.io and this repository only" = manifests::lock_sources,
    private_words: "no tracked file names a folder of somebody's machine or a package registry's host" = words::private_words,
    links: "a link between the repository's pages leads somewhere" = links::links,
    page_is_current: "page/dist is built from the page's sources" = page::page_is_current,
}

/// `cargo xtask rules`: prints every violation; an error when there is one.
pub fn command() -> Result<(), String> {
    let tree = Tree::read(&tree::root())?;
    let mut total = 0;
    for rule in RULES {
        let violations = (rule.check)(&tree);
        if !violations.is_empty() {
            println!("{}: {}", rule.name, rule.says);
            violations.iter().for_each(|violation| println!("  {violation}"));
        }
        total += violations.len();
    }
    if total > 0 {
        return Err(format!("{total} violations of the house rules"));
    }
    println!("{} house rules hold over {} files", RULES.len(), tree.files.len());
    Ok(())
}

#[cfg(test)]
fn assert_holds(name: &str) {
    let tree = Tree::read(&tree::root()).unwrap();
    let rule = RULES.iter().find(|rule| rule.name == name).unwrap();
    let violations = (rule.check)(&tree);
    assert!(violations.is_empty(), "{}:\n  {}", rule.says, violations.join("\n  "));
}
