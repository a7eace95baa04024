//! Whether everything that is built into Skep may be shipped under MIT OR Apache-2.0.

use serde_json::Value;

use super::Violations;
use crate::shell;
use crate::tree::Tree;

/// Licences that ask for no more than that they be named.
const PERMISSIVE: [&str; 14] = [
    "MIT",
    "MIT-0",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "ISC",
    "Zlib",
    "0BSD",
    "Unlicense",
    "CC0-1.0",
    "Unicode-3.0",
    // The web's root certificates, which are data.
    "CDLA-Permissive-2.0",
];

pub fn licences(tree: &Tree) -> Violations {
    let Some(host) = shell::output("rustc", "-vV").and_then(|text| host_of(&text)) else {
        return vec!["rustc does not say for which machine it builds".into()];
    };
    match tree.metadata(&format!("--filter-platform {host}")) {
        Ok(metadata) => check(&metadata),
        Err(error) => vec![error],
    }
}

fn host_of(version: &str) -> Option<String> {
    version.lines().find_map(|line| line.strip_prefix("host: ")).map(str::to_owned)
}

fn check(metadata: &Value) -> Violations {
    let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let wrong = packages.iter().filter(|package| !package["license"].as_str().is_some_and(is_permissive));
    wrong.map(|package| format!("{} is under {}", package["name"], package["license"])).collect()
}

/// Whether one of the alternatives of an expression is wholly permissive. Parentheses occur around alternatives only.
fn is_permissive(expression: &str) -> bool {
    let all = |part: &str| part.split(" AND ").all(|name| PERMISSIVE.contains(&name.trim()));
    let any = |part: &str| part.replace('/', " OR ").split(" OR ").any(all);
    match expression.strip_prefix('(').and_then(|rest| rest.split_once(')')) {
        Some((inner, rest)) => any(inner) && rest.strip_prefix(" AND ").is_none_or(any),
        None => any(expression),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_is_permissive_if_one_alternative_is() {
        for good in
            ["MIT", "MIT/Apache-2.0", "GPL-3.0 OR MIT", "MIT AND BSD-3-Clause", "(MIT OR Apache-2.0) AND Unicode-3.0"]
        {
            assert!(is_permissive(good), "{good}");
        }
        for bad in ["GPL-3.0", "MIT AND GPL-3.0", "", "(MIT OR Apache-2.0) AND GPL-3.0", "MPL-2.0 OR LGPL-2.1"] {
            assert!(!is_permissive(bad), "{bad}");
        }
    }

    #[test]
    fn a_package_under_another_licence_or_none_is_named() {
        let text = r#"{"packages": [{"name": "a", "license": "MIT"}, {"name": "b", "license": "AGPL-3.0"}, {"name": "c", "license": null}]}"#;
        let got = check(&serde_json::from_str(text).unwrap());
        assert_eq!(got, ["\"b\" is under \"AGPL-3.0\"", "\"c\" is under null"]);
    }
}
