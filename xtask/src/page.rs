//! The embedded page: its sources are in `crates/skep-api/page`, and what they build is committed beside them in `dist/`,
//! so that building Skep needs no Node.js. `dist/SOURCE.hash` says from which sources it was built.

use std::fs;
use std::path::{Path, PathBuf};

use crate::shell;
use crate::tree::{self, Tree};

/// The page's folder.
pub const FOLDER: &str = "crates/skep-api/page";
/// Inside [`FOLDER`]: the hash of the sources that `dist` was built from.
pub const HASH_FILE: &str = "dist/SOURCE.hash";

/// The BLAKE3 hash, in hex, of everything that the build reads: name and text of each file but for `dist` and `test`.
pub fn source_hash(tree: &Tree) -> String {
    let mut hasher = blake3::Hasher::new();
    for file in &tree.files {
        let Some(name) = file.path.strip_prefix(FOLDER).and_then(|rest| rest.strip_prefix('/')) else { continue };
        if name.starts_with("dist/") || name.starts_with("test/") || name.ends_with(".md") {
            continue;
        }
        for part in [name, &file.text] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
    }
    hasher.finalize().to_hex().to_string()
}

/// `cargo xtask page`: builds the page and puts the result in place.
pub fn rebuild() -> Result<(), String> {
    let root = tree::root();
    let built = build(&root)?;
    let dist = root.join(FOLDER).join("dist");
    let place = || -> std::io::Result<()> {
        if dist.exists() {
            fs::remove_dir_all(&dist)?;
        }
        for name in files_under(&built)? {
            copy(&built.join(&name), &dist.join(&name))?;
        }
        fs::write(
            root.join(FOLDER).join(HASH_FILE),
            source_hash(&Tree::read(&root).map_err(std::io::Error::other)?) + "\n",
        )
    };
    place().map_err(|error| format!("cannot write {}: {error}", dist.display()))?;
    println!("{} is up to date", dist.display());
    Ok(())
}

/// Builds the page in a copy under `target/` and compares with what is committed.
pub fn compare() -> Result<(), String> {
    let root = tree::root();
    let (built, dist) = (build(&root)?, root.join(FOLDER).join("dist"));
    let list =
        |folder: &Path| files_under(folder).map_err(|error| format!("cannot list {}: {error}", folder.display()));
    let (made, mut committed) = (list(&built)?, list(&dist)?);
    committed.retain(|name| !HASH_FILE.ends_with(name.as_str()));
    if made != committed {
        return Err(format!("the build makes {made:?} but dist holds {committed:?}"));
    }
    let differs = |name: &&String| fs::read(built.join(name)).ok() != fs::read(dist.join(name)).ok();
    match made.iter().find(differs) {
        Some(name) => Err(format!("dist/{name} is not what its sources build; run `cargo xtask page`")),
        None => Ok(()),
    }
}

/// Builds in a copy, and gives the folder of the result.
fn build(root: &Path) -> Result<PathBuf, String> {
    let copy = prepare(root)?;
    shell::run(&mut shell::command("npm", "run build", &copy))?;
    Ok(copy.join("dist"))
}

/// A copy of the page's folder under `target/` with its packages installed, so that `node_modules` stays out of the tree.
pub fn prepare(root: &Path) -> Result<PathBuf, String> {
    let target = root.join("target/page");
    copy_sources(root, &target).map_err(|error| format!("cannot copy the page to {}: {error}", target.display()))?;
    install(&target)?;
    Ok(target)
}

/// `npm ci`, unless the packages of this lock file are there already.
pub fn install(folder: &Path) -> Result<(), String> {
    let lock = fs::read_to_string(folder.join("package-lock.json"))
        .map_err(|error| format!("cannot read {}/package-lock.json: {error}", folder.display()))?;
    let stamp = folder.join("node_modules/.installed-lock");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    shell::run(&mut shell::command("npm", "ci --no-audit --no-fund", folder))?;
    fs::write(&stamp, lock).map_err(|error| format!("cannot write {}: {error}", stamp.display()))
}

fn copy_sources(root: &Path, target: &Path) -> std::io::Result<()> {
    fs::create_dir_all(target)?;
    for entry in fs::read_dir(target)? {
        let path = entry?.path();
        match (path.ends_with("node_modules"), path.is_dir()) {
            (true, _) => {}
            (false, true) => fs::remove_dir_all(path)?,
            (false, false) => fs::remove_file(path)?,
        }
    }
    let source = root.join(FOLDER);
    let wanted = |name: &String| !name.starts_with("node_modules/") && !name.starts_with("dist/");
    for name in files_under(&source)?.into_iter().filter(wanted) {
        copy(&source.join(&name), &target.join(&name))?;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::copy(from, to).map(|_| ())
}

/// The files under a folder, relative to it and in order, without what package managers put there.
pub fn files_under(folder: &Path) -> std::io::Result<Vec<String>> {
    let (mut names, mut folders) = (Vec::new(), vec![folder.to_path_buf()]);
    while let Some(here) = folders.pop() {
        for entry in fs::read_dir(&here)? {
            let path = entry?.path();
            if path.is_dir() && !path.ends_with("node_modules") {
                folders.push(path);
            } else if let (false, Ok(name)) = (path.is_dir(), path.strip_prefix(folder)) {
                names.push(name.to_string_lossy().replace('\\', "/"));
            }
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(files: &[(&str, &str)]) -> String {
        let files: Vec<(String, &str)> = files.iter().map(|(name, text)| (format!("{FOLDER}/{name}"), *text)).collect();
        source_hash(&Tree::of(&files.iter().map(|(path, text)| (path.as_str(), *text)).collect::<Vec<_>>()))
    }

    #[test]
    fn the_hash_follows_names_and_text_of_sources_only() {
        let base = hash(&[("src/a.ts", "x"), ("src/b.ts", "")]);
        assert_ne!(base, hash(&[("src/a.ts", "y"), ("src/b.ts", "")]));
        assert_ne!(base, hash(&[("src/c.ts", "x"), ("src/b.ts", "")]));
        assert_ne!(base, hash(&[("src/a.ts", ""), ("src/b.ts", "x")]));
        assert_eq!(base, hash(&[("src/a.ts", "x"), ("src/b.ts", ""), ("dist/z.js", "1"), ("test/t.ts", "2")]));
    }
}
