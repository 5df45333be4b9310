//! Rule `file-length`: a file that no longer fits in a head is cut in two.
//!
//! The aim is 100 to 300 lines; this rule only refuses what is far beyond it. A file that is one table may be longer
//! when it is in the list below with its reason.

use crate::finding::Finding;
use crate::workspace::Workspace;

const LINES_MAX: usize = 800;

/// Files that are one table, and why they may be long: (path, reason).
const TABLES: &[(&str, &str)] = &[];

pub(super) fn findings(workspace: &Workspace) -> Vec<Finding> {
    findings_except(workspace, TABLES)
}

fn findings_except(workspace: &Workspace, tables: &[(&str, &str)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in workspace.rust_files() {
        let lines = file.text.lines().count();
        let is_table = tables.iter().any(|(path, _)| *path == file.path);
        if lines > LINES_MAX && !is_table {
            findings.push(Finding {
                rule: "file-length",
                path: file.path.clone(),
                line: LINES_MAX + 1,
                what: format!("{lines} lines, the limit is {LINES_MAX}"),
                hint: "cut it where its reasons to exist part".into(),
            });
        }
        if lines <= LINES_MAX && is_table {
            findings.push(Finding {
                rule: "file-length",
                path: file.path.clone(),
                line: 1,
                what: format!("{lines} lines need no exception"),
                hint: "take it out of the list in crates/xtask/src/tidy/file_length.rs".into(),
            });
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_itself_is_allowed_and_one_more_is_not() {
        let allowed = "//\n".repeat(LINES_MAX);
        let beyond = "//\n".repeat(LINES_MAX + 1);
        let workspace = Workspace::of_files(&[("a.rs", &allowed), ("b.rs", &beyond), ("c.md", &beyond)]);
        let found = findings_except(&workspace, &[]);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].path.as_str(), found[0].line), ("b.rs", LINES_MAX + 1));
    }

    #[test]
    fn a_listed_table_may_be_long_and_must_need_it() {
        let beyond = "//\n".repeat(LINES_MAX + 1);
        let workspace = Workspace::of_files(&[("a.rs", &beyond), ("b.rs", "//\n")]);
        let found = findings_except(&workspace, &[("a.rs", "one table"), ("b.rs", "was one table once")]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].path, "b.rs");
    }
}
