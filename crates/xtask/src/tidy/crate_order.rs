//! Rule `crate-order`: a crate imports only from crates above it in the order table.
//!
//! The table is what makes the architecture true: the parser of the format cannot reach for a socket, because no
//! import can point that way. Tests may use `testkit` from anywhere.

use crate::finding::Finding;
use crate::workspace::{Dependency, DependencyKind, Package, Workspace};

/// From the ground up; `ARCHITECTURE.md` says what each crate is for.
const ORDER: [&str; 18] = [
    "model",
    "clock",
    "kernels",
    "format",
    "destinations",
    "repository",
    "sources",
    "config",
    "ledger",
    "control",
    "store",
    "monitor",
    "modules",
    "triplicate",
    "testkit",
    "xtask",
    "fuzz",
    "bench",
];

/// Edges that the order would allow and that are forbidden all the same: (crate, must not import, why).
const FORBIDDEN: [(&str, &str, &str); 2] = [
    ("monitor", "ledger", "the watcher must not believe what the watched wrote about itself"),
    ("monitor", "control", "the watcher must not share the life of what it watches"),
];

pub(super) fn findings(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in workspace.own_packages() {
        if place(&package.name).is_none() {
            findings.push(Finding {
                rule: "crate-order",
                path: package.manifest.clone(),
                line: workspace.line_where(&package.manifest, |line| line.starts_with("name")),
                what: format!("crate `{}` has no place in the order table", package.name),
                hint: "give it one in crates/xtask/src/tidy/crate_order.rs and describe it in ARCHITECTURE.md".into(),
            });
            continue;
        }
        for dependency in package.dependencies.iter().filter(|dependency| dependency.own) {
            if let Some(why) = objection(package, dependency) {
                findings.push(Finding {
                    rule: "crate-order",
                    path: package.manifest.clone(),
                    line: workspace.dependency_line(&package.manifest, &dependency.name),
                    what: format!("`{}` must not import `{}`: {why}", package.name, dependency.name),
                    hint: "move what is needed up to a crate that both may import".into(),
                });
            }
        }
    }
    findings
}

fn objection(package: &Package, dependency: &Dependency) -> Option<String> {
    if dependency.kind == DependencyKind::Dev && dependency.name == "testkit" {
        return None;
    }
    if let Some((_, _, why)) = FORBIDDEN.iter().find(|(from, to, _)| *from == package.name && *to == dependency.name) {
        return Some((*why).to_owned());
    }
    match (place(&package.name), place(&dependency.name)) {
        (Some(own), Some(other)) if other < own => None,
        (_, Some(_)) => Some("it is not above it in the order table".to_owned()),
        (_, None) => Some("it has no place in the order table".to_owned()),
    }
}

/// A crate's line in the table. A package name may carry the product's name before or after the room's.
fn place(name: &str) -> Option<usize> {
    let room = name.strip_prefix("triplicate-").unwrap_or(name);
    ORDER.iter().position(|crate_name| *crate_name == room)
}

#[cfg(test)]
mod tests {
    use super::*;
    use DependencyKind::{Dev, Normal};

    fn check(package: &str, dependencies: &[(&str, DependencyKind, bool)]) -> Vec<String> {
        let workspace = Workspace::default().with_package(package, dependencies);
        findings(&workspace).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn imports_from_above_are_fine() {
        assert!(check("repository", &[("model", Normal, true), ("destinations", Normal, true)]).is_empty());
        assert!(check("triplicate-fuzz", &[("format", Normal, true)]).is_empty());
    }

    #[test]
    fn an_import_from_below_is_found_with_its_line() {
        let manifest = "[package]\nname = \"format\"\n[dependencies]\nrepository.workspace = true\n";
        let workspace = Workspace::of_files(&[("crates/format/Cargo.toml", manifest)])
            .with_package("format", &[("repository", Normal, true)]);
        let found = findings(&workspace);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].path.as_str(), found[0].line), ("crates/format/Cargo.toml", 4));
        assert!(found[0].what.contains("`format` must not import `repository`"), "{}", found[0].what);
    }

    #[test]
    fn tests_may_use_testkit_and_shipped_code_may_not() {
        assert!(check("destinations", &[("testkit", Dev, true)]).is_empty());
        assert_eq!(check("destinations", &[("testkit", Normal, true)]).len(), 1);
        assert_eq!(check("format", &[("repository", Dev, true)]).len(), 1, "other test imports keep the order");
    }

    #[test]
    fn the_watcher_stands_alone() {
        assert_eq!(check("monitor", &[("ledger", Normal, true)]).len(), 1);
        assert_eq!(check("monitor", &[("control", Dev, true)]).len(), 1);
        assert!(check("monitor", &[("repository", Normal, true)]).is_empty());
    }

    #[test]
    fn a_crate_needs_a_place_in_the_table() {
        assert_eq!(check("cellar", &[]).len(), 1);
        assert_eq!(check("model", &[("cellar", Normal, true)]).len(), 1);
    }
}
