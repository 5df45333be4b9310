//! Names that people choose: accounts, repositories, logins.
//!
//! They become folders, so the grammar is narrow: what could be a path, an option, a hidden file or the look-alike of
//! another name is no name. The storage server knows no other text of a client that reaches the file system; names of
//! a repository's own files are [`format::FileName`]s, made of bytes and not of text.

use std::fmt;
use std::str::FromStr;

/// Longer names are refused. Every file system takes 255 bytes; nobody types this many.
pub const NAME_BYTES_MAX: usize = 64;
/// What stands between an account and the label of one of its credentials.
const LABEL_MARK: char = '+';

/// Why a text is no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing at all.
    #[error("a name has at least one character")]
    Empty,
    /// More than [`NAME_BYTES_MAX`].
    #[error("a name has at most {NAME_BYTES_MAX} characters")]
    TooLong,
    /// A dot or a hyphen first: hidden files, `..` and options look like that.
    #[error("a name starts with a letter, a digit or `_`")]
    Start,
    /// A dot last, which other systems drop.
    #[error("a name does not end with `.`")]
    End,
    /// Anything but ASCII letters, digits and `. _ - @`.
    #[error("a name has ASCII letters, digits, `.`, `_`, `-` and `@` only")]
    Character,
    /// The name of a folder or file in a repository.
    #[error("the name of a folder in a repository cannot name one")]
    Reserved,
}

/// Checks the grammar that all names share.
fn check(text: &str) -> Result<(), NameError> {
    let first = *text.as_bytes().first().ok_or(NameError::Empty)?;
    if text.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong);
    }
    if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-@".contains(&byte)) {
        return Err(NameError::Character);
    }
    if !(first.is_ascii_alphanumeric() || first == b'_') {
        return Err(NameError::Start);
    }
    if text.ends_with('.') { Err(NameError::End) } else { Ok(()) }
}

/// Who owns repositories: the first part of every path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountName(String);

/// A repository of an account: the second part of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepositoryName(String);

/// Which of an account's credentials this is. An account has one without a label, and may have more with one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(String);

/// What a client writes as its user name: `alice` for the credential without a label, `alice+nightly` for another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Login {
    /// Whose credential.
    pub account: AccountName,
    /// Which one.
    pub label: Option<Label>,
}

/// Where a repository is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepositoryPlace {
    /// Its owner.
    pub account: AccountName,
    /// Its name there.
    pub repository: RepositoryName,
}

/// The words that a repository's own layout uses (restic design, "Repository Layout").
fn is_reserved(text: &str) -> bool {
    format::FileKind::ALL.iter().any(|kind| kind.folder().eq_ignore_ascii_case(text))
}

impl FromStr for AccountName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        check(text).map(|()| Self(text.to_owned()))
    }
}

impl FromStr for Label {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        check(text).map(|()| Self(text.to_owned()))
    }
}

impl FromStr for RepositoryName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        check(text)?;
        if is_reserved(text) { Err(NameError::Reserved) } else { Ok(Self(text.to_owned())) }
    }
}

impl FromStr for Login {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.split_once(LABEL_MARK) {
            Some((account, label)) => Ok(Self { account: account.parse()?, label: Some(label.parse()?) }),
            None => Ok(Self { account: text.parse()?, label: None }),
        }
    }
}

impl AccountName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Label {
    /// The label as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl RepositoryName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.label {
            Some(label) => write!(f, "{}{LABEL_MARK}{label}", self.account),
            None => write!(f, "{}", self.account),
        }
    }
}

impl fmt::Display for RepositoryPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.account, self.repository)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_some() {
        for text in ["alice", "a", "7", "_x", "alice@example.org", "Bot-7.main", "x".repeat(NAME_BYTES_MAX).as_str()] {
            assert_eq!(text.parse::<AccountName>().unwrap().as_str(), text);
            assert_eq!(text.parse::<RepositoryName>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn names_that_are_none() {
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        for (text, error) in [
            ("", NameError::Empty),
            (long.as_str(), NameError::TooLong),
            (".", NameError::Start),
            ("..", NameError::Start),
            (".hidden", NameError::Start),
            ("-", NameError::Start),
            ("-rf", NameError::Start),
            ("@", NameError::Start),
            ("dot.", NameError::End),
            ("a/b", NameError::Character),
            ("a\\b", NameError::Character),
            ("a b", NameError::Character),
            ("a\0", NameError::Character),
            ("a\n", NameError::Character),
            ("a%2fb", NameError::Character),
            ("a:b", NameError::Character),
            ("alicе", NameError::Character), // the last letter is Cyrillic
            ("a+b", NameError::Character),
        ] {
            assert_eq!(text.parse::<AccountName>().unwrap_err(), error, "{text:?}");
            assert_eq!(text.parse::<RepositoryName>().unwrap_err(), error, "{text:?}");
        }
        for text in ["data", "KEYS", "config", "locks", "index", "snapshots"] {
            assert_eq!(text.parse::<RepositoryName>().unwrap_err(), NameError::Reserved);
        }
    }

    #[test]
    fn a_login_is_an_account_and_a_label_or_none() {
        for text in ["alice", "alice+prune", "alice@example.org+1"] {
            assert_eq!(text.parse::<Login>().unwrap().to_string(), text);
        }
        for text in ["+", "alice+", "+prune", "alice++", "alice+a+b"] {
            assert!(text.parse::<Login>().is_err(), "{text}");
        }
    }
}
