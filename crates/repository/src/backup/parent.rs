//! The snapshot that a backup compares with: files whose stamp is as it was there are not read again.

use std::path::PathBuf;

use format::{Node, NodeKind, Snapshot};
use jiff::Timestamp;
use model::Id;

use super::metadata::Stamp;
use super::{BackupRequest, ParentChoice};
use crate::error::Result;
use crate::repository::Repository;
use crate::snapshots::{SnapshotFilter, SnapshotListing};

/// Picks the parent: the one that was asked for, or the newest of the same host and paths that is not from the future.
pub(super) fn choose(
    repository: &Repository,
    request: &BackupRequest,
    paths: &[PathBuf],
    listing: &SnapshotListing,
    now: Timestamp,
) -> Result<Option<(Id, Snapshot)>> {
    match &request.parent {
        ParentChoice::None => Ok(None),
        ParentChoice::Snapshot(text) => {
            let choice = repository.find_snapshot(text, &SnapshotFilter::default())?;
            Ok(Some((choice.id, choice.snapshot)))
        }
        ParentChoice::Auto => {
            let mut wanted: Vec<String> = paths.iter().map(|path| super::path_text(path)).collect();
            wanted.sort();
            let fits = |snapshot: &Snapshot| {
                let mut own = snapshot.paths.clone();
                own.sort();
                snapshot.hostname == request.hostname && own == wanted && snapshot.time.timestamp() <= now
            };
            Ok(listing.snapshots.iter().rev().find(|(_, snapshot)| fits(snapshot)).cloned())
        }
    }
}

/// What counts as a change.
#[derive(Debug, Clone, Copy)]
pub(super) struct ChangeRule {
    pub(super) ignore_ctime: bool,
    pub(super) ignore_inode: bool,
}

impl ChangeRule {
    /// True when `stamp` shows the state that `node` was made of.
    pub(super) fn unchanged(&self, node: &Node, stamp: &Stamp) -> bool {
        node.kind == NodeKind::File
            && node.content.is_some()
            && node.size == stamp.size
            && (node.mtime.seconds, node.mtime.nanoseconds) == stamp.mtime
            && (self.ignore_ctime || (node.ctime.seconds, node.ctime.nanoseconds) == stamp.ctime)
            && (self.ignore_inode || node.inode == stamp.inode)
    }
}
