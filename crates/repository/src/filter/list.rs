//! Several patterns in order, of which later ones may take back what earlier ones said.

use std::borrow::Cow;

use super::pattern::{Pattern, PatternError, SplitPath};

/// Whether upper and lower case are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// `A` is not `a`: `--exclude`, `--include`.
    Sensitive,
    /// `A` is `a`: `--iexclude`, `--iinclude`.
    Insensitive,
}

/// Compiled patterns. As in restic, those that ignore case are a list of their own: a `!` takes back only what its own
/// list said, and a path matches when either list says so.
#[derive(Debug, Clone, Default)]
pub struct PatternList {
    sensitive: Vec<Pattern>,
    insensitive: Vec<Pattern>,
}

/// What a list says about a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Matched {
    /// The path, or a folder that it lies in.
    pub(super) itself: bool,
    /// Something below the path may.
    pub(super) below: bool,
}

impl PatternList {
    /// Compiles patterns that tell case apart. Empty patterns are left out.
    pub fn new<P: AsRef<[u8]>>(patterns: impl IntoIterator<Item = P>) -> Result<Self, PatternError> {
        let mut list = Self::default();
        for pattern in patterns {
            list.add(pattern.as_ref(), Case::Sensitive)?;
        }
        Ok(list)
    }

    /// Compiles one more pattern. An empty one is left out.
    pub fn add(&mut self, pattern: &[u8], case: Case) -> Result<(), PatternError> {
        if pattern.is_empty() {
            return Ok(());
        }
        match case {
            Case::Sensitive => self.sensitive.push(Pattern::parse(pattern)?),
            Case::Insensitive => {
                let folded = Pattern::parse(&lower_case(pattern)).map_err(|error| PatternError {
                    pattern: String::from_utf8_lossy(pattern).into_owned(),
                    why: error.why,
                })?;
                self.insensitive.push(folded);
            }
        }
        Ok(())
    }

    /// True when no pattern was given.
    pub fn is_empty(&self) -> bool {
        self.sensitive.is_empty() && self.insensitive.is_empty()
    }

    /// Whether the path, or a folder that it lies in, matches and no later pattern takes that back.
    pub fn matches(&self, path: &[u8]) -> bool {
        self.judge(path).itself
    }

    /// The pattern because of which a path is left out.
    pub fn reason(&self, path: &[u8]) -> Option<String> {
        let deciding = |patterns: &[Pattern], path: &[u8]| {
            let path = SplitPath::new(path);
            let last = patterns.iter().rev().find(|pattern| pattern.matches(&path))?;
            (!last.negated).then(|| String::from_utf8_lossy(&last.text).into_owned())
        };
        deciding(&self.sensitive, path).or_else(|| deciding(&self.insensitive, &lower_case(path)))
    }

    pub(super) fn judge(&self, path: &[u8]) -> Matched {
        let mut matched = judge_one(&self.sensitive, path);
        if !self.insensitive.is_empty() {
            let other = judge_one(&self.insensitive, &lower_case(path));
            matched = Matched { itself: matched.itself || other.itself, below: matched.below || other.below };
        }
        matched
    }
}

fn judge_one(patterns: &[Pattern], path: &[u8]) -> Matched {
    let mut matched = Matched { itself: false, below: false };
    if patterns.is_empty() {
        return matched;
    }
    let path = SplitPath::new(path);
    for pattern in patterns {
        let itself = pattern.matches(&path);
        if pattern.negated {
            matched.itself &= !itself;
            matched.below &= !itself;
        } else {
            matched.itself |= itself;
            matched.below |= itself || pattern.may_match_below(&path);
        }
    }
    matched
}

/// Lower case, character by character; bytes that are not UTF-8 stay as they are.
fn lower_case(bytes: &[u8]) -> Cow<'_, [u8]> {
    if bytes.is_ascii() {
        return if bytes.iter().any(u8::is_ascii_uppercase) {
            Cow::Owned(bytes.to_ascii_lowercase())
        } else {
            Cow::Borrowed(bytes)
        };
    }
    let mut lower = Vec::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        lower.extend_from_slice(chunk.valid().to_lowercase().as_bytes());
        lower.extend_from_slice(chunk.invalid());
    }
    Cow::Owned(lower)
}
