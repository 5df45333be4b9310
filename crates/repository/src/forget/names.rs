//! Snapshots as people name them, to be forgotten: every name must mean exactly one.

use std::collections::BTreeSet;

use format::FileKind;
use model::Id;

use crate::copies::status::Holdings;
use crate::error::{Error, Result};
use crate::repository::Repository;
use crate::snapshots::SnapshotFilter;

/// The snapshots that these texts name: ids, beginnings of ids, or `latest` of those that the filter lets through.
/// Files that cannot be read have names too.
///
/// # Errors
/// When a text names no snapshot, or several.
pub fn named(repository: &Repository, texts: &[String], filter: &SnapshotFilter) -> Result<BTreeSet<Id>> {
    let holdings = Holdings::gather(repository.copies(), FileKind::Snapshot)?;
    texts.iter().map(|text| one(repository, &holdings, text, filter)).collect()
}

fn one(repository: &Repository, holdings: &Holdings, text: &str, filter: &SnapshotFilter) -> Result<Id> {
    if text == "latest" {
        return repository.find_snapshot(text, filter).map(|choice| choice.id);
    }
    let found: Vec<&Id> = holdings.files.keys().filter(|id| id.to_hex().starts_with(text)).collect();
    match found.as_slice() {
        [id] if !text.is_empty() => Ok(**id),
        [] => Err(Error::Snapshot(format!("no snapshot begins with `{text}`; nothing was removed"))),
        several => {
            let count = several.len();
            Err(Error::Snapshot(format!("{count} snapshots begin with `{text}`; nothing was removed")))
        }
    }
}
