//! Index files: which blobs are in which packs, so that no pack has to be opened to know.

use std::num::NonZeroU32;

use model::Id;
use serde::Deserialize;

use crate::blob::BlobKind;
use crate::error::{FormatError, Result};
use crate::go_json::{JsonObject, append_list};
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
        let mut packs = Vec::with_capacity(json.packs.len());
        for pack in json.packs {
            let blobs = pack.blobs.into_iter().map(BlobJson::check).collect::<Result<_>>()?;
            packs.push(IndexedPack { id: pack.id, blobs });
        }
        Ok(Self { supersedes: json.supersedes.into_iter().map(|wire| wire.0).collect(), packs })
    }

    /// The plain JSON, with the line feed that restic puts behind it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let blobs: usize = self.packs.iter().map(|pack| pack.blobs.len() + 1).sum();
        let mut out = Vec::with_capacity(blobs * BLOB_TEXT_BYTES + 64);
        let mut object = JsonObject::open(&mut out);
        if !self.supersedes.is_empty() {
            append_list(object.field("supersedes"), &self.supersedes, crate::go_json::append_id);
        }
        append_list(object.field("packs"), &self.packs, append_pack);
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
}
