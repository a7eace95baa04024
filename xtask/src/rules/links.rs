//! Links between the repository's pages.

use super::Violations;
use crate::tree::{File, Tree};

pub fn links(tree: &Tree) -> Violations {
    let pages = tree.files.iter().filter(|file| file.extension() == "md");
    pages.flat_map(|page| dead_links(tree, page)).collect()
}

fn dead_links(tree: &Tree, page: &File) -> Violations {
    let folder = page.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let targets = page.text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    let local = targets.filter(|target| !target.contains("://") && !target.starts_with(['#', '<']));
    let dead = local.filter(|target| !exists(tree, &resolve(folder, target.split('#').next().unwrap_or(target))));
    dead.map(|target| format!("{} links to {target}, which is not there", page.path)).collect()
}

/// A relative link as a path from the root.
fn resolve(folder: &str, target: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    parts.join("/")
}

/// Pictures are not among the tree's texts, so the folder itself is asked as well.
fn exists(tree: &Tree, path: &str) -> bool {
    tree.files.iter().any(|file| file.path == path || file.path.starts_with(&format!("{path}/")))
        || tree.root.join(path).is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_to_nothing_is_named() {
        let page = "[a](../README.md) [b](adr/) [c](adr/1.md#why) [d](https://example.org/x) [e](#here) [f](gone.md)";
        let tree = Tree::of(&[("docs/STYLE.md", page), ("docs/adr/1.md", ""), ("README.md", "[g](docs/gone.md)")]);
        assert_eq!(
            links(&tree),
            [
                "README.md links to docs/gone.md, which is not there",
                "docs/STYLE.md links to gone.md, which is not there"
            ]
        );
    }
}
