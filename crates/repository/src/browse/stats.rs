//! `stats`: how much snapshots hold, counted in restic's four ways.

use std::collections::HashSet;
use std::str::FromStr;

use format::{BlobKind, NodeKind, Snapshot};
use model::Id;

use super::source::Source;
use super::walk::{At, Step, Visitor, walk};
use super::{READERS, Unreadable};
use crate::error::{Error, Result};
use crate::repository::Indexed;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StatsMode {
    /// What a restore of each snapshot would write.
    #[default]
    RestoreSize,
    /// Every different file content once.
    FilesByContents,
    /// Every blob once for each file that it is in.
    BlobsPerFile,
    /// Every blob once, as it is stored.
    RawData,
}

impl StatsMode {
    /// Every mode.
    pub const ALL: [StatsMode; 4] =
        [StatsMode::RestoreSize, StatsMode::FilesByContents, StatsMode::BlobsPerFile, StatsMode::RawData];

    /// restic's word.
    pub fn word(self) -> &'static str {
        match self {
            StatsMode::RestoreSize => "restore-size",
            StatsMode::FilesByContents => "files-by-contents",
            StatsMode::BlobsPerFile => "blobs-per-file",
            StatsMode::RawData => "raw-data",
        }
    }
}

impl FromStr for StatsMode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|mode| mode.word() == text).ok_or_else(|| {
            let words = Self::ALL.map(Self::word).join(", ");
            Error::Request(format!("`{text}` is no way to count: use one of {words}"))
        })
    }
}

/// What was counted; names as in restic's JSON.
#[derive(Debug, Default)]
pub struct StatsReport {
    /// Bytes, in the mode's meaning.
    pub total_size: u64,
    /// Bytes of the same blobs without compression; `raw-data` of a version 2 repository only.
    pub total_uncompressed_size: u64,
    /// Uncompressed by compressed bytes, of those blobs that are compressed.
    pub compression_ratio: f64,
    /// How many of a hundred bytes are in compressed blobs.
    pub compression_progress: f64,
    /// How many of a hundred bytes compression saved.
    pub compression_space_saving: f64,
    /// Entries, or files, in the mode's meaning.
    pub total_file_count: u64,
    /// Blobs, in the mode's meaning.
    pub total_blob_count: u64,
    /// Snapshots counted.
    pub snapshots_count: u64,
    /// Folders that could not be read: the numbers are too small.
    pub unreadable: Vec<Unreadable>,
    compressed: (u64, u64),
}

/// Counts what `snapshots` hold together.
pub fn stats(indexed: &Indexed<'_>, snapshots: &[(Id, Snapshot)], mode: StatsMode) -> Result<StatsReport> {
    let roots = snapshots.iter().map(|(_, snapshot)| snapshot.tree);
    count(indexed, roots, mode, indexed.repository.config().version >= 2)
}

fn count(
    source: &dyn Source,
    roots: impl Iterator<Item = Id>,
    mode: StatsMode,
    has_compression: bool,
) -> Result<StatsReport> {
    let mut counter = Counter {
        source,
        mode,
        has_compression,
        report: StatsReport::default(),
        names: HashSet::new(),
        seen: HashSet::new(),
        links: HashSet::new(),
    };
    for root in roots {
        counter.report.snapshots_count += 1;
        counter.links.clear();
        if mode == StatsMode::RawData && !counter.raw_blob(BlobKind::Tree, &root)? {
            continue;
        }
        walk(source, &root, READERS, &mut counter)?;
    }
    Ok(counter.report.with_ratios())
}

impl StatsReport {
    fn with_ratios(mut self) -> Self {
        let (stored, plain) = self.compressed;
        if stored > 0 {
            self.compression_ratio = plain as f64 / stored as f64;
        }
        if self.total_uncompressed_size > 0 {
            let all = self.total_uncompressed_size as f64;
            self.compression_progress = plain as f64 / all * 100.0;
            self.compression_space_saving = (1.0 - self.total_size as f64 / all) * 100.0;
        }
        self
    }
}

struct Counter<'a> {
    source: &'a dyn Source,
    mode: StatsMode,
    has_compression: bool,
    report: StatsReport,
    /// Blobs (`raw-data`), or hashes of what was counted.
    names: HashSet<(u8, Id)>,
    /// Contents that were counted, as a hash of the list of blobs.
    seen: HashSet<Id>,
    /// Files with several names that were counted in this snapshot.
    links: HashSet<(u64, u64)>,
}

const PATH: u8 = 0;
const BLOB_OF_PATH: u8 = 1;
const DATA: u8 = 2;
const TREE: u8 = 3;

impl Counter<'_> {
    fn length(&self, id: &Id) -> Result<u64> {
        let lengths = self.source.lengths(BlobKind::Data, id);
        lengths.map(|lengths| lengths.plain).ok_or(Error::BlobUnknown { kind: "data", id: *id })
    }

    /// Counts a blob once; false when it was counted before.
    fn raw_blob(&mut self, kind: BlobKind, id: &Id) -> Result<bool> {
        let tag = if kind == BlobKind::Tree { TREE } else { DATA };
        if !self.names.insert((tag, *id)) {
            return Ok(false);
        }
        let unknown = Error::BlobUnknown { kind: kind.word(), id: *id };
        let lengths = self.source.lengths(kind, id).ok_or(unknown)?;
        let report = &mut self.report;
        report.total_blob_count += 1;
        report.total_size += lengths.sealed;
        if self.has_compression {
            // Like restic: the length that the blob would have in its pack without compression.
            let uncompressed = lengths.plain + format::SEAL_OVERHEAD_BYTES as u64;
            report.total_uncompressed_size += uncompressed;
            if lengths.is_compressed {
                report.compressed.0 += lengths.sealed;
                report.compressed.1 += uncompressed;
            }
        }
        Ok(true)
    }

    fn restore_size(&mut self, at: &At<'_>) {
        let node = at.node;
        self.report.total_file_count += 1;
        let is_single = node.links == 1 || node.kind == NodeKind::Dir;
        if is_single || node.inode == 0 || self.links.insert((node.inode, node.device_id)) {
            self.report.total_size = self.report.total_size.saturating_add(node.size);
        }
    }

    fn is_new_content(&mut self, at: &At<'_>) -> bool {
        let mut hasher = format::Hasher::new();
        at.node.content.iter().flatten().for_each(|id| hasher.update(id.as_bytes()));
        self.seen.insert(hasher.finish())
    }

    fn blobs_of_file(&mut self, at: &At<'_>) -> Result<()> {
        let path = format::hash(at.path);
        for id in at.node.content.iter().flatten() {
            if self.names.insert((PATH, path)) {
                self.report.total_file_count += 1;
            }
            let both = format::hash(&[path.as_bytes().as_slice(), id.as_bytes()].concat());
            if self.names.insert((BLOB_OF_PATH, both)) {
                self.report.total_size += self.length(id)?;
                self.report.total_blob_count += 1;
            }
        }
        Ok(())
    }
}

impl Visitor for Counter<'_> {
    fn entry(&mut self, at: &At<'_>) -> Result<Step> {
        match self.mode {
            StatsMode::RestoreSize => self.restore_size(at),
            StatsMode::FilesByContents => {
                if self.is_new_content(at) {
                    self.report.total_file_count += 1;
                    self.report.total_size = self.report.total_size.saturating_add(at.node.size);
                }
            }
            StatsMode::BlobsPerFile => {
                if self.is_new_content(at) {
                    self.blobs_of_file(at)?;
                }
            }
            StatsMode::RawData => {
                for id in at.node.content.iter().flatten() {
                    self.raw_blob(BlobKind::Data, id)?;
                }
                if let Some(subtree) = &at.node.subtree {
                    // The same tree holds the same blobs.
                    return Ok(if self.raw_blob(BlobKind::Tree, subtree)? { Step::Into } else { Step::Past });
                }
            }
        }
        Ok(Step::Into)
    }

    fn lost(&mut self, path: &[u8], tree: &Id, error: Error) -> Result<()> {
        self.report.unreadable.push(Unreadable { path: path.to_vec(), tree: *tree, error });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::source::table::Table;
    use super::*;

    #[test]
    fn each_mode_counts_its_own_way() {
        let table = Table::default();
        let a = table.file("a", b"11112222");
        let twin = table.file("twin", b"11112222");
        let mut link = table.file("link", b"3333");
        (link.links, link.inode) = (2, 7);
        let mut other = link.clone();
        other.name = b"other".to_vec();
        let inner = table.folder(vec![a.clone(), twin]);
        let root = table.folder(vec![a, link, other, Table::dir("inner", inner)]);
        let of = |mode| count(&table, [root, root].into_iter(), mode, true).unwrap();

        let restore = of(StatsMode::RestoreSize);
        assert_eq!((restore.total_file_count, restore.total_size, restore.snapshots_count), (12, 2 * (3 * 8 + 4), 2));
        let contents = of(StatsMode::FilesByContents);
        // `11112222`, `3333`, and the folder, which has no content.
        assert_eq!((contents.total_file_count, contents.total_size), (3, 12));
        let blobs = of(StatsMode::BlobsPerFile);
        assert_eq!((blobs.total_file_count, blobs.total_blob_count, blobs.total_size), (2, 3, 12));
        let raw = of(StatsMode::RawData);
        assert_eq!(raw.total_blob_count, 3 + 2);
        assert_eq!(raw.total_uncompressed_size, raw.total_size);
        assert_eq!(raw.compression_ratio, 0.0);
    }

    #[test]
    fn restics_words_are_understood() {
        for mode in StatsMode::ALL {
            assert_eq!(mode.word().parse::<StatsMode>().unwrap(), mode);
        }
        assert!("size".parse::<StatsMode>().is_err());
    }
}
