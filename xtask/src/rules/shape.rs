//! How long files and functions are, and how a crate's root begins.

use super::Violations;
use crate::scan;
use crate::tree::{File, Tree};

/// Lines of a source file.
const FILE_LINES_MAX: usize = 500;
/// Lines of a function, from `fn` to its closing brace; test functions too.
const FUNCTION_LINES_MAX: usize = 70;
/// Extensions of files that people read and write as source.
const SOURCES: [&str; 5] = ["rs", "ts", "tsx", "mjs", "py"];
/// What a build makes.
const BUILT: &str = "crates/skep-api/page/dist/";

pub fn file_length(tree: &Tree) -> Violations {
    let sources = tree.files.iter().filter(|file| SOURCES.contains(&file.extension()) && !file.path.starts_with(BUILT));
    let too_long = |file: &File| {
        let lines = file.text.lines().count();
        (lines > FILE_LINES_MAX).then(|| format!("{} has {lines} lines", file.path))
    };
    sources.filter_map(too_long).collect()
}

pub fn function_length(tree: &Tree) -> Violations {
    let functions = tree.rust().flat_map(|file| scan::functions(&file.code).into_iter().map(move |f| (file, f)));
    functions
        .filter(|(_, function)| function.lines > FUNCTION_LINES_MAX)
        .map(|(file, f)| format!("{}:{} function {} has {} lines", file.path, f.line, f.name, f.lines))
        .collect()
}

pub fn module_docs(tree: &Tree) -> Violations {
    let is_root = |path: &str| {
        let parts: Vec<&str> = path.split('/').collect();
        matches!(parts.as_slice(), [.., "src", "lib.rs" | "main.rs"] | ["crates", _, "tests" | "benches", _])
    };
    let missing = tree.rust().filter(|file| is_root(&file.path) && !file.text.starts_with("//!"));
    missing.map(|file| format!("{} does not begin with a //! line", file.path)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_501_lines_is_named() {
        let lines = |n: usize| "x\n".repeat(n);
        let tree = Tree::of(&[
            ("a.rs", &lines(500)),
            ("b.rs", &lines(501)),
            ("c.tsx", &lines(501)),
            ("d.lock", &lines(501)),
            ("crates/skep-api/page/dist/e.css", &lines(501)),
        ]);
        assert_eq!(file_length(&tree), ["b.rs has 501 lines", "c.tsx has 501 lines"]);
    }

    #[test]
    fn a_function_of_71_lines_is_named() {
        let function = |name: &str, lines: usize| format!("fn {name}() {{\n{}}}\n", "// {\n".repeat(lines - 2));
        let text = function("short", 70) + &function("long", 71);
        let tree = Tree::of(&[("crates/a/tests/x.rs", &text)]);
        assert_eq!(function_length(&tree), ["crates/a/tests/x.rs:71 function long has 71 lines"]);
    }

    #[test]
    fn a_crate_root_without_docs_is_named() {
        let tree = Tree::of(&[
            ("crates/a/src/lib.rs", "//! A.\n"),
            ("crates/b/src/lib.rs", "mod x;\n"),
            ("crates/b/src/x.rs", "fn f() {}\n"),
            ("crates/b/tests/it.rs", "use b::x;\n"),
        ]);
        assert_eq!(module_docs(&tree).len(), 2);
    }
}
