//! Rule `unsafe-rooms`: only `kernels` holds `unsafe`.
//!
//! The workspace's lint forbids it already; this rule sees to it that every crate inherits that lint, and that no
//! `allow` or cut-out target brings the word back.

use super::rust_text::{code_lines, has_word};
use crate::finding::Finding;
use crate::workspace::Workspace;

const ROOM: &str = "crates/kernels/";

pub(super) fn findings(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in workspace.rust_files().filter(|file| !file.path.starts_with(ROOM)) {
        for (index, line) in code_lines(&file.text).enumerate() {
            if has_word(&line, "unsafe") {
                findings.push(Finding {
                    rule: "unsafe-rooms",
                    path: file.path.clone(),
                    line: index + 1,
                    what: "`unsafe` outside `kernels`".into(),
                    hint: "use a safe crate (rustix for system calls), or make it a kernel with a plain twin".into(),
                });
            }
        }
    }
    for file in workspace.files.iter().filter(|file| is_crate_manifest(&file.path)) {
        if !file.path.starts_with(ROOM) && !inherits_lints(&file.text) {
            findings.push(Finding {
                rule: "unsafe-rooms",
                path: file.path.clone(),
                line: 1,
                what: "the crate does not inherit the workspace's lints".into(),
                hint: "add `[lints]` with `workspace = true`".into(),
            });
        }
    }
    findings
}

fn is_crate_manifest(path: &str) -> bool {
    path.starts_with("crates/") && path.ends_with("/Cargo.toml")
}

fn inherits_lints(manifest: &str) -> bool {
    let after = manifest.split_once("[lints]").map(|(_, after)| after);
    let section = after.map(|after| after.split("\n[").next().unwrap_or_default());
    section.is_some_and(|section| section.lines().any(|line| line.replace(' ', "") == "workspace=true"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, text: &str) -> Vec<usize> {
        findings(&Workspace::of_files(&[(path, text)])).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn the_word_is_found_in_code_only() {
        assert_eq!(check("crates/format/src/a.rs", "fn a() {\n    unsafe { b() }\n}\n"), [2]);
        assert!(
            check("crates/format/src/a.rs", "// unsafe\nlet text = \"unsafe\";\nlet unsafe_code = 1;\n").is_empty()
        );
        assert!(check("crates/kernels/src/a.rs", "unsafe fn a() {}\n").is_empty());
    }

    #[test]
    fn a_crate_that_leaves_the_lints_is_found() {
        assert_eq!(check("crates/format/Cargo.toml", "[package]\nname = \"format\"\n"), [1]);
        assert_eq!(check("crates/format/Cargo.toml", "[lints]\n\n[package.metadata]\nworkspace = true\n"), [1]);
        assert!(check("crates/format/Cargo.toml", "[package]\n\n[lints]\nworkspace = true\n").is_empty());
    }
}
