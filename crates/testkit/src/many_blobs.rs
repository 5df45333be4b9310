//! A repository with as many blobs as one likes, made in seconds: what does an index of that size cost?
//!
//! `config`, key and index files are real and open with the password. Packs have their names and sizes, but are holes:
//! nothing can be restored from them. There is no snapshot, so a backup has no parent and asks the index about each of
//! its own blobs. Everything but the keys follows from the seed.

use std::fs::{self, File};
use std::io;
use std::num::NonZeroU32;
use std::path::Path;

use clock::{Clock, SystemClock};
use format::{
    BlobKind, Compression, Config, FileKind, FileName, IndexFile, IndexedPack, KeyFile, KeyOwner, MasterKey,
    PackedBlob, ScryptCost,
};
use model::{Id, Secret};

use crate::random::Random;

/// Bytes of a full pack, as restic and we write them.
const PACK_BYTES: u32 = 16 << 20;
/// restic's index files are full at this many blobs.
const BLOBS_PER_INDEX: u64 = 50_000;

/// How large the repository is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ManyBlobs {
    /// Data blobs.
    pub blobs: u64,
    /// Data blobs in each pack: about 16 where files are large, thousands where they are small.
    pub blobs_per_pack: u32,
    /// Same seed, same ids.
    pub seed: u64,
}

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Packs in `data`.
    pub packs: u64,
    /// Files in `index`, in the order in which they were written.
    pub index_files: Vec<Id>,
}

/// Makes the repository in `folder`, which must be new or empty, as a local repository of version 2.
pub fn make(folder: &Path, password: &Secret, size: &ManyBlobs) -> io::Result<Made> {
    let master = MasterKey::generate().map_err(io::Error::other)?;
    lay_out(folder)?;
    write_key(folder, password, &master)?;
    let mut random = Random::new(size.seed);
    let mut made = Made { packs: 0, index_files: Vec::new() };
    let mut left = size.blobs;
    while left > 0 {
        let blobs = left.min(BLOBS_PER_INDEX);
        let file = index_file(&mut random, blobs, size.blobs_per_pack.max(1));
        for pack in &file.packs {
            // A hole: the name and the size are there, and no bytes.
            File::create_new(folder.join(FileName::pack(pack.id).path()))?.set_len(u64::from(PACK_BYTES))?;
        }
        let sealed = format::seal_file(&master, 2, Compression::Auto, &file.to_bytes());
        let id = format::hash(&sealed);
        fs::write(folder.join(FileName::new(FileKind::Index, id).path()), sealed)?;
        made.packs += file.packs.len() as u64;
        made.index_files.push(id);
        left -= blobs;
    }
    // Last, as everywhere: what has a config is a repository.
    let config = Config::generate().map_err(io::Error::other)?;
    fs::write(folder.join(FileName::CONFIG.path()), master.seal(&config.to_bytes()))?;
    Ok(made)
}

/// The ids of the first `blobs` blobs that [`make`] gives a repository of this size.
pub fn ids(size: &ManyBlobs, blobs: u64) -> Vec<Id> {
    let mut random = Random::new(size.seed);
    let mut ids = Vec::new();
    let mut left = size.blobs;
    while left > 0 && (ids.len() as u64) < blobs {
        let file = index_file(&mut random, left.min(BLOBS_PER_INDEX), size.blobs_per_pack.max(1));
        ids.extend(file.packs.iter().flat_map(|pack| pack.blobs.iter().map(|blob| blob.id)));
        left -= left.min(BLOBS_PER_INDEX);
    }
    ids.truncate(usize::try_from(blobs).unwrap_or(usize::MAX));
    ids
}

fn lay_out(folder: &Path) -> io::Result<()> {
    for kind in FileKind::NAMED {
        fs::create_dir_all(folder.join(kind.folder()))?;
    }
    (0..=255_u8).try_for_each(|first| fs::create_dir_all(folder.join(format!("data/{first:02x}"))))
}

fn write_key(folder: &Path, password: &Secret, master: &MasterKey) -> io::Result<()> {
    let created = SystemClock::new().local();
    let owner = KeyOwner { hostname: "testhost".to_owned(), username: "tester".to_owned(), created };
    let key = KeyFile::seal(master, password, &owner, ScryptCost::STANDARD).map_err(io::Error::other)?.to_bytes();
    fs::write(folder.join(FileName::new(FileKind::Key, format::hash(&key)).path()), key)
}

fn index_file(random: &mut Random, blobs: u64, blobs_per_pack: u32) -> IndexFile {
    let length = PACK_BYTES / blobs_per_pack;
    let mut packs = Vec::new();
    let mut left = blobs;
    while left > 0 {
        let count = left.min(u64::from(blobs_per_pack));
        let blob = |number| PackedBlob {
            kind: BlobKind::Data,
            id: id(random),
            offset: number * length,
            length,
            // Every other one was compressed.
            uncompressed_length: NonZeroU32::new((number % 2) * 2 * length),
        };
        let blobs = (0..u32::try_from(count).unwrap_or(blobs_per_pack)).map(blob).collect();
        packs.push(IndexedPack { id: id(random), blobs });
        left -= count;
    }
    IndexFile { packs, ..IndexFile::default() }
}

fn id(random: &mut Random) -> Id {
    let mut bytes = [0; Id::LENGTH];
    random.fill(&mut bytes);
    Id::from_bytes(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn it_has_what_was_asked_for() {
        let scratch = tempfile::tempdir().unwrap();
        let size = ManyBlobs { blobs: 60_123, blobs_per_pack: 1000, seed: 7 };
        let made = make(scratch.path(), &Secret::from("password"), &size).unwrap();
        assert_eq!((made.packs, made.index_files.len()), (61, 2));
        let file = fs::read_dir(scratch.path().join("keys")).unwrap().next().unwrap().unwrap();
        let key = KeyFile::parse(&fs::read(file.path()).unwrap()).unwrap();
        let master = key.open(&Secret::from("password")).unwrap();
        let mut found = Vec::new();
        for id in &made.index_files {
            let sealed = fs::read(scratch.path().join("index").join(id.to_hex())).unwrap();
            let file = IndexFile::parse(&format::open_file(&master, &sealed).unwrap()).unwrap();
            for pack in file.packs {
                assert!(scratch.path().join(FileName::pack(pack.id).path()).exists());
                assert_eq!(pack.overlap(), None);
                found.extend(pack.blobs.iter().map(|blob| blob.id));
            }
        }
        assert_eq!(found, ids(&size, u64::MAX));
        assert_eq!(found.len(), 60_123);
    }
}
