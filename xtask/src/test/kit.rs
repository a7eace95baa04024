//! What tests need from the machine: a Python environment, npm packages, a browser. Each is made once, under `target/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::summary::Outcome;
use crate::{page, shell, tree};

/// The one command that brings a browser.
const BROWSER_HINT: &str =
    if cfg!(target_os = "macos") { "brew install --cask chromium" } else { "apt-get install -y chromium" };

/// A Python environment: its folder, and the list of what goes into it.
struct Venv {
    folder: &'static str,
    requirements: &'static str,
}

const VENV: Venv = Venv { folder: "target/venv", requirements: "tools/requirements.txt" };
const TORCH: Venv = Venv { folder: "target/venv-torch", requirements: "tools/requirements-torch.txt" };
/// Inside an environment, a copy of the list that went in.
const VENV_STAMP: &str = "installed-requirements.txt";

/// The machine, and what has been set up on it so far.
pub struct Kit {
    pub root: PathBuf,
    /// Whether this run is CI's, which may skip nothing.
    pub ci: bool,
    python: Option<Result<PathBuf, String>>,
    torch: Option<Result<PathBuf, String>>,
    node_modules: Option<Result<PathBuf, String>>,
    page: Option<Result<PathBuf, String>>,
}

impl Kit {
    pub fn new() -> Kit {
        let ci = std::env::var("CI").is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"));
        Kit { root: tree::root(), ci, python: None, torch: None, node_modules: None, page: None }
    }

    /// The Python of `target/venv`, with `tools/requirements.txt` installed.
    pub fn python(&mut self) -> Result<PathBuf, String> {
        let root = self.root.clone();
        self.python.get_or_insert_with(|| VENV.make(&root)).clone()
    }

    /// The Python of `target/venv-torch`, with `tools/requirements-torch.txt` installed.
    pub fn torch(&mut self) -> Result<PathBuf, String> {
        let root = self.root.clone();
        self.torch.get_or_insert_with(|| TORCH.make(&root)).clone()
    }

    /// `target/npm/node_modules`, with `tools/package-lock.json` installed.
    pub fn node_modules(&mut self) -> Result<PathBuf, String> {
        let root = self.root.clone();
        self.node_modules.get_or_insert_with(|| make_node_modules(&root)).clone()
    }

    /// A copy of the page's sources under `target/page`, with its packages installed.
    pub fn page(&mut self) -> Result<PathBuf, String> {
        let root = self.root.clone();
        let make = || need_node().and_then(|()| page::prepare(&root));
        self.page.get_or_insert_with(make).clone()
    }

    /// Tells a command where the Python, the npm packages and the browser are, as far as they exist.
    pub fn lend<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        for (venv, variable) in [(VENV, "SKEP_PYTHON"), (TORCH, "SKEP_TORCH_PYTHON")] {
            if let Some(python) = venv.installed(&self.root) {
                command.env(variable, python);
            }
        }
        let modules = self.root.join("target/npm/node_modules");
        if modules.exists() {
            command.env("SKEP_NODE_MODULES", &modules).env("NODE_PATH", &modules);
        }
        if let Ok(browser) = browser() {
            command.env("CHROMIUM", browser);
        }
        command
    }

    pub fn cargo(&self, arguments: &str) -> Command {
        let mut command = shell::cargo(arguments, &self.root);
        self.lend(&mut command);
        command
    }
}

/// Turns something that the machine lacks into a skipped step.
pub fn or_skip(result: Result<PathBuf, String>, then: impl FnOnce(PathBuf) -> Outcome) -> Outcome {
    match result {
        Ok(path) => then(path),
        Err(reason) => Outcome::Skipped(reason),
    }
}

/// A Chromium: `$CHROMIUM`, or one on the search path.
pub fn browser() -> Result<PathBuf, String> {
    if let Some(path) = std::env::var_os("CHROMIUM").filter(|path| !path.is_empty()) {
        return Ok(path.into());
    }
    let mac = Path::new("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome");
    let found = shell::which(&["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]);
    let found = found.or_else(|| mac.exists().then(|| mac.to_path_buf()));
    found.ok_or_else(|| format!("no Chromium on this machine; install one with: {BROWSER_HINT}"))
}

impl Venv {
    fn make(&self, root: &Path) -> Result<PathBuf, String> {
        if let Some(python) = self.installed(root) {
            return Ok(python);
        }
        let (folder, list) = (root.join(self.folder), root.join(self.requirements));
        let python = folder.join("bin/python");
        let base = shell::which(&["python3"]).ok_or("no python3; install it with: apt-get install -y python3-venv")?;
        let failed = |error: String| {
            format!("{error}\nhint: apt-get install -y python3-venv, and reach a Python package registry")
        };
        let (venv, requirements) = (folder.display(), list.display());
        // Words are split at blanks, so a checkout in a folder with a blank in its name is passed whole instead.
        let mut create = shell::command(base, "-m venv --clear", root);
        shell::run(create.arg(venv.to_string())).map_err(failed)?;
        // The list is whole; packages in it name dependencies of gigabytes that nothing here imports.
        let pip = "-m pip install --quiet --disable-pip-version-check --no-deps -r";
        let mut install = shell::command(&python, pip, root);
        shell::run(install.arg(requirements.to_string())).map_err(failed)?;
        // The stamp is written last, so that an interrupted installation is done again.
        let stamp = folder.join(VENV_STAMP);
        fs::copy(&list, &stamp).map_err(|error| format!("cannot write {}: {error}", stamp.display()))?;
        Ok(python)
    }

    /// The environment's Python, if what is installed is what is asked for now.
    fn installed(&self, root: &Path) -> Option<PathBuf> {
        let installed = fs::read_to_string(root.join(self.folder).join(VENV_STAMP)).ok()?;
        let wanted = fs::read_to_string(root.join(self.requirements)).ok()?;
        (installed == wanted).then(|| root.join(self.folder).join("bin/python"))
    }
}

fn make_node_modules(root: &Path) -> Result<PathBuf, String> {
    need_node()?;
    let folder = root.join("target/npm");
    let copy = |name: &str| fs::copy(root.join("tools").join(name), folder.join(name)).map(|_| ());
    fs::create_dir_all(&folder)
        .and_then(|()| copy("package.json"))
        .and_then(|()| copy("package-lock.json"))
        .map_err(|error| format!("cannot fill {}: {error}", folder.display()))?;
    page::install(&folder)?;
    Ok(folder.join("node_modules"))
}

fn need_node() -> Result<(), String> {
    let hint = "install it with: apt-get install -y nodejs npm";
    let version = shell::output("node", "--version").ok_or(format!("no Node.js; {hint}"))?;
    shell::which(&["npm"]).ok_or(format!("no npm; {hint}"))?;
    let numbers: Vec<u32> = version.trim_start_matches('v').split('.').map_while(|part| part.parse().ok()).collect();
    if numbers < vec![20, 19] {
        return Err(format!("Node.js {version} is older than 20.19, which the page's build needs"));
    }
    Ok(())
}
