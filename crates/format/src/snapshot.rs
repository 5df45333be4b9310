//! Snapshot files: one backup each.

use model::Id;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::{FormatError, Result};
use crate::go_json::JsonObject;
use crate::moment::Moment;
use crate::sealed_file::FILE_PLAIN_BYTES_MAX;
use crate::wire;

const WHAT: &str = "the snapshot";

/// A backup: a tree and where it came from.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Snapshot {
    /// When the backup started.
    #[serde(deserialize_with = "wire::time")]
    pub time: Moment,
    /// The snapshot whose unchanged files were not read again.
    #[serde(default, deserialize_with = "wire::optional_id")]
    pub parent: Option<Id>,
    /// The root folder's listing.
    #[serde(deserialize_with = "wire::id")]
    pub tree: Id,
    /// What was backed up: absolute paths; bytes that are not UTF-8 as [`crate::lossy_text`] makes them.
    #[serde(default, deserialize_with = "wire::list")]
    pub paths: Vec<String>,
    /// The machine.
    #[serde(default)]
    pub hostname: String,
    /// The account.
    #[serde(default)]
    pub username: String,
    /// The account's number.
    #[serde(default)]
    pub uid: u32,
    /// The group's number.
    #[serde(default)]
    pub gid: u32,
    /// Patterns that were left out.
    #[serde(default, deserialize_with = "wire::list")]
    pub excludes: Vec<String>,
    /// Words given by the user.
    #[serde(default, deserialize_with = "wire::list")]
    pub tags: Vec<String>,
    /// The first snapshot that this one was rewritten from.
    #[serde(default, deserialize_with = "wire::optional_id")]
    pub original: Option<Id>,
    /// The program and its version, since restic 0.15.
    #[serde(default)]
    pub program_version: String,
    /// Counts, since restic 0.17.
    #[serde(default)]
    pub summary: Option<SnapshotSummary>,
    /// Fields of other versions.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// What the backup did.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct SnapshotSummary {
    /// When it started.
    #[serde(deserialize_with = "wire::time")]
    pub backup_start: Moment,
    /// When it ended.
    #[serde(deserialize_with = "wire::time")]
    pub backup_end: Moment,
    /// Files that the parent does not have.
    #[serde(default)]
    pub files_new: u64,
    /// Files that differ from the parent's.
    #[serde(default)]
    pub files_changed: u64,
    /// Files that were not read again.
    #[serde(default)]
    pub files_unmodified: u64,
    /// Folders that the parent does not have.
    #[serde(default)]
    pub dirs_new: u64,
    /// Folders that differ from the parent's.
    #[serde(default)]
    pub dirs_changed: u64,
    /// Folders that are as in the parent.
    #[serde(default)]
    pub dirs_unmodified: u64,
    /// New chunks.
    #[serde(default)]
    pub data_blobs: u64,
    /// New listings.
    #[serde(default)]
    pub tree_blobs: u64,
    /// Plain bytes of what is new.
    #[serde(default)]
    pub data_added: u64,
    /// The same as stored.
    #[serde(default)]
    pub data_added_packed: u64,
    /// All files of the snapshot.
    #[serde(default)]
    pub total_files_processed: u64,
    /// Their bytes.
    #[serde(default)]
    pub total_bytes_processed: u64,
    /// Fields of other versions.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Snapshot {
    /// A snapshot of `tree`; everything else is empty and the caller's to fill.
    pub fn new(time: Moment, tree: Id) -> Self {
        Self {
            time,
            parent: None,
            tree,
            paths: Vec::new(),
            hostname: String::new(),
            username: String::new(),
            uid: 0,
            gid: 0,
            excludes: Vec::new(),
            tags: Vec::new(),
            original: None,
            program_version: String::new(),
            summary: None,
            other: Map::new(),
        }
    }

    /// Reads the plain JSON.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > FILE_PLAIN_BYTES_MAX {
            return Err(FormatError::TooLarge { what: "a snapshot (bytes)", limit: FILE_PLAIN_BYTES_MAX as u64 });
        }
        serde_json::from_slice(bytes).map_err(|error| FormatError::malformed(WHAT, error))
    }

    /// The plain JSON.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(1 << 10);
        let mut object = JsonObject::open(&mut out);
        object.time("time", &self.time);
        object.id_if_any("parent", self.parent.as_ref());
        object.id("tree", &self.tree);
        object.texts("paths", &self.paths);
        object.text_if_any("hostname", &self.hostname);
        object.text_if_any("username", &self.username);
        object.number_if_any("uid", u64::from(self.uid));
        object.number_if_any("gid", u64::from(self.gid));
        object.texts_if_any("excludes", &self.excludes);
        object.texts_if_any("tags", &self.tags);
        object.id_if_any("original", self.original.as_ref());
        object.text_if_any("program_version", &self.program_version);
        if let Some(summary) = &self.summary {
            summary.append_to(object.field("summary"));
        }
        object.unknown(&self.other);
        object.close();
        out
    }
}

impl SnapshotSummary {
    fn append_to(&self, out: &mut Vec<u8>) {
        let mut object = JsonObject::open(out);
        object.time("backup_start", &self.backup_start);
        object.time("backup_end", &self.backup_end);
        for (name, number) in [
            ("files_new", self.files_new),
            ("files_changed", self.files_changed),
            ("files_unmodified", self.files_unmodified),
            ("dirs_new", self.dirs_new),
            ("dirs_changed", self.dirs_changed),
            ("dirs_unmodified", self.dirs_unmodified),
            ("data_blobs", self.data_blobs),
            ("tree_blobs", self.tree_blobs),
            ("data_added", self.data_added),
            ("data_added_packed", self.data_added_packed),
            ("total_files_processed", self.total_files_processed),
            ("total_bytes_processed", self.total_bytes_processed),
        ] {
            object.number(name, number);
        }
        object.unknown(&self.other);
        object.close();
    }
}
