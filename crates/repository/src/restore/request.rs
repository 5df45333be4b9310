//! What a restore is asked to do.

use std::path::PathBuf;
use std::str::FromStr;

use crate::copies::warm::Patience;
use crate::filter::Selection;

/// Which part of a snapshot goes where, and how.
#[derive(Debug, Clone, Default)]
pub struct RestoreRequest {
    /// A folder of the snapshot, as bytes, with or without a leading `/`; its contents become the target's contents.
    /// None for the whole snapshot.
    pub subfolder: Option<Vec<u8>>,
    /// The folder to restore into. It is made when it is not there; its own metadata stay as they are.
    pub target: PathBuf,
    /// Which entries.
    pub selection: Selection,
    /// Leave holes where a new file would get nothing but zeros.
    pub sparse: bool,
    /// Read every file that was written again, and compare it with the snapshot.
    pub verify: bool,
    /// Change nothing; count what would be done.
    pub dry_run: bool,
    /// What to do with files that are there.
    pub overwrite: Overwrite,
    /// Remove what is in a restored folder and not in the snapshot (of what is selected).
    pub delete: bool,
    /// What to do with a file of which no copy has all bytes.
    pub incomplete: Incomplete,
    /// How long to wait for packs that lie in an archive.
    pub patience: Patience,
    /// Threads that fetch and write; 0 for a number that suits the machine.
    pub threads: usize,
}

/// What happens to files that are there. Folders are always used, and never count as "there".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Overwrite {
    /// They become what the snapshot has. Content that is right already is found by its hashes and not fetched.
    #[default]
    Always,
    /// As `Always`, but a file of the right size and mtime is taken to have the right content.
    IfChanged,
    /// They are left alone unless the snapshot's mtime is newer.
    IfNewer,
    /// They are left alone.
    Never,
}

impl Overwrite {
    /// restic's word.
    pub fn word(self) -> &'static str {
        match self {
            Overwrite::Always => "always",
            Overwrite::IfChanged => "if-changed",
            Overwrite::IfNewer => "if-newer",
            Overwrite::Never => "never",
        }
    }
}

impl std::fmt::Display for Overwrite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

/// A word that is none of [`Overwrite`]'s.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is none of `always`, `if-changed`, `if-newer`, `never`")]
pub struct UnknownOverwrite(pub String);

impl FromStr for Overwrite {
    type Err = UnknownOverwrite;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Overwrite::Always, Overwrite::IfChanged, Overwrite::IfNewer, Overwrite::Never];
        all.into_iter().find(|choice| choice.word() == text).ok_or_else(|| UnknownOverwrite(text.to_owned()))
    }
}

/// What happens to a file whose content cannot be restored in full. It is named in the report either way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Incomplete {
    /// It is removed: nothing wrong stands under a right name.
    #[default]
    Remove,
    /// It stays with zeros where bytes are missing, readable by its owner only and with the time of the restore: for
    /// disk images and databases of which a part is better than nothing.
    Keep,
}
