//! One broken house rule at one place, and what to do about it.

use std::fmt;

/// What a rule found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The rule's name, to find its file.
    pub(crate) rule: &'static str,
    /// The file, relative to the workspace's root.
    pub(crate) path: String,
    /// The line, counted from 1.
    pub(crate) line: usize,
    /// What is wrong.
    pub(crate) what: String,
    /// What would be right.
    pub(crate) hint: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {} [{}]\n  hint: {}", self.path, self.line, self.what, self.rule, self.hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_starts_with_file_and_line() {
        let finding =
            Finding { rule: "names", path: "a/b.rs".into(), line: 7, what: "wrong".into(), hint: "right".into() };
        assert_eq!(finding.to_string(), "a/b.rs:7: wrong [names]\n  hint: right");
    }
}
