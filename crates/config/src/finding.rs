//! What is wrong in a file: where, what was found, what to write instead.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Bytes of the text, from the first to behind the last.
    pub at: Range<usize>,
    /// The key as a path: `destinations.nas.url`; empty where the text is no TOML.
    pub key: String,
    /// What is wrong, without secrets.
    pub what: String,
    /// What to write instead.
    pub hint: String,
}

/// All mistakes of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    path: PathBuf,
    text: String,
    findings: Vec<Finding>,
    unreadable: Option<String>,
}

impl ConfigError {
    pub(crate) fn new(path: &Path, text: &str, mut findings: Vec<Finding>) -> Self {
        findings.sort_by_key(|finding| finding.at.start);
        Self { path: path.to_owned(), text: text.to_owned(), findings, unreadable: None }
    }

    pub(crate) fn unreadable(path: &Path, why: String) -> Self {
        Self { path: path.to_owned(), text: String::new(), findings: Vec::new(), unreadable: Some(why) }
    }

    /// The mistakes, in the order of the text.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Line and column of a byte, both from 1; columns count characters.
    pub fn position(&self, byte: usize) -> (usize, usize) {
        let before = self.text.get(..byte).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        if let Some(why) = &self.unreadable {
            return write!(f, "cannot read the configuration `{path}`: {why}");
        }
        for (number, finding) in self.findings.iter().enumerate() {
            if 0 < number {
                writeln!(f)?;
            }
            let (line, column) = self.position(finding.at.start);
            write!(f, "{path}:{line}:{column}: ")?;
            if !finding.key.is_empty() {
                write!(f, "`{}`: ", finding.key)?;
            }
            write!(f, "{}", finding.what)?;
            if !finding.hint.is_empty() {
                write!(f, "\n  hint: {}", finding.hint)?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}
