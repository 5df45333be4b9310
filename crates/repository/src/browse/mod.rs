//! Looking at snapshots without restoring them: `ls`, `find`, `diff`, `dump` and `stats`.
//!
//! Everything here reads through the engine's verified blobs, from whichever copy has them sound, and hands what it
//! finds to a callback: no listing is ever held in memory as a whole, and nothing is printed. Names, depth and lengths
//! of trees are treated as hostile: a name is one component or the tree is refused, depth has a limit, and sizes come
//! from the blobs themselves.
//!
//! Whoever calls holds a reading lock from before the index was loaded until the end, so that no prune takes away what
//! is being looked at.

mod ahead;
mod diff;
mod dump;
mod find;
mod ls;
mod source;
mod stats;
mod walk;

use model::Id;

use crate::error::{Error, Result};
use crate::repository::Indexed;
use source::Source;

pub use diff::{Change, DiffCounts, DiffReport, DiffRequest, diff};
pub use dump::{ArchiveKind, DumpReport, DumpRequest, Skipped, dump};
pub use find::{FindReport, FindRequest, Found, Wanted, find};
pub use ls::{LsItem, LsReport, LsRequest, ls};
pub use stats::{StatsMode, StatsReport, stats};

/// Threads that wait for a destination to answer, for one walk.
const READERS: usize = 6;

/// A folder of a snapshot that no copy can give.
#[derive(Debug)]
pub struct Unreadable {
    /// Its absolute path inside the snapshot.
    pub path: Vec<u8>,
    /// Its tree.
    pub tree: Id,
    /// Why.
    pub error: Error,
}

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cannot read folder `{}`: {}", String::from_utf8_lossy(&self.path), self.error)
    }
}

/// The tree of the folder at `path` below the tree `root`: what `ID:folder` means.
pub fn folder(indexed: &Indexed<'_>, root: &Id, path: &[u8]) -> Result<Id> {
    folder_of(indexed, root, path)
}

fn folder_of(source: &dyn Source, root: &Id, path: &[u8]) -> Result<Id> {
    let mut id = *root;
    for name in components(path) {
        let tree = source.tree(&id)?;
        let node = tree.find(name).ok_or_else(|| not_in_snapshot(path))?;
        let not_a_folder = || Error::Snapshot(format!("`{}` is not a folder", String::from_utf8_lossy(path)));
        id = node.subtree.ok_or_else(not_a_folder)?;
    }
    Ok(id)
}

fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".")
}

fn not_in_snapshot(path: &[u8]) -> Error {
    Error::Snapshot(format!("`{}` is not in the snapshot", String::from_utf8_lossy(path)))
}
