//! Names of entries: the only thing from a repository that ever becomes part of a path.

use std::fmt;

/// A name that was checked to be one component of a path. Everything that touches the target takes this type, so that
/// a name from a tree cannot get there unchecked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct EntryName<'a>(&'a [u8]);

impl<'a> EntryName<'a> {
    /// Checks a name. The parser of trees refuses such names too; this is the second lock on the same door, because
    /// behind it lies the whole file system.
    pub(super) fn check(name: &'a [u8]) -> Result<Self, UnsafeName> {
        let why = match name {
            b"" => "it is empty",
            b"." | b".." => "it means a folder that is not in this one",
            _ if name.contains(&b'/') => "it has a `/` in it",
            _ if name.contains(&0) => "it has a zero byte in it",
            _ => return Ok(Self(name)),
        };
        Err(UnsafeName { why })
    }

    /// The bytes.
    pub(super) fn bytes(self) -> &'a [u8] {
        self.0
    }
}

impl fmt::Debug for EntryName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.0.escape_ascii())
    }
}

/// A name that could lead elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the name is not a single component: {why}")]
pub(super) struct UnsafeName {
    why: &'static str,
}
