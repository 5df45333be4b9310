//! Rule `crate-docs`: every crate begins with a page that says what it is for.

use crate::finding::Finding;
use crate::workspace::Workspace;

pub(super) fn findings(workspace: &Workspace) -> Vec<Finding> {
    let roots = workspace.rust_files().filter(|file| {
        let in_a_crate = file.path.starts_with("crates/");
        in_a_crate && (file.path.ends_with("/src/lib.rs") || file.path.ends_with("/src/main.rs"))
    });
    roots
        .filter(|file| !starts_with_docs(&file.text))
        .map(|file| Finding {
            rule: "crate-docs",
            path: file.path.clone(),
            line: 1,
            what: "the crate's root does not begin with a module doc".into(),
            hint: "say in `//!` lines what the crate is for, what it must not do, where its data comes from".into(),
        })
        .collect()
}

fn starts_with_docs(text: &str) -> bool {
    text.lines().next().and_then(|line| line.strip_prefix("//!")).is_some_and(|words| words.trim().len() >= 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_without_a_doc_is_found() {
        let workspace = Workspace::of_files(&[
            ("crates/a/src/lib.rs", "//! What the crate is for.\n"),
            ("crates/b/src/lib.rs", "use std::fs;\n//! Too late.\n"),
            ("crates/c/src/main.rs", "//!\n"),
            ("crates/d/src/other.rs", "fn no_root() {}\n"),
        ]);
        let found: Vec<String> = findings(&workspace).into_iter().map(|finding| finding.path).collect();
        assert_eq!(found, ["crates/b/src/lib.rs", "crates/c/src/main.rs"]);
    }
}
