//! Rule `dependency-reasons`: every direct dependency has its line of reason, and every line its dependency.
//!
//! A dependency is code that our users run and that we did not write. The list in `docs/dependencies.md` is a table
//! whose first column holds the crate's name in backticks and whose last column says why it is there.

use std::collections::{BTreeMap, BTreeSet};

use crate::finding::Finding;
use crate::workspace::Workspace;

const LIST: &str = "docs/dependencies.md";
const ROOT_MANIFEST: &str = "Cargo.toml";
/// Shorter reasons are no reasons.
const REASON_CHARACTERS_MIN: usize = 12;

pub(super) fn findings(workspace: &Workspace) -> Vec<Finding> {
    let used = used_dependencies(workspace);
    let listed = listed_dependencies(workspace);
    let mut findings = Vec::new();
    for (name, manifest) in &used {
        if !listed.iter().any(|entry| entry.name == *name) {
            let line = workspace.dependency_line(manifest, name);
            findings.push(finding(
                manifest,
                line,
                format!("`{name}` has no line in {LIST}"),
                "say there why we need it",
            ));
        }
    }
    for entry in &listed {
        if !used.contains_key(&entry.name) {
            let what = format!("`{}` is listed and no crate uses it", entry.name);
            findings.push(finding(LIST, entry.line, what, "take the line out"));
        } else if entry.reason.chars().count() < REASON_CHARACTERS_MIN {
            let what = format!("`{}` has no reason in the last column", entry.name);
            findings.push(finding(LIST, entry.line, what, "say what we use it for and why not without it"));
        }
    }
    for (name, line) in workspace_table(workspace) {
        if !used.contains_key(&name) {
            let what = format!("`{name}` is in the workspace's table and no crate uses it");
            findings.push(finding(ROOT_MANIFEST, line, what, "take the line out"));
        }
    }
    findings
}

fn finding(path: &str, line: usize, what: String, hint: &str) -> Finding {
    Finding { rule: "dependency-reasons", path: path.to_owned(), line, what, hint: hint.to_owned() }
}

/// Foreign crates that ours name, each with the first manifest that does.
fn used_dependencies(workspace: &Workspace) -> BTreeMap<String, String> {
    let mut used = BTreeMap::new();
    for package in workspace.own_packages() {
        for dependency in package.dependencies.iter().filter(|dependency| !dependency.own) {
            used.entry(dependency.name.clone()).or_insert_with(|| package.manifest.clone());
        }
    }
    used
}

struct Entry {
    name: String,
    reason: String,
    line: usize,
}

fn listed_dependencies(workspace: &Workspace) -> Vec<Entry> {
    let file = workspace.files.iter().find(|file| file.path == LIST);
    let lines = file.map_or("", |file| file.text.as_str()).lines().enumerate();
    lines
        .filter_map(|(index, line)| {
            let after_tick = line.strip_prefix("| `")?;
            let (name, rest) = after_tick.split_once('`')?;
            let reason = rest.trim_end().trim_end_matches('|').rsplit('|').next()?;
            Some(Entry { name: name.to_owned(), reason: reason.trim().to_owned(), line: index + 1 })
        })
        .collect()
}

/// Foreign crates in `[workspace.dependencies]`, with their lines.
fn workspace_table(workspace: &Workspace) -> Vec<(String, usize)> {
    let own: BTreeSet<&str> = workspace.own_packages().map(|package| package.name.as_str()).collect();
    let file = workspace.files.iter().find(|file| file.path == ROOT_MANIFEST);
    let mut inside = false;
    let mut table = Vec::new();
    for (index, line) in file.map_or("", |file| file.text.as_str()).lines().enumerate() {
        if line.starts_with('[') {
            inside = line.trim() == "[workspace.dependencies]";
        } else if let Some((name, _)) = line.split_once('=').filter(|_| inside && !line.starts_with('#')) {
            let name = name.trim();
            if !own.contains(name) {
                table.push((name.to_owned(), index + 1));
            }
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::DependencyKind::Normal;

    fn check(list: &str, table: &str, used: &[&str]) -> Vec<(String, usize)> {
        let table = format!("[workspace.dependencies]\n{table}");
        let dependencies: Vec<_> = used.iter().map(|name| (*name, Normal, false)).collect();
        let workspace =
            Workspace::of_files(&[(LIST, list), (ROOT_MANIFEST, &table)]).with_package("format", &dependencies);
        findings(&workspace).into_iter().map(|finding| (finding.path, finding.line)).collect()
    }

    #[test]
    fn listed_and_used_is_fine() {
        let list = "| crate | why |\n|---|---|\n| `hex` | ids are written in hexadecimal |\n";
        assert!(check(list, "hex = \"0.4\"\nformat = { path = \"x\" }\n", &["hex"]).is_empty());
    }

    #[test]
    fn a_dependency_without_a_line_is_found() {
        assert_eq!(check("", "hex = \"0.4\"\n", &["hex"]), [("crates/format/Cargo.toml".to_owned(), 1)]);
    }

    #[test]
    fn a_line_without_a_dependency_is_found() {
        let list = "# Dependencies\n\n| `hex` | ids are written in hexadecimal |\n";
        assert_eq!(check(list, "", &[]), [(LIST.to_owned(), 3)]);
    }

    #[test]
    fn a_line_without_a_reason_is_found() {
        assert_eq!(check("| `hex` | model | hex |\n", "hex = \"0.4\"\n", &["hex"]), [(LIST.to_owned(), 1)]);
    }

    #[test]
    fn a_table_entry_that_nobody_uses_is_found() {
        assert_eq!(check("", "hex = \"0.4\"\n", &[]), [(ROOT_MANIFEST.to_owned(), 2)]);
    }
}
