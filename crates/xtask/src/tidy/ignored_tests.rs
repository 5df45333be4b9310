//! Rule `ignored-tests`: no test is switched off.
//!
//! A test that cannot run on this machine says so when it is run, with the reason, and is counted as skipped
//! (CONTRIBUTING.md). One that is ignored in the source is skipped everywhere and missed by nobody.

use super::rust_text::{code_lines, has_word};
use crate::finding::Finding;
use crate::workspace::Workspace;

pub(super) fn findings(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in workspace.rust_files() {
        for (index, line) in code_lines(&file.text).enumerate() {
            let is_attribute = line.trim_start().starts_with("#[");
            if is_attribute && has_word(&line, "ignore") {
                findings.push(Finding {
                    rule: "ignored-tests",
                    path: file.path.clone(),
                    line: index + 1,
                    what: "an ignored test".into(),
                    hint: "repair it, take it out, or let it skip itself with a reason when it runs".into(),
                });
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ignored_test_is_found() {
        let text = "#[test]\n#[ignore = \"slow\"]\nfn a() {}\n// #[ignore]\nlet ignore = 1;\n#[ignore]\n";
        let found = findings(&Workspace::of_files(&[("a.rs", text)]));
        assert_eq!(found.iter().map(|finding| finding.line).collect::<Vec<_>>(), [2, 6]);
    }
}
