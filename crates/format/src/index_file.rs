//! Index files: which blobs are in which packs, so that no pack has to be opened to know.
//!
//! Packs that are to go are kept apart, as rustic does it: nobody looks for blobs there but who prunes, and restic does not
//! know the field.

use std::num::NonZeroU32;

use model::Id;
use serde::Deserialize;

use crate::blob::BlobKind;
use crate::error::{FormatError, Result};
use crate::go_json::{JsonObject, append_list};
use crate::moment::Moment;
use crate::pack::PackedBlob;
use crate::sealed_file::FILE_PLAIN_BYTES_MAX;
use crate::wire;

const WHAT: &str = "the index file";

/// Bytes that one blob takes in an index file, about.
const BLOB_TEXT_BYTES: usize = 160;

/// What one index file tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IndexFile {
    /// Index files that this one replaces; restic wrote this until 0.17 and ignores it since.
    pub supersedes: Vec<Id>,
    /// Packs and what they hold. A pack may appear more than once, here and in other index files.
    pub packs: Vec<IndexedPack>,
    /// Packs that nobody needed when they were marked. They are not part of the index.
    pub packs_to_delete: Vec<MarkedPack>,
}

/// A pack that is to be deleted some time after it was marked, unless somebody needs it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarkedPack {
    /// The pack.
    pub id: Id,
    /// Blobs in it; none are known of a pack that no index mentioned.
    pub blobs: Vec<PackedBlob>,
    /// When it was marked. Every writer tells it; a pack without it may have been marked just now.
    pub time: Option<Moment>,
    /// Its size in bytes, where the writer tells it.
    pub size: Option<u32>,
}

/// What an index file tells of one pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexedPack {
    /// The pack.
    pub id: Id,
    /// Blobs in it; not always all, and in any order.
    pub blobs: Vec<PackedBlob>,
}

impl IndexedPack {
    /// Two blobs that claim the same bytes, which no sound pack has.
    pub fn overlap(&self) -> Option<(PackedBlob, PackedBlob)> {
        let mut sorted: Vec<PackedBlob> = self.blobs.clone();
        sorted.sort_by_key(|blob| (blob.offset, blob.length));
        sorted.dedup();
        sorted.windows(2).find_map(|pair| match pair {
            [left, right] if left.end() > u64::from(right.offset) => Some((*left, *right)),
            _ => None,
        })
    }
}

#[derive(Deserialize)]
struct IndexJson {
    #[serde(default, deserialize_with = "wire::list")]
    supersedes: Vec<wire::WireId>,
    #[serde(deserialize_with = "wire::list")]
    packs: Vec<PackJson>,
    #[serde(default, deserialize_with = "wire::list")]
    packs_to_delete: Vec<MarkedJson>,
}

#[derive(Deserialize)]
struct MarkedJson {
    #[serde(deserialize_with = "wire::id")]
    id: Id,
    #[serde(deserialize_with = "wire::list")]
    blobs: Vec<BlobJson>,
    #[serde(default, deserialize_with = "wire::optional_time")]
    time: Option<Moment>,
    #[serde(default)]
    size: Option<u32>,
}

#[derive(Deserialize)]
struct PackJson {
    #[serde(deserialize_with = "wire::id")]
    id: Id,
    #[serde(deserialize_with = "wire::list")]
    blobs: Vec<BlobJson>,
}

#[derive(Deserialize)]
struct BlobJson {
    #[serde(deserialize_with = "wire::id")]
    id: Id,
    #[serde(rename = "type")]
    kind: KindJson,
    offset: u32,
    length: u32,
    /// restic leaves it out of blobs that are stored as they are; rustic writes `null`.
    #[serde(default)]
    uncompressed_length: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum KindJson {
    Data,
    Tree,
}

impl BlobJson {
    fn check(self) -> Result<PackedBlob> {
        let kind = match self.kind {
            KindJson::Data => BlobKind::Data,
            KindJson::Tree => BlobKind::Tree,
        };
        let uncompressed_length = self.uncompressed_length.and_then(NonZeroU32::new);
        let blob = PackedBlob { kind, id: self.id, offset: self.offset, length: self.length, uncompressed_length };
        blob.check(WHAT)?;
        Ok(blob)
    }
}

impl IndexFile {
    /// Reads the plain JSON.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > FILE_PLAIN_BYTES_MAX {
            return Err(FormatError::TooLarge { what: "an index file (bytes)", limit: FILE_PLAIN_BYTES_MAX as u64 });
        }
        let json: IndexJson = serde_json::from_slice(bytes).map_err(|error| FormatError::malformed(WHAT, error))?;
        let checked = |blobs: Vec<BlobJson>| blobs.into_iter().map(BlobJson::check).collect::<Result<_>>();
        let mut packs = Vec::with_capacity(json.packs.len());
        for PackJson { id, blobs } in json.packs {
            packs.push(IndexedPack { id, blobs: checked(blobs)? });
        }
        let mut packs_to_delete = Vec::with_capacity(json.packs_to_delete.len());
        for MarkedJson { id, blobs, time, size } in json.packs_to_delete {
            packs_to_delete.push(MarkedPack { id, blobs: checked(blobs)?, time, size });
        }
        let supersedes = json.supersedes.into_iter().map(|wire| wire.0).collect();
        Ok(Self { supersedes, packs, packs_to_delete })
    }

    /// The plain JSON, with the line feed that restic puts behind it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let blobs: usize = self.packs.iter().map(|pack| pack.blobs.len() + 1).sum();
        let marked: usize = self.packs_to_delete.iter().map(|pack| pack.blobs.len() + 1).sum();
        let mut out = Vec::with_capacity((blobs + marked) * BLOB_TEXT_BYTES + 64);
        let mut object = JsonObject::open(&mut out);
        if !self.supersedes.is_empty() {
            append_list(object.field("supersedes"), &self.supersedes, crate::go_json::append_id);
        }
        append_list(object.field("packs"), &self.packs, append_pack);
        if !self.packs_to_delete.is_empty() {
            append_list(object.field("packs_to_delete"), &self.packs_to_delete, append_marked);
        }
        object.close();
        out.push(b'\n');
        out
    }
}

fn append_pack(out: &mut Vec<u8>, pack: &IndexedPack) {
    let mut object = JsonObject::open(out);
    object.id("id", &pack.id);
    append_list(object.field("blobs"), &pack.blobs, append_blob);
    object.close();
}

fn append_marked(out: &mut Vec<u8>, pack: &MarkedPack) {
    let mut object = JsonObject::open(out);
    object.id("id", &pack.id);
    append_list(object.field("blobs"), &pack.blobs, append_blob);
    if let Some(time) = &pack.time {
        object.time("time", time);
    }
    if let Some(size) = pack.size {
        object.number("size", u64::from(size));
    }
    object.close();
}

fn append_blob(out: &mut Vec<u8>, blob: &PackedBlob) {
    let mut object = JsonObject::open(out);
    object.id("id", &blob.id);
    object.text("type", blob.kind.word());
    object.number("offset", u64::from(blob.offset));
    object.number("length", u64::from(blob.length));
    object.number_if_any("uncompressed_length", blob.uncompressed_length.map_or(0, |length| u64::from(length.get())));
    object.close();
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_blob_stored_as_it_is_may_say_null_for_its_plain_length() {
        let id = "ab".repeat(32);
        for plain_length in ["", r#","uncompressed_length":null"#, r#","uncompressed_length":0"#] {
            let blob = format!(r#"{{"id":"{id}","type":"data","offset":0,"length":132{plain_length}}}"#);
            let file = format!(r#"{{"packs":[{{"id":"{id}","blobs":[{blob}]}}]}}"#);
            let parsed = IndexFile::parse(file.as_bytes()).unwrap();
            assert_eq!(parsed.packs[0].blobs[0].plain_length(), 100, "{plain_length}");
        }
    }

    #[test]
    fn packs_that_are_to_go_stand_apart_and_leave_no_trace_where_there_are_none() {
        let id = "ab".repeat(32);
        let blob = format!(r#"{{"id":"{id}","type":"data","offset":0,"length":132}}"#);
        let packs = format!(r#"{{"packs":[{{"id":"{id}","blobs":[{blob}]}}]"#);
        let time = "2026-11-21T14:48:00.5+01:00";
        let marked = format!(r#""packs_to_delete":[{{"id":"{id}","blobs":[{blob}],"time":"{time}"}},"#);
        let unknown = format!(r#"{{"id":"{id}","blobs":[],"time":"{time}","size":500}}]"#);
        let text = format!("{packs},{marked}{unknown}}}\n");
        let parsed = IndexFile::parse(text.as_bytes()).unwrap();
        assert_eq!((parsed.packs.len(), parsed.packs_to_delete.len()), (1, 2));
        assert_eq!(parsed.packs_to_delete[0].blobs, parsed.packs[0].blobs);
        assert_eq!(parsed.packs_to_delete[0].time.unwrap().to_string(), time);
        assert_eq!((parsed.packs_to_delete[0].size, parsed.packs_to_delete[1].size), (None, Some(500)));
        assert_eq!(String::from_utf8(parsed.to_bytes()).unwrap(), text);
        let without = IndexFile { packs_to_delete: Vec::new(), ..parsed };
        assert_eq!(String::from_utf8(without.to_bytes()).unwrap(), format!("{packs}}}\n"));
        for wrong in ["\"size\":-1", "\"size\":4294967296", "\"time\":\"yesterday\"", "\"id\":\"ab\""] {
            let text = format!(r#"{{"packs":[],"packs_to_delete":[{{"id":"{id}","blobs":[],{wrong}}}]}}"#);
            assert!(IndexFile::parse(text.as_bytes()).is_err(), "{wrong}");
        }
    }
}
