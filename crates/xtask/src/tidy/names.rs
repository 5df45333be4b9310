//! Rule `names`: no room is called after nothing.
//!
//! A file named `utils` says that its author did not know what it is for; the next reader will put there whatever
//! has no other place. Files, folders, inline modules and crates bear words of the domain.

use super::rust_text::code_lines;
use crate::finding::Finding;
use crate::workspace::Workspace;

const BANNED_WORDS: [&str; 12] = [
    "util",
    "utils",
    "utility",
    "utilities",
    "helper",
    "helpers",
    "manager",
    "managers",
    "common",
    "misc",
    "stuff",
    "general",
];
const HINT: &str = "name it after what it does in the domain: `retention`, `pack_header`, `stall_limit`";

pub(super) fn findings(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in workspace.own_packages() {
        if let Some(word) = banned_word(&package.name) {
            let line = workspace.line_where(&package.manifest, |line| line.starts_with("name"));
            findings.push(finding(&package.manifest, line, format!("crate `{}` is named `{word}`", package.name)));
        }
    }
    for file in workspace.rust_files() {
        for part in file.path.trim_end_matches(".rs").split('/') {
            if let Some(word) = banned_word(part) {
                findings.push(finding(&file.path, 1, format!("`{part}` is named `{word}`")));
            }
        }
        for (index, line) in code_lines(&file.text).enumerate() {
            if let Some(word) = inline_module(&line).and_then(banned_word) {
                findings.push(finding(&file.path, index + 1, format!("a module is named `{word}`")));
            }
        }
    }
    findings
}

fn finding(path: &str, line: usize, what: String) -> Finding {
    Finding { rule: "names", path: path.to_owned(), line, what, hint: HINT.to_owned() }
}

fn banned_word(name: &str) -> Option<&'static str> {
    let mut words = name.split(['_', '-', '.']);
    words.find_map(|word| BANNED_WORDS.into_iter().find(|banned| word.eq_ignore_ascii_case(banned)))
}

/// The name in `mod name {`; `mod name;` is a file, and files are looked at by path.
fn inline_module(line: &str) -> Option<&str> {
    let (before, after) = line.split_once("mod ")?;
    let is_declaration = before.split_whitespace().all(|word| word == "pub" || word.starts_with("pub("));
    let name = after.split_once('{')?.0.trim();
    (is_declaration && !name.contains(' ')).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, text: &str) -> Vec<usize> {
        findings(&Workspace::of_files(&[(path, text)])).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn domain_words_pass() {
        assert!(check("crates/format/src/pack_header.rs", "mod tests {\n}\n").is_empty());
        assert!(check("crates/format/src/commonality.rs", "").is_empty(), "only whole words count");
    }

    #[test]
    fn a_banned_file_or_folder_is_found() {
        assert_eq!(check("crates/format/src/utils.rs", ""), [1]);
        assert_eq!(check("crates/format/src/key_manager.rs", ""), [1]);
        assert_eq!(check("crates/format/tests/common/mod.rs", ""), [1]);
    }

    #[test]
    fn a_banned_inline_module_is_found_with_its_line() {
        assert_eq!(check("a.rs", "fn a() {}\n\npub(crate) mod helpers {\n}\n"), [3]);
        assert!(check("a.rs", "// mod helpers { in a comment\nlet text = \"mod utils {\";\n").is_empty());
    }

    #[test]
    fn a_banned_crate_is_found() {
        let workspace = Workspace::default().with_package("backup-common", &[]);
        assert_eq!(findings(&workspace).len(), 1);
    }
}
