//! `cargo xtask tidy`: the rules that keep the house readable, as a program that fails.
//!
//! One file per rule; each looks at the same [`Workspace`] and returns what it found. A rule prints nothing and
//! repairs nothing. An exception is a line in the rule's own list, with a reason, never a switch.

mod crate_docs;
mod crate_order;
mod dependency_reasons;
mod file_length;
mod ignored_tests;
mod licences;
mod names;
mod rust_text;
mod unsafe_rooms;
mod workplace;

use crate::finding::Finding;
use crate::workspace::Workspace;

type Rule = fn(&Workspace) -> Vec<Finding>;

const RULES: [Rule; 9] = [
    crate_order::findings,
    names::findings,
    file_length::findings,
    unsafe_rooms::findings,
    dependency_reasons::findings,
    crate_docs::findings,
    workplace::findings,
    licences::findings,
    ignored_tests::findings,
];

/// Applies every rule; all findings are shown, not only the first.
pub(crate) fn run() -> Result<(), String> {
    let workspace = Workspace::read()?;
    let findings = all_findings(&workspace);
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => {
            println!("tidy: {} rules, {} files, nothing found", RULES.len(), workspace.files.len());
            Ok(())
        }
        count => Err(format!("tidy: {count} found")),
    }
}

fn all_findings(workspace: &Workspace) -> Vec<Finding> {
    RULES.iter().flat_map(|rule| rule(workspace)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_workspace_keeps_its_rules() {
        let workspace = Workspace::read().unwrap();
        assert!(workspace.own_packages().any(|package| package.name == "xtask"), "the workspace was not read");
        let findings: Vec<String> = all_findings(&workspace).iter().map(Finding::to_string).collect();
        assert!(findings.is_empty(), "{}", findings.join("\n"));
    }
}
