//! Words that say where a file was written: they help nobody else.

use super::Violations;
use crate::tree::{File, Tree};

/// Paths of a developer's machine. Put together here, so that this file does not hold them itself.
const FOLDERS: [&str; 4] =
    [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/home", "/"), concat!("/Use", "rs/")];
/// Hosts and options of package registries: which mirror is used is the machine's own business.
const REGISTRIES: [&str; 6] = [
    concat!("registry.", "npmjs"),
    concat!("files.", "pythonhosted"),
    concat!("pypi.", "org/simple"),
    concat!("static.", "crates.io"),
    concat!("index.", "crates.io"),
    concat!("--index", "-url"),
];

pub fn private_words(tree: &Tree) -> Violations {
    tree.files.iter().flat_map(in_file).collect()
}

fn in_file(file: &File) -> Violations {
    let mut found = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        let folder = FOLDERS.iter().find(|folder| begins_a_path(line, folder));
        let host = REGISTRIES.iter().find(|host| line.contains(*host));
        found.extend(folder.or(host).map(|word| format!("{}:{} {word}", file.path, index + 1)));
    }
    found
}

/// Whether the folder stands at the start of a path, rather than in the middle of a longer one or of an address.
fn begins_a_path(line: &str, folder: &str) -> bool {
    let starts = |at: usize| {
        !line[..at].ends_with(|c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | '}' | '*'))
    };
    line.match_indices(folder).any(|(at, _)| starts(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_one_machine_is_named() {
        let text = ["cd ", FOLDERS[0], "main\nnet", FOLDERS[0], "x\n\"", FOLDERS[1], ".cargo\"\n"].concat();
        let got = private_words(&Tree::of(&[("README.md", &text)]));
        assert_eq!(got, [format!("README.md:1 {}", FOLDERS[0]), format!("README.md:3 {}", FOLDERS[1])]);
    }

    #[test]
    fn a_registry_host_is_named() {
        let text = format!("\"resolved\": \"https://{}.org/x\"\n", REGISTRIES[0]);
        assert_eq!(private_words(&Tree::of(&[("tools/package-lock.json", &text)])).len(), 1);
    }
}
