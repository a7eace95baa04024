//! Which crate may import which: the floors of ARCHITECTURE.md as data.

use serde_json::Value;

use super::Violations;
use super::calls::{PURE, TOUCHES_FILES};
use crate::tree::Tree;

/// A crate, its floor, and the workspace crates that its shipped code may import.
struct Place {
    name: &'static str,
    floor: u8,
    imports: &'static [&'static str],
}

/// Helpers of tests stand beside the house: everybody's tests may import them, and they may import the ground floor.
const BESIDE: u8 = 0;

/// The whole house. A crate that is not here may not exist; an edge that is not here may not either.
const HOUSE: &[Place] = &[
    Place { name: "skep-types", floor: 1, imports: &[] },
    Place { name: "skep-kernels", floor: 1, imports: &[] },
    Place { name: "skep-map", floor: 1, imports: &[] },
    Place { name: "skep-model", floor: 2, imports: &["skep-types", "skep-kernels", "skep-map"] },
    Place { name: "skep-plan", floor: 2, imports: &["skep-types"] },
    Place { name: "skep-directory", floor: 2, imports: &["skep-types"] },
    Place { name: "skep-ledger", floor: 2, imports: &["skep-types"] },
    Place { name: "skep-owner", floor: 2, imports: &[] },
    Place { name: "skep-consensus", floor: 3, imports: &["skep-types", "skep-ledger"] },
    Place { name: "skep-net", floor: 3, imports: &["skep-types", "skep-directory"] },
    Place { name: "skep-sensors", floor: 3, imports: &["skep-owner"] },
    Place { name: "skep-store", floor: 3, imports: &["skep-types"] },
    Place { name: "skep-relay", floor: 4, imports: &["skep-types"] },
    Place { name: "skep-session", floor: 4, imports: &["skep-types", "skep-model", "skep-plan"] },
    Place { name: "skep-train", floor: 4, imports: &["skep-types", "skep-kernels", "skep-model"] },
    Place {
        name: "skep-node",
        floor: 5,
        imports: &[
            "skep-types",
            "skep-kernels",
            "skep-model",
            "skep-plan",
            "skep-directory",
            "skep-owner",
            "skep-net",
            "skep-sensors",
            "skep-store",
            "skep-session",
        ],
    },
    Place { name: "skep-validator", floor: 5, imports: &["skep-types", "skep-ledger", "skep-consensus", "skep-net"] },
    Place {
        name: "skep-api",
        floor: 6,
        imports: &["skep-types", "skep-model", "skep-owner", "skep-session", "skep-node"],
    },
    Place {
        name: "skep",
        floor: 7,
        imports: &[
            "skep-types",
            "skep-kernels",
            "skep-map",
            "skep-model",
            "skep-plan",
            "skep-owner",
            "skep-ledger",
            "skep-consensus",
            "skep-sensors",
            "skep-net",
            "skep-validator",
            "skep-relay",
            "skep-store",
            "skep-train",
            "skep-node",
            "skep-api",
        ],
    },
    Place { name: "skep-testkit", floor: BESIDE, imports: &["skep-types"] },
    Place { name: "skep-netlab", floor: BESIDE, imports: &[] },
    Place { name: "skep-sim", floor: 8, imports: &["skep-types", "skep-plan", "skep-directory"] },
    Place { name: "xtask", floor: 8, imports: &[] },
];

/// Packages that bring a socket, a runtime, a clock of their own or a random source.
const WORLDLY: [&str; 12] = [
    "tokio",
    "tokio-stream",
    "iroh",
    "noq-proto",
    "axum",
    "ureq",
    "rand",
    "getrandom",
    "reqwest",
    "hyper",
    "mio",
    "async-std",
];

/// A crate of the workspace with the dependencies that its manifest declares.
#[derive(Debug)]
struct Member {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Debug)]
struct Dependency {
    name: String,
    /// Used by tests and benchmarks only.
    dev: bool,
}

pub fn crate_edges(tree: &Tree) -> Violations {
    with_members(tree, check_edges)
}

pub fn pure_dependencies(tree: &Tree) -> Violations {
    with_members(tree, check_pure)
}

/// Keeps the picture in ARCHITECTURE.md whole.
pub fn architecture_lists_crates(tree: &Tree) -> Violations {
    let Some(picture) = tree.text("ARCHITECTURE.md") else {
        return vec!["ARCHITECTURE.md is missing".into()];
    };
    let exists =
        |place: &&Place| place.name != "xtask" && tree.text(&format!("crates/{}/Cargo.toml", place.name)).is_some();
    let unlisted = HOUSE.iter().filter(exists).filter(|place| !picture.contains(&format!("| `{}` |", place.name)));
    unlisted.map(|place| format!("ARCHITECTURE.md has no row for `{}`", place.name)).collect()
}

fn with_members(tree: &Tree, check: fn(&[Member]) -> Violations) -> Violations {
    match tree.metadata("--no-deps") {
        Ok(metadata) => check(&members(&metadata)),
        Err(error) => vec![error],
    }
}

fn check_edges(members: &[Member]) -> Violations {
    let mut found = Vec::new();
    for member in members {
        let Some(place) = HOUSE.iter().find(|place| place.name == member.name) else {
            found.push(format!("{} is not in the table of crates (xtask/src/rules/edges.rs)", member.name));
            continue;
        };
        for dependency in &member.dependencies {
            let Some(target) = HOUSE.iter().find(|place| place.name == dependency.name) else { continue };
            let allowed =
                if dependency.dev { target.floor < place.floor } else { place.imports.contains(&target.name) };
            if !allowed {
                let how = if dependency.dev { "in its tests " } else { "" };
                found.push(format!("{} {how}imports {}", member.name, dependency.name));
            }
        }
    }
    found
}

fn check_pure(members: &[Member]) -> Violations {
    let pure = members.iter().filter(|m| PURE.contains(&m.name.as_str()) || TOUCHES_FILES.contains(&m.name.as_str()));
    let shipped = pure.flat_map(|m| m.dependencies.iter().filter(|d| !d.dev).map(move |d| (m, d)));
    let worldly = shipped.filter(|(_, dependency)| WORLDLY.contains(&dependency.name.as_str()));
    worldly.map(|(member, dependency)| format!("{} depends on {}", member.name, dependency.name)).collect()
}

fn members(metadata: &Value) -> Vec<Member> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let name = |value: &Value| value["name"].as_str().unwrap_or_default().to_owned();
    let dependency = |value: &Value| Dependency { name: name(value), dev: value["kind"] == "dev" };
    let member = |value: &Value| Member {
        name: name(value),
        dependencies: list(&value["dependencies"]).iter().map(dependency).collect(),
    };
    list(&metadata["packages"]).iter().map(member).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Vec<Member> {
        members(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn every_edge_of_the_table_goes_down() {
        for place in HOUSE {
            for import in place.imports {
                let target = HOUSE.iter().find(|other| other.name == *import).unwrap();
                let goes_down = target.floor < place.floor || (place.floor, target.floor) == (BESIDE, 1);
                assert!(goes_down, "{} imports {import}", place.name);
            }
        }
    }

    #[test]
    fn an_edge_that_is_not_in_the_table_is_named() {
        let text = r#"{"packages": [
            {"name": "skep-plan", "dependencies": [{"name": "skep-types", "kind": null}, {"name": "skep-net", "kind": null}]},
            {"name": "skep-model", "dependencies": [{"name": "skep-testkit", "kind": "dev"}, {"name": "skep-train", "kind": "dev"}]},
            {"name": "skep-extra", "dependencies": []}]}"#;
        let expect = [
            "skep-plan imports skep-net",
            "skep-model in its tests imports skep-train",
            "skep-extra is not in the table of crates (xtask/src/rules/edges.rs)",
        ];
        assert_eq!(check_edges(&parse(text)), expect);
    }

    #[test]
    fn a_pure_crate_with_a_runtime_is_named() {
        let text = r#"{"packages": [
            {"name": "skep-session", "dependencies": [{"name": "tokio", "kind": null}, {"name": "iroh", "kind": "dev"}]},
            {"name": "skep-net", "dependencies": [{"name": "tokio", "kind": null}]}]}"#;
        assert_eq!(check_pure(&parse(text)), ["skep-session depends on tokio"]);
    }

    #[test]
    fn a_crate_without_a_row_is_named() {
        let tree = Tree::of(&[
            ("ARCHITECTURE.md", "| 1 | `skep-types` | ids |\n"),
            ("crates/skep-types/Cargo.toml", ""),
            ("crates/skep-net/Cargo.toml", ""),
        ]);
        assert_eq!(architecture_lists_crates(&tree), ["ARCHITECTURE.md has no row for `skep-net`"]);
    }
}
