//! What has to be true of the sources, or there is no snapshot: a disk that is not mounted looks like an empty folder, and
//! a program that lost its data looks like one that has little.

use std::ffi::OsString;

use super::roots::Root;
use super::tally::Tally;
use crate::error::{Error, Result};

/// What the sources must have at least.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Guards {
    /// Each source that is a folder has an entry of this name at its top.
    pub marker: Option<OsString>,
    /// All sources together have as many files.
    pub files_min: u64,
    /// All sources together have as many bytes.
    pub bytes_min: u64,
}

impl Guards {
    /// Looks for the marker before anything is read.
    pub(super) fn check_markers(&self, root: &Root) -> Result<()> {
        let Some(marker) = &self.marker else { return Ok(()) };
        if let Some(source) = root.source.as_ref().filter(|_| root.path.is_dir()) {
            match std::fs::symlink_metadata(root.path.join(marker)) {
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    let marker = marker.to_string_lossy();
                    let why = format!("source `{}` has no `{marker}`; no snapshot was made", source.display());
                    return Err(Error::Refused { why, hint: "is its disk mounted?".to_owned() });
                }
                Err(error) => return Err(Error::local("look for the marker in", source, error)),
            }
        }
        root.children.values().try_for_each(|child| self.check_markers(child))
    }

    /// Counts what was found.
    pub(super) fn check_counts(&self, tally: &Tally) -> Result<()> {
        let (files, bytes) = tally.files_and_bytes();
        let why = if files < self.files_min {
            format!("the sources hold {files} files, and should hold at least {}", self.files_min)
        } else if bytes < self.bytes_min {
            format!("the sources hold {bytes} bytes, and should hold at least {}", self.bytes_min)
        } else {
            return Ok(());
        };
        let hint = "look what became of them, or ask for less".to_owned();
        Err(Error::Refused { why: format!("{why}; no snapshot was made"), hint })
    }
}
