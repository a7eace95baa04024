//! The embedded page is what its sources build.

use super::Violations;
use crate::page;
use crate::tree::Tree;

pub fn page_is_current(tree: &Tree) -> Violations {
    if tree.text(&format!("{}/package.json", page::FOLDER)).is_none() {
        return Vec::new();
    }
    let recorded = tree.text(&format!("{}/{}", page::FOLDER, page::HASH_FILE)).map(str::trim);
    match recorded {
        Some(hash) if hash == page::source_hash(tree) => Vec::new(),
        Some(_) => vec![format!("{}/dist is older than its sources; run `cargo xtask page`", page::FOLDER)],
        None => vec![format!("{}/dist is not built; run `cargo xtask page`", page::FOLDER)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page_with(source: &str, hash: &str) -> Tree {
        let path = |name: &str| format!("{}/{name}", page::FOLDER);
        let files = [(path("package.json"), "{}"), (path("src/a.ts"), source), (path(page::HASH_FILE), hash)];
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
        Tree::of(&files)
    }

    #[test]
    fn a_page_older_than_its_source_is_named() {
        let hash = page::source_hash(&page_with("let a = 1;", ""));
        assert!(page_is_current(&page_with("let a = 1;", &hash)).is_empty());
        assert_eq!(page_is_current(&page_with("let a = 2;", &hash)).len(), 1);
        assert!(page_is_current(&Tree::of(&[("README.md", "")])).is_empty());
    }

    #[test]
    fn a_page_that_was_never_built_is_named() {
        let tree = Tree::of(&[(&format!("{}/package.json", page::FOLDER), "{}")]);
        assert_eq!(page_is_current(&tree).len(), 1);
    }
}
