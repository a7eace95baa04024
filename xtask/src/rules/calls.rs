//! Words that may not stand in code: found by text outside comments and literals, so a type alias can hide one. The
//! compiler's own lints (`unsafe_code`, `unwrap_used`) are the first line; this is the second, and it covers what they lack.

use super::Violations;
use crate::scan;
use crate::tree::{File, Tree};

/// The crates that may hold `unsafe`: vector instructions, and mapped files.
const UNSAFE_CRATES: [&str; 2] = ["skep-kernels", "skep-map"];
/// Crates whose answers depend on their arguments only.
pub const PURE: [&str; 8] = [
    "skep-types",
    "skep-kernels",
    "skep-plan",
    "skep-directory",
    "skep-ledger",
    "skep-owner",
    "skep-consensus",
    "skep-session",
];
/// Crates that are pure but for files.
pub const TOUCHES_FILES: [&str; 4] = ["skep-map", "skep-model", "skep-store", "skep-train"];
/// Crates that may print: the binary, and what never ships.
const PRINTS: [&str; 5] = ["skep", "skep-netlab", "skep-sim", "skep-testkit", "xtask"];

/// A clock, a socket, a process, the environment, a random source, a runtime.
const WORLD: [&str; 16] = [
    "std::time::Instant",
    "std::time::SystemTime",
    "Instant::now",
    "SystemTime::now",
    "UdpSocket",
    "TcpStream",
    "TcpListener",
    "UnixStream",
    "std::process",
    "std::env::var",
    "thread::sleep",
    "thread_rng",
    "rand::",
    "getrandom",
    "RandomState",
    "tokio",
];
/// The file system.
const DISK: [&str; 4] = ["std::fs", "std::io::stdin", "File::open", "File::create"];

pub fn unsafe_code(tree: &Tree) -> Violations {
    let elsewhere = tree.rust().filter(|file| file.crate_name().is_none_or(|name| !UNSAFE_CRATES.contains(&name)));
    elsewhere.flat_map(|file| whole_words(file, &["unsafe"], true)).collect()
}

pub fn unwrap_expect(tree: &Tree) -> Violations {
    // A method of our own may be called `expect`; the standard one takes a message.
    let calls =
        [".unwrap()", ".unwrap_err()", ".unwrap_unchecked()", ".expect(\"", ".expect(&format!", ".expect_err(\""];
    tree.rust().flat_map(|file| texts(file, &calls)).collect()
}

pub fn panics(tree: &Tree) -> Violations {
    tree.rust().flat_map(|file| whole_words(file, &["todo!", "unimplemented!", "panic!"], false)).collect()
}

pub fn pure_calls(tree: &Tree) -> Violations {
    let mut found = Vec::new();
    for file in tree.rust() {
        let name = file.crate_name().unwrap_or("");
        let (pure, reads) = (PURE.contains(&name), TOUCHES_FILES.contains(&name));
        if !pure && !reads || file.path.ends_with("/build.rs") {
            continue;
        }
        found.extend(whole_words(file, &WORLD, false));
        found.extend(grouped_imports(file, &["process", "time::Instant", "time::SystemTime"]));
        if pure {
            found.extend(whole_words(file, &DISK, false));
            found.extend(grouped_imports(file, &["fs"]));
        }
    }
    found
}

pub fn printing(tree: &Tree) -> Violations {
    let silent = tree.rust().filter(|file| file.crate_name().is_some_and(|name| !PRINTS.contains(&name)));
    silent.flat_map(|file| whole_words(file, &["println!", "print!", "eprintln!", "eprint!", "dbg!"], false)).collect()
}

/// Every place outside tests where one of `words` stands on its own.
fn whole_words(file: &File, words: &[&str], in_tests_too: bool) -> Violations {
    let found = words.iter().flat_map(|word| {
        let inner = word.trim_end_matches([':', '!']);
        let rest = &word[inner.len()..];
        let offsets = scan::word_offsets(&file.code, inner).into_iter();
        offsets.filter(|at| file.code[at + inner.len()..].starts_with(rest)).map(|at| (at, *word)).collect::<Vec<_>>()
    });
    report(file, found.collect(), in_tests_too)
}

/// Every place outside tests where one of `texts` stands, line breaks inside a chain of calls included.
fn texts(file: &File, texts: &[&str]) -> Violations {
    let found = texts.iter().flat_map(|text| file.code.match_indices(text).map(|(at, _)| (at, *text)));
    report(file, found.collect(), false)
}

/// `use std::{fs, …}` says `std::fs` without writing it.
fn grouped_imports(file: &File, names: &[&str]) -> Violations {
    let mut found = Vec::new();
    for (at, opening) in file.code.match_indices("std::{") {
        let inside = &file.code[at + opening.len()..];
        let inside = &inside[..inside.find(';').unwrap_or(inside.len())];
        let whole = |name: &&&str| name.split("::").all(|part| !scan::word_offsets(inside, part).is_empty());
        found.extend(names.iter().filter(whole).map(|name| (at, *name)));
    }
    report(file, found, false)
}

fn report(file: &File, found: Vec<(usize, &str)>, in_tests_too: bool) -> Violations {
    let tests = scan::test_ranges(&file.code);
    let counts = |at: usize| in_tests_too || !file.test_only && !tests.iter().any(|range| range.contains(&at));
    let mut places: Vec<(usize, &str)> = found.into_iter().filter(|(at, _)| counts(*at)).collect();
    places.sort_unstable();
    places.iter().map(|(at, word)| format!("{}:{} {word}", file.path, scan::line_of(&file.code, *at))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_crate(name: &str, text: &str) -> Tree {
        Tree::of(&[(&format!("crates/{name}/src/a.rs"), text)])
    }

    #[test]
    fn unsafe_is_found_in_tests_too_but_not_in_kernels() {
        let text = "#![forbid(unsafe_code)]\n// unsafe\n#[test]\nfn f() { unsafe { x() } }\n";
        assert_eq!(unsafe_code(&in_crate("skep-model", text)), ["crates/skep-model/src/a.rs:4 unsafe"]);
        assert!(unsafe_code(&in_crate("skep-kernels", text)).is_empty());
    }

    #[test]
    fn unwrap_and_expect_are_found_outside_tests() {
        let text = "fn f() {\n  a.unwrap();\n  b.unwrap_or(1); c.expect(b'x')?;\n  d.expect(\"why\");\n}\n#[cfg(test)]\nmod tests { fn g() { e.unwrap() } }\n";
        let got = unwrap_expect(&in_crate("skep-net", text));
        assert_eq!(got, ["crates/skep-net/src/a.rs:2 .unwrap()", "crates/skep-net/src/a.rs:4 .expect(\""]);
        assert!(unwrap_expect(&Tree::of(&[("crates/a/tests/x.rs", text)])).is_empty());
    }

    #[test]
    fn unfinished_code_is_found() {
        let text = "fn f() { todo!() }\nfn g() { std::panic::catch_unwind(h); panic!(\"x\") }\n";
        assert_eq!(panics(&in_crate("skep-net", text)).len(), 2);
    }

    #[test]
    fn a_pure_crate_has_no_clock_disk_or_socket() {
        let banned = [
            "let t = std::time::Instant::now();",
            "use std::time::SystemTime;",
            "use tokio::sync::mpsc;",
            "let r = rand::random();",
            "let b = std::fs::read(p);",
            "use std::{fs, io};",
            "use std::{\n    io,\n    time::{Duration, Instant},\n};",
            "let s = UdpSocket::bind(a);",
            "std::process::exit(1);",
        ];
        for text in banned {
            assert!(!pure_calls(&in_crate("skep-plan", text)).is_empty(), "{text}");
            assert!(pure_calls(&in_crate("skep-net", text)).is_empty(), "{text}");
        }
        let fine = ["use std::time::Duration;", "use std::{fmt, time::Duration};", "// std::fs", "let operand::x = 1;"];
        for text in fine {
            assert!(pure_calls(&in_crate("skep-plan", text)).is_empty(), "{text}");
        }
    }

    #[test]
    fn a_crate_that_reads_files_still_has_no_clock() {
        assert!(pure_calls(&in_crate("skep-model", "use std::fs::File;")).is_empty());
        assert!(!pure_calls(&in_crate("skep-model", "let t = Instant::now();")).is_empty());
    }

    #[test]
    fn a_library_does_not_print() {
        assert_eq!(printing(&in_crate("skep-net", "fn f() { println!(\"x\") }")).len(), 1);
        assert!(printing(&in_crate("skep", "fn f() { println!(\"x\") }")).is_empty());
    }
}
