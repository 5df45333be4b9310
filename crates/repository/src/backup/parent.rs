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

/// How long before the parent's backup began a file must have come to rest for its stamp to be believed. A system sets
/// a file's times when a write begins, and in steps of milliseconds: one that was written to shortly before it was read,
/// or meanwhile, can have become another since without any sign of it.
pub(super) const SETTLE_SECONDS: i64 = 2;

/// What counts as a change.
#[derive(Debug, Clone, Copy)]
pub(super) struct ChangeRule {
    pub(super) ignore_ctime: bool,
    pub(super) ignore_inode: bool,
    /// When the parent's backup began, in seconds since 1970.
    pub(super) parent_began: i64,
}

/// When the backup that made a snapshot began. The snapshot's own time may be any that somebody wished for.
pub(super) fn began(snapshot: &Snapshot) -> i64 {
    let began = snapshot.summary.as_ref().map(|summary| summary.backup_start.timestamp().as_second());
    // Who does not tell it says 0 or the year 1.
    began.filter(|began| *began > 0).unwrap_or_else(|| snapshot.time.timestamp().as_second())
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

    /// True when nothing was written to the file from shortly before the parent's backup on, as far as `node` tells.
    pub(super) fn had_settled(&self, node: &Node) -> bool {
        let last = if self.ignore_ctime { node.mtime.seconds } else { node.ctime.seconds };
        last < self.parent_began - SETTLE_SECONDS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use format::NodeTime;

    fn node(mtime: i64, ctime: i64) -> Node {
        let time = |seconds| NodeTime { seconds, ..NodeTime::default() };
        Node { mtime: time(mtime), ctime: time(ctime), ..Node::default() }
    }

    #[test]
    fn only_files_that_lay_still_before_the_parents_backup_are_believed() {
        let rule = ChangeRule { ignore_ctime: false, ignore_inode: false, parent_began: 1000 };
        assert!(rule.had_settled(&node(0, 997)));
        for ctime in [998, 999, 1000, 1001, 5000] {
            assert!(!rule.had_settled(&node(0, ctime)), "{ctime}");
        }
        let without_ctime = ChangeRule { ignore_ctime: true, ..rule };
        assert!(without_ctime.had_settled(&node(0, 5000)));
        assert!(!without_ctime.had_settled(&node(999, 0)));
    }
}
